// What the cache tests share: random tokens, ways to feed them to a cache, pictures of its state.
#pragma once

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "cache_config.hpp"
#include "qjl/attention.hpp"
#include "qjl/error.hpp"
#include "test_rows.hpp"

namespace qjl::test {

inline const std::vector<std::string> kPresets{"k2v2", "k3v2", "k3v3", "k4v3", "k4v4", "k1v1", "f16", "paper"};

// Bells around a mean per head and channel, as keys have one: fp32 words that 16 bit holds too, so that the door's rounding is
// exact.
inline Rows random_rows(std::uint64_t seed, int heads, int tokens, int d, double mean = 1.0) {
  Integers random(seed);
  std::vector<double> numbers, means(static_cast<std::size_t>(heads) * d);
  for (double& m : means) m = mean * random.bell();
  for (int row = 0; row < heads * tokens; ++row) {
    for (int c = 0; c < d; ++c) numbers.push_back(oracle::round_to_half(means[row / tokens * d + c] + random.bell()));
  }
  return make_rows(DType::f32, heads, tokens, d, numbers);
}

// Keys and values of all layers.
struct Tokens {
  std::vector<Rows> keys, values;
};

inline Tokens random_tokens(std::uint64_t seed, const CacheConfig& config, int count) {
  Tokens tokens;
  for (int layer = 0; layer < config.num_layers; ++layer) {
    const auto l = static_cast<std::uint64_t>(layer);
    tokens.keys.push_back(random_rows(seed + 100 * l, config.num_kv_heads, count, config.head_dim));
    tokens.values.push_back(random_rows(seed + 100 * l + 50, config.num_kv_heads, count, config.head_dim, 0.0));
  }
  return tokens;
}

// Tokens [first, first + count).
struct Part {
  std::int64_t first, count;
};

inline void append_layer(KvCache& cache, SequenceId id, int layer, const Tokens& tokens, Part part, ThreadPool& threads) {
  const auto l = static_cast<std::size_t>(layer);
  const TensorView keys = tokens.keys[l].view(part.first, part.count), values = tokens.values[l].view(part.first, part.count);
  cache.append(id, layer, keys, values, threads);
}

inline void append(KvCache& cache, SequenceId id, const Tokens& tokens, Part part, ThreadPool& threads) {
  for (int layer = 0; layer < cache.config().num_layers; ++layer) append_layer(cache, id, layer, tokens, part, threads);
}

// Every sealed byte of a sequence: layers, heads, pages in order.
inline std::string page_bytes(const KvCache& cache, SequenceId id) {
  std::string bytes;
  for (int layer = 0; layer < cache.config().num_layers; ++layer) {
    for (int head = 0; head < cache.config().num_kv_heads; ++head) {
      for (std::int64_t page = 0; page < cache.num_tokens(id, layer) / kTokensPerPage; ++page) {
        const KvCache::PageBytes found = cache.page(id, layer, head, page);
        bytes.append(reinterpret_cast<const char*>(found.head.data()), found.head.size());
        bytes.append(reinterpret_cast<const char*>(found.body.data()), found.body.size());
      }
    }
  }
  return bytes;
}

struct Attended {
  std::vector<float> out, lse;
  bool operator==(const Attended& other) const {  // bit for bit
    const auto same = [](const std::vector<float>& a, const std::vector<float>& b) {
      return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
    };
    return same(out, other.out) && same(lse, other.lse);
  }
};

// One request; chunk rows may be null.
inline Attended attend_one(const KvCache& cache, int layer, SequenceId id, const Rows& queries, ThreadPool& threads,
                           const AttendOptions& options = {}, const Rows* chunk_keys = nullptr,
                           const Rows* chunk_values = nullptr) {
  const std::size_t numbers = queries.number.size();
  Attended result{std::vector<float>(numbers, NAN), std::vector<float>(numbers / static_cast<std::size_t>(queries.d), NAN)};
  AttendRequest request;
  request.sequence = id;
  request.queries = queries.view();
  if (chunk_keys != nullptr) request.chunk_keys = chunk_keys->view(), request.chunk_values = chunk_values->view();
  request.out = OutputView::contiguous(result.out.data(), queries.heads, queries.tokens, queries.d);
  request.lse = result.lse.data();
  AttendPlan plan;
  attend(cache, layer, {&request, 1}, options, plan, threads);
  return result;
}

// Outputs of all layers for fixed queries: what a model would see of a sequence.
inline std::vector<Attended> outputs(const KvCache& cache, SequenceId id, ThreadPool& threads) {
  std::vector<Attended> all;
  for (int layer = 0; layer < cache.config().num_layers; ++layer) {
    const Rows queries = random_rows(777, 3 * cache.config().num_kv_heads, 2, cache.config().head_dim, 0.0);
    all.push_back(attend_one(cache, layer, id, queries, threads));
  }
  return all;
}

// Text of the qjl::Error that `work` throws; "" when it throws none.
template <typename Work>
std::string error_of(Work work, ErrorKind kind = ErrorKind::invalid_argument) {
  try {
    work();
  } catch (const Error& error) {
    return error.kind() == kind ? error.what() : std::string("wrong kind: ") + error.what();
  }
  return "";
}

}  // namespace qjl::test
