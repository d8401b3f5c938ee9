// The CPU's table of verbs, one per instruction set.
#pragma once

#include "backend.hpp"
#include "qjl/simd.hpp"

namespace qjl::cpu {

// The verbs compiled for `target`, which this processor must have.
const Backend& backend(SimdTarget target);

// The verbs of qjl::simd_target().
const Backend& backend();

}  // namespace qjl::cpu
