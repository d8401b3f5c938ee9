// The quota of a container limits the threads, whatever the version of its control groups and wherever its files stand.
#include "processors.hpp"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "qjl/threads.hpp"

namespace qjl::test {
namespace {

namespace fs = std::filesystem;

struct ProcessorsTest : testing::Test {
  fs::path root = fs::temp_directory_path() / ("qjl_processors_" + std::to_string(getpid()));
  fs::path groups = root / "groups";

  ProcessorsTest() { fs::create_directories(root); }
  ~ProcessorsTest() override { fs::remove_all(root); }

  void put(const fs::path& file, const std::string& text) const {
    fs::create_directories((root / file).parent_path());
    std::ofstream(root / file) << text << "\n";
  }
  int quota(const std::string& lines) const {
    std::ofstream(groups) << lines << "\n";
    return processor_quota(root.string(), groups.string());
  }
};

TEST_F(ProcessorsTest, AQuotaIsRoundedUp) {
  for (const auto& [text, wanted] : {std::pair{"max 100000", 0},
                                     {"50000 100000", 1},
                                     {"100000 100000", 1},
                                     {"100001 100000", 2},
                                     {"150000 100000", 2},
                                     {"400000 100000", 4},
                                     {"1 100000", 1},
                                     {"3 1", 3},
                                     {"1048576 1", 1048576},
                                     {"1048577 1", 0},
                                     {"0 100000", 0},
                                     {"-1 100000", 0},
                                     {"100000", 0},
                                     {"100000 0", 0},
                                     {"1e300 1", 0},
                                     {"", 0},
                                     {"nonsense", 0}}) {
    put("cpu.max", text);
    EXPECT_EQ(quota("0::/"), wanted) << text;
  }
}

TEST_F(ProcessorsTest, AffinityCounts) {
  cpu_set_t before, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  EXPECT_LE(available_processors(), CPU_COUNT(&before));
  int first = 0;
  while (!CPU_ISSET(first, &before)) ++first;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(available_processors(), 1);
  EXPECT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
}

TEST_F(ProcessorsTest, TheLeastOnTheWayCounts) {
  put("a/cpu.max", "300000 100000");
  put("a/b/cpu.max", "500000 100000");
  EXPECT_EQ(quota("0::/a/b"), 3);
  put("a/b/cpu.max", "200000 100000");
  EXPECT_EQ(quota("0::/a/b"), 2);
  EXPECT_EQ(quota("0::/a"), 3);
  EXPECT_EQ(quota("0::/elsewhere"), 0);
  put("a/b/cpu.max", "100000 100000");
  EXPECT_EQ(quota("0::/a/b"), 1);
  put("cpu.max", "100000 100000");  // a container's own, at the root; its path is another machine's
  EXPECT_EQ(quota("0::/elsewhere"), 1);
  EXPECT_EQ(quota("0::"), 1);
}

TEST_F(ProcessorsTest, VersionOneHasTwoFiles) {
  put("cpu/a/cpu.cfs_quota_us", "250000");
  put("cpu/a/cpu.cfs_period_us", "100000");
  EXPECT_EQ(quota("4:memory:/a\n3:cpu,cpuacct:/a"), 3);
  EXPECT_EQ(quota("3:cpuset:/a"), 0);
  put("cpu/a/cpu.cfs_quota_us", "-1");
  EXPECT_EQ(quota("3:cpu,cpuacct:/a"), 0);
  EXPECT_EQ(quota("no line of groups"), 0);
  put("cpu/cpu.max", "100000 100000");
  EXPECT_EQ(quota("3:cpu"), 0) << "a line without a path";
  EXPECT_EQ(quota("3:cpu:"), 1);
}

TEST_F(ProcessorsTest, ThereIsOneAtLeast) {
  EXPECT_GE(available_processors(), 1);
  EXPECT_EQ(ThreadPool(0).num_threads(), available_processors());
}

}  // namespace
}  // namespace qjl::test
