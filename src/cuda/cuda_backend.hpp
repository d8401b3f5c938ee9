// The CUDA back end's table, and the door to it for a build or a machine that has none.
#pragma once

#include "backend.hpp"

namespace qjl::cuda {

// Errors: unsupported unless this build has CUDA and `device` is there; says what was found and wanted.
const Backend& backend(int device);

}  // namespace qjl::cuda
