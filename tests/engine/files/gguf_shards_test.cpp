// A model in several files: tensors of all of them under one file's metadata; a file that is missing or another's is named.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "gguf.hpp"
#include "gguf_builder.hpp"
#include "qjl/error.hpp"

namespace qjl::engine {
namespace {

using namespace qjl_test;

class GgufShards : public testing::Test {
 protected:
  GgufShards() { std::filesystem::create_directories(folder_); }
  ~GgufShards() override { std::filesystem::remove_all(folder_); }

  static GgufBuilder shard(std::uint16_t number, std::uint16_t count, const char* tensor, std::uint8_t first_byte) {
    GgufBuilder out;
    if (number == 0) out.text("general.name", "parts");
    out.number<std::uint16_t>("split.no", 2, number).number<std::uint16_t>("split.count", 2, count);
    Bytes data(16, static_cast<std::byte>(first_byte));
    out.number<std::int32_t>("split.tensors.count", 5, 3).tensor(tensor, {4}, 0, data);
    return out;
  }
  std::filesystem::path write(const std::string& name, const Bytes& bytes) const {
    std::ofstream(folder_ / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return folder_ / name;
  }
  std::filesystem::path write_all() const {
    write("m-00002-of-00003.gguf", shard(1, 3, "b", 2).build());
    write("m-00003-of-00003.gguf", shard(2, 3, "c", 3).build());
    return write("m-00001-of-00003.gguf", shard(0, 3, "a", 1).build());
  }
  static void refused(const std::filesystem::path& path, ErrorKind kind, const std::vector<std::string>& words) {
    try {
      GgufFile::open(path);
      ADD_FAILURE() << "opened, wanted an error with \"" << words[0] << "\"";
    } catch (const Error& error) {
      EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(kind)) << error.what();
      for (const std::string& word : words)
        EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what() << " lacks " << word;
    }
  }

  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() /
      ("qjl_shards_test_" + std::to_string(::getpid()) + testing::UnitTest::GetInstance()->current_test_info()->name());
};

TEST_F(GgufShards, AreOneModel) {
  const GgufFile file = GgufFile::open(write_all());
  EXPECT_EQ(file.text("general.name"), "parts");
  ASSERT_EQ(file.tensors().size(), 3u);
  for (const auto& [name, byte] : {std::pair{"a", 1}, {"b", 2}, {"c", 3}}) {
    EXPECT_EQ(file.tensor(name).data[5], static_cast<std::byte>(byte)) << name;
    file.forget(file.tensor(name).data);
    EXPECT_EQ(file.tensor(name).data[5], static_cast<std::byte>(byte)) << name;
  }
}

// Of the maps of a file, in this process.
std::int64_t resident_kilobytes(const std::filesystem::path& path) {
  std::ifstream maps("/proc/self/smaps");
  std::int64_t sum = 0;
  bool is_of_file = false;
  for (std::string line; std::getline(maps, line);) {
    if (line.find('-') < line.find(' ')) is_of_file = line.ends_with(path.string());  // "BEGIN-END rights ... path" comes first
    if (is_of_file && line.starts_with("Rss:")) sum += std::stoll(line.substr(4));
  }
  return sum;
}

TEST_F(GgufShards, WhatIsForgottenLeavesTheMemory) {
  constexpr std::size_t kBytes = 1 << 20;
  const Bytes ones(kBytes, std::byte{1});
  const std::filesystem::path path = write("large.gguf", GgufBuilder().tensor("a", {kBytes / 4}, 0, ones).build());
  const GgufFile file = GgufFile::open(path);
  const auto are_ones = [](std::span<const std::byte> part) { return std::ranges::count(part, std::byte{1}) == std::ssize(part); };
  EXPECT_TRUE(are_ones(file.tensor("a").data));
  EXPECT_GE(resident_kilobytes(path), 1024);
  file.forget(file.tensor("a").data);
  EXPECT_LE(resident_kilobytes(path), 64);
  EXPECT_TRUE(are_ones(file.tensor("a").data));
  file.forget(ones);  // memory of another: without its pages it would be zeros
  EXPECT_TRUE(are_ones(ones));
}

TEST_F(GgufShards, FaultsAreNamed) {
  const std::filesystem::path first = write_all();
  refused(folder_ / "m-00002-of-00003.gguf", ErrorKind::bad_file, {"file 2", "m-00001-of-00003.gguf"});
  refused(write("other.gguf", shard(0, 3, "a", 1).build()), ErrorKind::bad_file, {"other.gguf", "-00001-of-00003.gguf"});
  write("m-00003-of-00003.gguf", shard(1, 3, "c", 3).build());
  refused(first, ErrorKind::bad_file, {"m-00003-of-00003.gguf", "split.no 1 of 3", "2 of 3"});
  write("m-00003-of-00003.gguf", shard(2, 3, "b", 3).build());
  refused(first, ErrorKind::bad_file, {"tensor b again"});
  write("m-00003-of-00003.gguf", shard(2, 3, "c", 3).tensor("d", {4}, 0, Bytes(16)).build());
  refused(first, ErrorKind::bad_file, {"4 tensors", "3 (split.tensors.count)"});
  std::filesystem::remove(folder_ / "m-00003-of-00003.gguf");
  refused(first, ErrorKind::io, {"m-00003-of-00003.gguf"});
}

}  // namespace
}  // namespace qjl::engine
