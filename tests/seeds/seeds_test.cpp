// The seeds of the fuzzers, each once: a target ends the program when a promise is broken.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#define QJL_FUZZ_TARGET(name) extern "C" int name(const std::uint8_t*, std::size_t);
#include "targets.inc"
#undef QJL_FUZZ_TARGET

namespace qjl::test {
namespace {

namespace fs = std::filesystem;

struct Target {
  const char* name;
  int (*run)(const std::uint8_t*, std::size_t);
};
constexpr Target kTargets[] = {
#define QJL_FUZZ_TARGET(name) {#name, name},
#include "targets.inc"
};

class Seeds : public testing::TestWithParam<Target> {};

TEST_P(Seeds, HoldEveryPromise) {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(fs::path(QJL_SEEDS) / GetParam().name)) paths.push_back(entry.path());
  std::ranges::sort(paths);
  ASSERT_FALSE(paths.empty());
  for (const fs::path& path : paths) {
    std::ifstream file(path, std::ios::binary);
    const std::vector<char> bytes(std::istreambuf_iterator<char>(file), {});
    std::cout << path.filename().string() << std::endl;  // the last one told is that at which a program ended
    EXPECT_EQ(GetParam().run(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Every, Seeds, testing::ValuesIn(kTargets), [](const auto& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace qjl::test
