// The page mean before RoPE, in doubles.
//
//   pair i of a token at page position t is a complex number k; the page predicts C_t mean for it, where
//   C_t = (1 - a) e^{i w (8 n - 64)} + a e^{i w (8 n + 8 - 64)},  n = t div 8, a = (t mod 8) / 8, w the pair's frequency
//   mean = sum_t conj(C_t) k_t / sum_t |C_t|^2     the least squares of sum_t |k_t - C_t mean|^2, sinks left out
//   w * 64 < 0.02: C_t = 1;   w * 8 > pi / 2: no mean;   a channel of no pair: the plain mean
//
// Sees the standard library only: the tests' own opinion.
#pragma once

#include <complex>
#include <vector>

#include "oracle_page.hpp"
#include "oracle_random.hpp"

namespace oracle {

using Complex = std::complex<double>;

inline bool turns(double frequency) { return frequency * 64.0 >= 0.02; }
inline bool has_mean(double frequency) { return frequency * 8.0 <= 3.141592653589793 / 2.0; }

inline Complex turn_of(double frequency, int token) {
  if (!turns(frequency)) return 1.0;
  const double a = token % 8 / 8.0, knot = token / 8 * 8 - 64;
  return (1.0 - a) * std::polar(1.0, frequency * knot) + a * std::polar(1.0, frequency * (knot + 8));
}

// The two channels of a pair.
struct Channels {
  int first, second;
};
inline Channels channels_of(const Format& f, int pair) {
  const int pairs = static_cast<int>(f.turn.size());
  return f.interleaved ? Channels{2 * pair, 2 * pair + 1} : Channels{pair, pair + pairs};
}

// What a page with this mean predicts of a token.
inline Vector turned(const Format& f, const Vector& mean, int token) {
  Vector out = mean;
  for (std::size_t i = 0; i < f.turn.size(); ++i) {
    const auto [first, second] = channels_of(f, static_cast<int>(i));
    const Complex k = turn_of(f.turn[i], token) * Complex(mean[first], mean[second]);
    out[first] = k.real();
    out[second] = k.imag();
  }
  return out;
}
inline Vector predicted_key(const Page& page, int token) {
  Vector mean;
  for (int c = 0; c < page.format().d; ++c) mean.push_back(page.mean(c));
  return turned(page.format(), mean, token);
}

// The mean before it is rounded, of keys [128].
inline Vector mean_of(const Format& f, const std::vector<Vector>& keys, int num_sinks) {
  Vector mean(f.d);
  for (int c = 0; c < f.d; ++c) {
    for (int t = num_sinks; t < 128; ++t) mean[c] += keys[t][c] / (128 - num_sinks);
  }
  for (std::size_t i = 0; i < f.turn.size(); ++i) {
    const auto [first, second] = channels_of(f, static_cast<int>(i));
    Complex sum = 0.0;
    double weight = 0.0;
    for (int t = num_sinks; t < 128; ++t) {
      const Complex turn = turn_of(f.turn[i], t);
      sum += std::conj(turn) * Complex(keys[t][first], keys[t][second]);
      weight += std::norm(turn);
    }
    const Complex m = !turns(f.turn[i]) || has_mean(f.turn[i]) ? sum / weight : 0.0;
    mean[first] = m.real();
    mean[second] = m.imag();
  }
  return mean;
}

}  // namespace oracle
