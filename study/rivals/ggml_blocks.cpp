// ggml's q8_0 and q4_0 blocks of 32 numbers with one fp16 step, as llama.cpp's caches use them.
//
//   q8_0   d = max|x| / 127                   q = round(x / d)                    x^ = fp16(d) q          8.5 bits
//   q4_0   d = x_j / -8, j = arg max |x_j|    q = min(15, floor(x / d + 8.5))     x^ = fp16(d) (q - 8)    4.5 bits
//
// Since its rotation of activations llama.cpp turns q, k and v by a normalised Sylvester Hadamard matrix first (no random signs):
// keys by the largest power of two that divides head_dim, from 64 on, values by 64. The matrix is its own inverse.
// Source: quantize_row_q8_0_ref, quantize_row_q4_0_ref (ggml-quants.c); ggml-org/llama.cpp pull request 21038.
#include <cmath>

#include "hadamard.hpp"
#include "numbers.hpp"
#include "sides.hpp"

namespace qjl::engine::rivals {
namespace {

constexpr std::size_t kBlock = 32;

class Q8_0 final : public RowSide {
 public:
  double bits(int) const override { return 8.0 + 16.0 / kBlock; }

 private:
  void code_row(int, std::span<float> row) const override {
    for (std::size_t begin = 0; begin < row.size(); begin += kBlock) {
      const auto block = row.subspan(begin, kBlock);
      float largest = 0;
      for (const float x : block) largest = std::max(largest, std::abs(x));
      const float step = largest / 127.0f, inverse = step > 0 ? 1.0f / step : 0.0f, stored = fp16(step);
      for (float& x : block) x = std::round(x * inverse) * stored;
    }
  }
};

class Q4_0 final : public RowSide {
 public:
  explicit Q4_0(int hadamard) : hadamard_(static_cast<std::size_t>(hadamard)) {}
  double bits(int) const override { return 4.0 + 16.0 / kBlock; }

 private:
  void code_row(int, std::span<float> row) const override {
    turn(row);
    for (std::size_t begin = 0; begin < row.size(); begin += kBlock) code_block(row.subspan(begin, kBlock));
    turn(row);
  }
  void turn(std::span<float> row) const {
    for (std::size_t begin = 0; hadamard_ > 0 && begin < row.size(); begin += hadamard_)
      hadamard_transform(row.subspan(begin, hadamard_));
  }
  static void code_block(std::span<float> block) {
    float extreme = 0;
    for (const float x : block) {
      if (std::abs(x) > std::abs(extreme)) extreme = x;
    }
    const float step = extreme / -8.0f, inverse = step != 0 ? 1.0f / step : 0.0f, stored = fp16(step);
    for (float& x : block) x = (std::min(15.0f, std::floor(x * inverse + 8.5f)) - 8.0f) * stored;
  }

  std::size_t hadamard_;
};

}  // namespace

SidePtr ggml_q8_0() { return std::make_unique<Q8_0>(); }
SidePtr ggml_q4_0(int hadamard) { return std::make_unique<Q4_0>(hadamard); }

}  // namespace qjl::engine::rivals
