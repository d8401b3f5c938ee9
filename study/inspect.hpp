// What a head's keys or values look like, channel by channel: the outliers that a code has to live with.
//
//   magnitude[c]     sqrt(mean over tokens of x[c]^2)
//   outlier_ratio    largest magnitude / median magnitude
//   mean_share       |mean x|^2 / mean |x|^2 over all tokens: the part that one stored vector would carry
//   page_mean_share  the same with a mean for each page of 128 tokens, sinks left out: what the pages' stored means carry
#pragma once

#include <cstdint>
#include <vector>

#include "capture.hpp"

namespace qjl::engine {

struct ChannelStatistics {
  std::vector<double> magnitude;  // [dim]
  double outlier_ratio = 0, mean_share = 0, page_mean_share = 0;
};

// Of one head; the first `sinks` tokens are left out, since they are kept exactly and unlike all others.
ChannelStatistics channel_statistics(const CapturedRows& rows, std::int64_t head, std::int64_t sinks);

}  // namespace qjl::engine
