// The random matrices of the sketching and rotating methods, from a seed: the same on every machine with the same C library.
//
//   gaussian_matrix    i.i.d. N(0, 1)
//   rotation_matrix    [dim, dim], Haar: Gram-Schmidt over the rows of a Gaussian
//   orthogonal_rows    blocks of dim rows, each a rotation times sqrt(dim): the row norm of a Gaussian in the mean
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace qjl::engine::rivals {

// Row-major [rows, dim].
struct Matrix {
  int rows = 0, dim = 0;
  std::vector<float> numbers;

  std::span<const float> row(int i) const { return std::span(numbers).subspan(static_cast<std::size_t>(i) * dim, dim); }
  // out [rows] = M x
  void multiply(std::span<const float> x, std::span<float> out) const;
  // out [dim] += scale * M^T y
  void add_transposed(std::span<const float> y, float scale, std::span<float> out) const;
};

Matrix gaussian_matrix(int rows, int dim, std::uint64_t seed);
Matrix rotation_matrix(int dim, std::uint64_t seed);
Matrix orthogonal_rows(int rows, int dim, std::uint64_t seed);

}  // namespace qjl::engine::rivals
