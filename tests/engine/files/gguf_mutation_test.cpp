// 100,000 damaged files: each is read to the end or refused with an Error, in bounded memory. Half of them hold a BPE tokenizer,
// half a SentencePiece one; a file that still parses is used: its vocabulary is built and text goes through it and back.
#include <gtest/gtest.h>

#include <random>

#include "chat.hpp"
#include "counted_memory.hpp"
#include "gguf.hpp"
#include "gguf_builder.hpp"
#include "mutate.hpp"
#include "qjl/error.hpp"
#include "tokenizer.hpp"

namespace {

using namespace qjl_test;
using namespace qjl::engine;

// All that parsing asks for, freed or not, is a small multiple of the file: 8 bytes of an empty text become a string of 32, a
// key of 14 bytes an entry of some 200; messages and rounding are the rest.
GgufFile parse(const Bytes& bytes) {
  g_requested_bytes = 0;
  GgufFile file = GgufFile::parse(bytes, "damaged");
  EXPECT_LT(g_requested_bytes, 16 * bytes.size() + 16384);
  return file;
}

// Reads everything; true when the file passed.
bool use(const Bytes& bytes) {
  try {
    const GgufFile file = parse(bytes);
    for (const FileTensor& tensor : file.tensors()) {
      // The spans must lie inside: touch both ends.
      if (tensor.data.front() == tensor.data.back()) continue;
    }
    const Tokenizer tokenizer(file.tokenizer_data());
    for (const auto special : {Tokenizer::Special::text, Tokenizer::Special::parse}) {
      const std::vector<Token> ids = tokenizer.encode("hello  world <|im_end|></s>\n12 \xC3\xA9\xFF", special);
      tokenizer.decode(ids);
    }
    ChatTemplate::from_model(tokenizer.data()).tokens(tokenizer, ChatJson::array({chat_message("user", "hello")}));
    return true;
  } catch (const qjl::Error& error) {
    EXPECT_GT(std::string_view(error.what()).size(), 10u);
    return false;
  }
}

TEST(GgufMutation, HundredThousandDamagedFiles) {
  const Bytes originals[] = {
      small_bpe().tensor("w", {32, 2}, 8, counting_bytes(68)).tensor("b", {3}, 0, counting_bytes(12)).build(),
      small_spm().tensor("w", {32, 2}, 2, counting_bytes(36)).build(),
  };
  std::mt19937_64 random(20240603);
  int passed = 0;
  for (int round = 0; round < 100'000; ++round) {
    Bytes file = originals[round % 2];
    mutate(file, random);
    g_largest_request = 0;
    passed += use(file) ? 1 : 0;
    ASSERT_LT(g_largest_request, 16 * file.size() + 65536) << "round " << round << ", file of " << file.size() << " bytes";
  }
  // Damage to names and texts leaves a file valid: both outcomes must have been seen often.
  EXPECT_GT(passed, 2'000);
  EXPECT_LT(passed, 90'000);
}

}  // namespace
