// Rows of numbers at the door: checks of shape and range, and the one rounding to the cache's 16-bit format (f16 or bf16).
//
//   f32 -> f16, bf16   to nearest, ties to even; a magnitude that would round to infinity is an error at the door
//   f16 -> bf16        through f32, exact up to the last rounding
#pragma once

#include <cstdint>
#include <string_view>

#include "qjl/tensor.hpp"
#include "qjl/threads.hpp"

namespace qjl {

// Who asks, for error texts: operation "append", tensor "keys".
struct RowsName {
  std::string_view operation;
  std::string_view tensor;
};

// Errors: invalid_argument unless a tensor is where the cache is.
void check_device(Device found, Device wanted, const RowsName& name);

// What a tensor may have: above these are no counts but mistakes, and arithmetic with them could overflow.
inline constexpr std::int64_t kMostHeads = std::int64_t{1} << 20, kMostTokens = std::int64_t{1} << 36;

// Errors: invalid_argument on counts above those, and on strides that reach beyond any memory.
void check_extent(std::int64_t heads, std::int64_t tokens, std::int64_t head_stride, std::int64_t token_stride,
                  const RowsName& name);

// Errors: invalid_argument when rows that are written would overlap.
void check_disjoint(const OutputView& rows, const RowsName& name);

// Errors: invalid_argument unless rows are [heads, tokens, dim], tokens >= 0, with memory of that device behind them.
void check_shape(const TensorView& rows, std::int64_t heads, std::int64_t dim, const RowsName& name, Device wanted = {});

// Errors: invalid_argument naming head, token and channel of the first NaN, infinity or number that `stored` cannot hold.
// stored = rows.dtype or f32: only NaN and infinity are wrong. Cost: one read of the rows.
void check_numbers(const TensorView& rows, DType stored, const RowsName& name, ThreadPool& threads);

// Bits of the least fp32 magnitude that check_numbers refuses.
std::uint32_t refused_from(DType stored);

// Whether check_numbers would accept tokens [first, first + count) of one head.
bool rows_fit(const TensorView& rows, std::int64_t head, std::int64_t first, std::int64_t count, DType stored);

// Rounds tokens [first, first + count) of one head to `stored` (f16 or bf16): out [count, dim]. Returns whether check_numbers would
// accept them: one pass does both.
bool round_rows(const TensorView& rows, std::int64_t head, std::int64_t first, std::int64_t count, DType stored,
                std::uint16_t* out);

// The same for decoded numbers [count], which may lie a little outside what f16 holds: those become its largest number.
void round_decoded(const float* numbers, std::int64_t count, DType stored, std::uint16_t* out);

// Where a row starts.
inline const std::uint8_t* row_address(const TensorView& rows, std::int64_t head, std::int64_t token) {
  return static_cast<const std::uint8_t*>(rows.data) +
         (head * rows.head_stride + token * rows.token_stride) * dtype_bytes(rows.dtype);
}

}  // namespace qjl
