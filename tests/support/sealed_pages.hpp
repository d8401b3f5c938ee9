// Pages and calls at the level of a back end: one kv head, a few sealed pages, every verb of every target.
#pragma once

#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "byte_loop_error.hpp"
#include "codebook.hpp"
#include "codec_tables.hpp"
#include "cpu_backend.hpp"
#include "estimator.hpp"
#include "half.hpp"
#include "qjl/codec.hpp"
#include "test_rows.hpp"

namespace qjl::test {

// Memory as a cache hands it out: at a line, zero.
struct Lines {
  explicit Lines(std::size_t count) : bytes(count) {
    data = static_cast<std::uint8_t*>(::operator new(count, std::align_val_t{64}));
    std::memset(data, 0, count);
  }
  Lines(Lines&& other) noexcept : data(std::exchange(other.data, nullptr)), bytes(other.bytes) {}
  Lines& operator=(Lines&&) = delete;
  ~Lines() { ::operator delete(data, std::align_val_t{64}); }
  std::uint8_t* data;
  std::size_t bytes;
};

// Rows with the cases that break encoders: a zero row, a constant one, tiny and huge ones.
inline Rows awkward_rows(Integers& random, DType dtype, int tokens, int d) {
  std::vector<double> numbers = lifelike_numbers(random, 1, tokens, d);
  const double factors[] = {0.0, 0.0, 1e-6, 60.0};
  for (int i = 0; i < 4; ++i) {
    for (int c = 0; c < d; ++c) {
      double& x = numbers[static_cast<std::size_t>(40 + i) * d + c];
      x = i == 1 ? 3.0 : x * factors[i];
    }
  }
  return make_rows(dtype, 1, tokens, d, numbers);
}

// Sealed pages of one kv head, from rows [pages * 128, d] of 16-bit numbers; the paper's outlier channels are the first page's.
struct Sealed {
  Lines bodies;
  std::vector<layout::PageHead> heads;
  std::vector<std::int32_t> table;
};

inline Sealed seal(const Backend& verbs, const CodecTables& tables, const Rows& keys, const Rows& values, int num_sinks) {
  const int pages = keys.tokens / kTokensPerPage, d = tables.shape.head_dim;
  const std::int64_t body_bytes = layout::body_layout(tables.shape).bytes;
  Sealed out{
      Lines(static_cast<std::size_t>(body_bytes * pages)), std::vector<layout::PageHead>(static_cast<std::size_t>(pages)), {}};
  const std::int64_t outliers = layout::body_layout(tables.shape).outlier_idx;
  Lines workspace(verbs.encode_workspace_bytes(tables));
  for (int i = 0; i < pages; ++i) {
    const std::size_t first = static_cast<std::size_t>(i) * kTokensPerPage * d;
    const std::uint16_t* rows = reinterpret_cast<const std::uint16_t*>(keys.words.data()) + first;
    const std::uint8_t sinks = static_cast<std::uint8_t>(i == 0 ? num_sinks : 0), choose_outliers = i == 0;
    std::uint8_t* body = out.bodies.data + i * body_bytes;
    layout::PageHead* head = &out.heads[static_cast<std::size_t>(i)];
    if (i > 0) std::memcpy(body + outliers, out.bodies.data + outliers, static_cast<std::size_t>(tables.shape.outlier_channels));
    const EncodeArgs args{&tables, tables.shape.row_dtype, 1, &rows, d, &sinks, &choose_outliers, &body, &head, workspace.data};
    verbs.encode_keys(args);
    rows = reinterpret_cast<const std::uint16_t*>(values.words.data()) + first;
    verbs.encode_values(args);
    out.table.push_back(i);
  }
  return out;
}

// The numbers that sealed pages stand for, [pages * 128, d] in token order.
struct Decoded {
  std::vector<float> keys, values;
};
inline Decoded decode(const Backend& verbs, const CodecTables& tables, const Sealed& sealed) {
  const std::int64_t body_bytes = layout::body_layout(tables.shape).bytes;
  const std::size_t page = static_cast<std::size_t>(kTokensPerPage) * tables.shape.head_dim;
  Lines workspace(verbs.attend_workspace_bytes(tables));
  Decoded out{std::vector<float>(sealed.heads.size() * page), std::vector<float>(sealed.heads.size() * page)};
  for (std::size_t i = 0; i < sealed.heads.size(); ++i) {
    verbs.decode({&tables, &sealed.heads[i], sealed.bodies.data + i * body_bytes, &out.keys[i * page], &out.values[i * page],
                  workspace.data});
  }
  return out;
}

// Upper bound of what a kernel adds up for a token of a page, as norms: |mean| + parts * scale * largest level * sqrt(d), or the
// paper's norms, or the row itself.
inline double key_reach(const layout::PageShape& shape, const layout::PageHead& head, const std::uint8_t* body, const float* row) {
  const layout::BodyLayout at = layout::body_layout(shape);
  const int d = shape.head_dim;
  double squares = 0.0;
  for (int c = 0; c < d; ++c) squares += double{row[c]} * row[c];
  if (shape.key_code == Code::f16) return std::sqrt(squares);
  if (shape.key_code == Code::jl) {  // s |k| sum |<S_row, q>| with s m < 1.3 and |S_row| < 1.5 sqrt(d)
    double largest = 0.0;
    for (int slot = 0; slot < kTokensPerPage; ++slot) {
      std::uint16_t inlier = 0, outlier = 0;
      std::memcpy(&inlier, body + at.key_norms + 2 * slot, 2);
      if (shape.outlier_channels > 0) std::memcpy(&outlier, body + at.outlier_norms + 2 * slot, 2);
      largest = std::max(largest, double{half_to_float(inlier)} + half_to_float(outlier));
    }
    return 2.0 * std::sqrt(d) * largest;
  }
  const double mean = 127.0 * head.mean_scale * std::sqrt(d);
  const double level = shape.key.frames * (shape.key_code >= Code::l4 ? 127.0 : 1.0) * std::sqrt(d);
  return mean + head.key_scale_max * level;
}

// What byte loops may add, when the target has them: to a logit without its softmax scale, and to a channel of the output of
// `tokens` tokens. The page's largest scales stand for all; levels are 1 / unit on the average, at most 127.
struct AddedByBytes {
  double score = 0.0, out = 0.0;
};
inline AddedByBytes added_by_bytes(SimdTarget target, const CodecTables& tables, const oracle::Format& format, const Sealed& sealed,
                                   const oracle::Vector& q, int tokens) {
  AddedByBytes added;
  if (!has_byte_loops(target, format)) return added;
  const std::vector<float> query(q.begin(), q.end());
  std::vector<float> projected(static_cast<std::size_t>(layout::key_coordinates(tables.shape)));
  cpu::backend(SimdTarget::scalar).project_query({&tables, query.data(), 1, nullptr, projected.data()});
  double key_scale = 0.0, value_scale = 0.0;
  for (const layout::PageHead& head : sealed.heads) {
    key_scale = std::max(key_scale, double{head.key_scale_max});
    value_scale = std::max(value_scale, double{head.value_scale_max});
  }
  added.score = key_scale * table_error(target, format, {projected.begin(), projected.end()}, 127.0 * std::sqrt(format.d));
  const double reach = multiplies_pairs(target) ? 2.0 * 255.0 / 257.0 : 1.0;  // of two neighbours
  added.out = 3.0 * reach * value_scale / 255.0 * std::sqrt(tokens) * 2.0 / codebook(tables.shape.value_code).unit;
  return added;
}

}  // namespace qjl::test
