// Softmax attention in doubles, one query against a list of keys and values.
//
//   s[t] = cap(scale <q, k_t>),  cap(x) = c tanh(x / c);  position - window < t <= position
//   out = sum_t softmax(s)[t] v_t,  lse = log sum_t exp s[t];  an empty range gives 0 and -infinity
//   merge of two ranges: weights exp(lse_i - lse)
//
// Sees the standard library only: the tests' own opinion.
#pragma once

#include <cmath>
#include <limits>
#include <vector>

#include "oracle_random.hpp"

namespace oracle {

struct Rule {
  double scale = 1.0;
  double soft_cap = 0.0;  // 0: none
  long long window = 0;   // 0: none
};

struct Attended {
  Vector out;
  double lse = -std::numeric_limits<double>::infinity();
  Vector weight;               // softmax(s)[t], 0 out of range
  double largest_logit = 0.0;  // |s| at most, of the tokens in range
};

inline double log_add(double a, double b) {
  const double top = std::max(a, b);
  return std::isinf(top) ? top : top + std::log(std::exp(a - top) + std::exp(b - top));
}

inline double capped(double x, double cap) { return cap == 0.0 ? x : cap * std::tanh(x / cap); }

inline bool in_range(long long token, long long position, long long window) {
  return token <= position && (window == 0 || token > position - window);
}

inline Attended attend(const Vector& q, const std::vector<Vector>& keys, const std::vector<Vector>& values, long long position,
                       const Rule& rule) {
  Attended result;
  result.out.assign(q.size(), 0.0);
  result.weight.assign(keys.size(), 0.0);
  Vector logit(keys.size(), -std::numeric_limits<double>::infinity());
  for (std::size_t t = 0; t < keys.size(); ++t) {
    if (!in_range(static_cast<long long>(t), position, rule.window)) continue;
    logit[t] = capped(rule.scale * dot(q, keys[t]), rule.soft_cap);
    result.lse = log_add(result.lse, logit[t]);
    result.largest_logit = std::max(result.largest_logit, std::abs(logit[t]));
  }
  for (std::size_t t = 0; t < keys.size(); ++t) {
    if (std::isinf(logit[t])) continue;
    result.weight[t] = std::exp(logit[t] - result.lse);
    for (std::size_t c = 0; c < q.size(); ++c) result.out[c] += result.weight[t] * values[t][c];
  }
  return result;
}

inline Attended merge(const Attended& a, const Attended& b) {
  Attended result = a;
  result.lse = log_add(a.lse, b.lse);
  for (std::size_t c = 0; c < result.out.size(); ++c) {
    const auto part = [&](const Attended& from) {
      return std::isinf(from.lse) ? 0.0 : std::exp(from.lse - result.lse) * from.out[c];
    };
    result.out[c] = part(a) + part(b);
  }
  return result;
}

}  // namespace oracle
