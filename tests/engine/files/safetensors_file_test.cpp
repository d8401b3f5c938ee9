// The reader of weights in safetensors, and of the index of its shards: what a valid file gives, and what each kind of fault says.
#include "safetensors_file.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>

#include "hf_builder.hpp"
#include "hf_shards.hpp"
#include "hf_tensors.hpp"
#include "qjl/error.hpp"
#include "quants.hpp"

namespace {

using namespace qjl_test;
using namespace qjl::engine;
using qjl::Error;
using qjl::ErrorKind;
namespace fs = std::filesystem;

template <typename Act>
void expect_error(const Act& act, ErrorKind kind, const std::vector<std::string>& parts) {
  try {
    act();
    ADD_FAILURE() << "no error, wanted one with '" << parts[0] << "'";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(kind)) << text;
    for (const std::string& part : parts) EXPECT_NE(text.find(part), std::string::npos) << "no '" << part << "' in: " << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
  }
}

void expect_bad(const Bytes& bytes, const std::vector<std::string>& parts) {
  expect_error([&] { parse_safetensors(bytes, "test.safetensors"); }, ErrorKind::bad_file, parts);
}

TEST(Safetensors, ReadsWhatWasWritten) {
  const Bytes bytes = small_safetensors();
  const std::vector<SafeTensor> tensors = parse_safetensors(bytes, "test");
  ASSERT_EQ(tensors.size(), 2u);
  EXPECT_EQ(tensors[0].name, "a");
  EXPECT_EQ(tensors[0].dtype, "F32");
  EXPECT_EQ(tensors[0].shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(tensors[0].data.size(), 24u);
  EXPECT_EQ(tensors[1].dtype, "BF16");
  EXPECT_EQ(tensors[1].data.data(), bytes.data() + bytes.size() - 8);  // mapped, not copied
}

TEST(Safetensors, FaultsAreNamed) {
  const std::string tensor = R"("dtype":"F32","shape":[2],"data_offsets":[0,8])";
  expect_bad({}, {"0 bytes"});
  expect_bad(safetensors_with("{", 0), {"no JSON at byte"});
  expect_bad(safetensors_with("[]", 0), {"array", "an object"});
  expect_bad(safetensors_with(std::string(200, '['), 0), {"deeper than"});
  Bytes cut = small_safetensors();
  cut.resize(cut.size() - 1);
  expect_bad(cut, {"'b'", "is it whole"});
  Bytes long_header = small_safetensors();
  long_header[7] = std::byte{0x7F};
  expect_bad(long_header, {"a header of", "is it a safetensors file"});
  expect_bad(safetensors_with("{\"a\":{" + tensor + "}}", 12), {"12 bytes of data", "8, those of the tensors"});
  expect_bad(safetensors_with("{\"a\":{" + tensor + "},\"b\":{" + tensor + "}}", 16), {"'b'", "where the one before it ends"});
  expect_bad(safetensors_with(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8), {"8 bytes", "12 by its type"});
  expect_bad(safetensors_with(R"({"a":{"dtype":"Q4","shape":[3],"data_offsets":[0,8]}})", 8), {"'Q4'"});
  expect_bad(safetensors_with(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,8]}})", 8), {"-1", "whole number"});
  expect_bad(safetensors_with(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}})", 8), {"extent"});
  expect_bad(safetensors_with(R"({"a":{"dtype":"F32","shape":[2]}})", 8), {"without its fields"});
  expect_bad(safetensors_with(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8), {"8 to 0"});
}

// A header of odd length puts numbers at odd addresses. Experts that stand together are views of parts of their tensor, too.
TEST(HfTensors, NumbersStandAtAddressesThatTheyDivide) {
  alignas(8) const std::array<std::byte, 64> bytes{};
  const auto odd = std::span(bytes).subspan(1);
  const std::vector<SafeTensor> stored = {{"model.layers.0.mlp.experts.gate_up_proj", "BF16", {2, 2, 3}, odd.first(24)},
                                          {"model.layers.0.mlp.experts.down_proj", "F32", {1, 3, 1}, odd.first(12)},
                                          {"model.norm.weight", "F32", {3}, odd.first(12)},
                                          {"lm_head.weight", "F16", {2, 2}, std::span(bytes).first(8)}};
  HfConfig config;
  config.family = &find_hf_family("qwen3_moe");
  config.values["qwen3moe.block_count"] = std::uint64_t{1};
  const HfTensors found = read_hf_tensors(stored, config);
  EXPECT_EQ(found.tensors.size(), 7u);  // gates and ups of two experts
  for (const FileTensor& tensor : found.tensors)
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.data.data()) % static_cast<std::uintptr_t>(block_bytes(tensor.type)), 0u)
        << tensor.name;
  EXPECT_EQ(found.made.size(), 6u);  // the last is read in place
}

TEST(ShardIndex, ReadsNames) {
  const auto files = parse_shard_index(small_index(), "index");
  EXPECT_EQ(files.at("b"), "model-00002-of-00002.safetensors");
  const auto refused = [](const char* text, const std::vector<std::string>& parts) {
    expect_error([&] { parse_shard_index(text, "index"); }, ErrorKind::bad_file, parts);
  };
  refused("{}", {"no weight_map"});
  refused(R"({"weight_map": []})", {"a list as weight_map"});
  refused(R"({"weight_map": {"a": 3}})", {"'a'", "3"});
  for (const char* name : {"../x.safetensors", "/x.safetensors", "x.bin", ".x.safetensors", ""}) {
    refused((R"({"weight_map": {"a": ")" + std::string(name) + "\"}}").c_str(), {"'a'", ".safetensors file of the folder"});
  }
}

class ShardFolder : public testing::Test {
 protected:
  ShardFolder() : folder_(fs::temp_directory_path() / ("shards" + std::to_string(::getpid()))) { fs::create_directories(folder_); }
  ~ShardFolder() override { fs::remove_all(folder_); }
  void write(const char* name, std::string_view text) {
    std::ofstream(folder_ / name, std::ios::binary).write(text.data(), static_cast<std::streamsize>(text.size()));
  }
  fs::path folder_;
};

TEST_F(ShardFolder, AMissingFileOrTensorIsNamed) {
  const auto refused = [&](ErrorKind kind, const std::vector<std::string>& parts) {
    expect_error([&] { open_hf_weights(folder_); }, kind, parts);
  };
  refused(ErrorKind::io, {"neither model.safetensors nor model.safetensors.index.json"});
  write("model.safetensors.index.json", small_index());
  const auto one = [](const char* name) {
    return safetensors_with(std::string("{\"") + name + R"(":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8);
  };
  write("model-00001-of-00002.safetensors", text_of(one("a")));
  refused(ErrorKind::io, {"model-00002-of-00002.safetensors"});
  write("model-00002-of-00002.safetensors", text_of(one("c")));
  refused(ErrorKind::bad_file, {"model-00002-of-00002.safetensors", "no tensor 'b'"});
  write("model-00002-of-00002.safetensors", text_of(one("b")));
  EXPECT_EQ(open_hf_weights(folder_).tensors.size(), 2u);
}

}  // namespace
