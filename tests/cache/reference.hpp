// Attention over the numbers that a cache stands for, in doubles: sealed pages as PageCodec decodes them, the rest exactly.
//
// Bound of the fp32 kernels against it, u = 2^-24. A score is at most three chained sums of d terms (rotation of the query, product
// with the codes, rotation inside decode), each off by at most 6 sqrt(d) u |q| |k| (Higham and Mary 2019, rounding errors as
// independent: six standard errors); mean and residual are each no longer than twice the longest key:
//   delta = 3 * 6 sqrt(d) u * scale * |q| * 4 max|k|,   |lse - lse'| <= delta + e,   |out - out'| <= (e^(2 delta + 2 e) - 1) max|v|
// with e = 16 sqrt(n) u for the sum over n tokens and the exponential, and u |lse| for storing the result.
// Byte loops round more than that, and tests/codec judges them; here the door, its pieces and their merging are judged, on the
// target that has none.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "support.hpp"

namespace qjl::test {

inline const int kExactLoops = setenv("QJL_CPU_TARGET", "scalar", 0);

// Keys and values [tokens, head_dim] of one kv head.
struct HeadNumbers {
  std::vector<const float*> keys, values;
  std::vector<std::vector<float>> decoded;  // keeps pages alive
};

inline HeadNumbers numbers_of(const KvCache& cache, SequenceId id, int layer, int head, const Tokens& tokens, std::int64_t length) {
  const CacheConfig& config = cache.config();
  HeadNumbers numbers;
  const auto l = static_cast<std::size_t>(layer);
  for (std::int64_t t = 0; t < length; ++t) {
    numbers.keys.push_back(tokens.keys[l].at(head, t));
    numbers.values.push_back(tokens.values[l].at(head, t));
  }
  const PageCodec codec(config.head_dim, config.codec);
  for (std::int64_t page = 0; page < cache.num_tokens(id, layer) / kTokensPerPage; ++page) {
    const KvCache::PageBytes bytes = cache.page(id, layer, head, page);
    const EncodedPage encoded{{bytes.head.begin(), bytes.head.end()}, {bytes.body.begin(), bytes.body.end()}};
    numbers.decoded.push_back(codec.decode_keys(encoded));
    numbers.decoded.push_back(codec.decode_values(encoded));
    const std::vector<float>&keys = numbers.decoded[numbers.decoded.size() - 2], &values = numbers.decoded.back();
    for (std::int64_t t = page == 0 ? config.codec.sink_tokens : 0; t < kTokensPerPage; ++t) {
      numbers.keys[static_cast<std::size_t>(page * kTokensPerPage + t)] = keys.data() + t * config.head_dim;
      numbers.values[static_cast<std::size_t>(page * kTokensPerPage + t)] = values.data() + t * config.head_dim;
    }
  }
  return numbers;
}

inline double norm(const float* row, std::int64_t dim) {
  double sum = 0;
  for (std::int64_t c = 0; c < dim; ++c) sum += static_cast<double>(row[c]) * row[c];
  return std::sqrt(sum);
}

struct Expected {
  std::vector<double> out;
  double lse, out_bound, lse_bound;
};

// One query at `position` over numbers [0, n).
inline Expected attend_reference(const float* query, std::int64_t dim, const HeadNumbers& numbers, std::int64_t position,
                                 AttendOptions options) {
  const double scale = options.softmax_scale != 0 ? options.softmax_scale : 1 / std::sqrt(static_cast<double>(dim));
  const auto end =
      static_cast<std::size_t>(std::clamp<std::int64_t>(position + 1, 0, static_cast<std::int64_t>(numbers.keys.size())));
  std::size_t first = 0;
  if (options.sliding_window > 0)
    first = static_cast<std::size_t>(std::max<std::int64_t>(0, position - options.sliding_window + 1));
  Expected expected{std::vector<double>(static_cast<std::size_t>(dim), 0.0), -INFINITY, 0, 0};
  if (first >= end) return expected;
  std::vector<double> logits;
  double longest_key = 0, largest_value = 0, sum = 0;
  for (std::size_t t = first; t < end; ++t) {
    double dot = 0;
    for (std::int64_t c = 0; c < dim; ++c) {
      dot += static_cast<double>(query[c]) * numbers.keys[t][c];
      largest_value = std::max(largest_value, std::abs(static_cast<double>(numbers.values[t][c])));
    }
    dot *= scale;
    logits.push_back(options.logit_soft_cap > 0 ? options.logit_soft_cap * std::tanh(dot / options.logit_soft_cap) : dot);
  }
  for (const float* key : numbers.keys) longest_key = std::max(longest_key, norm(key, dim));
  const double max = *std::max_element(logits.begin(), logits.end());
  for (std::size_t t = first; t < end; ++t) {
    const double weight = std::exp(logits[t - first] - max);
    sum += weight;
    for (std::int64_t c = 0; c < dim; ++c) expected.out[static_cast<std::size_t>(c)] += weight * numbers.values[t][c];
  }
  for (double& number : expected.out) number /= sum;
  expected.lse = max + std::log(sum);
  constexpr double kUnit = 0x1p-24;
  const double root_dim = std::sqrt(static_cast<double>(dim)), e = 16 * std::sqrt(static_cast<double>(end - first)) * kUnit;
  const double delta = 3 * 6 * root_dim * kUnit * std::abs(scale) * norm(query, dim) * 4 * longest_key;
  expected.lse_bound = delta + e + kUnit * (std::abs(expected.lse) + std::abs(max));
  expected.out_bound = std::expm1(2 * delta + 2 * e) * largest_value;
  return expected;
}

// What was asked: query i stands at first_position + i; the first `length` of `tokens` are the sequence, a chunk included.
struct Asked {
  const KvCache& cache;
  SequenceId id;
  int layer;
  const Tokens& tokens;
  std::int64_t length;
  const Rows& queries;
  std::int64_t first_position;
  AttendOptions options{};
};

// Compares all rows of one request with the reference.
inline void expect_attended(const Asked& asked, const Attended& found, const std::string& what) {
  const Rows& queries = asked.queries;
  const std::int64_t group = queries.heads / asked.cache.config().num_kv_heads;
  HeadNumbers numbers;
  for (std::int64_t head = 0; head < queries.heads; ++head) {
    const auto kv_head = static_cast<int>(head / group);
    if (head % group == 0) numbers = numbers_of(asked.cache, asked.id, asked.layer, kv_head, asked.tokens, asked.length);
    for (std::int64_t q = 0; q < queries.tokens; ++q) {
      const Expected expected =
          attend_reference(queries.at(head, q), queries.dim, numbers, asked.first_position + q, asked.options);
      const auto row = static_cast<std::size_t>(head * queries.tokens + q);
      const std::string where = what + ": head " + std::to_string(head) + ", query " + std::to_string(q);
      if (std::isinf(expected.lse)) {
        ASSERT_EQ(found.lse[row], -INFINITY) << where;
      } else {
        ASSERT_NEAR(found.lse[row], expected.lse, expected.lse_bound) << where;
      }
      for (std::size_t c = 0; c < static_cast<std::size_t>(queries.dim); ++c) {
        ASSERT_NEAR(found.out[row * static_cast<std::size_t>(queries.dim) + c], expected.out[c], expected.out_bound)
            << where << ", channel " << c;
      }
    }
  }
}

}  // namespace qjl::test
