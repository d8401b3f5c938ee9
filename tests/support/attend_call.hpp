// Attends at the level of a back end: sealed pages with sinks, a tail and a new chunk, as a cache would ask; what they should see;
// and how far from it rounding may take them.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "oracle_view.hpp"
#include "rounding_terms.hpp"
#include "sealed_pages.hpp"

namespace qjl::test {

// One call of attend: two pages with sinks, a tail and a new chunk, as a cache would ask.
struct AttendCase {
  int group, queries;
  std::int64_t window;
  float cap;
};
struct AttendScene {
  Rows keys, values, queries;  // keys and values [all tokens, d]; the sealed ones come first
  int num_sinks, sealed_tokens, tail_tokens;
};

struct Positions {
  std::int64_t first, end;
};
struct Partial {
  std::vector<float> out, max, sum;
};
inline Partial run_attend(const Backend& verbs, const CodecTables& tables, const AttendScene& scene, const Sealed& sealed,
                          const AttendCase& c, const Positions& range) {
  const int d = tables.shape.head_dim, rows = c.group * c.queries, total = scene.keys.tokens;
  const auto* keys = reinterpret_cast<const std::uint16_t*>(scene.keys.words.data());
  const auto* values = reinterpret_cast<const std::uint16_t*>(scene.values.words.data());
  const auto segment = [&](int first, int count) {
    return ExactRows{keys + std::int64_t{first} * d, values + std::int64_t{first} * d, 0, d, first, count};
  };
  const int chunk_first = scene.sealed_tokens + scene.tail_tokens;
  AttendArgs args{};
  args.tables = &tables;
  args.row_dtype = tables.shape.row_dtype;
  args.queries = scene.queries.words.data();  // [group, queries, d]
  args.query_dtype = DType::f32;
  args.query_head_stride = std::int64_t{c.queries} * d;
  args.query_token_stride = d;
  args.num_query_heads = c.group;
  args.num_kv_heads = 1;
  args.num_queries = c.queries;
  args.first_query_position = total - c.queries;
  args.pages = {sealed.bodies.data,
                0,
                layout::body_layout(tables.shape).bytes,
                sealed.heads.data(),
                0,
                1,
                sealed.table.data(),
                static_cast<std::int64_t>(sealed.table.size())};
  args.exact[0] = segment(0, scene.num_sinks);
  args.exact[1] = segment(scene.sealed_tokens, scene.tail_tokens);
  args.exact[2] = segment(chunk_first, total - chunk_first);
  args.num_exact = 3;
  args.softmax_scale = 1.0f / std::sqrt(static_cast<float>(d));
  args.logit_soft_cap = c.cap;
  args.sliding_window = c.window;
  Partial out{std::vector<float>(static_cast<std::size_t>(rows) * d), std::vector<float>(static_cast<std::size_t>(rows)),
              std::vector<float>(static_cast<std::size_t>(rows))};
  Lines workspace(verbs.attend_workspace_bytes(tables));
  verbs.attend(
      args, {0, 0, c.group, 0, c.queries, range.first, range.end, out.out.data(), out.max.data(), out.sum.data(), workspace.data});
  return out;
}

// What attention should see: decoded rows where pages are sealed, else the rows themselves; and the largest that kernels add up.
struct PlainRows {
  std::vector<oracle::Vector> keys, values;
  double key_reach = 0.0, value_reach = 0.0;

  PlainRows(const CodecTables& tables, const AttendScene& scene, const Sealed& sealed) {
    const Decoded numbers = decode(cpu::backend(SimdTarget::scalar), tables, sealed);
    const int d = tables.shape.head_dim;
    for (int t = 0; t < scene.keys.tokens; ++t) {
      keys.push_back(scene.keys.row(0, t));
      values.push_back(scene.values.row(0, t));
      if (t >= scene.num_sinks && t < scene.sealed_tokens) {
        const std::ptrdiff_t at = std::ptrdiff_t{t} * d, page = t / kTokensPerPage;
        keys[t].assign(numbers.keys.begin() + at, numbers.keys.begin() + at + d);
        values[t].assign(numbers.values.begin() + at, numbers.values.begin() + at + d);
        const std::uint8_t* body = sealed.bodies.data + page * layout::body_layout(tables.shape).bytes;
        key_reach = std::max(key_reach, test::key_reach(tables.shape, sealed.heads[page], body, &numbers.keys[at]));
      }
      key_reach = std::max(key_reach, oracle::norm(keys[t]));
      value_reach = std::max(value_reach, 2.0 * std::sqrt(2.0) * oracle::norm(values[t]));  // s2: two parts of norm |v|, nearly
    }
  }
};

// Of the log-sum-exp and of a channel of the output.
//
// The bound of a logit = u |q| reach for each rounding of a score and of two rotations, tanh (4e-7 of the cap), byte tables; of a
// weight = what that makes of exp, exp itself (4e-7) and sums of all tokens, twice: in out and in their sum.
struct AttendBounds {
  double weight, out;
};
inline AttendBounds attend_bounds(const oracle::Format& format, const PlainRows& rows, const AttendCase& c, double query_norm,
                                  double largest_logit, const AddedByBytes& added) {
  const int d = format.d;
  const double logit = kUnit * (score_terms(format) + 2.0 * projection_norm_terms(d)) * query_norm * rows.key_reach / std::sqrt(d) +
                       4e-7 * c.cap + 2.0 * kUnit * largest_logit + added.score / std::sqrt(d);
  const double weight = 2.0 * (std::expm1(logit) + 4e-7 + kUnit * static_cast<double>(rows.keys.size()));
  return {weight, (weight + kUnit * (projection_norm_terms(d) + 16.0)) * rows.value_reach + added.out};
}

}  // namespace qjl::test
