// The GGUF reader: what a valid file gives, and what each kind of broken file says.
#include "gguf.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "gguf_builder.hpp"
#include "qjl/error.hpp"
#include "tokenizer.hpp"

namespace {

using namespace qjl_test;
using qjl::Error;
using qjl::ErrorKind;
using namespace qjl::engine;

GgufFile parse(const Bytes& bytes) { return GgufFile::parse(bytes, "test.gguf"); }

// The error of parsing `bytes`: its kind and that its text has all of `parts`.
void expect_error(const Bytes& bytes, ErrorKind kind, const std::vector<std::string>& parts) {
  try {
    parse(bytes);
    ADD_FAILURE() << "no error, wanted one with '" << parts[0] << "'";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(kind)) << text;
    for (const std::string& part : parts) EXPECT_NE(text.find(part), std::string::npos) << "no '" << part << "' in: " << text;
  }
}

void expect_bad(const Bytes& bytes, const std::vector<std::string>& parts) { expect_error(bytes, ErrorKind::bad_file, parts); }

GgufBuilder small_file() {
  GgufBuilder out;
  out.text("general.name", "tiny").u32("a.u32", 7).number<std::int64_t>("a.i64", 11, -5).f32("a.f32", 0.5f).boolean("a.bool", true);
  out.texts("a.texts", {"x", "", "yz"}).numbers<float>("a.floats", 6, {1.0f, 2.5f}).numbers<std::int16_t>("a.shorts", 3, {-1, 2});
  out.tensor("matrix", {4, 3}, 0, counting_bytes(48)).tensor("vector", {64}, 3, counting_bytes(40));
  return out;
}

TEST(Gguf, ReadsWhatWasWritten) {
  for (const std::uint32_t version : {2u, 3u}) {
    const Bytes bytes = small_file().version(version).build();
    const GgufFile file = parse(bytes);
    EXPECT_EQ(file.keys().size(), 8u);
    EXPECT_EQ(file.text("general.name"), "tiny");
    EXPECT_EQ(file.integer("a.u32"), 7);
    EXPECT_EQ(file.integer("a.i64"), -5);
    EXPECT_EQ(file.number("a.f32"), 0.5);
    EXPECT_EQ(file.number("a.u32"), 7.0);
    EXPECT_TRUE(file.boolean_or("a.bool", false));
    EXPECT_EQ(file.texts("a.texts"), (std::vector<std::string>{"x", "", "yz"}));
    EXPECT_EQ(*file.find_numbers("a.floats"), (std::vector<double>{1.0, 2.5}));
    EXPECT_EQ(*file.find_integers("a.shorts"), (std::vector<std::int64_t>{-1, 2}));
    EXPECT_EQ(file.integer_or("absent", 3), 3);
    EXPECT_EQ(file.find("absent"), nullptr);
    const FileTensor& matrix = file.tensor("matrix");
    EXPECT_EQ(matrix.shape, (std::vector<std::int64_t>{3, 4}));
    EXPECT_EQ(matrix.type, WeightType::f32);
    EXPECT_EQ(Bytes(matrix.data.begin(), matrix.data.end()), counting_bytes(48));
    const FileTensor& vector = file.tensor("vector");
    EXPECT_EQ(vector.data.size(), 40u);  // two blocks of 32 numbers, 20 bytes each
    EXPECT_EQ(file.find_tensor("absent"), nullptr);
  }
}

TEST(Gguf, AlignmentOfTheFileIsUsed) {
  GgufBuilder builder;
  builder.alignment(64).tensor("a", {1}, 0, counting_bytes(4)).tensor("b", {1}, 0, counting_bytes(4));
  const Bytes bytes = builder.build();
  const GgufFile file = parse(bytes);
  EXPECT_EQ(file.tensor("b").data.data() - file.tensor("a").data.data(), 64);
  EXPECT_EQ((file.tensor("a").data.data() - bytes.data()) % 64, 0);
  for (const std::uint32_t bad : {0u, 1u, 4u, 24u, 1u << 21}) {
    expect_bad(GgufBuilder().u32("general.alignment", bad).build(), {"general.alignment", std::to_string(bad), "power of two"});
  }
}

TEST(Gguf, TypedReadsNameFoundAndWanted) {
  const Bytes bytes = small_file().f32("a.nan", std::nanf("1")).number<std::uint64_t>("a.huge", 10, ~std::uint64_t{0}).build();
  const GgufFile file = parse(bytes);
  const auto error_of = [&](auto read) -> std::string {
    try {
      read();
    } catch (const Error& error) {
      return error.kind() == ErrorKind::bad_file ? error.what() : "another kind";
    }
    return "no error";
  };
  EXPECT_NE(error_of([&] { file.integer("nothing"); }).find("'nothing': found no such key, wanted an integer"), std::string::npos);
  EXPECT_NE(error_of([&] { file.integer("general.name"); }).find("found a text, wanted an integer"), std::string::npos);
  EXPECT_NE(error_of([&] { file.integer_or("a.f32", 1); }).find("found a number, wanted an integer"), std::string::npos);
  EXPECT_NE(error_of([&] { file.integer("a.huge"); }).find("18446744073709551615"), std::string::npos);
  EXPECT_NE(error_of([&] { file.number("a.nan"); }).find("wanted a finite number"), std::string::npos);
  EXPECT_NE(error_of([&] { file.texts("a.floats"); }).find("wanted an array of texts"), std::string::npos);
  EXPECT_NE(error_of([&] { file.tensor("none"); }).find("found no tensor 'none'"), std::string::npos);
}

TEST(Gguf, EveryTruncationIsRefused) {
  const Bytes whole = small_file().build();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    // The padding after the last tensor is not needed: 40 of its 64 bytes are.
    if (size >= whole.size() - 24) continue;
    EXPECT_THROW(parse(cut), Error) << "cut to " << size << " of " << whole.size() << " bytes";
  }
}

TEST(Gguf, HeaderErrors) {
  Bytes wrong_magic = small_file().build();
  wrong_magic[0] = std::byte{'X'};
  expect_bad(wrong_magic, {"magic", "found 'XGUF'", "wanted 'GGUF'"});
  expect_bad(small_file().version(1).build(), {"version", "found 1", "wanted 2 or 3"});
  expect_bad(small_file().version(4).build(), {"version", "found 4"});
  expect_bad(small_file().version(0x03000000).build(), {"big-endian"});
  Bytes many_tensors = small_file().build();
  many_tensors[15] = std::byte{0x7f};
  expect_bad(many_tensors, {"tensor count", "at most"});
  Bytes many_keys = small_file().build();
  many_keys[23] = std::byte{0xff};
  expect_bad(many_keys, {"key count", "at most"});
}

TEST(Gguf, KeyErrors) {
  expect_bad(GgufBuilder().u32("twice", 1).u32("twice", 2).build(), {"key 'twice'", "found it twice"});
  expect_bad(GgufBuilder().u32("", 1).build(), {"empty name"});
  expect_bad(GgufBuilder().number<std::uint32_t>("k", 13, 0).build(), {"kind 13", "0 to 12"});
  expect_bad(GgufBuilder().number<std::uint8_t>("k", 7, 2).build(), {"boolean of 2"});
  Bytes nested;
  put<std::uint32_t>(nested, 9);
  put<std::uint64_t>(nested, 0);
  expect_bad(GgufBuilder().key("k", 9, nested).build(), {"array of kind 9", "no nested arrays"});
  for (const std::uint32_t kind : {0u, 6u, 7u, 8u, 10u}) {
    Bytes endless;
    put(endless, kind);
    put<std::uint64_t>(endless, std::uint64_t{1} << 61);
    expect_bad(GgufBuilder().key("k", 9, endless).build(), {"key 'k'", "count of 2305843009213693952", "at most"});
  }
  Bytes endless_text;
  put<std::uint64_t>(endless_text, ~std::uint64_t{0});
  expect_bad(GgufBuilder().key("k", 8, endless_text).build(), {"key 'k'", "wanted 18446744073709551615"});
  expect_bad(GgufBuilder().u32("bad\x01\xff name", 1).u32("bad\x01\xff name", 1).build(), {"'bad\\x01\\xff name'"});
}

TEST(Gguf, TensorErrors) {
  const Bytes four = counting_bytes(4);
  expect_bad(GgufBuilder().tensor("t", {1}, 0, four).tensor("t", {1}, 0, four).build(), {"tensor 't'", "twice"});
  expect_bad(GgufBuilder().tensor("t", {}, 0, four).build(), {"0 dimensions", "1 to 4"});
  expect_bad(GgufBuilder().tensor("t", {1, 1, 1, 1, 1}, 0, four).build(), {"5 dimensions"});
  expect_bad(GgufBuilder().tensor("t", {0}, 0, four).build(), {"dimension of 0"});
  expect_bad(GgufBuilder().tensor("t", {~std::uint64_t{0}}, 0, four).build(), {"below 2^63"});
  const std::uint64_t large = std::uint64_t{1} << 32;
  expect_bad(GgufBuilder().tensor("t", {large, large}, 0, four).build(), {"more than 2^56 numbers"});
  expect_bad(GgufBuilder().tensor("t", {large, large, large, large}, 0, four).build(), {"more than 2^56 numbers"});
  expect_bad(GgufBuilder().tensor("t", {9}, 0, four).build(), {"36 bytes at 0 of 32", "inside the file"});
  expect_bad(GgufBuilder().tensor("t", {1}, 0, four, 64).build(), {"4 bytes at 64 of 32"});
  expect_bad(GgufBuilder().tensor("t", {1}, 0, four, 0x7fffffffffffffe0).build(), {"inside the file"});
  expect_bad(GgufBuilder().tensor("t", {1}, 0, four, 4).build(), {"offset 4", "multiple of 32"});
  expect_bad(GgufBuilder().tensor("t", {33}, 8, counting_bytes(68)).build(), {"33 columns of Q8_0", "multiple of 32"});
  expect_bad(GgufBuilder().tensor("a", {16}, 0, counting_bytes(64)).tensor("b", {1}, 0, four, 32).build(), {"shared with 'a'"});
  expect_bad(GgufBuilder().tensor(std::string(65, 'n'), {1}, 0, four).build(), {"65 bytes", "at most 64"});
  expect_error(GgufBuilder().tensor("t", {256}, 35, counting_bytes(66)).build(), ErrorKind::unsupported, {"'t'", "TQ2_0", "Q4_K"});
  expect_error(GgufBuilder().tensor("t", {32}, 4242, four).build(), ErrorKind::unsupported, {"number 4242"});
}

TEST(Gguf, BlocksOfEveryType) {
  struct Row {
    WeightType type;
    const char* name;
    int bytes, numbers;
  };
  // ggml-common.h: f16 scales and minimums, 6-bit or 8-bit sub-scales, codes.
  const Row rows[] = {
      {WeightType::f32, "F32", 4, 1},
      {WeightType::f16, "F16", 2, 1},
      {WeightType::bf16, "BF16", 2, 1},
      {WeightType::q4_0, "Q4_0", 2 + 16, 32},
      {WeightType::q4_1, "Q4_1", 4 + 16, 32},
      {WeightType::q5_0, "Q5_0", 2 + 4 + 16, 32},
      {WeightType::q5_1, "Q5_1", 4 + 4 + 16, 32},
      {WeightType::q8_0, "Q8_0", 2 + 32, 32},
      {WeightType::q2_k, "Q2_K", 16 + 64 + 4, 256},
      {WeightType::q3_k, "Q3_K", 32 + 64 + 12 + 2, 256},
      {WeightType::q4_k, "Q4_K", 4 + 12 + 128, 256},
      {WeightType::q5_k, "Q5_K", 4 + 12 + 32 + 128, 256},
      {WeightType::q6_k, "Q6_K", 128 + 64 + 16 + 2, 256},
      {WeightType::iq4_nl, "IQ4_NL", 2 + 16, 32},
      {WeightType::iq4_xs, "IQ4_XS", 2 + 2 + 4 + 128, 256},
      {WeightType::mxfp4, "MXFP4", 1 + 16, 32},
      {WeightType::iq1_s, "IQ1_S", 2 + 32 + 16, 256},
      {WeightType::iq1_m, "IQ1_M", 32 + 16 + 8, 256},
      {WeightType::iq2_xxs, "IQ2_XXS", 2 + 64, 256},
      {WeightType::iq2_xs, "IQ2_XS", 2 + 64 + 8, 256},
      {WeightType::iq2_s, "IQ2_S", 2 + 64 + 8 + 8, 256},
      {WeightType::iq3_xxs, "IQ3_XXS", 2 + 64 + 32, 256},
      {WeightType::iq3_s, "IQ3_S", 2 + 64 + 8 + 32 + 4, 256},
  };
  EXPECT_EQ(std::size(rows), weight_types().size());
  for (const Row& row : rows) {
    EXPECT_EQ(weight_type_name(row.type), row.name);
    EXPECT_EQ(block_bytes(row.type), row.bytes) << row.name;
    EXPECT_EQ(block_numbers(row.type), row.numbers) << row.name;
    const Bytes data = counting_bytes(static_cast<std::size_t>(6 * row.bytes));
    const std::uint64_t columns = 2u * static_cast<std::uint64_t>(row.numbers);
    const Bytes bytes = GgufBuilder().tensor("t", {columns, 3}, static_cast<std::uint32_t>(row.type), data).build();
    EXPECT_EQ(parse(bytes).tensor("t").data.size(), data.size()) << row.name;
  }
}

TEST(Gguf, TemplatesOfChats) {
  GgufBuilder file = small_bpe();
  EXPECT_EQ(parse(file.build()).tokenizer_data().tool_template, "");
  file.text("tokenizer.chat_template.tool_use", "with tools");
  const TokenizerData data = parse(file.build()).tokenizer_data();
  EXPECT_TRUE(data.chat_template.find("Be brief.") != std::string::npos) << data.chat_template;
  EXPECT_EQ(data.tool_template, "with tools");
}

TEST(Gguf, FilesOnDisk) {
  const auto folder = std::filesystem::temp_directory_path() / ("qjl_gguf_test_" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  const auto write = [&](const char* name, const Bytes& bytes) {
    std::ofstream(folder / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return folder / name;
  };
  const GgufFile file = GgufFile::open(write("good.gguf", small_file().build()));
  EXPECT_EQ(file.text("general.name"), "tiny");
  const auto kind_of = [](const std::filesystem::path& path) {
    try {
      GgufFile::open(path);
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(path.string()), std::string::npos) << error.what();
      return error.kind();
    }
    return ErrorKind::invalid_argument;
  };
  EXPECT_EQ(kind_of(folder / "missing.gguf"), ErrorKind::io);
  EXPECT_EQ(kind_of(folder), ErrorKind::bad_file);
  EXPECT_EQ(kind_of(write("empty.gguf", {})), ErrorKind::bad_file);
  std::filesystem::remove_all(folder);
}

}  // namespace
