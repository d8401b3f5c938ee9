// Offsets beyond 2^32 bytes: pools and tensors of tens of gigabytes of address space, of which little is ever written. What is
// sealed and attended there has the bits of a small pool and of contiguous tensors.
#include "cache_state.hpp"
#include "device_verbs.hpp"
#include "qjl/attention.hpp"
#include "qjl/moves.hpp"

namespace qjl::test {
namespace {

constexpr int kLayers = 2, kHeads = 2, kGroup = 2, kDim = 64, kTokens = 300, kFewPages = 4;
constexpr std::int64_t kFar = std::int64_t{5} << 30;  // bytes: neither 31 nor 32 bits hold it

// fp32 rows on the device whose heads are `head_bytes` apart.
struct Spread {
  std::int64_t heads, tokens, stride;
  DeviceMemory memory;
  Spread(std::int64_t num_heads, std::int64_t num_tokens, std::int64_t head_bytes)
      : heads(num_heads),
        tokens(num_tokens),
        stride(std::max(head_bytes, tokens * kDim * 4) / 4),
        memory(device_backend(), heads * stride * 4) {}
  Spread(const Rows& rows, std::int64_t head_bytes) : Spread(rows.heads, rows.tokens, head_bytes) {
    const auto* numbers = reinterpret_cast<const float*>(rows.words.data());
    for (std::int64_t h = 0; h < heads; ++h)
      device_backend().copy(head(h), numbers + h * tokens * kDim, tokens * kDim * 4, nullptr);
  }
  float* head(std::int64_t h) const { return reinterpret_cast<float*>(memory.data()) + h * stride; }
  TensorView view() const { return {head(0), DType::f32, heads, tokens, kDim, stride, kDim, Device::cuda()}; }
  OutputView output() const { return {head(0), heads, tokens, kDim, stride, kDim, Device::cuda()}; }
  std::vector<float> host() const {
    std::vector<float> numbers(static_cast<std::size_t>(heads * tokens * kDim));
    for (std::int64_t h = 0; h < heads; ++h)
      device_backend().copy(numbers.data() + h * tokens * kDim, head(h), tokens * kDim * 4, nullptr);
    device_backend().wait(nullptr);
    return numbers;
  }
};

struct Story {
  Rows keys, values, queries;
  explicit Story(Integers& random)
      : keys(lifelike_rows(random, DType::f32, kHeads, kTokens, kDim)),
        values(lifelike_rows(random, DType::f32, kHeads, kTokens, kDim)),
        queries(bell_rows(random, DType::f32, kHeads * kGroup, 1, kDim)) {}
};

// Pages [layers][kv_heads][page] one after the other, and what an attend to the last layer gives.
struct Told {
  std::vector<float> out;
  std::vector<std::byte> pages;
};

Told tell(KvCache& cache, const char* type, const Story& story, std::int64_t head_bytes) {
  const Spread keys(story.keys, head_bytes), values(story.values, head_bytes), queries(story.queries, head_bytes);
  const Spread out(kHeads * kGroup, 1, head_bytes);
  const SequenceId sequence = cache.create();
  for (int layer = 0; layer < kLayers; ++layer) cache.append(sequence, layer, keys.view(), values.view());
  cache.wait();
  AttendRequest request;
  request.sequence = sequence;
  request.queries = queries.view();
  request.out = out.output();
  AttendPlan attend;
  attend.make(cache, kLayers - 1, std::span(&request, 1), {});
  attend.run();
  Told told{out.host(), {}};
  KvCache host(cache_config(type, kDim, kFewPages));
  const SequenceId offloaded = copy_sequence(cache, sequence, host);
  for (int layer = 0; layer < kLayers; ++layer) {
    for (int head = 0; head < kHeads; ++head) {
      for (std::int64_t page = 0; page < kTokens / kTokensPerPage; ++page) {
        const KvCache::PageBytes bytes = host.page(offloaded, layer, head, page);
        told.pages.insert(told.pages.end(), bytes.head.begin(), bytes.head.end());
        told.pages.insert(told.pages.end(), bytes.body.begin(), bytes.body.end());
      }
    }
  }
  return told;
}

class CudaOffsets : public ::testing::TestWithParam<const char*> {};

TEST_P(CudaOffsets, BeyondFourGigabytes) {
  const char* type = GetParam();
  Integers random(5);
  const Story story(random);
  KvCache small(cache_config(type, kDim, kFewPages), Device::cuda());
  const Told wanted = tell(small, type, story, 0);

  // A pool in which a head's pages alone are more than kFar, all of them taken but the last few.
  const std::int64_t body = small.state().pool.body_bytes(0), max_pages = kFar / body + kFewPages;
  KvCache large(cache_config(type, kDim, max_pages), Device::cuda());
  std::vector<std::int32_t> taken(static_cast<std::size_t>(max_pages - kFewPages));
  const_cast<PagePool&>(large.state().pool).acquire(0, taken);
  ASSERT_GT(large.state().pool.body(0, 0, taken.back()) - large.state().pool.body(0, 0, 0), kFar - body * (kFewPages + 1));
  ASSERT_GT(large.memory_report().total(), kLayers * kHeads * kFar);
  const Told found = tell(large, type, story, kFar);
  EXPECT_EQ(found.pages, wanted.pages);
  EXPECT_EQ(found.out, wanted.out);
}
INSTANTIATE_TEST_SUITE_P(All, CudaOffsets, ::testing::Values("k2v2", "k3v2", "k4v4", "f16", "paper"));

}  // namespace
}  // namespace qjl::test
