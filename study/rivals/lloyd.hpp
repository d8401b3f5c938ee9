// Lloyd-Max quantiser of a density on a grid, and of a histogram: levels that are the means of their cells, cells that end half way
// between levels. Cost: levels * iterations look-ups in running sums.
#pragma once

#include <functional>
#include <span>
#include <vector>

namespace qjl::engine::rivals {

// Levels in rising order. weights[i] belongs to the middle of the i-th of equal cells over [low, high].
std::vector<float> lloyd_max(std::span<const double> weights, double low, double high, int levels);

// Of a density on [low, high], up to a factor.
std::vector<float> lloyd_max(const std::function<double(double)>& density, double low, double high, int levels);

// Index of the level nearest to x; the lower one at a tie.
int nearest_level(std::span<const float> levels, float x);

}  // namespace qjl::engine::rivals
