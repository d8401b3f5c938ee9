// Matrices of a model as they lie in the file, and their products with fp32 activations.
//
//   y[t][r] = sum_c W[r][c] x[t][c]        W [rows, columns] in any WeightType, x [tokens, columns], y [tokens, rows]
//
// Exact: fp32 throughout. Up to kMatvecTokens tokens: weights are decoded in registers, each byte is read once. More: panels of W
// become fp32 and go through oneDNN's sgemm, one panel per worker.
// Fast, for packed weights (packed_weight.hpp): up to kIntegerTokens tokens in integers, activations in 16 bits; more as bf16
// (panel_bf16.hpp), or as exact where the processor has no bf16 products.
// A result does not depend on the number of threads; it depends on the number of tokens by the rounding named above, unless the
// caller says of what kind the rows are (RowKind).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "qjl/simd.hpp"
#include "qjl/threads.hpp"
#include "weight_type.hpp"

namespace qjl::engine {

class PackedWeight;
struct QuantizedBlock;

// How matrix products are computed.
enum class Arithmetic : std::uint8_t { exact, fast };

// Which of these ways rows of activations go. by_count: the faster one for so many. A decode row goes as if it were alone and a
// prompt row as if it were of many, however many there are: what a row gives then does not depend on the others beside it.
enum class RowKind : std::uint8_t { by_count, decode, prompt };

inline constexpr int kMatvecTokens = 4;

struct Weight {
  WeightType type = WeightType::f32;
  std::int64_t rows = 0, columns = 0;
  const std::byte* data = nullptr;
  const PackedWeight* packed = nullptr;  // the same numbers for fast arithmetic, or none

  std::int64_t row_bytes() const { return columns / block_numbers(type) * block_bytes(type); }
  const std::byte* row(std::int64_t r) const { return data + r * row_bytes(); }
  // Row r as fp32: [columns].
  void decode_row(std::int64_t r, float* out) const;
};

// Activations [tokens, columns], `stride` floats a token.
struct Activations {
  const float* data;
  std::int64_t tokens, stride;
};

// One product; `out` has `out_stride` floats a token.
struct Product {
  const Weight* weight;
  float* out;
  std::int64_t out_stride;
};

// Scratch memory of multiply(): activations in 16 bits, and one decoded panel per worker. Grows on first use.
struct ProductScratch {
  std::vector<std::vector<float>> panels;
  std::vector<QuantizedBlock> quantized;
  std::vector<std::uint16_t> rounded;
  std::int64_t weight_bytes = 0;  // of all matrices multiplied with so far, as they lie in the file or packed
  ProductScratch();
  ~ProductScratch();
  ProductScratch(ProductScratch&&) noexcept;
  std::int64_t bytes() const;
};

// Several products with the same activations; their rows are shared out together, so that small matrices cost one round of
// threads. All weights have x's columns.
struct Products {
  std::span<const Product> list;
  Activations x;
  Arithmetic arithmetic = Arithmetic::exact;
  const Weight* next = nullptr;  // what the next call reads first, if known: every worker asks for its share's beginning
  RowKind rows = RowKind::by_count;
};
void multiply(const Products& products, ProductScratch& scratch, ThreadPool& threads);

// Rows [row_begin, row_end) of one product with at most kMatvecTokens tokens.
struct MatvecArgs {
  const Weight* weight;
  std::int64_t row_begin, row_end;
  Activations x;
  float* out;
  std::int64_t out_stride;
};
void matvec(const MatvecArgs& args);                     // on the chosen target
void matvec(const MatvecArgs& args, SimdTarget target);  // on any that simd_targets() names

}  // namespace qjl::engine
