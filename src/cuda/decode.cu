// Decodes one page to fp32 rows in token order, the numbers of the CPU's decode.cpp bit for bit.
//
//   k_t = prediction of the mean + scale[t] * sum_f P_f^T level[c_f]        v_t = scale[t] * sum_f P_f^T level[c_f]
//   jl: s |k_in| S^T bits, and s_o |k_out| S_o^T bits_o in the outlier channels
//
// One block takes the page, 16 tokens of a value frame at a time.
#include "codebook.hpp"
#include "estimator.hpp"
#include "group.cuh"
#include "half.hpp"
#include "launch.hpp"
#include "launcher.cuh"
#include "levels.cuh"

namespace qjl::cuda {
namespace {

struct DecodeLaunch {
  CodecTables tables;
  layout::BodyLayout at;
  LevelTable key_levels, value_levels;
  ScaleTables scales;
  DecodeArgs args;
};

template <int kDim>
struct DecodeStorage {
  float y[2 * kDim * kGroup];
  float x[kDim * kGroup];
  float mean[kDim];  // in the head's order
};

// This lane's token of a group, and its scale.
struct GroupPlace {
  int token, slot;
};
__device__ inline GroupPlace place_of(const Share& me, int frame) {
  return {layout::kFrames * me.lane + frame, layout::kFrameSlots * frame + me.lane};
}

// x <- sum_f P_f^T y_f of `parts` frames that share D2. y is used up. In step at both ends.
template <int kDim>
__device__ void unrotate(const Share& me, const Frame* frames, int parts, int d, float* y, float* x) {
  __syncthreads();
  if (frames[0].dense != nullptr) {
    each_coordinate(me, d, [&](int c) {
      float sum = 0.0f;
      for (int f = 0; f < parts; ++f) {
        for (int i = 0; i < d; ++i) {
          sum = fmaf(y[(f * d + i) * kGroup + me.lane], frames[f].dense[std::int64_t{i} * d + c], sum);
        }
      }
      x[c * kGroup + me.lane] = sum;
    });
    return __syncthreads();
  }
  const float scale = 1.0f / static_cast<float>(d);
  for (int f = 0; f < parts; ++f) hadamard_plain<kDim>(me, y + f * d * kGroup, d);
  each_coordinate(me, d, [&](int c) {
    float sum = y[c * kGroup + me.lane] * frames[0].sign_mid[c] * scale;
    if (parts == 2) sum = sum + y[(d + c) * kGroup + me.lane] * frames[1].sign_mid[c] * scale;
    x[c * kGroup + me.lane] = sum;
  });
  __syncthreads();
  hadamard_plain<kDim>(me, x, d);
  each_coordinate(me, d, [&](int c) { x[c * kGroup + me.lane] = x[c * kGroup + me.lane] * frames[0].sign_in[c]; });
  __syncthreads();
}

// put(c, what the mean predicts of channel c of a token) for this thread's channels.
template <typename Put>
__device__ void predict_key(const Share& me, const CodecTables& tables, int token, const float* mean, const Put& put) {
  const int pairs = tables.turning_pairs, knot = token / layout::kKnotTokens;
  const float share = static_cast<float>(token % layout::kKnotTokens) * (1.0f / layout::kKnotTokens);
  each_coordinate(me, pairs, [&](int i) {
    const float *cosines = tables.knot_cos + i * layout::kKnotStride + knot,
                *sines = tables.knot_sin + i * layout::kKnotStride + knot;
    const float cosine = cosines[0] + share * (cosines[1] - cosines[0]), sine = sines[0] + share * (sines[1] - sines[0]);
    const int first = tables.mean_order[i], second = tables.mean_order[pairs + i];
    put(first, cosine * mean[first] - sine * mean[second]);
    put(second, sine * mean[first] + cosine * mean[second]);
  });
  each_coordinate(me, tables.shape.head_dim - 2 * pairs, [&](int k) {
    const int c = tables.mean_order[2 * pairs + k];
    put(c, mean[c]);
  });
}

template <int kDim>
__device__ void decode_rotated_keys(const DecodeLaunch& launch, DecodeStorage<kDim>& shared) {
  const CodecTables& tables = launch.tables;
  const layout::PageShape& shape = tables.shape;
  const int d = shape.head_dim, parts = shape.key.frames;
  const Share me = my_share();
  const std::uint8_t* body = launch.args.body;
  const Frame frames[2] = {key_frame(tables, 0), key_frame(tables, parts - 1)};
  for (int i = thread_idx(); i < d; i += block_threads()) {
    const int c = tables.mean_order[i];
    const auto step = static_cast<float>(static_cast<std::int8_t>(body[launch.at.mean + c]));
    shared.mean[c] = i < tables.mean_channels ? launch.args.head->mean_scale * step : 0.0f;
  }
  for (int frame = 0; frame < layout::kFrames; ++frame) {
    const GroupPlace place = place_of(me, frame);
    each_coordinate(me, parts * d, [&](int c) {
      shared.y[c * kGroup + me.lane] = launch.key_levels.entry[key_code_at(shape, body + launch.at.keys, place.slot, c)];
    });
    unrotate<kDim>(me, frames, parts, d, shared.y, shared.x);
    const float scale = scale_factor(body[launch.at.key_scales + place.slot], launch.scales) * launch.args.head->key_scale_max;
    float* out = launch.args.keys + place.token * d;
    predict_key(me, tables, place.token, shared.mean,
                [&](int c, float predicted) { out[c] = predicted + scale * shared.x[c * kGroup + me.lane]; });
    __syncthreads();
  }
}

template <int kDim>
__device__ void decode_rotated_values(const DecodeLaunch& launch, DecodeStorage<kDim>& shared) {
  const CodecTables& tables = launch.tables;
  const layout::PageShape& shape = tables.shape;
  const int d = shape.head_dim, parts = shape.value.frames;
  const Share me = my_share();
  const std::uint8_t* body = launch.args.body;
  for (int frame = 0; frame < layout::kFrames; ++frame) {
    const GroupPlace place = place_of(me, frame);
    const Frame frames[2] = {value_frame(tables, frame * parts), value_frame(tables, frame * parts + parts - 1)};
    each_coordinate(me, parts * d, [&](int c) {
      shared.y[c * kGroup + me.lane] = launch.value_levels.entry[value_code_at(shape, body + launch.at.values, frame, me.lane, c)];
    });
    unrotate<kDim>(me, frames, parts, d, shared.y, shared.x);
    const float scale = scale_factor(body[launch.at.value_scales + place.slot], launch.scales) * launch.args.head->value_scale_max;
    float* out = launch.args.values + place.token * d;
    each_coordinate(me, d, [&](int c) { out[c] = 0.0f + scale * shared.x[c * kGroup + me.lane]; });
    __syncthreads();
  }
}

__device__ void decode_exact(const layout::PageShape& shape, const std::uint8_t* rows, float* out) {
  const int d = shape.head_dim;
  const auto* numbers = reinterpret_cast<const std::uint16_t*>(rows);
  for (int i = thread_idx(); i < layout::kPageTokens * d; i += block_threads()) {
    out[layout::token_of_slot(i / d) * d + i % d] = to_float(numbers[i], shape.row_dtype);
  }
}

// A thread takes a channel of a slot; outlier channels have the sum of their own sketch instead.
__device__ void decode_sketch(const DecodeLaunch& launch) {
  const CodecTables& tables = launch.tables;
  const layout::PageShape& shape = tables.shape;
  const int d = shape.head_dim, m = shape.sketch_rows, outlier_m = shape.outlier_rows, count = shape.outlier_channels;
  const std::uint8_t* body = launch.args.body;
  const auto sign = [](const std::uint8_t* bits, int row) { return (bits[row / 8] >> row % 8 & 1) != 0 ? -1.0f : 1.0f; };
  for (int i = thread_idx(); i < layout::kPageTokens * d; i += block_threads()) {
    const int slot = i / d, c = i % d;
    float sum = 0.0f;
    int outlier = -1;
    for (int n = 0; n < count; ++n) outlier = body[launch.at.outlier_idx + n] == c ? n : outlier;
    const std::int64_t norms = outlier < 0 ? launch.at.key_norms : launch.at.outlier_norms;
    const float norm = half_to_float(reinterpret_cast<const std::uint16_t*>(body + norms)[slot]);
    if (outlier < 0) {
      const std::uint8_t* bits = body + launch.at.keys + std::int64_t{slot} * (m / 8);
      for (int row = 0; row < m; ++row) {
        sum = fmaf(sign(bits, row) * tables.sketch_scale * norm, tables.sketch[std::int64_t{row} * d + c], sum);
      }
    } else {
      const std::uint8_t* bits = body + launch.at.outlier_keys + std::int64_t{slot} * (outlier_m / 8);
      for (int row = 0; row < outlier_m; ++row) {
        sum = sum + sign(bits, row) * tables.outlier_sketch[std::int64_t{row} * count + outlier];
      }
      sum = sum * tables.outlier_sketch_scale * norm;
    }
    launch.args.keys[layout::token_of_slot(slot) * d + c] = sum;
  }
}

__device__ void decode_minmax(const DecodeLaunch& launch) {
  const int d = launch.tables.shape.head_dim, groups = layout::minmax_groups(d);
  const std::uint8_t* body = launch.args.body;
  for (int i = thread_idx(); i < layout::kPageTokens * d; i += block_threads()) {
    const int slot = i / d, c = i % d, pair = slot * groups + c / layout::kMinMaxGroup;
    const float step = half_to_float(reinterpret_cast<const std::uint16_t*>(body + launch.at.value_steps)[pair]);
    const float minimum = half_to_float(reinterpret_cast<const std::uint16_t*>(body + launch.at.value_minima)[pair]);
    const int code = body[launch.at.values + i / 4] >> 2 * (i % 4) & 3;
    launch.args.values[layout::token_of_slot(slot) * d + c] = fmaf(static_cast<float>(code), step, minimum);
  }
}

template <int kDim>
__device__ void decode_keys(const DecodeLaunch& launch, DecodeStorage<kDim>& shared) {
  const layout::PageShape& shape = launch.tables.shape;
  switch (shape.key.book) {
    case Book::exact: return decode_exact(shape, launch.args.body + launch.at.keys, launch.args.keys);
    case Book::signs:
    case Book::levels: return decode_rotated_keys(launch, shared);
    case Book::fine:
    case Book::trellis: return;  // of the host
    case Book::sketch: return decode_sketch(launch);
    case Book::minmax: return;  // values only
  }
}

template <int kDim>
__device__ void decode_values(const DecodeLaunch& launch, DecodeStorage<kDim>& shared) {
  const layout::PageShape& shape = launch.tables.shape;
  switch (shape.value.book) {
    case Book::exact: return decode_exact(shape, launch.args.body + launch.at.values, launch.args.values);
    case Book::signs:
    case Book::levels: return decode_rotated_values(launch, shared);
    case Book::fine:
    case Book::trellis: return;  // of the host
    case Book::sketch: return;   // keys only
    case Book::minmax: return decode_minmax(launch);
  }
}

template <int kDim>
__global__ void __launch_bounds__(kDim) decode_kernel(const __grid_constant__ DecodeLaunch launch) {
  auto& shared = shared_memory<DecodeStorage<kDim>>();
  if (launch.args.keys != nullptr) decode_keys(launch, shared);
  if (launch.args.values != nullptr) decode_values(launch, shared);
}

}  // namespace

void decode(const DecodeArgs& args) {
  const layout::PageShape& shape = args.tables->shape;
  const DecodeLaunch arguments{
      *args.tables, layout::body_layout(shape), level_table(shape.key_code), level_table(shape.value_code), kScaleTables, args};
  if (shape.head_dim <= kSmallDim)
    launch("decode", decode_kernel<kSmallDim>, {1, 1, kSmallDim, sizeof(DecodeStorage<kSmallDim>)}, args.stream, arguments);
  else
    launch("decode", decode_kernel<layout::kMaxHeadDim>, {1, 1, layout::kMaxHeadDim, sizeof(DecodeStorage<layout::kMaxHeadDim>)},
           args.stream, arguments);
}

}  // namespace qjl::cuda
