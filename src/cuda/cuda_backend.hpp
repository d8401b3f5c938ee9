// The CUDA back end's table, and the door to it for a build or a machine that has none.
#pragma once

#include "device_backend.hpp"

namespace qjl::cuda {

// Errors: unsupported unless this build has CUDA and `device` is there; says what was found and wanted.
const DeviceBackend& backend(int device);

}  // namespace qjl::cuda
