// What /proc and /sys say of the machine, and threads pinned to one processor each.
#include "machine.hpp"

#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "qjl/simd.hpp"

namespace qjl::bench {
namespace {

// The value of the first line `key : value` of a system file.
std::string field(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, key.size(), key) != 0) continue;
    const auto colon = line.find(':');
    const auto begin = colon == std::string::npos ? colon : line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

std::int64_t kilobytes(const std::string& key) {
  const std::string value = field("/proc/meminfo", key);
  return value.empty() ? 0 : std::stoll(value) * 1024;
}

// The processors that the process could use when it started: pinning narrows them.
const std::vector<int>& processors() {
  static const std::vector<int> list = [] {
    std::vector<int> found;
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
      for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(cpu, &set)) found.push_back(cpu);
      }
    }
    return found.empty() ? std::vector<int>{0} : found;
  }();
  return list;
}

void stand_on(const std::vector<int>& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof set, &set);
}

}  // namespace

int available_processors() { return static_cast<int>(processors().size()); }

// The system's file knows what one processor reaches; sysconf may add up a whole socket.
std::int64_t last_level_cache_bytes() {
  for (const char* level : {"3", "2"}) {
    std::ifstream file(std::string("/sys/devices/system/cpu/cpu0/cache/index") + level + "/size");
    std::int64_t kilobytes = 0;
    if (file >> kilobytes) return kilobytes * 1024;
  }
  const std::int64_t level3 = sysconf(_SC_LEVEL3_CACHE_SIZE);
  constexpr std::int64_t kUnknown = std::int64_t{64} << 20;
  return level3 > 0 ? level3 : kUnknown;
}

std::int64_t available_memory_bytes() { return kilobytes("MemAvailable"); }

Json machine_json() {
  utsname system{};
  uname(&system);
  const auto cpu = [](const char* key) { return field("/proc/cpuinfo", key); };
  Json targets = Json::array();
  for (const SimdTarget target : simd_targets()) targets.push_back(simd_target_name(target));
  return {{"processor", cpu("model name")},
          {"vendor", cpu("vendor_id")},
          {"family", cpu("cpu family")},
          {"model", cpu("model\t")},
          {"processors", available_processors()},
          {"last_level_cache_mb", static_cast<double>(last_level_cache_bytes()) / (1 << 20)},
          {"memory_gb", static_cast<double>(kilobytes("MemTotal")) / 1e9},
          {"system", std::string(system.sysname) + " " + system.release},
          {"compiler", __VERSION__},
          {"cpu_target", simd_target_name(simd_target())},
          {"cpu_targets", targets}};
}

std::unique_ptr<ThreadPool> pinned_pool(int num_threads) {
  const auto& cpus = processors();
  if (num_threads > static_cast<int>(cpus.size())) return nullptr;
  // Threads inherit the set of the one that makes them.
  if (num_threads > 1) stand_on({cpus.end() - num_threads, cpus.end() - 1});
  auto pool = std::make_unique<ThreadPool>(num_threads);
  stand_on({cpus.back()});
  return pool;
}

}  // namespace qjl::bench
