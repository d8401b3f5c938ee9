// 100,000 damaged files of each kind that a folder of Hugging Face has: each is read or refused with an Error of one line, in memory
// that is a multiple of the file. What still reads is used.
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <new>
#include <random>

#include "hf_builder.hpp"
#include "hf_config.hpp"
#include "hf_shards.hpp"
#include "hf_tensors.hpp"
#include "qjl/error.hpp"
#include "tokenizer.hpp"
#include "tokenizer_json.hpp"

namespace {

std::size_t g_requested_bytes = 0;

}  // namespace

// Counts what is asked for. Not inlined: gcc would warn of malloc's memory in the hands of delete.
[[gnu::noinline]] void* operator new(std::size_t size) {
  g_requested_bytes += size;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

using namespace qjl_test;
using namespace qjl::engine;

// One to three changes that leave most of the text as it was: a bit, a byte, a word of the formats, a cut, a piece twice.
void mutate(std::string& file, std::mt19937_64& random) {
  static constexpr std::string_view kWords[] = {"null",  "-1",   "1e999", "18446744073709551615", "[",     "]", "{",       "}",
                                                "\"\"",  "true", "0",     "4294967296",           "\"a\"", ",", "\\u0000", "\xFF",
                                                "[[[[[", ":",    "1.5",   "\"Sequence\"",         "\\\\p", "*", "(?!",     "{0,9}"};
  const auto below = [&](std::size_t limit) { return static_cast<std::size_t>(random() % limit); };
  for (std::size_t changes = 1 + below(3); changes > 0 && !file.empty(); --changes) {
    const std::size_t at = below(file.size()), length = std::min(below(12), file.size() - at);
    switch (below(7)) {
      case 0: file[at] = static_cast<char>(file[at] ^ (1 << below(8))); break;
      case 1: file[at] = static_cast<char>(random()); break;
      case 2: file.replace(at, length, kWords[below(std::size(kWords))]); break;
      case 3: file.insert(at, kWords[below(std::size(kWords))]); break;
      case 4: file.erase(at, length); break;
      case 5: file.insert(below(file.size()), file.substr(at, below(60))); break;
      default: file.resize(below(20) == 0 ? at : file.size()); break;
    }
  }
}

struct Kind {
  const char* name;
  std::vector<std::string> originals;
  std::function<void(const std::string&)> use;
};

void use_safetensors(const std::string& file) {
  const std::vector<SafeTensor> tensors = parse_safetensors(std::as_bytes(std::span(file)), "damaged");
  for (const SafeTensor& tensor : tensors) {
    if (tensor.data.front() == tensor.data.back()) continue;  // both ends are inside
  }
  const HfConfig config = read_hf_config(parse_json_object(small_config(), "config.json"));
  read_hf_tensors(tensors, config);
}

void use_tokenizer(const std::string& file) {
  const Tokenizer tokenizer(parse_tokenizer_json(file, "damaged"));
  for (const auto special : {Tokenizer::Special::text, Tokenizer::Special::parse}) {
    const std::vector<Token> ids = tokenizer.encode("hello  w\xC3\xA9 <|end|></s> <tool>12!\xFF", special);
    tokenizer.decode(ids);
    for (const Token id : ids) {
      const bool is_control = tokenizer.data().types[static_cast<std::size_t>(id)] == TokenizerData::Type::control;
      ASSERT_FALSE(is_control && special == Tokenizer::Special::text) << "text became a control token";
    }
  }
}

// Rounds are few enough for seconds; QJL_TEST_STRIDE makes them fewer where a machine is emulated.
void try_damaged(const Kind& kind, std::size_t multiple) {
  std::mt19937_64 random(20240607);
  int passed = 0;
  constexpr int kRounds = 100'000 / QJL_TEST_STRIDE;
  for (int round = 0; round < kRounds; ++round) {
    std::string file = kind.originals[static_cast<std::size_t>(round) % kind.originals.size()];
    mutate(file, random);
    g_requested_bytes = 0;
    try {
      kind.use(file);
      ++passed;
    } catch (const qjl::Error& error) {
      const std::string_view text = error.what();
      ASSERT_GT(text.size(), 10u);
      ASSERT_EQ(text.find('\n'), std::string_view::npos) << text;
    }
    ASSERT_LT(g_requested_bytes, multiple * file.size() + (std::size_t{1} << 20)) << kind.name << ", round " << round;
  }
  // Damage to names and texts leaves a file valid: both outcomes must have been seen often.
  EXPECT_GT(passed, kRounds / 100) << kind.name;
  EXPECT_LT(passed, kRounds * 95 / 100) << kind.name;
}

TEST(HfMutation, Safetensors) {
  std::string model(text_of(safetensors_with(
      R"({"model.norm.weight":{"dtype":"F16","shape":[4],"data_offsets":[0,8]},"model.layers.0.mlp.experts.down_proj":)"
      R"({"dtype":"BF16","shape":[2,3,2],"data_offsets":[8,32]}})",
      32)));
  try_damaged({"safetensors", {std::string(text_of(small_safetensors())), model}, use_safetensors}, 64);
}

TEST(HfMutation, Config) {
  const auto use = [](const std::string& file) { read_hf_config(parse_json_object(file, "damaged")); };
  try_damaged({"config.json", {small_config(), small_gemma_config()}, use}, 256);
}

TEST(HfMutation, ShardIndex) {
  try_damaged({"index", {small_index()}, [](const std::string& file) { parse_shard_index(file, "damaged"); }}, 64);
}

TEST(HfMutation, TokenizerJson) {
  try_damaged({"tokenizer.json", {small_bpe_json(), small_characters_json()}, use_tokenizer}, 512);
}

}  // namespace
