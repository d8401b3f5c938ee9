// Weights repacked once for integer dot products: 16 rows side by side, so that a 32-bit lane of a register belongs to one row.
//
//   w[r][c] = scale[r][b] * code[r][c] + offset[r][b],   b = c / 32 a block of columns
//   group of 16 rows = [codes of every block][scales fp16: block, half, row][offsets fp16, if any]
//     nibbles: block = 4 x 64 bytes; byte 4 r + i of register j: low half column 4 j + i, high half column 16 + 4 j + i
//     fives:   as nibbles, then 64 bytes: bit j of byte 4 r + i is the fifth bit of column 4 j + i
//     sixes:   as nibbles, then 2 x 64 bytes: bits 2 (j mod 4) and on of byte 4 r + i of register j / 4: the upper two bits
//     bytes:   block = 8 x 64 bytes; byte 4 r + i of register j: column 4 j + i
//
// Codes are unsigned; a format without offsets has one centre for all: offset = -centre * scale. Sixes have a scale for each half
// of a block, the others one for all of it. A row costs what it costs in the file, the K formats half a bit a number more. Rows
// beyond the last are zero.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "qjl/simd.hpp"
#include "qjl/threads.hpp"
#include "weights.hpp"

namespace qjl::engine {

inline constexpr int kIntegerTokens = 8;
inline constexpr std::int64_t kGroupRows = 16, kBlockColumns = 32;

// bytes: 0 to 255 with centre 128. The others are at most 63, so that two products of one fit 16 bits.
enum class CodeWidth : std::uint8_t { nibbles, fives, sixes, bytes };

constexpr std::int64_t code_bytes_of(CodeWidth width) {  // of a block
  return width == CodeWidth::nibbles ? 256 : width == CodeWidth::fives ? 320 : width == CodeWidth::sixes ? 384 : 512;
}
constexpr int scales_of(CodeWidth width) { return width == CodeWidth::sixes ? 2 : 1; }

// Zeroed memory at a multiple of 64, in large pages where the system has them: a decode step walks through all of it.
class PackedMemory {
 public:
  PackedMemory() = default;
  explicit PackedMemory(std::int64_t bytes);
  std::byte* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::unique_ptr<std::byte, Free> data_;
};

class PackedWeight {
 public:
  // Whether a format has integer codes with one scale for at least 32 columns.
  static bool can_pack(const Weight& weight);
  // What packing takes, a multiple of 64.
  static std::int64_t packed_bytes(const Weight& weight);

  // Writes to `memory` [packed_bytes(weight)], which is zero and outlives this view.
  PackedWeight(const Weight& weight, std::byte* memory, ThreadPool& threads);

  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return blocks_ * kBlockColumns; }
  std::int64_t blocks() const { return blocks_; }
  std::int64_t groups() const { return (rows_ + kGroupRows - 1) / kGroupRows; }
  CodeWidth width() const { return width_; }
  bool has_offsets() const { return has_offsets_; }
  float centre() const { return centre_; }
  std::int64_t code_bytes() const { return code_bytes_of(width_); }

  // Groups follow each other.
  std::int64_t group_bytes() const;
  const std::byte* codes(std::int64_t group) const { return data_ + group * group_bytes(); }
  const std::byte* scales(std::int64_t group) const { return codes(group) + blocks_ * code_bytes(); }
  const std::byte* offsets(std::int64_t group) const { return scales(group) + blocks_ * scales_of(width_) * kScaleBytes; }

  static constexpr std::int64_t kScaleBytes = 2 * kGroupRows;  // an fp16 for each row

 private:
  explicit PackedWeight(const Weight& weight);
  void pack_group(const Weight& weight, std::int64_t group);

  std::int64_t rows_, blocks_;
  CodeWidth width_;
  bool has_offsets_;
  float centre_;
  std::byte* data_ = nullptr;
};

// At most kIntegerTokens rows of activations in 16 bits, 32 columns at a time:
//   x[t][c] = scale[t] * (128 high[t][c] + low[t][c]),   scale = largest |x| / 16256
// Two signed bytes, because the dot product of the hardware takes bytes; the error is at most 2^-15 (1 + 2^-6) of the block's
// largest number. A block with an infinity or NaN has the scale NaN.
struct alignas(64) QuantizedBlock {
  std::int8_t high_low[kIntegerTokens][2][kBlockColumns];
  float scale[kIntegerTokens];
  float scaled_sum[kIntegerTokens];   // scale * sum of the integers: what offsets are multiplied with
  float half_sum[2][kIntegerTokens];  // the same of columns 0 to 15, and of the rest
};

// All blocks of x; rows of `out` beyond x.tokens are zero up to the next power of two. The same bits on every target.
void quantize(const Activations& x, std::int64_t columns, QuantizedBlock* out);
void quantize(const Activations& x, std::int64_t columns, QuantizedBlock* out, SimdTarget target);

// Rows of some groups times quantized activations.
struct PackedMatvecArgs {
  const PackedWeight* weight;
  std::int64_t group_begin, group_end;
  const QuantizedBlock* x;  // [blocks]
  std::int64_t tokens;
  float* out;
  std::int64_t out_stride;
  const std::byte* next = nullptr;  // where the reading goes on after these groups, if not behind them
};
void packed_matvec(const PackedMatvecArgs& args);                     // on the chosen target
void packed_matvec(const PackedMatvecArgs& args, SimdTarget target);  // on any that simd_targets() names

}  // namespace qjl::engine
