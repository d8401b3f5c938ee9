// Control groups, version 2: `cpu.max` of a group holds "QUOTA PERIOD" in microseconds, or "max PERIOD"; the process's group stands in
// the line `0::PATH`. Version 1: cpu.cfs_quota_us and cpu.cfs_period_us, in the line `N:cpu,cpuacct:PATH`. In a container the
// group's own path is often not visible and its files stand at the root. (Linux, Documentation/admin-guide/cgroup-v2.rst.)
#include "processors.hpp"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

namespace qjl {
namespace {

namespace fs = std::filesystem;

std::string first_word(const fs::path& file, std::string* second = nullptr) {
  std::ifstream stream(file);
  std::string first, rest;
  stream >> first >> rest;
  if (second != nullptr) *second = rest;
  return first;
}

// 0: no quota. So "max" and -1 say, and where a number is missing it is read as 0.
int whole_processors(const std::string& quota, const std::string& period) {
  constexpr int kMost = 1 << 20;  // no machine has more
  std::istringstream words(quota + " " + period);
  double granted{}, whole{};
  words >> granted >> whole;
  const double count = granted / whole;
  return std::abs(count) <= kMost ? std::max(0, static_cast<int>(std::ceil(count))) : 0;
}

int quota_of(const fs::path& folder) {
  std::string period;
  const std::string quota = first_word(folder / "cpu.max", &period);
  if (!quota.empty()) return whole_processors(quota, period);
  return whole_processors(first_word(folder / "cpu.cfs_quota_us"), first_word(folder / "cpu.cfs_period_us"));
}

int less_of(int a, int b) { return a == 0 ? b : b == 0 ? a : std::min(a, b); }

// Of the group and all above it, up to the root.
int quota_on_the_way(const fs::path& root, const fs::path& group) {
  int quota = quota_of(root);
  fs::path folder = root;
  for (const fs::path& part : group.relative_path()) quota = less_of(quota, quota_of(folder /= part));
  return quota;
}

// Whether a line of /proc/self/cgroup is of version 2, or of the controller of processors.
bool is_of_processors(const std::string& controllers) {
  std::istringstream names(controllers);
  for (std::string name; std::getline(names, name, ',');) {
    if (name == "cpu") return true;
  }
  return controllers.empty();
}

}  // namespace

int processor_quota(const std::string& root, const std::string& groups) {
  int quota = 0;
  std::ifstream stream(groups);
  for (std::string line; std::getline(stream, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
    if (!is_of_processors(controllers)) continue;
    const fs::path top = controllers.empty() ? fs::path(root) : fs::path(root) / "cpu";
    quota = less_of(quota, quota_on_the_way(top, path));
  }
  return quota;
}

int available_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  // Where the system has more than cpu_set_t has room for, all of them.
  const bool is_known = sched_getaffinity(0, sizeof(set), &set) == 0;
  const int count = is_known ? CPU_COUNT(&set) : static_cast<int>(std::thread::hardware_concurrency());
  const int quota = processor_quota("/sys/fs/cgroup", "/proc/self/cgroup");
  return std::max(1, less_of(count, quota));
}

}  // namespace qjl
