// How fast one-token steps are for several cache types, after the same long text.
//
// One exact pass over the text fills every cache. Then the caches take turns, one greedy step each, so that whatever else the
// machine does falls on all of them alike; the speed is one over the median step.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "model.hpp"

namespace qjl::engine {

struct DecodeSpeedConfig {
  std::int64_t context = 4096;  // tokens in the cache when the steps begin are context - steps
  std::int64_t steps = 32;
  std::vector<std::string> caches;
};

// Tokens per second of each cache type, in the order of config.caches. `progress` is called with (done, total) steps.
// Errors: invalid_argument when the text is shorter than the context, steps do not fit in it, or a cache type is unknown.
std::vector<double> decode_speed(Model& model, std::span<const Token> tokens, const DecodeSpeedConfig& config, ThreadPool& threads,
                                 const std::function<void(std::int64_t done, std::int64_t total)>& progress);

}  // namespace qjl::engine
