// 100,000 damaged files: each is read to the end or refused with an Error, in bounded memory. Half of them hold a BPE tokenizer,
// half a SentencePiece one; a file that still parses is used: its vocabulary is built and text goes through it and back.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <random>

#include "chat.hpp"
#include "gguf.hpp"
#include "gguf_builder.hpp"
#include "qjl/error.hpp"
#include "tokenizer.hpp"

namespace {

std::size_t g_largest_request = 0;
std::size_t g_requested_bytes = 0;

}  // namespace

// Counts what is asked for. Not inlined: gcc would warn of malloc's memory in the hands of delete.
[[gnu::noinline]] void* operator new(std::size_t size) {
  g_largest_request = std::max(g_largest_request, size);
  g_requested_bytes += size;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

using namespace qjl_test;
using namespace qjl::engine;

// One to four changes: a bit, a byte, a 32-bit or 64-bit number of a nasty size, a cut, a moved stretch.
void mutate(Bytes& file, std::mt19937_64& random) {
  const auto below = [&](std::size_t limit) { return static_cast<std::size_t>(random() % limit); };
  const std::uint64_t nasty[] = {0,          1,          0x7f,       0x80,       0xff,  0x7fffffff,
                                 0x80000000, 0xffffffff, 1ull << 61, 1ull << 63, ~0ull, below(file.size())};
  for (std::size_t changes = 1 + below(4); changes > 0 && !file.empty(); --changes) {
    const std::size_t at = below(file.size());
    const std::uint64_t number = nasty[below(std::size(nasty))];
    switch (below(7)) {
      case 0: file[at] ^= static_cast<std::byte>(1u << below(8)); break;
      case 1: file[at] = static_cast<std::byte>(random()); break;
      case 2: std::memcpy(&file[at], &number, std::min<std::size_t>(4, file.size() - at)); break;
      case 3: std::memcpy(&file[at], &number, std::min<std::size_t>(8, file.size() - at)); break;
      case 4: file.resize(at); break;
      case 5:
        std::rotate(file.begin() + static_cast<std::ptrdiff_t>(at / 2), file.begin() + static_cast<std::ptrdiff_t>(at), file.end());
        break;
      default: file.insert(file.begin() + static_cast<std::ptrdiff_t>(at), below(40), static_cast<std::byte>(random())); break;
    }
  }
}

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
