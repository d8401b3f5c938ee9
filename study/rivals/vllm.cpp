// The caches of vLLM whose scales are of a token and head, or of 16 numbers.
//
//   fp8_token       s = max|x| / 448                     x^ = s e4m3(x / s)                                  8 + 32 / d bits
//   int8_token      s = max|x| / 127                     x^ = s round(x / s)                                 8 + 32 / d
//   int4_token      y = H D x, s = (max y - min y) / 15, z = round(-min y / s) in 0 .. 15,                   4 + 32 / d
//                   q = round(y / s) + z in 0 .. 15      x^ = D H s (q - z); z stands in s' lowest bits
//   nvfp4           s = e4m3(max|x| / 6 g), of 16        x^ = g s e2m1(x / g s)                              4.5
//   nvfp4_4over6    as nvfp4, or with max|x| / 4 g where that has the smaller squared error                  4.5
//
// H: Hadamard, D: random signs. g is of a whole tensor, fp32: the largest number of the prompt over 6 * 448, so that scales use the
// range of e4m3. vLLM takes it from a checkpoint or from the first tokens that it sees. int4 is in bf16 there before it is coded, here
// it is not.
// Source: vLLM's modules triton_reshape_and_cache_flash and int4_per_token_head; its pull requests 40835 (int4), 37192 (nvfp4) and
// 45187 (4over6).
#include <algorithm>
#include <cmath>
#include <vector>

#include "hadamard.hpp"
#include "numbers.hpp"
#include "random_matrix.hpp"
#include "sides.hpp"

namespace qjl::engine::rivals {
namespace {

constexpr double kScaleBits = 32;  // fp32

float largest_of(std::span<const float> x) {
  float largest = 0;
  for (const float number : x) largest = std::max(largest, std::abs(number));
  return largest;
}

class EightBits final : public RowSide {
 public:
  EightBits(int head_dim, bool is_float) : head_dim_(head_dim), is_float_(is_float) {}
  double bits(int) const override { return 8 + kScaleBits / head_dim_; }

 private:
  void code_row(int, std::span<float> row) const override {
    const float scale = std::max(largest_of(row) / (is_float_ ? kE4m3.largest : 127.0f), 1e-6f);
    for (float& x : row) x = scale * (is_float_ ? round_to(kE4m3, x / scale) : std::nearbyint(x / scale));
  }

  int head_dim_;
  bool is_float_;
};

class FourBits final : public RowSide {
 public:
  FourBits(int head_dim, std::uint64_t seed) : signs_(gaussian_matrix(1, head_dim, seed).numbers) {
    for (float& sign : signs_) sign = sign < 0 ? -1.0f : 1.0f;
  }
  double bits(int) const override { return 4 + kScaleBits / static_cast<double>(signs_.size()); }

 private:
  void flip(std::span<float> row) const {
    for (std::size_t c = 0; c < row.size(); ++c) row[c] *= signs_[c];
  }
  void code_row(int, std::span<float> row) const override {
    flip(row);
    hadamard_blocks(row);
    const auto [least, most] = std::ranges::minmax(row);
    const float scale = std::max((most - least) / 15.0f, 1e-6f), zero = std::clamp(std::nearbyint(-least / scale), 0.0f, 15.0f);
    for (float& y : row) y = scale * (std::clamp(std::nearbyint(y / scale) + zero, 0.0f, 15.0f) - zero);
    hadamard_blocks(row);
    flip(row);
  }

  std::vector<float> signs_;
};

class Nvfp4 final : public Side {
 public:
  explicit Nvfp4(bool tries_four) : tries_four_(tries_four) {}
  double bits(int) const override { return 4 + 8.0 / kBlock; }
  bool learns() const override { return true; }

  void learn(const PromptRows& prompt) override {
    const auto layer = static_cast<std::size_t>(prompt.layer);
    if (global_.size() <= layer) global_.resize(layer + 1);
    global_[layer] = std::max(largest_of(prompt.numbers) / (kMost * kE4m3.largest), 1e-12f);
  }

  void code(const Rows& page) const override {
    const float global = global_[static_cast<std::size_t>(page.layer)];
    for (std::size_t begin = 0; begin < page.numbers.size(); begin += kBlock)
      code_block(page.numbers.subspan(begin, kBlock), global);
  }

 private:
  static constexpr std::size_t kBlock = 16;
  static constexpr NumberFormat kE2m1{2, -1, 6.0f};
  static constexpr float kMost = kE2m1.largest;

  static std::vector<float> decoded(std::span<const float> block, float most, float global) {
    const float scale = global * round_to(kE4m3, largest_of(block) / (most * global));
    std::vector<float> out(block.begin(), block.end());
    for (float& x : out) x = scale > 0 ? scale * round_to(kE2m1, x / scale) : 0.0f;
    return out;
  }
  static double squared_error(std::span<const float> block, std::span<const float> out) {
    double sum = 0;
    for (std::size_t i = 0; i < block.size(); ++i) sum += std::pow(double{block[i]} - out[i], 2);
    return sum;
  }
  void code_block(std::span<float> block, float global) const {
    std::vector<float> best = decoded(block, kMost, global);
    if (tries_four_) {
      std::vector<float> other = decoded(block, 4.0f, global);
      if (squared_error(block, other) < squared_error(block, best)) best = std::move(other);
    }
    std::ranges::copy(best, block.begin());
  }

  bool tries_four_;
  std::vector<float> global_;  // of each layer
};

}  // namespace

SidePtr eight_bits_per_token(int head_dim, bool is_float) { return std::make_unique<EightBits>(head_dim, is_float); }
SidePtr four_bits_per_token(int head_dim, std::uint64_t seed) { return std::make_unique<FourBits>(head_dim, seed); }
SidePtr nvfp4(bool tries_four) { return std::make_unique<Nvfp4>(tries_four); }

}  // namespace qjl::engine::rivals
