// What the encoder of trellis codes chooses, and the best string that there is.
//
//   n_s       y = P x at norm sqrt(d), in steps of 2^-13 (nearest), within 6000 of the largest level
//   metric    of a level: floor(e^2 / 2^16), e = (n_s - level) 2^(k - 2) within +-32767, then down to a multiple of 2^k
//   state     the last L - k bits of the string; a step from p by the k new bits v: window = p | v 2^(L - k), state = window / 2^k
//   the run   costs of all states begin at 0; steps d - 24 .. d - 1, 0 .. 23; the best path's state before step 0 is the string's;
//             then from it (all others begin at 40000) over all d steps back to it. Of paths of equal cost, at every state, the one
//             whose last window has the lower k low bits. Costs stop at 65535 less its low k bits; every four steps the least of
//             all states is taken off all.
//
// Sees the standard library only.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "oracle_encoders.hpp"

namespace oracle {

class TrellisPath {
 public:
  // n [d]: whole numbers, in the order of steps.
  TrellisPath(Code code, std::vector<std::int64_t> n)
      : k_(bits_of_coordinate(code)), trellis_(trellis(code)), states_(1 << (trellis_.window() - k_)), n_(std::move(n)) {
    const Book b = book(code);
    for (int level : b.levels) levels_.push_back(std::llround(level * static_cast<double>(static_cast<float>(b.step)) * 8192.0));
  }

  // The windows of the string, by step.
  std::vector<int> windows() {
    const int d = static_cast<int>(n_.size());
    std::vector<std::int64_t> cost(states_);
    run(d - 24, 48, cost);
    int at = static_cast<int>(std::min_element(cost.begin(), cost.end()) - cost.begin());
    for (int s = 23; s >= 0; --s) at = came_by_[s][at] % states_;
    return from(at);
  }

  // The cheapest of all strings: of every state at the ends.
  std::vector<int> best() {
    std::vector<int> found = from(0);
    for (int state = 1; state < states_; ++state) {
      const std::vector<int> other = from(state);
      if (cost(other) < cost(found)) found = other;
    }
    return found;
  }

  std::int64_t metric(std::int64_t n, int number) const {
    const std::int64_t limit = 32767 >> (k_ - 2);
    const std::int64_t e = std::clamp(std::clamp<std::int64_t>(n - levels_[number], -32768, 32767), -limit, limit) << (k_ - 2);
    return (e * e >> 16) >> k_ << k_;
  }
  std::int64_t cost(const std::vector<int>& windows) const {
    std::int64_t sum = 0;
    for (std::size_t s = 0; s < windows.size(); ++s) sum += metric(n_[s], trellis_.number(windows[s]));
    return sum;
  }

 private:
  // The cheapest path from a state round to itself.
  std::vector<int> from(int ends) {
    const int d = static_cast<int>(n_.size());
    std::vector<std::int64_t> cost(states_);
    for (int n = 0; n < states_; ++n) cost[n] = n == ends ? 0 : 40000 >> k_ << k_;
    run(0, d, cost);
    std::vector<int> path(d);
    for (int s = d - 1, at = ends; s >= 0; --s) {
      path[s] = came_by_[s][at];
      at = path[s] % states_;
    }
    return path;
  }

  void run(int first, int count, std::vector<std::int64_t>& cost) {
    const int d = static_cast<int>(n_.size());
    came_by_.resize(d, std::vector<int>(states_));
    for (int i = 0; i < count; ++i) {
      const int s = (first + i) % d;
      std::vector<std::int64_t> next(states_, -1);
      for (int window = 0; window < states_ << k_; ++window) {  // ascending: of equal costs the lower window stays
        const int state = window >> k_;
        const std::int64_t most = 65535 >> k_ << k_;
        const std::int64_t found = std::min(most, cost[window % states_] + metric(n_[s], trellis_.number(window)));
        if (next[state] >= 0 && next[state] <= found) continue;
        next[state] = found;
        came_by_[s][state] = window;
      }
      cost = next;
      if (i % 4 != 3) continue;
      const std::int64_t least = *std::min_element(cost.begin(), cost.end());
      for (std::int64_t& each : cost) each -= least;
    }
  }

  int k_;
  Trellis trellis_;
  int states_;
  std::vector<std::int64_t> n_, levels_;
  std::vector<std::vector<int>> came_by_;  // [step][state]: the window of its cheapest path
};

// across: groups side by side, 4 of keys, 16 of values.
inline Choice trellis_numbers(Code code, int across, const Matrix& frame, const Vector& x) {
  const Vector y = to_unit(frame, x);
  const int d = static_cast<int>(y.size());
  const Book b = book(code);
  const std::int64_t farthest = std::min<std::int64_t>(
      32767, std::llround(b.levels.back() * static_cast<double>(static_cast<float>(b.step)) * 8192.0) + 6000);
  Choice choice;
  std::vector<std::int64_t> n(d);
  for (int c = 0; c < d; ++c)
    n[step_of(code, across, c)] = std::clamp(round_steps(y[c], 8192.0, choice.margin), -farthest, farthest);
  const std::vector<int> windows = TrellisPath(code, n).windows();
  for (int c = 0; c < d; ++c) choice.numbers.push_back(trellis(code).number(windows[step_of(code, across, c)]));
  return choice;
}

}  // namespace oracle
