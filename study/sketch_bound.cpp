// sketch_bound: whole rows of the formulas in estimator.hpp.
#include "sketch_bound.hpp"

#include <cmath>
#include <sstream>
#include <string>

#include "estimator.hpp"
#include "qjl/error.hpp"

namespace qjl::engine {
namespace {

constexpr double kMostRows = 0x1p53;  // doubles hold whole numbers up to it

}  // namespace

SketchBound sketch_bound(double eps, double delta) {
  if (!(eps > 0 && eps < 1 && delta > 0 && delta < 1)) {
    throw Error(ErrorKind::invalid_argument,
                "[sketch_bound] found eps " + std::to_string(eps) + " and delta " + std::to_string(delta) + ", wanted 0 to 1");
  }
  const auto whole = [&](double rows) {
    const double up = std::ceil(rows);
    if (!(up <= kMostRows)) {
      std::ostringstream found;
      found << "[sketch_bound] found eps " << eps << " and delta " << delta << ", which take " << up
            << " rows, wanted at most 2^53";
      throw Error(ErrorKind::invalid_argument, found.str());
    }
    return static_cast<std::int64_t>(up);
  };
  return {whole(sufficient_rows(eps, delta)), whole(published_rows(eps, delta))};
}

}  // namespace qjl::engine
