// What attend() on every device refuses at the door: options, shapes and places. Numbers are the caller's to read.
#pragma once

#include <span>

#include "cache_layers.hpp"
#include "qjl/attention.hpp"

namespace qjl {

// How far back a query of this layer sees, as kernels take it: 0 for no window.
std::int64_t window_of(const CacheConfig& config, int layer, const AttendOptions& options);

// Errors: invalid_argument on a scale or cap that is not finite, a negative cap or window; unless queries, outputs and chunk fit each
// other and the cache, all in memory of its device.
void check_requests(const CacheLayers& cache, std::span<const AttendRequest> requests, const AttendOptions& options);

}  // namespace qjl
