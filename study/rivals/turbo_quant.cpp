// TurboQuant: a random rotation, then the Lloyd-Max quantiser of one coordinate of a uniform unit vector; the norm in fp16.
//
//   mse    y = P x / |x|, c = nearest level of each y_i, x^ = fp16(|x|) P^T c                                   b + 16 / d bits
//   prod   x1 = mse with b - 1 bits, r = x - x1, x^ = x1 + sqrt(pi/2)/d fp16(|r|) S^T sign(S r), S Gaussian     b + 32 / d bits
//
// Levels are those of the density f(y) ~ (1 - y^2)^((d - 3) / 2) on [-1, 1]. prod is for keys: its inner products are unbiased.
// The paper does not count the norms; a cache has to keep them.
// Source: TurboQuant (arXiv 2504.19874), algorithms 1 and 2.
#include <cmath>
#include <numbers>

#include "lloyd.hpp"
#include "numbers.hpp"
#include "random_matrix.hpp"
#include "sides.hpp"

namespace qjl::engine::rivals {
namespace {

float norm_of(std::span<const float> x) {
  double squared = 0;
  for (const float number : x) squared += double{number} * number;
  return static_cast<float>(std::sqrt(squared));
}

class TurboMse final : public RowSide {
 public:
  TurboMse(int bits, int dim, std::uint64_t seed)
      : bits_(bits),
        rotation_(rotation_matrix(dim, seed)),
        levels_(lloyd_max([dim](double y) { return std::pow(1 - y * y, 0.5 * (dim - 3)); }, -1.0, 1.0, 1 << bits)) {}
  double bits(int) const override { return bits_ + 16.0 / rotation_.dim; }
  void code_row(int, std::span<float> row) const override {
    const float norm = norm_of(row);
    if (norm == 0) return;
    std::vector<float> turned(row.size());
    rotation_.multiply(row, turned);
    for (float& y : turned) y = levels_[static_cast<std::size_t>(nearest_level(levels_, y / norm))];
    std::fill(row.begin(), row.end(), 0.0f);
    rotation_.add_transposed(turned, fp16(norm), row);
  }

 private:
  int bits_;
  Matrix rotation_;
  std::vector<float> levels_;
};

class TurboProd final : public RowSide {
 public:
  TurboProd(int bits, int dim, std::uint64_t seed) : mse_(bits - 1, dim, seed), sketch_(gaussian_matrix(dim, dim, seed + 1)) {}
  double bits(int layer) const override { return mse_.bits(layer) + 1.0 + 16.0 / sketch_.dim; }

 private:
  void code_row(int layer, std::span<float> row) const override {
    std::vector<float> rest(row.begin(), row.end()), signs(row.size());
    mse_.code_row(layer, row);
    for (std::size_t c = 0; c < row.size(); ++c) rest[c] -= row[c];
    sketch_.multiply(rest, signs);
    for (float& s : signs) s = s > 0 ? 1.0f : -1.0f;
    const double scale = std::sqrt(0.5 * std::numbers::pi) / sketch_.rows;
    sketch_.add_transposed(signs, static_cast<float>(scale * fp16(norm_of(rest))), row);
  }

  TurboMse mse_;
  Matrix sketch_;
};

}  // namespace

SidePtr turbo_mse(int bits, int head_dim, std::uint64_t seed) { return std::make_unique<TurboMse>(bits, head_dim, seed); }
SidePtr turbo_prod(int bits, int head_dim, std::uint64_t seed) { return std::make_unique<TurboProd>(bits, head_dim, seed); }

}  // namespace qjl::engine::rivals
