// The random numbers and the rotations of the codec, in doubles.
//
//   Philox4x32-10 (Salmon et al., SC 2011): key = (seed low, seed high), counter = (block, stream, 0, 0)
//   word w of a stream   = word w mod 4 of block w / 4
//   sign c of a stream   = -1 when bit c mod 32 of word c / 32 is set
//   normal n of a stream = Box-Muller of the words 2p, 2p + 1, p = n / 2, u = (word + 1/2) / 2^32
//   frame P_f [d, d]     = H D1_f H D2 / d with Sylvester's H for d a power of two, else Q of the Gaussian G = Q R, diag R > 0
//
// Sees the standard library only: the tests' own opinion.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

namespace oracle {

using Vector = std::vector<double>;

struct Matrix {
  int rows = 0, cols = 0;
  Vector at;  // row major

  Matrix() = default;
  Matrix(int num_rows, int num_cols) : rows(num_rows), cols(num_cols), at(static_cast<std::size_t>(num_rows) * num_cols) {}
  double& operator()(int i, int j) { return at[static_cast<std::size_t>(i) * cols + j]; }
  double operator()(int i, int j) const { return at[static_cast<std::size_t>(i) * cols + j]; }
};

inline double dot(const Vector& a, const Vector& b) {
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}
inline double norm(const Vector& a) { return std::sqrt(dot(a, a)); }

inline Vector multiply(const Matrix& m, const Vector& x) {
  Vector y(m.rows);
  for (int i = 0; i < m.rows; ++i) {
    for (int j = 0; j < m.cols; ++j) y[i] += m(i, j) * x[j];
  }
  return y;
}
inline Vector multiply_transposed(const Matrix& m, const Vector& y) {
  Vector x(m.cols);
  for (int i = 0; i < m.rows; ++i) {
    for (int j = 0; j < m.cols; ++j) x[j] += m(i, j) * y[i];
  }
  return x;
}

inline std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53} * counter[0], b = std::uint64_t{0xCD9E8D57} * counter[2];
    const auto high = [](std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); };
    const auto low = [](std::uint64_t x) { return static_cast<std::uint32_t>(x); };
    counter = {high(b) ^ counter[1] ^ key[0], low(b), high(a) ^ counter[3] ^ key[1], low(a)};
    key = {key[0] + 0x9E3779B9, key[1] + 0xBB67AE85};
  }
  return counter;
}

inline std::uint32_t random_word(std::uint64_t seed, std::uint32_t stream, std::uint32_t index) {
  return philox({index / 4, stream, 0, 0}, {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)})[index % 4];
}

inline double random_sign(std::uint64_t seed, std::uint32_t stream, std::uint32_t index) {
  return (random_word(seed, stream, index / 32) >> (index % 32)) & 1 ? -1.0 : 1.0;
}

inline double random_normal(std::uint64_t seed, std::uint32_t stream, std::uint32_t index) {
  const auto uniform = [&](std::uint32_t word) { return (random_word(seed, stream, word) + 0.5) / 4294967296.0; };
  const std::uint32_t pair = index / 2;
  const double radius = std::sqrt(-2.0 * std::log(uniform(2 * pair))), angle = 2.0 * std::numbers::pi * uniform(2 * pair + 1);
  return radius * (index % 2 == 0 ? std::cos(angle) : std::sin(angle));
}

inline Matrix random_gaussian(std::uint64_t seed, std::uint32_t stream, int rows, int cols) {
  Matrix g(rows, cols);
  for (int n = 0; n < rows * cols; ++n) g.at[n] = random_normal(seed, stream, n);
  return g;
}

// Q of G = Q R with positive diagonal of R: Gram-Schmidt on the columns, each projected out twice so that Q is orthogonal to 1e-15.
inline Matrix orthogonal_factor(Matrix g) {
  for (int j = 0; j < g.cols; ++j) {
    for (int pass = 0; pass < 2; ++pass) {
      for (int k = 0; k < j; ++k) {
        double along = 0.0;
        for (int i = 0; i < g.rows; ++i) along += g(i, k) * g(i, j);
        for (int i = 0; i < g.rows; ++i) g(i, j) -= along * g(i, k);
      }
    }
    double length = 0.0;
    for (int i = 0; i < g.rows; ++i) length += g(i, j) * g(i, j);
    for (int i = 0; i < g.rows; ++i) g(i, j) /= std::sqrt(length);
  }
  return g;
}

// H[i][k] = (-1)^popcount(i & k), so (H D1 H)[i][j] = sum_k D1[k] (-1)^popcount(k & (i ^ j)) depends on i ^ j alone.
inline Matrix hadamard_frame(std::uint64_t seed, std::uint32_t in_stream, std::uint32_t mid_stream, int d) {
  Vector transform(d);
  for (int i = 0; i < d; ++i) {
    for (int k = 0; k < d; ++k) {
      const double h = std::popcount(static_cast<unsigned>(i & k)) % 2 == 0 ? 1.0 : -1.0;
      transform[i] += h * random_sign(seed, mid_stream, k);
    }
  }
  Matrix p(d, d);
  for (int j = 0; j < d; ++j) {
    const double sign_in = random_sign(seed, in_stream, j);
    for (int i = 0; i < d; ++i) p(i, j) = transform[i ^ j] * sign_in / d;
  }
  return p;
}

inline bool is_power_of_two(int d) { return (d & (d - 1)) == 0; }

inline Matrix key_frame(std::uint64_t seed, int frame, int d) {
  if (is_power_of_two(d)) return hadamard_frame(seed, 0, 1 + frame, d);
  return orthogonal_factor(random_gaussian(seed, 64 + frame, d, d));
}
inline Matrix value_frame(std::uint64_t seed, int frame, int d) {
  if (is_power_of_two(d)) return hadamard_frame(seed, 16, 17 + frame, d);
  return orthogonal_factor(random_gaussian(seed, 80 + frame, d, d));
}

}  // namespace oracle
