// Files that are no saved caches of this library, and saves and loads that cannot be: each is told with what was found and wanted.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "cache_fixtures.hpp"
#include "qjl/cache_file.hpp"

namespace qjl::test {
namespace {

namespace fs = std::filesystem;

struct CacheFileErrorsTest : testing::Test {
  fs::path folder = fs::temp_directory_path() / ("qjl_cache_file_errors_" + std::to_string(getpid()));
  std::string path = (folder / "saved.qjlkv.safetensors").string();
  ThreadPool threads{1};
  CacheConfig config = cache_config("k3v2", 64, 8, 2);
  KvCache cache{config};
  SequenceId id = cache.create();
  std::string saved;

  CacheFileErrorsTest() {
    fs::create_directories(folder);
    append(cache, id, random_tokens(21, config, 300), {0, 300}, threads);
    save_cache(path, cache, {{id}}, {.model = "m"});
    std::ifstream file(path, std::ios::binary);
    saved.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  ~CacheFileErrorsTest() override { fs::remove_all(folder); }

  // The error of loading these bytes; "" when they load.
  std::string error_with(const std::string& bytes) const {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    return error_of([&] { CacheFile(path).load(); }, ErrorKind::bad_file);
  }
  std::size_t data_begin() const {
    std::uint64_t length = 0;
    std::memcpy(&length, saved.data(), sizeof(length));
    return sizeof(length) + length;
  }
  // The saved file with a part of its header exchanged; spaces take up the difference in length.
  std::string with(const std::string& found, const std::string& other) const {
    std::string header = saved.substr(8, data_begin() - 8);
    const std::size_t at = header.find(found);
    EXPECT_NE(at, std::string::npos) << found;
    header.replace(at, found.size(), other);
    while (header.size() > data_begin() - 8 && header.back() == ' ') header.pop_back();
    header.resize(std::max(header.size(), data_begin() - 8), ' ');
    EXPECT_EQ(header.size(), data_begin() - 8);
    return saved.substr(0, 8) + header + saved.substr(data_begin());
  }
  void expect_refused(const std::string& bytes, const std::string& text) const {
    const std::string error = error_with(bytes);
    EXPECT_NE(error.find(text), std::string::npos) << "wanted: " << text << "\nfound: " << error;
    EXPECT_NE(error.find(path), std::string::npos) << error;
  }
};

TEST_F(CacheFileErrorsTest, TheFileItselfLoads) { EXPECT_EQ(error_with(saved), ""); }

TEST_F(CacheFileErrorsTest, TruncatedAtAnyPlaceOrTooLong) {
  for (std::size_t size = 0; size < saved.size(); size += size < 9000 ? 97 : 4001) {
    EXPECT_NE(error_with(saved.substr(0, size)), "") << size;
  }
  expect_refused(saved.substr(0, saved.size() - 1), "bytes of tensors, wanted");
  expect_refused(saved + " ", "bytes of tensors, wanted");
  expect_refused("", "found 0 bytes, wanted");
}

TEST_F(CacheFileErrorsTest, ForeignAndFutureFiles) {
  expect_refused("GGUF" + std::string(100, '\0') + saved, "found a header of");
  expect_refused(with("\"format\":\"qjl-kv\"", "\"format\":\"pt\""), "format is \"pt\", wanted \"qjl-kv\"");
  expect_refused(with("\"format\":\"qjl-kv\",", ""), "found no format in the metadata, wanted \"qjl-kv\"");
  expect_refused(with("\"format_version\":\"1\"", "\"format_version\":\"2\""), "format_version is \"2\", wanted \"1\"");
  expect_refused(with("\"page_format\":\"2\"", "\"page_format\":\"3\""), "page_format is \"3\", wanted \"2\"");
  expect_refused(with("\"model\":\"m\"", "\"mödel\":\"m\""), "found the word \"mödel\"");
}

TEST_F(CacheFileErrorsTest, WordsThatSayNoCacheOrAnother) {
  const std::pair<const char*, const char*> cases[] = {
      {"\"cache\":\"k3v2\"", "\"cache\":\"k9v2\""},
      {"\"cache\":\"k3v2\"", "\"cache\":\"k4v2\""},
      {"\"seed\":\"1\"", "\"seed\":\"2\""},
      {"\"num_layers\":\"2\"", "\"num_layers\":\"3\""},
      {"\"num_layers\":\"2\"", "\"num_layers\":\"999999999\""},
      {"\"num_kv_heads\":\"2\"", "\"num_kv_heads\":\"-2\""},
      {"\"num_kv_heads\":\"2\"", "\"num_kv_heads\":\"1\""},
      {"\"head_dim\":\"64\"", "\"head_dim\":\"96\""},
      {"\"head_dim\":\"64\"", "\"head_dim\":\"65\""},
      {"\"tail_type\":\"f16\"", "\"tail_type\":\"bf16\""},
      {"\"tail_type\":\"f16\"", "\"tail_type\":\"f32\""},
      {"\"rope_pairs\":\"halves\"", "\"rope_pairs\":\"thirds\""},
      {"\"rope_frequencies\":\"1,", "\"rope_frequencies\":\"x,"},
      {"\"rope_frequencies\":\"1,", "\"rope_frequencies\":\"-1,"},
      {"\"rope_frequencies\":\"1,", "\"rope_frequencies\":\"nan,"},
      {"\"num_tokens\":\"300\"", "\"num_tokens\":\"301\""},
      {"\"num_tokens\":\"300\"", "\"num_tokens\":\"300,0\""},
      {"\"num_tokens\":\"300\"", "\"num_tokens\":\"9223372036854775807\""},
      {"\"num_token_ids\":\"0\"", "\"num_token_ids\":\"5\""},
      {"\"num_pages\":\"2\"", "\"num_pages\":\"2147483647\""},
      {"\"num_pages\":\"2\"", "\"num_pages\":\"1\""},
      {"\"dtype\":\"U8\"", "\"dtype\":\"I8\""},
      {"\"shape\":[2,", "\"shape\":[3,"},
      {"\"shape\":[2,", "\"shape\":[4611686018427387904,4,"},
      {"\"data_offsets\":[0,", "\"data_offsets\":[1,"},
      {"\"pages.0\"", "\"pages.7\""},
      {"\"pages.0\"", "\"pages.1\""},
      {"\"tail.0\":{", "\"tail.0\":{\"more\":1,"},
      {"{\"__metadata__\"", "[\"__metadata__\""},
  };
  for (const auto& [found, other] : cases) EXPECT_NE(error_with(with(found, other)), "") << found << " -> " << other;
}

// A byte of the header or of what is read at once: no crash; an error, or a file that is still whole (a name, a space).
TEST_F(CacheFileErrorsTest, NoByteOfTheHeaderBreaksTheReader) {
  int refused = 0, tried = 0;
  for (std::size_t at = 0; at < data_begin(); at += 11, ++tried) {
    std::string bytes = saved;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << at % 7));
    refused += error_with(bytes) != "" ? 1 : 0;
    if (bytes[at] == ' ' && saved[at] == ' ') break;
  }
  EXPECT_GT(refused, tried / 2);
}

TEST_F(CacheFileErrorsTest, PagesTablesAndRowsThatNoCacheHolds) {
  const auto changed = [this](const std::string& tensor, std::size_t offset, const std::string& other) {
    std::string bytes = saved;
    const std::size_t field = bytes.find("data_offsets", bytes.find("\"" + tensor + "\"")) + 15;
    bytes.replace(data_begin() + std::stoul(bytes.substr(field)) + offset, other.size(), other);
    return bytes;
  };
  expect_refused(changed("page_heads.0", 0, "\x09"), "found page format version 9, wanted 2");
  expect_refused(changed("page_heads.1", 1, "\x02"), "found a page of codes 2 and 3, wanted 4 and 3");
  expect_refused(changed("page_heads.1", 3, "\x05"), "has 5 sinks, wanted 4");
  expect_refused(changed("page_heads.0", 8, "\xff\xff\xff\x7f"), "found a scale of nan");
  expect_refused(changed("page_table.0", 0, "\x02"), "has page 2, wanted 0 to 1");
  expect_refused(changed("page_table.0", 7, "\x80"), "wanted 0 to 1");
  expect_refused(changed("page_table.0", 0, "\x01"), "page 0 is of no sequence");
  expect_refused(changed("tail.0", 40, std::string("\x00\x7e", 2)), "has NaN or infinity");
  expect_refused(changed("sinks.0", 2, std::string("\x00\xfc", 2)), "has NaN or infinity");
}

TEST_F(CacheFileErrorsTest, AnotherModelsFile) {
  error_with(saved);
  const CacheFile file(path);
  const auto error = [&](const CacheConfig& model) { return error_of([&] { file.check_model(model); }); };
  EXPECT_EQ(error(config), "");
  CacheConfig other = config;
  other.codec.rope.frequency[1] *= 1.0 + 1e-7;  // a rounding
  other.codec.rope.pairs = KeyRope::Pairs::interleaved;
  EXPECT_EQ(error(other), "");
  other.codec.rope = rope(32, 5e5);
  EXPECT_NE(error(other).find("layer 0 turns 32 pairs of channels, the second by"), std::string::npos) << error(other);
  other = config, other.num_layers = 3;
  EXPECT_NE(error(other).find("num_layers is 2, wanted 3"), std::string::npos);
  other = config, other.num_kv_heads = 1;
  EXPECT_NE(error(other).find("num_kv_heads is 2, wanted 1"), std::string::npos);
  other = config, other.head_dim = 128;
  EXPECT_NE(error(other).find("head_dim is 64, wanted 128"), std::string::npos);
  other = config, other.layer_windows = {0, 512};
  EXPECT_NE(error(other).find("window is 0, wanted 512"), std::string::npos);
  EXPECT_NE(error_of([&] { file.load(1); }).find("max_pages is 1, wanted 2 or more"), std::string::npos);
}

TEST_F(CacheFileErrorsTest, WhatCannotBeSavedLeavesTheFile) {
  error_with(saved);
  const auto error = [&](std::vector<SequenceId> ids, const CacheFileInfo& info) {
    return error_of([&] { save_cache(path, cache, ids, info); });
  };
  EXPECT_NE(error({}, {}).find("found no sequence"), std::string::npos);
  EXPECT_NE(error({SequenceId{99}}, {}).find("sequence 99 does not exist"), std::string::npos);
  EXPECT_NE(error({id, id}, {}).find("stands twice"), std::string::npos);
  EXPECT_NE(error({id}, {.token_ids = {{1, 2}}}).find("found 2 token ids"), std::string::npos);
  EXPECT_NE(error({id}, {.token_ids = {{}, {}}}).find("token_ids are of 2"), std::string::npos);
  EXPECT_NE(error({id}, {.layer_types = {"a,b"}}).find("a layer type is"), std::string::npos);
  EXPECT_NE(error({id}, {.exact = {{"x", DType::f32, {2}, nullptr}}}).find("has no memory"), std::string::npos);
  EXPECT_NE(error({id}, {.exact = {{"x", DType::f32, {-1}, nullptr}}}).find("has an extent of -1"), std::string::npos);
  EXPECT_NE(error({id}, {.exact = {{"x", DType::f32, {1LL << 40, 1LL << 40}, nullptr}}}).find("less than 2^63"), std::string::npos);
  const ExactTensor exact{"x", DType::f32, {0}, nullptr};
  EXPECT_NE(error({id}, {.exact = {exact, exact}}).find("stands twice, wanted names of their own"), std::string::npos);
  append_layer(cache, id, 0, random_tokens(22, config, 1), {0, 1}, threads);
  EXPECT_NE(error({id}, {}).find("have 300 to 301 tokens"), std::string::npos);
  const std::string lost = (folder / "no folder" / "x").string();
  const SequenceId empty = cache.create();
  EXPECT_NE(error_of([&] { save_cache(lost, cache, {{empty}}); }, ErrorKind::io).find("No such file"), std::string::npos);
  EXPECT_NE(error_of([&] { CacheFile("no file"); }, ErrorKind::io).find("No such file"), std::string::npos);
  EXPECT_NE(error_of([&] { CacheFile(folder.string()); }, ErrorKind::bad_file).find("a folder or device"), std::string::npos);
  EXPECT_EQ(error_of([&] { CacheFile(path).load(); }, ErrorKind::bad_file), "");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 1);
}

TEST_F(CacheFileErrorsTest, ConfigsThatNoFileTells) {
  const auto error = [this](const CacheConfig& other, ErrorKind kind) {
    KvCache one(other);
    const SequenceId empty = one.create();
    return error_of([&] { save_cache((folder / "none").string(), one, {{empty}}); }, kind);
  };
  CacheConfig watched = config;
  watched.on_seal = [](const SealingPage&) {};
  EXPECT_NE(error(watched, ErrorKind::unsupported).find("found a cache with on_seal"), std::string::npos);
  CacheConfig turning = config;
  turning.layer_ropes = {config.codec.rope, config.codec.rope};
  turning.layer_ropes[1].pairs = KeyRope::Pairs::interleaved;
  EXPECT_NE(error(turning, ErrorKind::invalid_argument).find("wanted the same pairs in all"), std::string::npos);
  EXPECT_FALSE(fs::exists(folder / "none"));
}

}  // namespace
}  // namespace qjl::test
