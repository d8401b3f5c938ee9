// tokenizer.json and the files beside it: what they become, and what is refused. tests/python compares ids with the library tokenizers.
#include "tokenizer_json.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "hf_builder.hpp"
#include "hf_tokenizer.hpp"
#include "qjl/error.hpp"

namespace {

using namespace qjl_test;
using namespace qjl::engine;
using qjl::Error;
using qjl::ErrorKind;
using Type = TokenizerData::Type;
using Special = Tokenizer::Special;

Tokenizer tokenizer(const std::string& text) { return Tokenizer(parse_tokenizer_json(text, "tokenizer.json")); }

void refused(const std::string& text, ErrorKind kind, const std::string& part) {
  try {
    parse_tokenizer_json(text, "tokenizer.json");
    ADD_FAILURE() << "no error, wanted one with '" << part << "'";
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(kind)) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

// The small file with a part of it replaced.
std::string changed(std::string_view from, std::string_view to) {
  std::string text = small_bpe_json();
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(TokenizerJson, BytesWithMerges) {
  const Tokenizer bpe = tokenizer(small_bpe_json());
  EXPECT_EQ(bpe.data().types[20], Type::control);
  EXPECT_EQ(bpe.data().types[21], Type::user_defined);
  EXPECT_TRUE(bpe.data().add_bos);
  EXPECT_EQ(bpe.data().bos, 20);
  EXPECT_EQ(bpe.encode("hello world", Special::text), (std::vector<Token>{13, 16, 17}));
  EXPECT_EQ(bpe.encode("hello<|end|> \n hello", Special::parse), (std::vector<Token>{13, 20, 13}));  // rstrip
  EXPECT_EQ(bpe.encode("hello \n<tool>hello", Special::text), (std::vector<Token>{13, 21, 13}));     // lstrip, in the normal form
  EXPECT_EQ(bpe.decode(bpe.encode("hello world", Special::text)), "hello world");
  const std::vector<Token> ids = bpe.encode("<|end|>", Special::text);
  EXPECT_EQ(std::ranges::count(ids, 20), 0);  // text never becomes a control token
}

TEST(TokenizerJson, CharactersWithBytesToFallBackTo) {
  const Tokenizer spm = tokenizer(small_characters_json());
  EXPECT_EQ(spm.data().types[3], Type::byte);
  EXPECT_EQ(spm.encode("hello", Special::text), (std::vector<Token>{269}));
  EXPECT_EQ(spm.encode("\xC3\xA9", Special::text), (std::vector<Token>{264, 3 + 0xC3, 3 + 0xA9}));
  EXPECT_EQ(spm.decode(spm.encode("hello w\xFF", Special::text)), " hello w\xFF");
  EXPECT_FALSE(spm.data().add_bos);
}

TEST(TokenizerJson, PartsAreRefusedByName) {
  refused("", ErrorKind::bad_file, "no JSON");
  refused("{}", ErrorKind::bad_file, "no model");
  refused(changed("\"BPE\"", "\"Unigram\""), ErrorKind::unsupported, "'Unigram'");
  refused(changed("\"NFC\"", "\"Lowercase\""), ErrorKind::unsupported, "'Lowercase'");
  refused(changed("\"type\": \"Split\"", "\"type\": \"Whitespace\""), ErrorKind::unsupported, "'Whitespace'");
  refused(changed("\"TemplateProcessing\"", "\"BertProcessing\""), ErrorKind::unsupported, "'BertProcessing'");
  refused(changed("{\"type\": \"ByteLevel\"},\n    \"model\"", "{\"type\": \"WordPiece\"},\n    \"model\""), ErrorKind::unsupported,
          "'WordPiece'");
  refused(changed("\"add_prefix_space\": false", "\"add_prefix_space\": true"), ErrorKind::unsupported, "add_prefix_space");
  refused(changed("\"single_word\": false", "\"single_word\": true"), ErrorKind::unsupported, "single_word");
  refused(changed("\"dropout\": null", "\"dropout\": 0.5"), ErrorKind::unsupported, "dropout");
  refused(changed("(?i:'s)", "\\\\w"), ErrorKind::unsupported, "\\w");
  refused(changed("\"he\": 10", "\"he\": 11"), ErrorKind::bad_file, "with id 11");
  refused(changed("\"he\": 10", "\"he\": -1"), ErrorKind::bad_file, "'he'");
  refused(changed("\"he\": 10", "\"he\": 2000000000"), ErrorKind::bad_file, "2000000000");
  refused(changed("\"he\": 10", "\"he\": [10]"), ErrorKind::bad_file, "'he'");
  refused(changed("[\"hell\", \"o\"]", "[\"hell\"]"), ErrorKind::bad_file, "a merge that is neither");
  refused(changed("[\"hell\", \"o\"]", "7"), ErrorKind::bad_file, "a merge");
  refused(changed("[\"hell\", \"o\"]", "[\"he ll\", \"o\"]"), ErrorKind::unsupported, "a space");
  refused(changed("\"ids\": [20]", "\"ids\": [99]"), ErrorKind::bad_file, "99");
}

// Each id less than twice the table so far, each alone: a file of 400 bytes must not ask for gigabytes.
TEST(TokenizerJson, GapsBetweenIdsDoNotAddUp) {
  const std::string last = "\"!\": 19";
  EXPECT_EQ(tokenizer(changed(last, last + ", \"a\": 65000")).data().tokens.size(), 65001u);
  refused(changed(last, last + ", \"a\": 65000, \"b\": 130000, \"c\": 260000"), ErrorKind::bad_file, "130000 beside 21");
}

TEST(TokenizerJson, OtherFilesOfTheFolder) {
  TokenizerData data = parse_tokenizer_json(small_characters_json(), "tokenizer.json");
  HfTokenizerFiles files;
  files.tokenizer_config = {{"bos_token", "<s>"},
                            {"add_bos_token", true},
                            {"unk_token", "<unk>"},
                            {"chat_template", FileJson::array({{{"name", "default"}, {"template", "a"}}})}};
  files.special_tokens_map = {{"eos_token", {{"content", "</s>"}}}, {"bos_token", "</s>"}};
  files.generation_config = {{"eos_token_id", {2, 260, 9999}}};
  add_tokenizer_files(files, {.ends = {259}, .vocab_size = 300}, data);
  EXPECT_EQ(data.bos, 1);
  EXPECT_EQ(data.eos, 2);
  EXPECT_TRUE(data.add_bos);
  EXPECT_EQ(data.end_of_generation, (std::vector<Token>{2, 259, 260}));
  EXPECT_EQ(data.chat_template, "a");
  EXPECT_EQ(data.tokens.size(), 300u);
  EXPECT_EQ(data.warnings.size(), 2u);  // </s> is looked for as it is written; 9999 is no token
}

}  // namespace
