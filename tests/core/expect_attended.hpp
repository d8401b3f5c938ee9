// Attention over the numbers that a cache stands for, by the oracle: sealed pages as PageCodec decodes them, the rest exactly.
//
// Bound of the fp32 kernels against it, u = 2^-24. A score is at most three chained sums of d terms (rotation of the query, product
// with the codes, rotation inside decode), each off by at most 6 sqrt(d) u |q| |k| (Higham and Mary 2019, rounding errors as
// independent: six standard errors); mean and residual are each no longer than twice the longest key:
//   delta = 3 * 6 sqrt(d) u * scale * |q| * 4 max|k|,   |lse - lse'| <= delta + e,   |out - out'| <= (e^(2 delta + 2 e) - 1) max|v|
// with e = 16 sqrt(n) u for the sum over n tokens and the exponential, and u |lse|, u |largest logit| for storing the results.
// Where the target has byte loops (never scalar, which ctest runs too), token t of a sealed page adds b_t to the error of its score
// and its rounded weight r_t to that of out, both of support/byte_loop_error.hpp, to first order
//   |lse - lse'| += sum_t w_t (e^b_t - 1),   |out[c] - out'[c]| += sum_t w_t |v_t[c] - out[c]| (e^b_t - 1) + 6 |r_t v_t[c]|_2
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "byte_loop_error.hpp"
#include "cache_fixtures.hpp"
#include "forced_target.hpp"
#include "oracle_view.hpp"
#include "rounding_terms.hpp"

namespace qjl::test {

// Keys and values of one kv head.
struct HeadNumbers {
  std::vector<oracle::Vector> keys, values;                    // [tokens]
  const oracle::Codec* byte_loops = nullptr;                   // that may read its pages
  std::vector<double> key_scale, key_level_norm, value_scale;  // [tokens] for byte loops, 0 for exact ones
};

// The oracle's frames where this target reads such pages by byte loops, else none. Levels do not ask how keys turn.
inline const oracle::Codec* byte_loop_codec(const CacheConfig& config) {
  static std::map<std::tuple<int, Code, Code, std::uint64_t>, oracle::Codec> codecs;
  const CodecConfig& codec = config.codec;
  const oracle::Format format = oracle_format(config.head_dim, codec);
  if (!has_byte_loops(simd_target(), format)) return nullptr;
  return &codecs.try_emplace({format.d, codec.key_code, codec.value_code, codec.seed}, format, codec.seed).first->second;
}

// The numbers of a sealed page, but for its sinks, in place of those that were sealed.
inline void read_sealed(const CacheConfig& config, const KvCache::PageBytes& bytes, int page, HeadNumbers& numbers) {
  const PageCodec codec(config.head_dim, config.codec);
  const EncodedPage encoded{{bytes.head.begin(), bytes.head.end()}, {bytes.body.begin(), bytes.body.end()}};
  const std::vector<float> keys = codec.decode_keys(encoded), values = codec.decode_values(encoded);
  for (int t = page == 0 ? config.codec.sink_tokens : 0; t < kTokensPerPage; ++t) {
    const auto token = static_cast<std::size_t>(page * kTokensPerPage + t);
    const std::ptrdiff_t first = std::ptrdiff_t{t} * config.head_dim, end = first + config.head_dim;
    numbers.keys[token].assign(keys.begin() + first, keys.begin() + end);
    numbers.values[token].assign(values.begin() + first, values.begin() + end);
    if (numbers.byte_loops == nullptr) continue;
    const oracle::Page words(numbers.byte_loops->format, bytes.head, bytes.body);
    numbers.key_scale[token] = words.key_scale(t);
    numbers.key_level_norm[token] = oracle::norm(numbers.byte_loops->key_levels(words, t));
    numbers.value_scale[token] = words.value_scale(t);
  }
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

inline HeadNumbers numbers_of(const Asked& asked, int head) {
  HeadNumbers numbers;
  const auto layer = static_cast<std::size_t>(asked.layer);
  for (std::int64_t t = 0; t < asked.length; ++t) {
    numbers.keys.push_back(asked.tokens.keys[layer].row(head, t));
    numbers.values.push_back(asked.tokens.values[layer].row(head, t));
  }
  numbers.byte_loops = byte_loop_codec(asked.cache.config());
  for (auto* of_token : {&numbers.key_scale, &numbers.key_level_norm, &numbers.value_scale})
    of_token->assign(static_cast<std::size_t>(asked.length), 0.0);
  const auto pages = static_cast<int>(asked.cache.num_tokens(asked.id, asked.layer) / kTokensPerPage);
  for (int page = 0; page < pages; ++page)
    read_sealed(asked.cache.config(), asked.cache.page(asked.id, asked.layer, head, page), page, numbers);
  return numbers;
}

struct Bounds {
  double lse;
  oracle::Vector out;
};

// What byte loops may add.
inline void add_byte_loops(const HeadNumbers& numbers, const oracle::Vector& query, double scale, const oracle::Attended& expected,
                           Bounds& bounds) {
  const oracle::Format& format = numbers.byte_loops->format;
  const oracle::Vector projected = project(*numbers.byte_loops, query);
  std::vector<double> scaled_weights(expected.weight);
  for (std::size_t t = 0; t < scaled_weights.size(); ++t) scaled_weights[t] *= numbers.value_scale[t];
  const std::vector<double> rounded = weight_errors(simd_target(), scaled_weights);
  std::vector<double> squares(query.size(), 0.0);
  for (std::size_t t = 0; t < scaled_weights.size(); ++t) {
    if (numbers.key_scale[t] == 0.0) continue;
    const double b =
        std::abs(scale) * numbers.key_scale[t] * table_error(simd_target(), format, projected, numbers.key_level_norm[t]);
    bounds.lse += expected.weight[t] * std::expm1(b);
    for (std::size_t c = 0; c < query.size(); ++c) {
      const double value = numbers.values[t][c];
      bounds.out[c] += expected.weight[t] * std::abs(value - expected.out[c]) * std::expm1(b);
      squares[c] += std::pow(rounded[t] * value / numbers.value_scale[t], 2);
    }
  }
  for (std::size_t c = 0; c < query.size(); ++c) bounds.out[c] += 6 * std::sqrt(squares[c]);
}

// Of one query over the tokens that it may see, as the head of this file has them.
inline Bounds bounds_of(const HeadNumbers& numbers, const oracle::Vector& query, const oracle::Rule& rule,
                        const oracle::Attended& expected) {
  double longest_key = 0.0, largest_value = 0.0, largest_weight = 0.0, seen = 0.0;
  for (std::size_t t = 0; t < numbers.keys.size(); ++t) {
    longest_key = std::max(longest_key, oracle::norm(numbers.keys[t]));
    if (expected.weight[t] == 0.0) continue;
    ++seen;
    largest_weight = std::max(largest_weight, expected.weight[t]);
    for (const double x : numbers.values[t]) largest_value = std::max(largest_value, std::abs(x));
  }
  const double e = 16 * std::sqrt(seen) * kUnit, largest_logit = expected.lse + std::log(largest_weight);
  const double delta =
      3 * 6 * std::sqrt(static_cast<double>(query.size())) * kUnit * std::abs(rule.scale) * oracle::norm(query) * 4 * longest_key;
  Bounds bounds{delta + e + kUnit * (std::abs(expected.lse) + std::abs(largest_logit)),
                oracle::Vector(query.size(), std::expm1(2 * delta + 2 * e) * largest_value)};
  if (numbers.byte_loops != nullptr) add_byte_loops(numbers, query, rule.scale, expected, bounds);
  return bounds;
}

// Compares all rows of one request with the oracle.
inline void expect_attended(const Asked& asked, const Attended& found, const std::string& what) {
  const Rows& queries = asked.queries;
  const AttendOptions& options = asked.options;
  const oracle::Rule rule{options.softmax_scale != 0 ? options.softmax_scale : 1 / std::sqrt(static_cast<double>(queries.d)),
                          options.logit_soft_cap, options.sliding_window};
  const int group = queries.heads / asked.cache.config().num_kv_heads;
  HeadNumbers numbers;
  for (int head = 0; head < queries.heads; ++head) {
    if (head % group == 0) numbers = numbers_of(asked, head / group);
    for (int q = 0; q < queries.tokens; ++q) {
      const oracle::Vector query = queries.row(head, q);
      const oracle::Attended expected = oracle::attend(query, numbers.keys, numbers.values, asked.first_position + q, rule);
      const auto row = static_cast<std::size_t>(head * queries.tokens + q);
      const float* out = &found.out[row * query.size()];
      const std::string where = what + ": head " + std::to_string(head) + ", query " + std::to_string(q);
      if (std::isinf(expected.lse)) {
        ASSERT_EQ(found.lse[row], -INFINITY) << where;
        for (std::size_t c = 0; c < query.size(); ++c) ASSERT_EQ(out[c], 0.0f) << where << ", channel " << c;
        continue;
      }
      // bound = rounding of scores, sums and results (delta, e), and what byte loops add; the head of this file derives it.
      const Bounds bounds = bounds_of(numbers, query, rule, expected);
      ASSERT_NEAR(found.lse[row], expected.lse, bounds.lse) << where;
      for (std::size_t c = 0; c < query.size(); ++c)
        ASSERT_NEAR(out[c], expected.out[c], bounds.out[c]) << where << ", channel " << c;
    }
  }
}

}  // namespace qjl::test
