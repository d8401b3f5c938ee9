// What a CUDA graph can hold, on the host: an append and a run are launches alone. No memory is taken or given back, nothing is
// copied or waited for, and the host does not look at device memory, which it cannot read here but inside kernels and copies.
#include "device_verbs.hpp"
#include "qjl/attention.hpp"
#include "qjl/moves.hpp"

namespace qjl::test {
namespace {

constexpr int kHeads = 2, kGroup = 4, kDim = 64;

TensorView on_device(const OnDevice<std::uint8_t>& memory, int heads, int tokens) {
  return TensorView::contiguous(memory.data(), DType::f32, heads, tokens, kDim).on(Device::cuda());
}

void expect_launches_alone(const char* what) {
  EXPECT_EQ(simt::calls.on_other_streams, 0) << what;
  EXPECT_EQ(simt::calls.allocations, 0) << what;
  EXPECT_EQ(simt::calls.copies, 0) << what;
  EXPECT_EQ(simt::calls.waits, 0) << what;
  EXPECT_GT(simt::calls.launches, 0) << what;
}

class Hidden {
 public:
  Hidden() { simt::hide_from_host(true); }
  ~Hidden() { simt::hide_from_host(false); }
};

TEST(CudaCapture, AppendsAndRunsAreLaunchesAlone) {
  const Hidden hidden;
  cudaStream_t stream;
  ASSERT_EQ(cudaStreamCreate(&stream), cudaSuccess);
  for (const char* type : {"k2v2", "k3v2", "f16", "paper"}) {
    const CacheConfig config = cache_config(type, kDim, 8, 1);
    Integers random(7);
    KvCache cache(config, Device::cuda());
    const SequenceId sequence = cache.create();
    for (const int tokens : {300, 1, 90}) {  // pages from the first one on, a row, the end of a page
      const Rows keys = lifelike_rows(random, DType::f32, kHeads, tokens, kDim),
                 values = lifelike_rows(random, DType::f32, kHeads, tokens, kDim);
      const OnDevice<std::uint8_t> k(keys.words), v(values.words);
      simt::calls = {.stream = stream};
      cache.append(sequence, 0, on_device(k, kHeads, tokens), on_device(v, kHeads, tokens), CudaStream{stream});
      expect_launches_alone(type);
    }
    const int queries = 3;
    const Rows q = bell_rows(random, DType::f32, kHeads * kGroup, queries, kDim),
               chunk = lifelike_rows(random, DType::f32, kHeads, queries, kDim);
    const OnDevice<std::uint8_t> query(q.words), rows(chunk.words);
    const OnDevice<float> out(q.number.size());
    AttendRequest request;
    request.sequence = sequence;
    request.queries = on_device(query, kHeads * kGroup, queries);
    request.chunk_keys = request.chunk_values = on_device(rows, kHeads, queries);
    request.out = OutputView::contiguous(out.data(), kHeads * kGroup, queries, kDim).on(Device::cuda());
    AttendPlan attend;
    attend.make(cache, 0, std::span(&request, 1), {}, CudaStream{stream});
    simt::calls = {.stream = stream};
    attend.run(CudaStream{stream});
    expect_launches_alone(type);
    for (const float number : out.host()) ASSERT_TRUE(std::isfinite(number)) << type;
    // Planned again for as much work: the memory is there.
    attend.make(cache, 0, std::span(&request, 1), {}, CudaStream{stream});
    simt::calls = {.stream = stream};
    attend.make(cache, 0, std::span(&request, 1), {}, CudaStream{stream});
    EXPECT_EQ(simt::calls.allocations, 0) << type;
    EXPECT_EQ(simt::calls.copies, 1) << type;
    EXPECT_EQ(simt::calls.on_other_streams, 0) << type;
  }
  cudaStreamDestroy(stream);
}

// The instrument itself: a host that reads what is hidden falls over, one that reads it by a copy does not.
TEST(CudaCapture, HiddenMemoryIsHidden) {
  const OnDevice<float> before(16);
  const Hidden hidden;
  const OnDevice<float> numbers(std::vector<float>(16, 3.0f));
  EXPECT_EQ(numbers.host()[7], 3.0f);
  EXPECT_DEATH({ std::cerr << numbers.data()[7]; }, "");
  simt::calls = {};
  {
    const OnDevice<float> more(std::vector<float>(4, 1.0f));
  }
  EXPECT_EQ(simt::calls.allocations, 2);
  EXPECT_EQ(simt::calls.copies, 1);
  EXPECT_EQ(simt::calls.waits, 1);
}

}  // namespace
}  // namespace qjl::test
