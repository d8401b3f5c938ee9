// The C API on a device beside KvCache: the same tokens, the same numbers, on the caller's stream; and tensors that come as
// DLPack.
#include <cuda_runtime_api.h>

#include "device_verbs.hpp"
#include "dl_tensor.hpp"
#include "qjl/attention.hpp"
#include "qjl/dlpack.hpp"
#include "qjl/moves.hpp"
#include "qjl/qjl.h"

namespace qjl::test {
namespace {

constexpr int kHeads = 2, kGroup = 3, kDim = 64, kTokens = 300;

struct Stream {
  cudaStream_t stream = nullptr;
  Stream() { cudaStreamCreate(&stream); }
  ~Stream() { cudaStreamDestroy(stream); }
};

// What both sides get: rows as a matrix product leaves them, [tokens, heads, dim].
struct Story {
  Rows keys, values, queries;
  OnDevice<std::uint8_t> k, v, q;
  explicit Story(Integers& random)
      : keys(lifelike_rows(random, DType::bf16, 1, kTokens * kHeads, kDim)),
        values(lifelike_rows(random, DType::bf16, 1, kTokens * kHeads, kDim)),
        queries(bell_rows(random, DType::f32, 1, kHeads * kGroup, kDim)),
        k(keys.words),
        v(values.words),
        q(queries.words) {}
};

std::vector<float> by_dlpack(const Story& story, cudaStream_t stream) {
  CacheConfig config = cache_config("k3v2", kDim, 4, 1);
  config.codec.rope = {};  // none in the options of the C API below
  KvCache cache(config, Device::cuda());
  const SequenceId sequence = cache.create();
  std::int64_t shape[] = {kHeads, kTokens, kDim}, strides[] = {kDim, kHeads * kDim, 1}, query_shape[] = {kHeads * kGroup, 1, kDim};
  DlTensor tensor{story.k.data(), {kDlCuda, 0}, 3, {kDlBfloat, 16, 1}, shape, strides, 0};
  const TensorView keys = view_of(tensor);
  tensor.data = story.v.data();
  cache.append(sequence, 0, keys, view_of(tensor), CudaStream{stream});
  const OnDevice<float> out(story.queries.number.size());
  AttendRequest request;
  request.sequence = sequence;
  request.queries = view_of(DlTensor{story.q.data(), {kDlCuda, 0}, 3, {kDlFloat, 32, 1}, query_shape, nullptr, 0});
  request.out = output_of(DlTensor{out.data(), {kDlCuda, 0}, 3, {kDlFloat, 32, 1}, query_shape, nullptr, 0});
  AttendPlan attend;
  attend.make(cache, 0, std::span(&request, 1), {}, CudaStream{stream});
  attend.run(CudaStream{stream});
  cache.wait(CudaStream{stream});
  return out.host();
}

#define ASSERT_OK(call) ASSERT_EQ(call, QJL_OK) << qjl_last_error()

// Through the C API, moved to the host and back before it is attended to when `moved`.
void by_c(const Story& story, bool moved, cudaStream_t stream, std::vector<float>& result) {
  const qjl_cache_options options = {1, kHeads, kDim, QJL_F16, 4, "k3v2", 0, nullptr, 0, 0, nullptr, nullptr, QJL_CUDA, nullptr};
  const qjl_queue queue = {nullptr, stream};
  qjl_cache* cache = nullptr;
  qjl_sequence sequence = 0;
  ASSERT_OK(qjl_cache_create(&options, &cache));
  ASSERT_OK(qjl_sequence_create(cache, &sequence));
  qjl_tensor keys = {story.k.data(), QJL_BF16, kHeads, kTokens, kDim, kDim, kHeads * kDim, QJL_CUDA}, values = keys;
  values.data = story.v.data();
  ASSERT_OK(qjl_append(cache, sequence, 0, &keys, &values, queue));
  if (moved) {
    qjl_cache_options of_the_host = options;
    of_the_host.device = QJL_CPU;
    qjl_cache* host = nullptr;
    ASSERT_OK(qjl_cache_create(&of_the_host, &host));
    qjl_sequence offloaded = 0, before = sequence;
    ASSERT_OK(qjl_sequence_copy(cache, before, host, queue, &offloaded));
    ASSERT_OK(qjl_sequence_drop(cache, before));
    ASSERT_OK(qjl_sequence_copy(host, offloaded, cache, queue, &sequence));
    qjl_cache_destroy(host);
  }
  std::int64_t tokens = 0;
  ASSERT_OK(qjl_sequence_num_tokens(cache, sequence, 0, &tokens));
  EXPECT_EQ(tokens, kTokens);
  const OnDevice<float> out(story.queries.number.size());
  qjl_attend_request request = {};
  request.sequence = sequence;
  request.queries = {story.q.data(), QJL_F32, kHeads * kGroup, 1, kDim, kDim, kDim, QJL_CUDA};
  request.out = {out.data(), kHeads * kGroup, 1, kDim, kDim, kDim, QJL_CUDA};
  const qjl_attend_call call = {0, &request, 1, 0.0f, 0.0f, 0, QJL_CHUNK_FP32};
  qjl_plan* plan = nullptr;
  ASSERT_OK(qjl_plan_create(&plan));
  ASSERT_OK(qjl_attend_plan(cache, &call, plan, queue));
  ASSERT_OK(qjl_attend_run(plan, queue));
  ASSERT_OK(qjl_cache_wait(cache, queue));
  result = out.host();
  qjl_plan_destroy(plan);
  keys.data = story.keys.words.data();  // the host's
  EXPECT_EQ(qjl_append(cache, sequence, 0, &keys, &values, queue), QJL_INVALID_ARGUMENT);
  qjl_cache_destroy(cache);
}

TEST(CudaDoors, GiveTheSameNumbers) {
  Integers random(4);
  const Story story(random);
  const Stream own;
  const std::vector<float> wanted = by_dlpack(story, own.stream);
  std::vector<float> found;
  for (const bool moved : {false, true}) {
    by_c(story, moved, own.stream, found);
    if (HasFatalFailure()) return;
    EXPECT_EQ(found, wanted);
  }
  const auto size = [](float x) { return std::abs(x); };
  EXPECT_GT(std::ranges::max(found, {}, size), 0.0f);
}

}  // namespace
}  // namespace qjl::test
