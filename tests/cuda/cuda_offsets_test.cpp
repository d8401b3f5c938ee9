// Offsets beyond 2^32 bytes: pools and tensors of tens of gigabytes of address space, of which little is ever written. What is sealed
// and attended there has the bits of a small pool and of contiguous tensors.
#include "cuda_cache_state.hpp"
#include "device_verbs.hpp"

namespace qjl::test {
namespace {

constexpr int kHeads = 2, kGroup = 2, kDim = 64, kTokens = 300, kSmall = 4;
constexpr std::int64_t kFar = std::int64_t{5} << 30;  // bytes: neither 31 nor 32 bits hold it

CacheConfig cache_config(const char* type, std::int64_t max_pages) {
  CacheConfig config;
  config.num_layers = 2;
  config.num_kv_heads = kHeads;
  config.head_dim = kDim;
  config.max_pages = max_pages;
  config.codec = turned_config(type, kDim);
  return config;
}

// A tensor on the device whose heads are `head_bytes` apart, and a fp32 output of the same form.
struct Spread {
  std::int64_t heads, tokens, stride;
  DeviceMemory memory;
  Spread(const Rows& rows, std::int64_t head_bytes) : Spread(rows.heads, rows.tokens, head_bytes) {
    for (std::int64_t head = 0; head < heads; ++head) {
      const std::int64_t bytes = tokens * kDim * static_cast<std::int64_t>(sizeof(float));
      device_backend().copy(at(head), rows.words.data() + head * bytes, bytes, nullptr);
    }
  }
  Spread(std::int64_t num_heads, std::int64_t num_tokens, std::int64_t head_bytes)
      : heads(num_heads),
        tokens(num_tokens),
        stride(head_bytes / static_cast<std::int64_t>(sizeof(float))),
        memory(device_backend(), heads * head_bytes) {}
  float* at(std::int64_t head) const { return reinterpret_cast<float*>(memory.data()) + head * stride; }
  TensorView view() const { return {memory.data(), DType::f32, heads, tokens, kDim, stride, kDim, Device::cuda}; }
  OutputView output() const { return {at(0), heads, tokens, kDim, stride, kDim, Device::cuda}; }
  std::vector<float> host() const {
    std::vector<float> numbers(static_cast<std::size_t>(heads * tokens * kDim));
    for (std::int64_t head = 0; head < heads; ++head) {
      const std::int64_t row = tokens * kDim;
      device_backend().copy(&numbers[static_cast<std::size_t>(head * row)], at(head), row * std::ssize({0.0f}) * 4, nullptr);
    }
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

struct Told {
  std::vector<float> out;
  std::vector<std::uint8_t> pages;
};

// Appends to both layers and attends to the last, rows of heads `head_bytes` apart.
Told tell(CudaCache& cache, const Story& story, std::int64_t head_bytes) {
  const std::int64_t least = std::max<std::int64_t>(head_bytes, kTokens * kDim * 4);
  const Spread keys(story.keys, least), values(story.values, least), queries(story.queries, std::max<std::int64_t>(head_bytes, 4 * kDim));
  const Spread out(kHeads * kGroup, 1, std::max<std::int64_t>(head_bytes, 4 * kDim));
  const SequenceId sequence = cache.create();
  for (int layer = 0; layer < 2; ++layer) cache.append(sequence, layer, keys.view(), values.view(), nullptr);
  cache.wait(nullptr);
  AttendRequest request;
  request.sequence = sequence;
  request.queries = queries.view();
  request.out = out.output();
  CudaAttend attend;
  attend.plan(cache, 1, std::span(&request, 1), {}, nullptr);
  attend.run(nullptr);
  Told told{out.host(), {}};
  KvCache host(cache_config(cache_type_name(cache.config().codec).c_str(), kSmall));
  return told;
}

}  // namespace
}  // namespace qjl::test
