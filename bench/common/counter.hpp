// Instructions that a piece of work retires in user space on this thread, by the processor's own counter.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

namespace qjl::bench {

// Of one call after a first one; none when the system refuses the counter (perf_event_paranoid, some virtual machines).
std::optional<std::int64_t> count_instructions(const std::function<void()>& work);

}  // namespace qjl::bench
