// The paper's own method (arXiv 2406.03482), in doubles.
//
//   S [m, d]: Gaussian, or Q of each Gaussian block of d rows times sqrt(d) (the last block keeps its first rows)
//   <q, k> is estimated by  c |k_in| <S q_in, sign(S k_in)> + c_o |k_out| <S_o q_out, sign(S_o k_out)>
//   c = sqrt(pi/2) / m for Gaussian rows; rows of norm sqrt(d) uniform on the sphere have E |s_1| = sqrt(d) E |u_1| instead of
//   sqrt(2/pi), E |u_1| = Gamma(d/2) / (sqrt(pi) Gamma((d+1)/2)), so c = 1 / (m sqrt(d) E |u_1|) makes them unbiased.
//   Outlier channels: the n of largest energy over the page's keys; values: 2 bits from min to max over 32 channels.
//
// Sees the standard library only: the tests' own opinion.
#pragma once

#include <algorithm>
#include <numeric>

#include "oracle_codec.hpp"

namespace oracle {

enum class Rows { gaussian, orthogonal };

inline Matrix sketch_matrix(std::uint64_t seed, std::uint32_t stream, Rows kind, int m, int d) {
  if (kind == Rows::gaussian) return random_gaussian(seed, stream, m, d);
  const int blocks = (m + d - 1) / d;
  const Matrix g = random_gaussian(seed, stream, blocks * d, d);
  Matrix s(m, d);
  for (int block = 0; block < blocks; ++block) {
    Matrix part(d, d);
    std::copy_n(g.at.begin() + static_cast<std::size_t>(block) * d * d, d * d, part.at.begin());
    const Matrix q = orthogonal_factor(part);
    for (int i = 0; i < d && block * d + i < m; ++i) {
      for (int j = 0; j < d; ++j) s(block * d + i, j) = std::sqrt(static_cast<double>(d)) * q(i, j);
    }
  }
  return s;
}

inline double sketch_constant(Rows kind, int m, int d) {
  if (kind == Rows::gaussian) return std::sqrt(std::numbers::pi / 2.0) / m;
  const double mean_abs = std::exp(std::lgamma(d / 2.0) - std::lgamma((d + 1) / 2.0)) / std::sqrt(std::numbers::pi);
  return 1.0 / (m * std::sqrt(static_cast<double>(d)) * mean_abs);
}

// The channels of largest energy, ascending; of equal ones the lower.
inline std::vector<int> largest_channels(const std::vector<Vector>& keys, int count) {
  Vector energy(keys[0].size());
  for (const Vector& k : keys) {
    for (std::size_t c = 0; c < k.size(); ++c) energy[c] += k[c] * k[c];
  }
  std::vector<int> order(energy.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) { return energy[a] != energy[b] ? energy[a] > energy[b] : a < b; });
  order.resize(count);
  std::sort(order.begin(), order.end());
  return order;
}

struct Sketch {
  Matrix s, outlier_s;
  double constant = 0.0, outlier_constant = 0.0;

  Sketch(const Format& f, std::uint64_t seed, Rows kind)
      : s(sketch_matrix(seed, 128, kind, f.m, f.d)), constant(sketch_constant(kind, f.m, f.d)) {
    if (f.outliers == 0) return;
    outlier_s = sketch_matrix(seed, 129, kind, f.outlier_m, f.outliers);
    outlier_constant = sketch_constant(kind, f.outlier_m, f.outliers);
  }

  // The estimate is linear in q, so a coded key is a vector: the numbers that the page stands for.
  Vector decode_key(const Format& f, const Page& page, int token) const {
    Vector k(f.d);
    for (int row = 0; row < f.m; ++row) {
      const double weight = constant * page.key_norm(token) * (page.key_bit(token, row) ? -1.0 : 1.0);
      for (int c = 0; c < f.d; ++c) k[c] += weight * s(row, c);
    }
    for (int i = 0; i < f.outliers; ++i) {
      double sum = 0.0;
      for (int row = 0; row < f.outlier_m; ++row) sum += (page.outlier_bit(token, row) ? -1.0 : 1.0) * outlier_s(row, i);
      k[page.outlier_channel(i)] = outlier_constant * page.outlier_norm(token) * sum;
    }
    return k;
  }
};

}  // namespace oracle
