// What the program reads besides models, texts and plans: arrays of NumPy and cases of questions. Damaged ones are refused as bad
// files, however long or deep they are: none may overflow the stack.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "npy.hpp"
#include "qjl/error.hpp"
#include "result_rows.hpp"
#include "retrieval_cases.hpp"

namespace qjl::cli::test {
namespace {

// `found` stands in the error.
template <typename Read>
void expect_bad_file(const Read& read, const std::string& what, const std::string& found = "") {
  try {
    read();
    ADD_FAILURE() << what;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::bad_file) << what;
    EXPECT_NE(std::string(error.what()).find(found), std::string::npos) << what << ": " << error.what();
  }
}

// Format version 2, the length of whose header is four bytes.
std::string npy_of(const std::string& header, std::size_t numbers) {
  std::string bytes = std::string("\x93NUMPY\2\0", 8) + std::string(4, '\0') + header;
  const auto length = static_cast<std::uint32_t>(header.size());
  std::memcpy(&bytes[8], &length, sizeof length);
  for (std::size_t i = 0; i < numbers; ++i) {
    const float number = static_cast<float>(i) / 2;
    bytes.append(reinterpret_cast<const char*>(&number), sizeof number);
  }
  return bytes;
}

std::string npy(const std::string& shape, std::size_t numbers) {
  return npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + ", }\n", numbers);
}

TEST(Npy, ReadsShapeAndNumbers) {
  const NpyArray array = parse_npy(npy("(2, 1, 3)", 6), "file");
  EXPECT_EQ(array.shape, (std::vector<std::int64_t>{2, 1, 3}));
  EXPECT_EQ(array.numbers, (std::vector<float>{0, 0.5, 1, 1.5, 2, 2.5}));
  EXPECT_EQ(parse_npy(npy("(4,)", 4), "file").shape, std::vector<std::int64_t>{4});
  EXPECT_EQ(parse_npy(npy("()", 1), "file").numbers.size(), 1u);
  for (const char* none : {"(0,)", "(0, 5)", "(5, 0)"}) EXPECT_TRUE(parse_npy(npy(none, 0), "file").numbers.empty()) << none;
}

// Version 1 has two bytes of length; each length is that of the header, no byte more or less.
TEST(Npy, TheHeaderIsAsLongAsItSays) {
  const std::string later = npy("(3,)", 3);
  std::string first = later;
  first[6] = 1;
  first.erase(10, 2);
  EXPECT_EQ(parse_npy(first, "file").numbers, (std::vector<float>{0, 0.5, 1}));
  for (const std::string& file : {first, later}) {
    for (const auto& [more, found] :
         {std::pair(-1, "another number"), std::pair(1, "another number"), std::pair(12, "another number"),
          std::pair(13, "another format"), std::pair(100, "another format")}) {  // three numbers are 12 bytes
      std::string other = file;
      other[8] = static_cast<char>(other[8] + more);
      expect_bad_file([&] { parse_npy(other, "file"); }, std::to_string(more), found);
    }
  }
}

TEST(Npy, WhatIsNoArrayIsRefused) {
  for (const char* shape : {"(2, 3)", "(2, 4", "2, 4", "(-2, -4)", "(8x)", "(2000000000, 8)", "(99999999999999999999)",
                            "(4294967296, 4294967296, 8)", "(1000000004, 2)", "(0, -1)", "(0, 18446744073709551615)",
                            "(4611686018427387906, 4)", "(4611686018427387912,)"}) {  // 2^64 + 8 numbers, 2^64 + 32 bytes
    expect_bad_file([&] { parse_npy(npy(shape, 8), "file"); }, shape);
  }
  const std::string good = npy("(2, 4)", 8);
  for (const auto& [from, to] :
       {std::pair("<f4", "<i4"), {"<f4", ">f4"}, {"False", "True "}, {"'shape'", "'shade'"}, {"NUMPY", "NUMPI"}}) {
    std::string other = good;
    expect_bad_file([&] { parse_npy(other.replace(other.find(from), std::strlen(from), to), "file"); }, to);
  }
  // No shape, but what could be taken for one.
  expect_bad_file([&] { parse_npy(npy_of("{'a': 1, 8), 'descr': '<f4', 'fortran_order': False}", 8), "file"); }, "no shape");
  for (const std::size_t size : {0, 6, 10, 11, 12, 40, 90}) {
    expect_bad_file([&] { parse_npy(good.substr(0, size), "file"); }, std::to_string(size));
  }
}

// A regular expression over the header would call itself for every character of it.
TEST(Npy, AnEndlessShapeIsRefused) {
  std::string shape = "(";
  for (int i = 0; i < 500'000; ++i) shape += "1, ";
  EXPECT_EQ(parse_npy(npy(shape + ")", 1), "file").shape.size(), 500'000u);
  expect_bad_file([&] { parse_npy(npy(shape, 1), "file"); }, "no bracket");
}

constexpr const char* kGood =
    R"({"case": 1, "type": "t", "length": 5, "context": "c", "questions": [{"question": "q", "depth": 0.5, "prefix": "p", "answer": "a"}]})";

TEST(RetrievalCases, AreReadLineByLine) {
  const auto cases = read_cases(std::string(kGood) + "\n" + kGood + "\n", "file");
  ASSERT_EQ(cases.size(), 2u);
  EXPECT_EQ(cases[1]["questions"][0]["answer"], "a");
}

// Every field is looked at here: later a missing one would be read from nowhere.
TEST(RetrievalCases, WhatIsNoCaseIsRefused) {
  const auto changed = [](const std::string& from, const std::string& to) {
    std::string text = kGood;
    return text.replace(text.find(from), from.size(), to);
  };
  for (const std::string& line :
       {std::string(), std::string("5"), std::string("{"), changed("\"case\"", "\"cas\""), changed("\"c\"", "5"),
        changed("\"t\"", "5"), changed("5", "5.5"), changed("\"question\": \"q\"", "\"q\": 1"), changed("\"p\"", "null"),
        changed("\"answer\"", "\"a\""), changed("0.5", "\"half\""), changed("[{", "[5, {"),
        std::string(R"({"case": 1, "context": "c", "questions": {"question": "q", "prefix": "p", "answer": "a"}})")}) {
    expect_bad_file([&] { read_cases(std::string(kGood) + "\n" + line + "\n", "file"); }, line);
  }
}

TEST(RetrievalCases, BracketsWithoutEndAreRefused) {
  const std::string brackets = std::string(1'000'000, '[') + std::string(1'000'000, ']');
  expect_bad_file([&] { read_cases(std::string(kGood).replace(9, 1, brackets), "file"); }, "deep case");
}

TEST(ResultRows, BracketsWithoutEndAreRefused) {
  const auto path = std::filesystem::temp_directory_path() / "qjl_readers_test.jsonl";
  std::ofstream(path) << R"({"key": )" << std::string(1'000'000, '[') << std::string(1'000'000, ']') << "}\n";
  expect_bad_file([&] { ResultRows(path.string(), {"key"}); }, "deep row");
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace qjl::cli::test
