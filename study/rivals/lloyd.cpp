// lloyd.hpp has the conditions. Running sums of mass and of mass times place make a cell's mean two subtractions.
#include "lloyd.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace qjl::engine::rivals {
namespace {

constexpr int kGridCells = 1 << 16, kMaxIterations = 2000;

}  // namespace

std::vector<float> lloyd_max(std::span<const double> weights, double low, double high, int levels) {
  const std::size_t cells = weights.size();
  const double width = (high - low) / static_cast<double>(cells);
  std::vector<double> mass(cells + 1), moment(cells + 1);
  for (std::size_t i = 0; i < cells; ++i) {
    mass[i + 1] = mass[i] + weights[i];
    moment[i + 1] = moment[i] + weights[i] * (low + (static_cast<double>(i) + 0.5) * width);
  }
  std::vector<double> level(static_cast<std::size_t>(levels));
  for (std::size_t j = 0; j < level.size(); ++j) {  // start at the quantiles
    const double wanted = mass[cells] * (static_cast<double>(j) + 0.5) / levels;
    const auto at = std::lower_bound(mass.begin(), mass.end(), wanted) - mass.begin();
    level[j] = low + (static_cast<double>(at) - 0.5) * width;
  }
  // Running sums at a place between cells, linear inside a cell.
  const auto place_of = [&](double x) { return std::clamp((x - low) / width, 0.0, static_cast<double>(cells)); };
  const auto sum_to = [&](const std::vector<double>& sums, double place) {
    const std::size_t cell = std::min(cells - 1, static_cast<std::size_t>(place));
    return sums[cell] + (place - static_cast<double>(cell)) * (sums[cell + 1] - sums[cell]);
  };
  for (int iteration = 0; iteration < kMaxIterations; ++iteration) {
    double moved = 0, begin = 0;
    for (std::size_t j = 0; j < level.size(); ++j) {
      const double end = j + 1 < level.size() ? place_of(0.5 * (level[j] + level[j + 1])) : static_cast<double>(cells);
      const double inside = sum_to(mass, end) - sum_to(mass, begin);
      const double mean = inside > 0 ? (sum_to(moment, end) - sum_to(moment, begin)) / inside : level[j];
      moved = std::max(moved, std::abs(mean - level[j]));
      level[j] = mean;
      begin = end;
    }
    if (moved < 1e-6 * width) break;
  }
  return {level.begin(), level.end()};
}

std::vector<float> lloyd_max(const std::function<double(double)>& density, double low, double high, int levels) {
  std::vector<double> weights(kGridCells);
  for (std::size_t i = 0; i < weights.size(); ++i)
    weights[i] = density(low + (high - low) * (static_cast<double>(i) + 0.5) / kGridCells);
  return lloyd_max(weights, low, high, levels);
}

int nearest_level(std::span<const float> levels, float x) {
  const auto above = std::lower_bound(levels.begin(), levels.end(), x) - levels.begin();
  if (above == 0) return 0;
  if (above == std::ssize(levels)) return static_cast<int>(above) - 1;
  const auto i = static_cast<std::size_t>(above);
  return static_cast<int>(levels[i] - x < x - levels[i - 1] ? above : above - 1);
}

}  // namespace qjl::engine::rivals
