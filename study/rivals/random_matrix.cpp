// random_matrix.hpp has the formulas.
#include "random_matrix.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <random>

namespace qjl::engine::rivals {
namespace {

double uniform(std::mt19937_64& random) { return (static_cast<double>(random() >> 11) + 0.5) * 0x1p-53; }

// Box-Muller: std::normal_distribution differs between libraries.
std::vector<double> normals(std::size_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<double> numbers(count);
  for (double& number : numbers) {
    const double radius = std::sqrt(-2.0 * std::log(uniform(random)));
    number = radius * std::cos(2.0 * std::numbers::pi * uniform(random));
  }
  return numbers;
}

// Rows of norm 1, each orthogonal to those before; every step twice, so that they are orthogonal to rounding.
void orthonormalise(std::span<double> square, std::size_t dim) {
  for (std::size_t i = 0; i < dim; ++i) {
    const auto row = square.subspan(i * dim, dim);
    for (int pass = 0; pass < 2; ++pass) {
      for (std::size_t j = 0; j < i; ++j) {
        const auto done = square.subspan(j * dim, dim);
        double along = 0;
        for (std::size_t c = 0; c < dim; ++c) along += done[c] * row[c];
        for (std::size_t c = 0; c < dim; ++c) row[c] -= along * done[c];
      }
    }
    double squared = 0;
    for (const double x : row) squared += x * x;
    for (double& x : row) x /= std::sqrt(squared);
  }
}

Matrix orthogonal(int rows, int dim, std::uint64_t seed, double norm) {
  const int blocks = (rows + dim - 1) / dim;
  const std::size_t square = static_cast<std::size_t>(dim) * dim;
  std::vector<double> numbers = normals(static_cast<std::size_t>(blocks) * square, seed);
  for (int block = 0; block < blocks; ++block)
    orthonormalise(std::span(numbers).subspan(static_cast<std::size_t>(block) * square, square), static_cast<std::size_t>(dim));
  Matrix matrix{rows, dim, std::vector<float>(static_cast<std::size_t>(rows) * dim)};
  for (std::size_t i = 0; i < matrix.numbers.size(); ++i) matrix.numbers[i] = static_cast<float>(norm * numbers[i]);
  return matrix;
}

}  // namespace

void Matrix::multiply(std::span<const float> x, std::span<float> out) const {
  for (int i = 0; i < rows; ++i) {
    const float* m = numbers.data() + static_cast<std::ptrdiff_t>(i) * dim;
    // Sixteen partial sums: the compiler may not reorder one.
    float sums[16] = {};
    int c = 0;
    for (; c + 16 <= dim; c += 16) {
      for (int lane = 0; lane < 16; ++lane) sums[lane] += m[c + lane] * x[static_cast<std::size_t>(c + lane)];
    }
    float sum = 0;
    for (; c < dim; ++c) sum += m[c] * x[static_cast<std::size_t>(c)];
    for (const float part : sums) sum += part;
    out[static_cast<std::size_t>(i)] = sum;
  }
}

void Matrix::add_transposed(std::span<const float> y, float scale, std::span<float> out) const {
  for (int i = 0; i < rows; ++i) {
    const float* m = numbers.data() + static_cast<std::ptrdiff_t>(i) * dim;
    const float weight = scale * y[static_cast<std::size_t>(i)];
    for (int c = 0; c < dim; ++c) out[static_cast<std::size_t>(c)] += weight * m[c];
  }
}

Matrix gaussian_matrix(int rows, int dim, std::uint64_t seed) {
  const std::vector<double> numbers = normals(static_cast<std::size_t>(rows) * dim, seed);
  return {rows, dim, {numbers.begin(), numbers.end()}};
}

Matrix rotation_matrix(int dim, std::uint64_t seed) { return orthogonal(dim, dim, seed, 1.0); }

Matrix orthogonal_rows(int rows, int dim, std::uint64_t seed) {
  return orthogonal(rows, dim, seed, std::sqrt(static_cast<double>(dim)));
}

}  // namespace qjl::engine::rivals
