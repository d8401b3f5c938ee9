// PolarQuant: after a random rotation, blocks of 16 coordinates become one radius and 15 angles by four rounds of polar
// coordinates.
//
//   round 1   8 angles atan2(x_2j+1, x_2j) in [0, 2 pi), uniform: 16 levels, 4 bits
//   round l   angles atan2(r_2j+1, r_2j) in [0, pi/2] of the radii of round l - 1, density ~ sin(2 t)^(2^(l-1) - 1): 4 levels, 2
//   bits the last radius in fp16: (8 * 4 + 7 * 2 + 16) / 16 = 3.875 bits a number
//
// Levels of rounds 2 to 4 are Lloyd-Max of their density, the paper's offline codebook.
// Source: PolarQuant (arXiv 2502.02617), algorithm 1 and lemma 2.
#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "lloyd.hpp"
#include "numbers.hpp"
#include "random_matrix.hpp"
#include "sides.hpp"

namespace qjl::engine::rivals {
namespace {

constexpr int kRounds = 4, kBlock = 1 << kRounds, kFirstLevels = 16;

class PolarQuant final : public RowSide {
 public:
  PolarQuant(int dim, std::uint64_t seed) : rotation_(rotation_matrix(dim, seed)) {
    for (int round = 1; round < kRounds; ++round) {
      const int power = (1 << round) - 1;
      levels_[static_cast<std::size_t>(round)] =
          lloyd_max([power](double t) { return std::pow(std::sin(2 * t), power); }, 0.0, 0.5 * std::numbers::pi, 4);
    }
  }
  double bits(int) const override { return (8 * 4 + 7 * 2 + 16.0) / kBlock; }

 private:
  void code_row(int, std::span<float> row) const override {
    std::vector<float> turned(row.size());
    rotation_.multiply(row, turned);
    for (std::size_t begin = 0; begin < turned.size(); begin += kBlock) code_block(std::span(turned).subspan(begin, kBlock));
    std::fill(row.begin(), row.end(), 0.0f);
    rotation_.add_transposed(turned, 1.0f, row);
  }

  // The nearest stored angle of one round; round 0 goes around the circle.
  float stored_angle(int round, float y, float x) const {
    const float angle = std::atan2(y, x);
    if (round > 0) {
      const auto& levels = levels_[static_cast<std::size_t>(round)];
      return levels[static_cast<std::size_t>(nearest_level(levels, angle))];
    }
    constexpr float kStep = 2.0f * std::numbers::pi_v<float> / kFirstLevels;
    return (std::floor(angle / kStep) + 0.5f) * kStep;  // from -pi: the same cells
  }

  void code_block(std::span<float> x) const {
    std::array<float, kBlock> radii{}, angles{};  // angles of round l at [kBlock - (kBlock >> l), ...)
    std::copy(x.begin(), x.end(), radii.begin());
    for (int round = 0, count = kBlock / 2, at = 0; round < kRounds; at += count, ++round, count /= 2) {
      for (int j = 0; j < count; ++j) {
        const auto i = static_cast<std::size_t>(j);
        const float a = radii[2 * i], b = radii[2 * i + 1];
        angles[static_cast<std::size_t>(at + j)] = stored_angle(round, b, a);
        radii[i] = std::hypot(a, b);
      }
    }
    std::array<float, kBlock> back{fp16(radii[0])};
    for (int round = kRounds - 1, count = 1, at = kBlock - 2; round >= 0; --round, count *= 2, at -= count) {
      for (int j = count - 1; j >= 0; --j) {
        const auto i = static_cast<std::size_t>(j);
        const float radius = back[i], angle = angles[static_cast<std::size_t>(at + j)];
        back[2 * i] = radius * std::cos(angle);
        back[2 * i + 1] = radius * std::sin(angle);
      }
    }
    std::copy(back.begin(), back.end(), x.begin());
  }

  Matrix rotation_;
  std::array<std::vector<float>, kRounds> levels_;
};

}  // namespace

SidePtr polar_quant(int head_dim, std::uint64_t seed) { return std::make_unique<PolarQuant>(head_dim, seed); }

}  // namespace qjl::engine::rivals
