// A queue as the doors take it: threads for a cache of the host, a stream for one of a GPU.
#pragma once

#include <string_view>

#include "args.hpp"
#include "qjl/device.hpp"
#include "qjl/threads.hpp"

namespace qjl {

// Errors: invalid_argument on a queue of the other kind.
ThreadPool& threads_of(const Queue& queue, std::string_view operation);
// Null on the host, where threads are wanted.
DeviceStream stream_of(const Queue& queue, Device device, std::string_view operation);

}  // namespace qjl
