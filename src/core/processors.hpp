// How many processors this process may use: those of its affinity mask, or fewer where its container has a quota of processor time.
#pragma once

#include <string>

namespace qjl {

// At least 1. The quota counts rounded up: 1.5 processors keep two threads busy.
int available_processors();

// The quota of the control groups under `root` (a folder as /sys/fs/cgroup) that `groups` (as /proc/self/cgroup) names, whole
// processors rounded up; the least of a group and those above it. 0: none.
int processor_quota(const std::string& root, const std::string& groups);

}  // namespace qjl
