// Makes the random constants of a codec from its seed: diagonals of +-1, dense frames, sketches. See codec_tables.hpp.
#include "codec_tables.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>

#include "estimator.hpp"
#include "philox.hpp"
#include "qjl/codec.hpp"
#include "qjl/error.hpp"
#include "search_tables.hpp"

namespace qjl {
namespace {

constexpr int kMaxSketchRows = 1 << 14;
constexpr int kMinExactDim = 32, kMaxExactDim = 512, kExactDimStep = 16;  // widths of exact keys and values: vectors of 16 numbers

[[noreturn]] void refuse(const std::string& what) { throw Error(ErrorKind::invalid_argument, "[codec] " + what); }

bool is_head_dim(int head_dim, const CodecConfig& config) {
  if (std::ranges::find(layout::kHeadDims, head_dim) != std::end(layout::kHeadDims)) return true;
  const bool is_exact = traits(config.key_code).book == Book::exact && traits(config.value_code).book == Book::exact;
  return is_exact && head_dim >= kMinExactDim && head_dim <= kMaxExactDim && head_dim % kExactDimStep == 0;
}
void check_head_dim(int head_dim, const CodecConfig& config) {
  if (is_head_dim(head_dim, config)) return;
  refuse("found head_dim " + std::to_string(head_dim) + ", wanted 64, 80, 96, 128 or 256; of f16 any multiple of " +
         std::to_string(kExactDimStep) + " from " + std::to_string(kMinExactDim) + " to " + std::to_string(kMaxExactDim));
}

void check(int head_dim, const CodecConfig& config) {
  if (!is_code(config.key_code) || !is_code(config.value_code)) refuse("found an unknown code number");
  if (traits(config.key_code).keys == KeyLayout::none) {
    refuse("found key code " + std::string(code_name(config.key_code)) + ", which codes values only");
  }
  if (traits(config.value_code).values == ValueLayout::none) {
    refuse("found value code " + std::string(code_name(config.value_code)) + ", which codes keys only");
  }
  check_head_dim(head_dim, config);
  const auto fits = [&](const char* side, Code code, bool does) {
    if (does) return;
    refuse("found " + std::string(side) + " code " + std::string(code_name(code)) + " with head_dim " + std::to_string(head_dim) +
           ", wanted a head_dim whose strings fill whole words (docs/format.md)");
  };
  fits("key", config.key_code, layout::fits_keys(traits(config.key_code), head_dim));
  fits("value", config.value_code, layout::fits_values(traits(config.value_code), head_dim));
  if (config.sink_tokens < 0 || config.sink_tokens > layout::kMaxSinks) {
    refuse("found sink_tokens " + std::to_string(config.sink_tokens) + ", wanted 0 to " + std::to_string(layout::kMaxSinks));
  }
}

void check_rows(const char* name, int rows) {
  if (rows < 8 || rows % 8 != 0 || rows > kMaxSketchRows) {
    refuse("found " + std::string(name) + " " + std::to_string(rows) + ", wanted a multiple of 8 up to " +
           std::to_string(kMaxSketchRows));
  }
}

std::vector<double> gaussian(std::uint64_t seed, std::uint32_t stream, std::int64_t count) {
  std::vector<double> numbers(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = philox_normal(seed, stream, static_cast<std::uint32_t>(i));
  return numbers;
}

// Replaces g [d, d] by Q of g = Q R, diag R > 0: Gram-Schmidt over the columns, each step done twice so that Q is orthogonal to
// rounding. The columns are held as rows of the transpose, which are contiguous.
void orthogonalise(double* g, int d) {
  std::vector<double> columns(static_cast<std::size_t>(d) * d);
  for (int i = 0; i < d; ++i) {
    for (int j = 0; j < d; ++j) columns[static_cast<std::size_t>(j) * d + i] = g[i * d + j];
  }
  for (int j = 0; j < d; ++j) {
    double* column = &columns[static_cast<std::size_t>(j) * d];
    for (int pass = 0; pass < 2; ++pass) {
      for (int k = 0; k < j; ++k) {
        const double* done = &columns[static_cast<std::size_t>(k) * d];
        double along = 0.0;
        for (int i = 0; i < d; ++i) along += done[i] * column[i];
        for (int i = 0; i < d; ++i) column[i] -= along * done[i];
      }
    }
    double squared = 0.0;
    for (int i = 0; i < d; ++i) squared += column[i] * column[i];
    for (int i = 0; i < d; ++i) column[i] /= std::sqrt(squared);
  }
  for (int i = 0; i < d; ++i) {
    for (int j = 0; j < d; ++j) g[i * d + j] = columns[static_cast<std::size_t>(j) * d + i];
  }
}

// D2, then one D1 per frame.
std::vector<float> make_signs(std::uint64_t seed, Stream in, Stream mid, int frames, int d) {
  std::vector<float> signs;
  signs.reserve(static_cast<std::size_t>(frames + 1) * d);
  for (int f = -1; f < frames; ++f) {
    const std::uint32_t stream = f < 0 ? stream_of(in, 0) : stream_of(mid, f);
    for (int c = 0; c < d; ++c) signs.push_back(philox_sign(seed, stream, static_cast<std::uint32_t>(c)));
  }
  return signs;
}

std::vector<float> make_frames(std::uint64_t seed, Stream base, int frames, int d) {
  std::vector<float> out;
  for (int f = 0; f < frames; ++f) {
    std::vector<double> frame = gaussian(seed, stream_of(base, f), std::int64_t{d} * d);
    orthogonalise(frame.data(), d);
    out.insert(out.end(), frame.begin(), frame.end());
  }
  return out;
}

// round(512 P_1 P_2^T) of each pair of frames.
std::vector<std::int16_t> make_cross(const std::vector<float>& frames, int pairs, int d) {
  const std::size_t square = static_cast<std::size_t>(d) * d;
  std::vector<std::int16_t> cross(pairs * square);
  for (int pair = 0; pair < pairs; ++pair) {
    const float *first = &frames[2 * pair * square], *second = first + square;
    for (int i = 0; i < d; ++i) {
      for (int j = 0; j < d; ++j) {
        double sum = 0.0;
        for (int c = 0; c < d; ++c) sum += double{first[i * d + c]} * second[j * d + c];
        cross[pair * square + static_cast<std::size_t>(i) * d + j] = static_cast<std::int16_t>(std::lrint(kCrossUnit * sum));
      }
    }
  }
  return cross;
}

std::vector<float> make_sketch(std::uint64_t seed, Stream stream, SketchConfig::Kind kind, int rows, int d) {
  const bool orthogonal = kind == SketchConfig::Kind::orthogonal;
  const int made = orthogonal ? (rows + d - 1) / d * d : rows;
  std::vector<double> s = gaussian(seed, stream_of(stream, 0), std::int64_t{made} * d);
  for (int row = 0; orthogonal && row < made; row += d) orthogonalise(&s[static_cast<std::size_t>(row) * d], d);
  const double norm = orthogonal ? std::sqrt(static_cast<double>(d)) : 1.0;
  std::vector<float> out(static_cast<std::size_t>(rows) * d);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(s[i] * norm);
  return out;
}

float sketch_scale(SketchConfig::Kind kind, int rows, int d) {
  return static_cast<float>(kind == SketchConfig::Kind::gaussian ? gaussian_sketch_scale(rows) : orthogonal_sketch_scale(rows, d));
}

template <typename T>
const T* pointer(const std::vector<T>& numbers, std::size_t offset = 0) {
  return numbers.empty() ? nullptr : numbers.data() + offset;
}

}  // namespace

bool takes_width(const CodecConfig& config, int head_dim) {
  return is_head_dim(head_dim, config) && layout::fits_keys(traits(config.key_code), head_dim) &&
         layout::fits_values(traits(config.value_code), head_dim);
}

SketchConfig resolved_sketch(int head_dim, const CodecConfig& config) {
  check(head_dim, config);
  SketchConfig sketch = config.sketch;
  if (traits(config.key_code).book != Book::sketch) return {sketch.kind, 0, 0, 0};
  if (sketch.rows == 0) sketch.rows = 2 * head_dim;
  if (sketch.outlier_channels == 0) sketch.outlier_channels = head_dim / 16;
  if (sketch.outlier_rows == 0) sketch.outlier_rows = head_dim;
  check_rows("sketch rows", sketch.rows);
  if (sketch.outlier_channels == -1) return {sketch.kind, sketch.rows, 0, 0};
  if (sketch.outlier_channels < 0 || sketch.outlier_channels > head_dim / 2) {
    refuse("found " + std::to_string(sketch.outlier_channels) + " outlier channels, wanted -1 (none) or 1 to " +
           std::to_string(head_dim / 2));
  }
  check_rows("outlier rows", sketch.outlier_rows);
  return sketch;
}

layout::PageShape page_shape(int head_dim, const CodecConfig& config, DType row_dtype) {
  const SketchConfig sketch = resolved_sketch(head_dim, config);
  if (row_dtype == DType::f32) refuse("found rows of 32 bits, wanted f16 or bf16");
  return {head_dim, config.key_code, config.value_code, row_dtype, sketch.rows, sketch.outlier_channels, sketch.outlier_rows};
}

CodecConstants::CodecConstants(int head_dim, const CodecConfig& config, DType row_dtype) {
  const layout::PageShape shape = page_shape(head_dim, config, row_dtype);
  const bool hadamard = (head_dim & (head_dim - 1)) == 0, key_frames = shape.key.rotated(), value_frames = shape.value.rotated();
  const int d = head_dim, key_parts = shape.key.frames, value_parts = shape.value.frames,
            num_value_frames = layout::kFrames * value_parts;
  const std::uint64_t seed = config.seed;
  if (hadamard && key_frames) key_signs_ = make_signs(seed, Stream::key_sign_in, Stream::key_sign_mid, key_parts, d);
  if (hadamard && value_frames) {
    value_signs_ = make_signs(seed, Stream::value_sign_in, Stream::value_sign_mid, num_value_frames, d);
  }
  if (!hadamard && key_frames) key_frames_ = make_frames(seed, Stream::key_frame, key_parts, d);
  if (!hadamard && value_frames) value_frames_ = make_frames(seed, Stream::value_frame, num_value_frames, d);
  if (!key_frames_.empty() && key_parts == 2) key_cross_ = make_cross(key_frames_, 1, d);
  if (!value_frames_.empty() && value_parts == 2) value_cross_ = make_cross(value_frames_, layout::kFrames, d);
  if (d <= layout::kMaxHeadDim) {
    mean_turn_ = make_mean_turn(d, config.rope);
  } else {  // exact keys have no mean, and queries are put into its order for nothing: any will do
    check_rope(d, config.rope);
    mean_turn_.order.resize(static_cast<std::size_t>(d));
  }
  tables_ = {.shape = shape,
             .hadamard = hadamard,
             .key_sign_in = pointer(key_signs_),
             .key_sign_mid = pointer(key_signs_, d),
             .value_sign_in = pointer(value_signs_),
             .value_sign_mid = pointer(value_signs_, d),
             .key_frames = pointer(key_frames_),
             .key_cross = pointer(key_cross_),
             .value_frames = pointer(value_frames_),
             .value_cross = pointer(value_cross_),
             .sketch = nullptr,
             .outlier_sketch = nullptr,
             .sketch_scale = 0.0f,
             .outlier_sketch_scale = 0.0f,
             .mean_order = mean_turn_.order.data(),
             .turning_pairs = mean_turn_.turning_pairs,
             .mean_channels = mean_turn_.mean_channels,
             .knot_cos = pointer(mean_turn_.cos),
             .knot_sin = pointer(mean_turn_.sin),
             .early_knots = pointer(mean_turn_.early)};
  if (shape.sketch_rows == 0) return;
  const SketchConfig::Kind kind = config.sketch.kind;
  sketch_ = make_sketch(seed, Stream::sketch, kind, shape.sketch_rows, d);
  tables_.sketch = pointer(sketch_);
  tables_.sketch_scale = sketch_scale(kind, shape.sketch_rows, d);
  if (shape.outlier_channels == 0) return;
  outlier_sketch_ = make_sketch(seed, Stream::outlier_sketch, kind, shape.outlier_rows, shape.outlier_channels);
  tables_.outlier_sketch = pointer(outlier_sketch_);
  tables_.outlier_sketch_scale = sketch_scale(kind, shape.outlier_rows, shape.outlier_channels);
}

std::int64_t CodecConstants::bytes() const {
  std::size_t floats = 0;
  for (const std::vector<float>* part : {&key_signs_, &value_signs_, &key_frames_, &value_frames_, &sketch_, &outlier_sketch_,
                                         &mean_turn_.cos, &mean_turn_.sin, &mean_turn_.early}) {
    floats += part->capacity();
  }
  const std::size_t crosses = key_cross_.capacity() + value_cross_.capacity();
  return static_cast<std::int64_t>(sizeof(*this) + floats * sizeof(float) + crosses * sizeof(std::int16_t) +
                                   mean_turn_.order.capacity());
}

}  // namespace qjl
