// How often a Gaussian sketch of m rows errs by more than eps |q| |k|, counted through the codec itself.
//
//   a trial   one of 128 random keys against one of 64 random queries, errors |estimate - <q, k>| against eps |q| |k|
//   sketches  each with its own seed; trials that share a sketch are not quite independent, so the standard error is over sketches
#pragma once

#include <cstdint>

#include "qjl/threads.hpp"

namespace qjl::engine {

struct SketchTrials {
  std::int64_t trials = 0, failures = 0;
  double share = 0, share_se = 0;  // of failures
  double variance = 0;             // m * mean squared error / (|q|^2 |k|^2); theory: pi/2 - 1/dim
};

// rows: a multiple of 8 up to 16384. Errors: invalid_argument as of PageCodec.
SketchTrials try_sketch(int rows, int head_dim, double eps, int sketches, ThreadPool& threads);

}  // namespace qjl::engine
