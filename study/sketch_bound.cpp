// sketch_bound: whole rows of the formulas in estimator.hpp.
#include "sketch_bound.hpp"

#include <cmath>
#include <string>

#include "estimator.hpp"
#include "qjl/error.hpp"

namespace qjl::engine {

SketchBound sketch_bound(double eps, double delta) {
  if (!(eps > 0 && eps < 1 && delta > 0 && delta < 1)) {
    throw Error(ErrorKind::invalid_argument,
                "[sketch_bound] found eps " + std::to_string(eps) + " and delta " + std::to_string(delta) + ", wanted 0 to 1");
  }
  return {static_cast<std::int64_t>(std::ceil(sufficient_rows(eps, delta))),
          static_cast<std::int64_t>(std::ceil(published_rows(eps, delta)))};
}

}  // namespace qjl::engine
