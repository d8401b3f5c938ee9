// Pages read a number at a time: right for every code, every head_dim and the paper's preset; fast for none.
//
//   scores  thread by slot:    <q, prediction of the mean> + scale[slot] sum_c projected[c] level[c][slot];
//                              jl and f16 as the CPU's half_scores.hpp has them
//   values  thread by channel: frames[f][c] += weight[slot] scale[slot] level; plain numbers for f16 and minmax
//
// attend_fragments.cuh has what kernels for long contexts use instead.
#pragma once

#include "exact_rows.cuh"
#include "levels.cuh"
#include "mean_line.cuh"
#include "rotate.cuh"

namespace qjl::cuda {

// One sealed page, and how to read it.
struct PlainPage {
  const CodecTables& tables;
  const layout::BodyLayout& at;
  const float *key_levels, *value_levels;
  const layout::PageHead& head;
  const std::uint8_t* body;

  __device__ const layout::PageShape& shape() const { return tables.shape; }
  __device__ const std::uint16_t* words(std::int64_t offset) const { return reinterpret_cast<const std::uint16_t*>(body + offset); }
};

// sum_c q[c] sign(bit c) of a slot's row of bits.
__device__ inline float sign_dot(const float* q, const std::uint8_t* bits, int count) {
  float sum = 0.0f;
  for (int c = 0; c < count; ++c) sum += (bits[c / 8] >> c % 8 & 1) != 0 ? -q[c] : q[c];
  return sum;
}

// Score of a slot without the mean: projected [coordinates] of one row. One function a book.
__device__ inline float exact_score(const PlainPage& page, const float* projected, int slot) {
  const int d = page.shape().head_dim;
  const std::uint16_t* key = page.words(page.at.keys) + slot * d;
  float sum = 0.0f;
  for (int c = 0; c < d; ++c) sum = fmaf(projected[c], to_float(key[c], page.shape().row_dtype), sum);
  return sum;
}
__device__ inline float rotated_score(const PlainPage& page, const float* projected, int slot) {
  const layout::PageShape& shape = page.shape();
  const int coordinates = layout::key_coordinates(shape);
  float sum = 0.0f;
  for (int c = 0; c < coordinates; ++c) {
    sum = fmaf(projected[c], page.key_levels[key_code_at(shape, page.body + page.at.keys, slot, c)], sum);
  }
  return sum * scale_of(page.body[page.at.key_scales + slot], page.head.key_scale_max);
}
__device__ inline float sketched_score(const PlainPage& page, const float* projected, int slot) {
  const layout::PageShape& shape = page.shape();
  const int bytes = shape.sketch_rows / 8, outlier_bytes = shape.outlier_rows / 8;
  const float sum = sign_dot(projected, page.body + page.at.keys + slot * bytes, shape.sketch_rows) * page.tables.sketch_scale *
                    half_to_float(page.words(page.at.key_norms)[slot]);
  if (shape.outlier_channels == 0) return sum;
  const float outliers =
      sign_dot(projected + shape.sketch_rows, page.body + page.at.outlier_keys + slot * outlier_bytes, shape.outlier_rows);
  return fmaf(outliers * page.tables.outlier_sketch_scale, half_to_float(page.words(page.at.outlier_norms)[slot]), sum);
}
__device__ inline float code_score(const PlainPage& page, const float* projected, int slot) {
  switch (page.shape().key.book) {
    case Book::exact: return exact_score(page, projected, slot);
    case Book::signs:
    case Book::levels: return rotated_score(page, projected, slot);
    case Book::sketch: return sketched_score(page, projected, slot);
    case Book::fine:
    case Book::trellis: break;  // of the host
    case Book::minmax: break;   // values only
  }
  return 0.0f;
}

// Rows of queries and what is made of them for a page; all in shared memory.
struct PlainQueries {
  const float* query;      // [rows][d]
  const float* projected;  // [rows][coordinates]
  float* knots;            // [rows][kKnotStride]
  int rows;
};

// score(row, slot, <q, k>) for all rows and slots of a page. Begins with all threads together.
template <typename Store>
__device__ inline void score_page(const PlainPage& page, const PlainQueries& q, const Store& store) {
  const layout::PageShape& shape = page.shape();
  const bool rotated = shape.key.rotated();
  if (rotated) {
    const auto* codes = reinterpret_cast<const std::int8_t*>(page.body + page.at.mean);
    for (int i = thread_idx(); i < q.rows * layout::kMeanKnots; i += block_threads()) {
      const int row = i / layout::kMeanKnots, knot = i % layout::kMeanKnots;
      q.knots[row * layout::kKnotStride + knot] =
          page.head.mean_scale * knot_score(page.tables, q.query + row * shape.head_dim, codes, knot);
    }
    __syncthreads();
  }
  for (int i = thread_idx(); i < q.rows * layout::kPageTokens; i += block_threads()) {
    const int row = i / layout::kPageTokens, slot = i % layout::kPageTokens;
    float score = code_score(page, q.projected + row * layout::key_coordinates(shape), slot);
    if (rotated) score += line_at(q.knots + row * layout::kKnotStride, slot % layout::kFrameSlots, slot / layout::kFrameSlots);
    store(row, slot, score);
  }
}

// Frames that values are summed in, and the numbers of a row's sums: one "frame" of plain numbers when values are not rotated.
QJL_HD constexpr int value_frames(const layout::PageShape& shape) {
  return shape.value.rotated() ? layout::kFrames * shape.value.frames : 1;
}

// Number c of slot's value: a level times its scale, or the number itself.
__device__ inline float rotated_value(const PlainPage& page, int slot, int c) {
  const int f = slot / layout::kFrameSlots, j = slot % layout::kFrameSlots;
  return page.value_levels[value_code_at(page.shape(), page.body + page.at.values, f, j, c)] *
         scale_of(page.body[page.at.value_scales + slot], page.head.value_scale_max);
}
__device__ inline float minmax_value(const PlainPage& page, int slot, int c) {
  const int d = page.shape().head_dim, group = slot * layout::minmax_groups(d) + c / layout::kMinMaxGroup;
  const int code = page.body[page.at.values + slot * (d / 4) + c / 4] >> 2 * (c % 4) & 3;
  return fmaf(static_cast<float>(code), half_to_float(page.words(page.at.value_steps)[group]),
              half_to_float(page.words(page.at.value_minima)[group]));
}
__device__ inline float value_at(const PlainPage& page, int slot, int c) {
  const layout::PageShape& shape = page.shape();
  switch (shape.value.book) {
    case Book::exact: return to_float(page.words(page.at.values)[slot * shape.head_dim + c], shape.row_dtype);
    case Book::signs:
    case Book::levels: return rotated_value(page, slot, c);
    case Book::fine:
    case Book::trellis: break;  // of the host
    case Book::sketch: break;   // keys only
    case Book::minmax: return minmax_value(page, slot, c);
  }
  return 0.0f;
}

// sums [rows][frames d] = factor sums + weights [rows][128] v, thread by number of a row.
__device__ inline void weigh_page(const PlainPage& page, int rows, const float* weights, const float* factor, float* sums) {
  const int d = page.shape().head_dim, frames = value_frames(page.shape()), width = frames * d;
  const int parts = page.shape().value.frames;
  const int slots = frames == 1 ? layout::kPageTokens : layout::kFrameSlots;  // that a number of a row sums over
  for (int i = thread_idx(); i < rows * width; i += block_threads()) {
    const int row = i / width, frame = i % width / d, c = frame % parts * d + i % d;
    const int first = frames == 1 ? 0 : frame / parts * layout::kFrameSlots;
    float sum = sums[i] * factor[row];
    for (int slot = first; slot < first + slots; ++slot) {
      sum = fmaf(weights[row * layout::kPageTokens + slot], value_at(page, slot, c), sum);
    }
    sums[i] = sum;
  }
}

}  // namespace qjl::cuda
