// How attend cuts its work: 64 tokens at a time, half a page, whose keys are decoded 64 coordinates at a time.
#pragma once

#include "page.hpp"

namespace qjl::cpu {

inline constexpr int kBlockTokens = layout::kHalfSlots;
inline constexpr int kTileCoordinates = 64;  // 64 x 64 floats, half of a 32 KB cache

}  // namespace qjl::cpu
