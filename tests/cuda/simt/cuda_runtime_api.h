// The CUDA run time of this folder.
#pragma once

#include "simt.hpp"
