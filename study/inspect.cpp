// inspect.hpp has the formulas.
#include "inspect.hpp"

#include <algorithm>
#include <cmath>

#include "eval_metrics.hpp"
#include "qjl/codec.hpp"

namespace qjl::engine {
namespace {

// Sums over a stretch of tokens of one head.
struct Moments {
  std::vector<double> sum, squares;  // [dim]
  double count = 0;

  explicit Moments(std::int64_t dim) : sum(static_cast<std::size_t>(dim)), squares(sum.size()) {}
  void add(std::span<const float> row) {
    for (std::size_t c = 0; c < row.size(); ++c) {
      sum[c] += row[c];
      squares[c] += double{row[c]} * row[c];
    }
    ++count;
  }
  double energy() const {  // sum over tokens of |x|^2
    double total = 0;
    for (const double x : squares) total += x;
    return total;
  }
  double energy_of_mean() const {  // tokens times |mean|^2
    double total = 0;
    for (const double x : sum) total += x * x;
    return count > 0 ? total / count : 0.0;
  }
};

}  // namespace

ChannelStatistics channel_statistics(const CapturedRows& rows, std::int64_t head, std::int64_t sinks) {
  ChannelStatistics statistics;
  Moments all(rows.dim);
  double of_page_means = 0;
  for (std::int64_t begin = 0; begin < rows.tokens; begin += kTokensPerPage) {
    Moments page(rows.dim);
    for (std::int64_t t = std::max(begin, sinks); t < std::min(begin + kTokensPerPage, rows.tokens); ++t) {
      page.add(rows.row(head, t));
      all.add(rows.row(head, t));
    }
    of_page_means += page.energy_of_mean();
  }
  for (const double squares : all.squares) statistics.magnitude.push_back(all.count > 0 ? std::sqrt(squares / all.count) : 0.0);
  const double largest = *std::max_element(statistics.magnitude.begin(), statistics.magnitude.end());
  const double median = nearest_rank(statistics.magnitude, 0.5), energy = all.energy();
  statistics.outlier_ratio = median > 0 ? largest / median : 0.0;
  statistics.mean_share = energy > 0 ? all.energy_of_mean() / energy : 0.0;
  statistics.page_mean_share = energy > 0 ? of_page_means / energy : 0.0;
  return statistics;
}

}  // namespace qjl::engine
