// 100,000 damaged models in three files: opened, with all tensors inside their files, or refused with an Error, in bounded memory.
#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "counted_memory.hpp"
#include "gguf.hpp"
#include "mutate.hpp"
#include "qjl/error.hpp"
#include "shard_folder.hpp"

namespace {

using namespace qjl_test;
using namespace qjl::engine;

bool opens(const std::filesystem::path& first) {
  try {
    const GgufFile file = GgufFile::open(first);
    int sum = 0;
    for (const FileTensor& tensor : file.tensors()) {  // both ends are touched
      sum += static_cast<int>(tensor.data.front()) + static_cast<int>(tensor.data.back());
    }
    EXPECT_GE(sum, 0);
    return true;
  } catch (const qjl::Error& error) {
    EXPECT_GT(std::string_view(error.what()).size(), 10u);
    return false;
  }
}

TEST(GgufShardsMutation, HundredThousandDamagedModels) {
  const ShardFolder folder;
  std::vector<Bytes> originals;
  for (std::uint16_t i = 0; i < kShards; ++i) {
    originals.push_back(shard(i));
    folder.write(i, originals.back());
  }
  ASSERT_TRUE(opens(folder.file(0)));
  std::mt19937_64 random(7);
  int passed = 0;
  for (int round = 0; round < 100'000; ++round) {
    const std::size_t damaged = random() % kShards;
    Bytes bytes = originals[damaged];
    mutate(bytes, random);
    folder.write(damaged, bytes);
    g_largest_request = 0;
    passed += opens(folder.file(0)) ? 1 : 0;
    ASSERT_LT(g_largest_request, 16 * bytes.size() + 65536) << "round " << round << ", file " << damaged;
    folder.write(damaged, originals[damaged]);
  }
  // Damage to codes, names and unread keys leaves a model whole: both outcomes must have been seen often.
  EXPECT_GT(passed, 2'000);
  EXPECT_LT(passed, 90'000);
}

}  // namespace
