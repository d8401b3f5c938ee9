// Frames applied by a whole block to vectors in shared memory.
//
//   forward   y = H D1 H D2 x / d,  or P x           (queries into the keys' frames)
//   backward  sum_f P_f^T y_f = D2 H sum_f D1_f H y_f / d, or sum_f P_f^T y_f      (sums of levels out of the values' frames)
//
// A thread takes one pair of each level of a Hadamard. Cost: count * d log2 d additions over the block.
#pragma once

#include "args.hpp"
#include "thread.cuh"

namespace qjl::cuda {

// Rows of vectors of d numbers in shared memory: `a_row` side by side, rows `stride` numbers apart.
struct Vectors {
  float* data;
  int rows, a_row, d, stride;
};

// H x for all of them, Sylvester order. Begins and ends with all threads together.
__device__ inline void hadamard(const Vectors& x) {
  const int pairs = x.a_row * x.d / 2;
  for (int width = 1; width < x.d; width *= 2) {
    __syncthreads();
    for (int i = thread_idx(); i < x.rows * pairs; i += block_threads()) {
      const int row = i / pairs, pair = i % pairs, at = row * x.stride + 2 * pair - (pair & (width - 1));
      const float a = x.data[at], b = x.data[at + width];
      x.data[at] = a + b;
      x.data[at + width] = a - b;
    }
  }
  __syncthreads();
}

__device__ inline float dot(const float* a, const float* b, int count) {
  float sum = 0.0f;
  for (int i = 0; i < count; ++i) sum = fmaf(a[i], b[i], sum);
  return sum;
}

// out [rows][frames d] = P_f x of x [rows][d], both shared.
__device__ inline void rotate_keys(const CodecTables& tables, const float* x, int rows, float* out) {
  const int d = tables.shape.head_dim, frames = tables.shape.key.frames, width = frames * d;
  __syncthreads();
  if (!tables.hadamard) {
    for (int i = thread_idx(); i < rows * width; i += block_threads()) {
      out[i] = dot(tables.key_frames + std::int64_t{i % width} * d, x + i / width * d, d);
    }
    return __syncthreads();
  }
  const float scale = 1.0f / static_cast<float>(d);
  for (int i = thread_idx(); i < rows * width; i += block_threads()) {
    out[i] = x[i / width * d + i % d] * tables.key_sign_in[i % d] * scale;
  }
  hadamard({out, rows, frames, d, width});
  for (int i = thread_idx(); i < rows * width; i += block_threads()) out[i] *= tables.key_sign_mid[i % width];
  hadamard({out, rows, frames, d, width});
}

// out[row][j] of the paper's sketches: S over the inlier channels, S_o over the outliers. x [rows][d]; is_outlier by a list.
__device__ inline void sketch_rows(const CodecTables& tables, const float* x, int rows, const std::uint8_t* outlier_idx,
                                   float* out) {
  const layout::PageShape& shape = tables.shape;
  const int d = shape.head_dim, count = shape.outlier_channels, width = shape.sketch_rows + shape.outlier_rows;
  __syncthreads();
  for (int i = thread_idx(); i < rows * width; i += block_threads()) {
    const int row = i / width, j = i % width;
    const float* q = x + row * d;
    if (j < shape.sketch_rows) {
      const float* s = tables.sketch + std::int64_t{j} * d;
      float sum = dot(s, q, d);
      for (int n = 0; n < count; ++n) sum = fmaf(-s[outlier_idx[n]], q[outlier_idx[n]], sum);
      out[i] = sum;
    } else {
      const float* s = tables.outlier_sketch + std::int64_t{j - shape.sketch_rows} * count;
      float sum = 0.0f;
      for (int n = 0; n < count; ++n) sum = fmaf(s[n], q[outlier_idx[n]], sum);
      out[i] = sum;
    }
  }
  __syncthreads();
}

// Queries [rows][d] in the coordinates of the key codes: out [rows][key_coordinates], both shared. Ends with all threads together.
__device__ inline void project_rows(const CodecTables& tables, const float* x, int rows, const std::uint8_t* outlier_idx,
                                    float* out) {
  switch (tables.shape.key.book) {
    case Book::exact:
      __syncthreads();
      for (int i = thread_idx(); i < rows * tables.shape.head_dim; i += block_threads()) out[i] = x[i];
      __syncthreads();
      return;
    case Book::signs:
    case Book::levels: return rotate_keys(tables, x, rows, out);
    case Book::sketch: return sketch_rows(tables, x, rows, outlier_idx, out);
    case Book::fine:
    case Book::trellis: return;  // of the host
    case Book::minmax: return;   // values only
  }
}

// sum_f P_f^T y_f for rows of frames, used up; plain[row][c] += it, in shared memory.
__device__ inline void unrotate_values(const CodecTables& tables, const Vectors& y, float* plain) {
  const int d = y.d;
  if (!tables.hadamard) {
    __syncthreads();
    for (int i = thread_idx(); i < y.rows * d; i += block_threads()) {
      const float* sums = y.data + i / d * y.stride;
      float sum = 0.0f;
      for (int k = 0; k < y.a_row * d; ++k) sum = fmaf(sums[k], tables.value_frames[std::int64_t{k} * d + i % d], sum);
      plain[i] += sum;
    }
    return __syncthreads();
  }
  hadamard(y);
  for (int i = thread_idx(); i < y.rows * d; i += block_threads()) {  // the sum takes the place of the row's first frame
    float* sums = y.data + i / d * y.stride + i % d;
    float sum = 0.0f;
    for (int f = 0; f < y.a_row; ++f) sum = fmaf(sums[f * d], tables.value_sign_mid[f * d + i % d], sum);
    sums[0] = sum;
  }
  hadamard({y.data, y.rows, 1, d, y.stride});
  const float scale = 1.0f / static_cast<float>(d);
  for (int i = thread_idx(); i < y.rows * d; i += block_threads()) {
    plain[i] = fmaf(y.data[i / d * y.stride + i % d] * scale, tables.value_sign_in[i % d], plain[i]);
  }
  __syncthreads();
}

}  // namespace qjl::cuda
