// What the cache tests share: random tokens, ways to feed them to a cache, pictures of its state, a plain softmax in doubles.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "cache_config.hpp"
#include "half.hpp"
#include "qjl/attention.hpp"
#include "qjl/error.hpp"

namespace qjl::test {

inline const std::vector<std::string> kPresets{"k2v2", "k3v2", "k3v3", "k4v3", "k4v4", "k1v1", "f16", "paper"};

// fp32 numbers [heads, tokens, dim], each also representable in 16 bit when made by random_rows: the door's rounding is exact then.
struct Rows {
  std::int64_t heads, tokens, dim;
  std::vector<float> data;

  float* at(std::int64_t head, std::int64_t token) { return data.data() + (head * tokens + token) * dim; }
  const float* at(std::int64_t head, std::int64_t token) const { return data.data() + (head * tokens + token) * dim; }
  TensorView view(std::int64_t first, std::int64_t count) const {
    return {data.data() + first * dim, DType::f32, heads, count, dim, tokens * dim, dim};
  }
  TensorView view() const { return view(0, tokens); }
};

// Gaussian numbers around a mean per head and channel, as keys have one; rounded to f16.
inline Rows random_rows(std::uint64_t seed, std::int64_t heads, std::int64_t tokens, std::int64_t dim, float mean = 1.0f) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  Rows rows{heads, tokens, dim, std::vector<float>(static_cast<std::size_t>(heads * tokens * dim))};
  std::vector<float> means(static_cast<std::size_t>(heads * dim));
  for (float& m : means) m = mean * normal(random);
  for (std::int64_t h = 0; h < heads; ++h) {
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t c = 0; c < dim; ++c) {
        rows.at(h, t)[c] = half_to_float(float_to_half(means[static_cast<std::size_t>(h * dim + c)] + normal(random)));
      }
    }
  }
  return rows;
}

// Keys and values of all layers.
struct Tokens {
  std::vector<Rows> keys, values;
};

inline Tokens random_tokens(std::uint64_t seed, const CacheConfig& config, std::int64_t count) {
  Tokens tokens;
  for (int layer = 0; layer < config.num_layers; ++layer) {
    const auto l = static_cast<std::uint64_t>(layer);
    tokens.keys.push_back(random_rows(seed + 100 * l, config.num_kv_heads, count, config.head_dim));
    tokens.values.push_back(random_rows(seed + 100 * l + 50, config.num_kv_heads, count, config.head_dim, 0.0f));
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
    return out.size() == other.out.size() && lse.size() == other.lse.size() &&
           std::memcmp(out.data(), other.out.data(), out.size() * sizeof(float)) == 0 &&
           std::memcmp(lse.data(), other.lse.data(), lse.size() * sizeof(float)) == 0;
  }
};

// One request; chunk rows may be null.
inline Attended attend_one(const KvCache& cache, int layer, SequenceId id, const Rows& queries, ThreadPool& threads,
                           const AttendOptions& options = {}, const Rows* chunk_keys = nullptr,
                           const Rows* chunk_values = nullptr) {
  Attended result{std::vector<float>(queries.data.size(), NAN),
                  std::vector<float>(queries.data.size() / static_cast<std::size_t>(queries.dim), NAN)};
  AttendRequest request;
  request.sequence = id;
  request.queries = queries.view();
  if (chunk_keys != nullptr) request.chunk_keys = chunk_keys->view(), request.chunk_values = chunk_values->view();
  request.out = OutputView::contiguous(result.out.data(), queries.heads, queries.tokens, queries.dim);
  request.lse = result.lse.data();
  AttendWorkspace workspace;
  attend(cache, layer, {&request, 1}, options, workspace, threads);
  return result;
}

// Outputs of all layers for fixed queries: what a model would see of a sequence.
inline std::vector<Attended> outputs(const KvCache& cache, SequenceId id, ThreadPool& threads) {
  std::vector<Attended> all;
  for (int layer = 0; layer < cache.config().num_layers; ++layer) {
    const Rows queries = random_rows(777, 3 * cache.config().num_kv_heads, 2, cache.config().head_dim, 0.0f);
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
