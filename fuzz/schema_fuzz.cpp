// Any bytes as a JSON schema: refused with a message of a caller's fault, or a grammar. Where xgrammar is there the grammar compiles, its
// masks leave a way until the text may end, and a text that ends is JSON.
#include <string>
#include <vector>

#include "byte_tokenizer.hpp"
#include "fields.hpp"
#include "fuzz_input.hpp"
#include "qjl/error.hpp"
#include "schema.hpp"
#include "token_grammar.hpp"

using namespace qjl::server;
using qjl::engine::Token;
using qjl_fuzz::FuzzInput;
using qjl_fuzz::require;

namespace {

constexpr int kMostTokens = 300;

void walk(const qjl::engine::Tokenizer& tokenizer, const TokenGrammar& grammar, unsigned choice) {
  const auto mask = grammar.start();
  std::string text;
  for (int i = 0; i < kMostTokens; ++i) {
    std::vector<std::uint32_t> allowed((static_cast<std::size_t>(tokenizer.vocab_size()) + 31) / 32, ~0U);
    mask->fill(allowed);
    std::vector<Token> ways;
    for (Token token = 0; token < tokenizer.vocab_size(); ++token) {
      if ((allowed[static_cast<std::size_t>(token) / 32] >> (token % 32) & 1U) != 0) ways.push_back(token);
    }
    if (mask->may_end()) {
      require(Json::accept(text), "a text that may end is JSON");
      if (ways.empty() || choice % 3 == 0) return;
    }
    require(!ways.empty(), "a text that may not end goes on");
    choice = choice * 1664525U + 1013904223U;
    const Token chosen = ways[(choice >> 8U) % ways.size()];
    if (tokenizer.is_end_of_generation(chosen)) return;
    text += tokenizer.piece(chosen);
    mask->accept(chosen);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const qjl::engine::Tokenizer tokenizer = make_byte_tokenizer();
  static const auto compiler = grammar_library().empty() ? nullptr : GrammarCompiler::make(tokenizer);
  FuzzInput input(data, size);
  const auto choice = static_cast<unsigned>(input.below(1 << 16));
  std::string written;
  try {
    written = schema_grammar(parse_body(input.rest()));
  } catch (const Refused&) {  // no JSON object
    return 0;
  } catch (const qjl::Error& error) {
    require(error.kind() == qjl::ErrorKind::invalid_argument || error.kind() == qjl::ErrorKind::unsupported, "a caller's fault");
    return 0;
  }
  if (compiler != nullptr) walk(tokenizer, *compiler->compile(written), choice);
  return 0;
}
