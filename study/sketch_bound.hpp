// How many signs of a Gaussian sketch an error bound takes.
#pragma once

#include <cstdint>

namespace qjl::engine {

// Rows that keep |error| <= eps |q| |k| with probability 1 - delta (docs/numerics.md), and what the lemma of the paper asks for,
// which is too few. Errors: invalid_argument unless eps and delta lie between 0 and 1.
struct SketchBound {
  std::int64_t rows = 0;
  std::int64_t published_rows = 0;
};
SketchBound sketch_bound(double eps, double delta);

}  // namespace qjl::engine
