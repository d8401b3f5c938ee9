// Any text as a tokenizer.json: read or refused with a qjl::Error; what is read encodes text without control tokens, and decodes.
#include "tokenizer_json.hpp"

#include "fuzz_input.hpp"
#include "hf_tokenizer.hpp"
#include "qjl/error.hpp"

using namespace qjl::engine;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    TokenizerData read = parse_tokenizer_json({reinterpret_cast<const char*>(data), size}, "fuzz");
    add_tokenizer_files({}, {.ends = {0, -1, 1 << 30}, .vocab_size = 300}, read);
    const Tokenizer tokenizer(std::move(read));
    for (const auto special : {Tokenizer::Special::text, Tokenizer::Special::parse}) {
      const std::vector<Token> ids = tokenizer.encode("hello  w\xC3\xA9 <|end|></s> <tool>12!\xFF", special);
      tokenizer.decode(ids);
      for (const Token id : ids) {
        const bool is_control = tokenizer.data().types[static_cast<std::size_t>(id)] == TokenizerData::Type::control;
        qjl_fuzz::require(!is_control || special == Tokenizer::Special::parse, "text has no control tokens");
      }
    }
  } catch (const qjl::Error&) {
  }
  return 0;
}
