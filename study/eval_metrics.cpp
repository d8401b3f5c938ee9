// eval_metrics.hpp has the formulas.
#include "eval_metrics.hpp"

#include <algorithm>
#include <cmath>

#include "qjl/codec.hpp"

namespace qjl::engine {
namespace {

// Sum and number of the values of one group of positions.
struct Group {
  double sum = 0;
  std::int64_t count = 0;
  double mean() const { return sum / static_cast<double>(count); }
};

double standard_error(std::span<const Group> groups, double mean, std::int64_t total) {
  const auto num_groups = static_cast<double>(groups.size());
  if (groups.size() < 2) return 0.0;
  double squares = 0;
  for (const Group& group : groups) {
    const double deviation = group.sum - static_cast<double>(group.count) * mean;
    squares += deviation * deviation;
  }
  return std::sqrt(num_groups / (num_groups - 1) * squares) / static_cast<double>(total);
}

}  // namespace

double log_sum_exp(std::span<const float> logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float x : logits) sum += std::exp(x - largest);
  return largest + std::log(sum);
}

LogitComparison compare_logits(std::span<const float> exact, double exact_normaliser, std::span<const float> other,
                               double other_normaliser) {
  double kld = 0;
  for (std::size_t v = 0; v < exact.size(); ++v) {
    const double log_p = exact[v] - exact_normaliser, log_q = other[v] - other_normaliser;
    kld += std::exp(log_p) * (log_p - log_q);
  }
  const auto top = [](std::span<const float> x) { return std::max_element(x.begin(), x.end()) - x.begin(); };
  return {kld, top(exact) == top(other)};
}

PagedMean paged_mean(std::span<const double> values, std::int64_t first_position) {
  PagedMean result;
  if (values.empty()) return result;
  std::vector<Group> pages, positions;
  Group all;
  std::int64_t page_idx = -1;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::int64_t page_of_value = (first_position + static_cast<std::int64_t>(i)) / kTokensPerPage;
    if (page_of_value != page_idx) pages.emplace_back();
    page_idx = page_of_value;
    pages.back().sum += values[i];
    ++pages.back().count;
    positions.push_back({values[i], 1});
    all.sum += values[i];
    ++all.count;
  }
  result.mean = all.mean();
  result.se = standard_error(pages.size() > 1 ? pages : positions, result.mean, all.count);
  for (const Group& page : pages) result.by_page.push_back(page.mean());
  return result;
}

double nearest_rank(std::vector<double> values, double share) {
  if (values.empty()) return 0.0;
  const auto n = static_cast<double>(values.size());
  const double rank = std::clamp(std::ceil(share * n), 1.0, n);
  const auto nth = values.begin() + static_cast<std::ptrdiff_t>(rank) - 1;
  std::nth_element(values.begin(), nth, values.end());
  return *nth;
}

}  // namespace qjl::engine
