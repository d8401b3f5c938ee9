// How far one distribution over the vocabulary is from another, and means with honest errors.
//
//   KL(p || q) = sum_v p_v (log p_v - log q_v),  log p_v = x_v - log sum_u exp x_u, all sums in double
//   standard error of a mean over positions from the means of its pages, because positions of one page err together:
//   se^2 = P / (P - 1) * sum_p (n_p (m_p - m))^2 / (sum_p n_p)^2
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace qjl::engine {

double log_sum_exp(std::span<const float> logits);

struct LogitComparison {
  double kld;
  bool same_top1;  // the largest logit stands at the same place; ties go to the first
};
// Of `other` against `exact` [vocab]; the normalisers are their log_sum_exp.
LogitComparison compare_logits(std::span<const float> exact, double exact_normaliser, std::span<const float> other,
                               double other_normaliser);

struct PagedMean {
  double mean = 0;
  double se = 0;                // over pages; over positions when there is one page only; 0 for one value
  std::vector<double> by_page;  // mean of each page
};
// values[i] belongs to position first_position + i; pages of 128 positions begin at multiples of 128.
PagedMean paged_mean(std::span<const double> values, std::int64_t first_position);

// The value of rank ceil(share * n), the least for share 0.
double nearest_rank(std::vector<double> values, double share);

}  // namespace qjl::engine
