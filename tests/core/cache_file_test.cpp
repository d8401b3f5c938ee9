// Saved caches: what comes back is what was saved, bit for bit; pages of a loaded file are the file's own, in place; a file that is
// damaged in any byte of its header, truncated, foreign or of the future is refused; a save that is killed leaves a whole file.
#include "qjl/cache_file.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "cache_file_doc.hpp"
#include "cache_fixtures.hpp"

namespace qjl::test {
namespace {

namespace fs = std::filesystem;

struct CacheFileTest : testing::Test {
  fs::path folder = fs::temp_directory_path() / ("qjl_cache_file_" + std::to_string(getpid()));
  std::string path = (folder / "saved.qjlkv.safetensors").string();
  ThreadPool threads{2};

  CacheFileTest() { fs::create_directories(folder); }
  ~CacheFileTest() override { fs::remove_all(folder); }

  std::string contents() const {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
  void overwrite(const std::string& bytes) const { std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes; }
  std::string loading_error() const {
    return error_of([&] { CacheFile(path).load(); }, ErrorKind::bad_file);
  }
};

void expect_same(const KvCache& a, SequenceId id_a, const KvCache& b, SequenceId id_b, ThreadPool& threads) {
  ASSERT_EQ(a.num_tokens(id_a), b.num_tokens(id_b));
  EXPECT_EQ(page_bytes(a, id_a), page_bytes(b, id_b));
  if (a.num_tokens(id_a) == 0) return;
  EXPECT_EQ(outputs(a, id_a, threads), outputs(b, id_b, threads));
}

TEST_F(CacheFileTest, DocumentIsMadeFromTheCode) {
  std::ifstream file(QJL_SOURCE_DIR "/docs/cache_file.md");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(text, cache_file_markdown())
      << "docs/cache_file.md is out of date; write it anew: build/release/write_cache_file_doc > docs/cache_file.md";
}

TEST_F(CacheFileTest, WhatComesBackIsWhatWasSavedAndGoesOnTheSame) {
  for (const std::string& type : kPresets) {
    for (const int count : {0, 3, 128, 300}) {
      CacheConfig config = cache_config(type);
      config.tail_dtype = count == 300 ? DType::bf16 : DType::f16;
      KvCache cache(config);
      const SequenceId id = cache.create();
      const Tokens tokens = random_tokens(11, config, count + 200);
      append(cache, id, tokens, {0, count}, threads);
      save_cache(path, cache, {{id}});
      const CacheFile file(path);
      ASSERT_EQ(file.num_tokens(), std::vector<std::int64_t>{count}) << type;
      LoadedCache loaded = file.load(32);
      EXPECT_TRUE(loaded.is_mapped) << type;
      expect_same(cache, id, *loaded.cache, loaded.sequences[0], threads);
      append(cache, id, tokens, {count, 200}, threads);
      append(*loaded.cache, loaded.sequences[0], tokens, {count, 200}, threads);
      expect_same(cache, id, *loaded.cache, loaded.sequences[0], threads);
    }
  }
}

TEST_F(CacheFileTest, ForksShareTheirPagesInTheFileAndAfter) {
  const CacheConfig config = cache_config("k3v2", 80);
  KvCache cache(config);
  const Tokens tokens = random_tokens(12, config, 800);
  const SequenceId other = cache.create(), id = cache.create();
  append(cache, other, tokens, {500, 130}, threads);  // so that the pages to be saved are not the first of the pool
  append(cache, id, tokens, {0, 300}, threads);
  const SequenceId fork = cache.fork(id);
  append(cache, fork, tokens, {400, 100}, threads);
  const SequenceId saved[] = {fork, id};
  save_cache(path, cache, saved);
  LoadedCache loaded = CacheFile(path).load();
  EXPECT_EQ(loaded.cache->config().max_pages, 3);  // two shared, one of the fork
  EXPECT_EQ(loaded.cache->free_pages(), 0);
  expect_same(cache, fork, *loaded.cache, loaded.sequences[0], threads);
  expect_same(cache, id, *loaded.cache, loaded.sequences[1], threads);
  loaded.cache->drop(loaded.sequences[0]);
  EXPECT_EQ(loaded.cache->free_pages(), 1);
  expect_same(cache, id, *loaded.cache, loaded.sequences[1], threads);
  loaded.cache->drop(loaded.sequences[1]);
  EXPECT_EQ(loaded.cache->free_pages(), 3);
}

TEST_F(CacheFileTest, WhatLayersHaveForgottenIsNotThere) {
  CacheConfig config = cache_config("k3v2", 64, 32, 3);
  config.layer_windows = {0, 150, 20};
  config.layer_retention = {0, 200, 20};
  KvCache cache(config);
  const Tokens tokens = random_tokens(16, config, 1500);
  const SequenceId ids[] = {cache.create(), cache.create()};
  append(cache, ids[0], tokens, {0, 700}, threads);
  append(cache, ids[1], tokens, {0, 60}, threads);
  const SequenceId fork = cache.fork(ids[0]);
  append(cache, ids[0], tokens, {700, 500}, threads);
  const SequenceId all[] = {ids[0], ids[1], fork};
  save_cache(path, cache, all);
  const CacheFile file(path);
  EXPECT_EQ(file.config().layer_retention, config.layer_retention);
  EXPECT_NE(error_of([&] { file.load(0, Device::cuda(0)); }, ErrorKind::unsupported).find("found layer_retention"),
            std::string::npos);
  LoadedCache loaded = file.load(32);
  EXPECT_TRUE(loaded.is_mapped);
  EXPECT_EQ(loaded.cache->free_pages(), 32 - 9);  // those of layer 0; layer 1 has 2 + 2, layer 2 has 1 + 1
  for (std::size_t i = 0; i < std::size(all); ++i) {
    const SequenceId id = loaded.sequences[i];
    for (int layer = 0; layer < 3; ++layer) EXPECT_EQ(loaded.cache->first_kept(id, layer), cache.first_kept(all[i], layer));
    EXPECT_EQ(outputs(*loaded.cache, id, threads), outputs(cache, all[i], threads)) << i;
    append(cache, all[i], tokens, {1200, 300}, threads);
    append(*loaded.cache, id, tokens, {1200, 300}, threads);
    EXPECT_EQ(outputs(*loaded.cache, id, threads), outputs(cache, all[i], threads)) << i;
  }
  for (const SequenceId id : loaded.sequences) loaded.cache->drop(id);
  EXPECT_EQ(loaded.cache->free_pages(), 32);
}

TEST_F(CacheFileTest, ATableThatForgetsMoreThanALayerMayIsRefused) {
  CacheConfig config = cache_config("k3v2", 64, 8, 1);
  config.layer_retention = {300};
  KvCache cache(config);
  const SequenceId id = cache.create();
  append(cache, id, random_tokens(17, config, 700), {0, 700}, threads);
  save_cache(path, cache, {{id}});
  const std::int64_t table[] = {-1, -1, -1, 0, 1}, short_of[] = {-1, -1, -1, -1, 1}, hole[] = {-1, -1, 0, -1, 1};
  const std::string saved = contents();
  const auto text = [](const auto& numbers) { return std::string(reinterpret_cast<const char*>(numbers), sizeof(numbers)); };
  ASSERT_NE(saved.find(text(table)), std::string::npos);
  const auto error_with = [&](const auto& numbers) {
    std::string bytes = saved;
    overwrite(bytes.replace(bytes.find(text(table)), sizeof(table), text(numbers)));
    return loading_error();
  };
  EXPECT_NE(error_with(short_of).find("page_table.0 has forgotten 4 pages, wanted at most 3"), std::string::npos);
  EXPECT_NE(error_with(hole).find("page_table.0 has page -1, wanted 0 to 1"), std::string::npos);
  overwrite(saved);
  EXPECT_EQ(loading_error(), "");
}

TEST_F(CacheFileTest, EveryWordOfTheConfigComesBack) {
  CacheConfig config = cache_config("paper:seed=9,rows=128,outliers=0", 96, 4, 3);
  config.codec.rope = rope(20, 1e6, KeyRope::Pairs::interleaved);
  config.layer_codes = {{Code::jl, Code::minmax}, {Code::f16, Code::l4}, {Code::s2, Code::f16}};
  config.layer_ropes = {config.codec.rope, rope(48, 1e4 / 3.0, KeyRope::Pairs::interleaved), config.codec.rope};
  config.layer_windows = {0, 512, 7};
  config.tail_dtype = DType::bf16;
  KvCache cache(config);
  const SequenceId id = cache.create();
  const float numbers[] = {1.5F, -2.0F, 0.0F};
  const CacheFileInfo info{.model = "a \"model\" of \xC3\xA9t\xC3\xA9",
                           .layer_types = {"full_attention", "sliding_attention"},
                           .token_ids = {{7, 1LL << 40, 9}},
                           .notes = {{"columns", "line\n\ttab \\ end"}, {"empty", ""}},
                           .exact = {{"4.keys", DType::f32, {3, 1}, numbers}, {"4.none", DType::bf16, {2, 0}, nullptr}}};
  save_cache(path, cache, {{id}}, info);
  const CacheFile file(path);
  const CacheConfig& found = file.config();
  EXPECT_EQ(cache_type_name(found.codec), cache_type_name(config.codec));
  EXPECT_EQ(found.codec.rope, config.codec.rope);
  EXPECT_EQ(found.layer_codes, config.layer_codes);
  EXPECT_EQ(found.layer_ropes, config.layer_ropes);
  EXPECT_EQ(found.layer_windows, config.layer_windows);
  EXPECT_EQ(found.tail_dtype, config.tail_dtype);
  EXPECT_EQ(file.info().model, info.model);
  EXPECT_EQ(file.info().layer_types, info.layer_types);
  EXPECT_EQ(file.info().token_ids, info.token_ids);
  EXPECT_EQ(file.info().notes, info.notes);
  ASSERT_EQ(file.info().exact.size(), 2U);
  EXPECT_EQ(file.info().exact[0].shape, info.exact[0].shape);
  EXPECT_EQ(std::memcmp(file.info().exact[0].data, numbers, sizeof(numbers)), 0);
  EXPECT_NO_THROW(file.check_model(config));
}

// Bytes of the maps of a file that are this process's own copies (anonymous memory), by /proc/self/smaps; -1 when it is not mapped.
std::int64_t copied_bytes(const std::string& path) {
  const std::string name = fs::canonical(path).string();
  std::ifstream maps("/proc/self/smaps");
  std::int64_t total = -1;
  bool is_it = false;
  for (std::string line; std::getline(maps, line);) {
    if (line.find('-') < line.find(' ')) is_it = line.ends_with(name);
    if (is_it) total = std::max<std::int64_t>(total, 0);
    long kilobytes = 0;
    if (is_it && std::sscanf(line.c_str(), "Anonymous: %ld", &kilobytes) == 1) total += kilobytes * 1024;
  }
  return total;
}

TEST_F(CacheFileTest, PagesAreAttendedToInPlaceAndAWriteIsOnesOwn) {
  const CacheConfig config = cache_config("k4v4", 128, 64);
  KvCache cache(config);
  const SequenceId id = cache.create();
  const Tokens tokens = random_tokens(13, config, 1000);
  append(cache, id, tokens, {0, 900}, threads);
  save_cache(path, cache, {{id}});
  const std::string saved = contents();
  LoadedCache one = CacheFile(path).load(64), two = CacheFile(path).load(64);
  expect_same(cache, id, *one.cache, one.sequences[0], threads);
  expect_same(cache, id, *two.cache, two.sequences[0], threads);
  EXPECT_EQ(copied_bytes(path), 0);
  one.cache->truncate(one.sequences[0], 128);
  append(*one.cache, one.sequences[0], tokens, {100, 800}, threads);
  EXPECT_GT(copied_bytes(path), 0);
  expect_same(cache, id, *two.cache, two.sequences[0], threads);
  EXPECT_EQ(contents(), saved);
  save_cache(path, *one.cache, one.sequences);  // over the file that is mapped
  expect_same(cache, id, *two.cache, two.sequences[0], threads);
  LoadedCache three = CacheFile(path).load();
  expect_same(*one.cache, one.sequences[0], *three.cache, three.sequences[0], threads);
}

TEST_F(CacheFileTest, WhereTheSystemCannotMapItReads) {
  const CacheConfig config = cache_config("k3v2");
  KvCache cache(config);
  const SequenceId id = cache.create();
  append(cache, id, random_tokens(14, config, 600), {0, 600}, threads);
  save_cache(path, cache, {{id}});
  std::string bytes = contents();
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  bytes.insert(sizeof(length) + length, 8, ' ');  // as another writer would pad the header
  length += 8;
  std::memcpy(bytes.data(), &length, sizeof(length));
  overwrite(bytes);
  LoadedCache loaded = CacheFile(path).load();
  EXPECT_FALSE(loaded.is_mapped);
  expect_same(cache, id, *loaded.cache, loaded.sequences[0], threads);
}

// Saves in a loop in a child that is killed at some moment; then the file must be one of the two, whole.
TEST_F(CacheFileTest, AKilledSaveLeavesTheOldFileOrTheNew) {
  const CacheConfig config = cache_config("k4v4", 128, 64);
  KvCache cache(config);
  const SequenceId ids[] = {cache.create(), cache.create()};
  const Tokens tokens = random_tokens(15, config, 1600);
  append(cache, ids[0], tokens, {0, 400}, threads);
  append(cache, ids[1], tokens, {0, 1600}, threads);
  save_cache(path, cache, {&ids[0], 1});
  for (int turn = 0; turn < 20; ++turn) {
    const pid_t child = fork();
    if (child == 0) {
      for (int i = 0;; ++i) save_cache(path, cache, {&ids[i % 2], 1});
    }
    usleep(static_cast<useconds_t>(2000 + 1371 * turn));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    LoadedCache loaded = CacheFile(path).load();
    const bool is_first = loaded.cache->num_tokens(loaded.sequences[0]) == 400;
    expect_same(cache, ids[is_first ? 0 : 1], *loaded.cache, loaded.sequences[0], threads);
  }
}

}  // namespace
}  // namespace qjl::test
