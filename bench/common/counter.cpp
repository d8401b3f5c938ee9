// The counter of retired instructions: perf_event_open, one thread, user space only.
#include "counter.hpp"

#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace qjl::bench {

std::optional<std::int64_t> count_instructions(const std::function<void()>& work) {
  perf_event_attr event{};
  event.size = sizeof event;
  event.type = PERF_TYPE_HARDWARE;
  event.config = PERF_COUNT_HW_INSTRUCTIONS;
  event.disabled = 1;
  event.exclude_kernel = 1;
  event.exclude_hv = 1;
  const int counter = static_cast<int>(syscall(SYS_perf_event_open, &event, 0, -1, -1, 0));
  if (counter < 0) return std::nullopt;
  work();
  ioctl(counter, PERF_EVENT_IOC_RESET, 0);
  ioctl(counter, PERF_EVENT_IOC_ENABLE, 0);
  work();
  ioctl(counter, PERF_EVENT_IOC_DISABLE, 0);
  std::int64_t count = 0;
  const bool read_all = read(counter, &count, sizeof count) == sizeof count;
  close(counter);
  if (!read_all || count == 0) return std::nullopt;
  return count;
}

}  // namespace qjl::bench
