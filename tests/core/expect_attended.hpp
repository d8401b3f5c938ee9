// Attention over the numbers that a cache stands for, in doubles: sealed pages as PageCodec decodes them, the rest exactly.
//
// Bound of the fp32 kernels against it, u = 2^-24. A score is at most three chained sums of d terms (rotation of the query, product
// with the codes, rotation inside decode), each off by at most 6 sqrt(d) u |q| |k| (Higham and Mary 2019, rounding errors as
// independent: six standard errors); mean and residual are each no longer than twice the longest key:
//   delta = 3 * 6 sqrt(d) u * scale * |q| * 4 max|k|,   |lse - lse'| <= delta + e,   |out - out'| <= (e^(2 delta + 2 e) - 1) max|v|
// with e = 16 sqrt(n) u for the sum over n tokens and the exponential, and u |lse| for storing the result.
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

namespace qjl::test {

// Keys and values [tokens, head_dim] of one kv head.
struct HeadNumbers {
  std::vector<const float*> keys, values;
  std::vector<std::vector<float>> decoded;                     // keeps pages alive
  const oracle::Codec* byte_loops = nullptr;                   // that may read its pages
  std::vector<double> key_scale, key_level_norm, value_scale;  // [tokens] for byte loops, 0 for exact ones
};

// The oracle's frames where this target reads such pages by byte loops, else none.
inline const oracle::Codec* byte_loop_codec(const CacheConfig& config) {
  static std::map<std::tuple<int, Code, Code, std::uint64_t>, oracle::Codec> codecs;
  const CodecConfig& codec = config.codec;
  oracle::Format format;
  format.d = config.head_dim;
  format.key = oracle::Code{static_cast<int>(codec.key_code)};
  format.value = oracle::Code{static_cast<int>(codec.value_code)};
  if (!has_byte_loops(simd_target(), format)) return nullptr;
  return &codecs.try_emplace({format.d, codec.key_code, codec.value_code, codec.seed}, format, codec.seed).first->second;
}

inline HeadNumbers numbers_of(const KvCache& cache, SequenceId id, int layer, int head, const Tokens& tokens, std::int64_t length) {
  const CacheConfig& config = cache.config();
  HeadNumbers numbers;
  const auto l = static_cast<std::size_t>(layer);
  for (std::int64_t t = 0; t < length; ++t) {
    numbers.keys.push_back(tokens.keys[l].at(head, t));
    numbers.values.push_back(tokens.values[l].at(head, t));
  }
  const PageCodec codec(config.head_dim, config.codec);
  const oracle::Codec* byte_loops = numbers.byte_loops = byte_loop_codec(config);
  for (auto* of_token : {&numbers.key_scale, &numbers.key_level_norm, &numbers.value_scale})
    of_token->assign(static_cast<std::size_t>(length), 0.0);
  for (std::int64_t page = 0; page < cache.num_tokens(id, layer) / kTokensPerPage; ++page) {
    const KvCache::PageBytes bytes = cache.page(id, layer, head, page);
    const EncodedPage encoded{{bytes.head.begin(), bytes.head.end()}, {bytes.body.begin(), bytes.body.end()}};
    numbers.decoded.push_back(codec.decode_keys(encoded));
    numbers.decoded.push_back(codec.decode_values(encoded));
    const std::vector<float>&keys = numbers.decoded[numbers.decoded.size() - 2], &values = numbers.decoded.back();
    for (std::int64_t t = page == 0 ? config.codec.sink_tokens : 0; t < kTokensPerPage; ++t) {
      numbers.keys[static_cast<std::size_t>(page * kTokensPerPage + t)] = keys.data() + t * config.head_dim;
      numbers.values[static_cast<std::size_t>(page * kTokensPerPage + t)] = values.data() + t * config.head_dim;
      if (byte_loops == nullptr) continue;
      const oracle::Page words(byte_loops->format, bytes.head, bytes.body);
      const auto token = static_cast<std::size_t>(page * kTokensPerPage + t);
      numbers.key_scale[token] = words.key_scale(static_cast<int>(t));
      numbers.key_level_norm[token] = oracle::norm(byte_loops->key_levels(words, static_cast<int>(t)));
      numbers.value_scale[token] = words.value_scale(static_cast<int>(t));
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
  std::vector<double> out, out_bound;
  double lse, lse_bound;
};

// What byte loops may add to the bounds of a query over the tokens from `first` on, of these weights.
inline void add_byte_loops(const HeadNumbers& numbers, const oracle::Vector& query, double scale, std::size_t first,
                           const std::vector<double>& weights, Expected& expected) {
  const oracle::Format& format = numbers.byte_loops->format;
  const oracle::Vector projected = project(*numbers.byte_loops, query);
  std::vector<double> scaled_weights(weights);
  for (std::size_t i = 0; i < weights.size(); ++i) scaled_weights[i] *= numbers.value_scale[first + i];
  const std::vector<double> rounded = weight_errors(simd_target(), scaled_weights, first);
  std::vector<double> squares(query.size(), 0.0);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const std::size_t t = first + i;
    if (numbers.key_scale[t] == 0.0) continue;
    const double b =
        std::abs(scale) * numbers.key_scale[t] * table_error(simd_target(), format, projected, numbers.key_level_norm[t]);
    expected.lse_bound += weights[i] * std::expm1(b);
    for (std::size_t c = 0; c < query.size(); ++c) {
      const double value = numbers.values[t][c];
      expected.out_bound[c] += weights[i] * std::abs(value - expected.out[c]) * std::expm1(b);
      squares[c] += std::pow(rounded[i] * value / numbers.value_scale[t], 2);
    }
  }
  for (std::size_t c = 0; c < query.size(); ++c) expected.out_bound[c] += 6 * std::sqrt(squares[c]);
}

// One query at `position` over numbers [0, n).
inline Expected attend_reference(const float* query, std::int64_t dim, const HeadNumbers& numbers, std::int64_t position,
                                 AttendOptions options) {
  const double scale = options.softmax_scale != 0 ? options.softmax_scale : 1 / std::sqrt(static_cast<double>(dim));
  const auto end =
      static_cast<std::size_t>(std::clamp<std::int64_t>(position + 1, 0, static_cast<std::int64_t>(numbers.keys.size())));
  std::size_t first = 0;
  if (options.sliding_window > 0)
    first = static_cast<std::size_t>(std::max<std::int64_t>(0, position - options.sliding_window + 1));
  Expected expected{std::vector<double>(static_cast<std::size_t>(dim), 0.0), {}, -INFINITY, 0};
  expected.out_bound = expected.out;
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
  std::vector<double> weights;
  for (std::size_t t = first; t < end; ++t) {
    const double weight = weights.emplace_back(std::exp(logits[t - first] - max));
    sum += weight;
    for (std::int64_t c = 0; c < dim; ++c) expected.out[static_cast<std::size_t>(c)] += weight * numbers.values[t][c];
  }
  for (double& number : expected.out) number /= sum;
  expected.lse = max + std::log(sum);
  constexpr double kUnit = 0x1p-24;
  const double root_dim = std::sqrt(static_cast<double>(dim)), e = 16 * std::sqrt(static_cast<double>(end - first)) * kUnit;
  const double delta = 3 * 6 * root_dim * kUnit * std::abs(scale) * norm(query, dim) * 4 * longest_key;
  expected.lse_bound = delta + e + kUnit * (std::abs(expected.lse) + std::abs(max));
  expected.out_bound.assign(expected.out.size(), std::expm1(2 * delta + 2 * e) * largest_value);
  if (numbers.byte_loops != nullptr) {
    for (double& weight : weights) weight /= sum;
    add_byte_loops(numbers, {query, query + dim}, scale, first, weights, expected);
  }
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
        ASSERT_NEAR(found.out[row * static_cast<std::size_t>(queries.dim) + c], expected.out[c], expected.out_bound[c])
            << where << ", channel " << c;
      }
    }
  }
}

}  // namespace qjl::test
