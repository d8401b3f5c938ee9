// Grammars that are kept, and masks over a vocabulary of bytes: control tokens never, tokens of several bytes where all of them fit.
#include "grammars.hpp"

#include <thread>

#include "schema_fixture.hpp"

namespace qjl::server {
namespace {

class KeptGrammars : public Schemas {
 protected:
  static std::string number(int i) { return schema_grammar(Json{{"const", i}}); }
  std::vector<engine::Token> allowed(engine::TokenMask& mask) const {
    std::vector<std::uint32_t> bits((static_cast<std::size_t>(tokenizer_.vocab_size()) + 31) / 32, ~0U);
    mask.fill(bits);
    std::vector<engine::Token> out;
    for (engine::Token token = 0; token < static_cast<engine::Token>(32 * bits.size()); ++token) {
      if ((bits[static_cast<std::size_t>(token) / 32] >> (token % 32) & 1U) != 0) out.push_back(token);
    }
    return out;
  }

  Grammars kept_{tokenizer_};
};

TEST_F(KeptGrammars, OneOfANameIsCompiledOnce) {
  const auto first = kept_.get("a", [] { return number(1); });
  EXPECT_EQ(kept_.get("a", [] { return number(2); }), first);
  EXPECT_NE(kept_.get("b", [] { return number(1); }), first);
  EXPECT_EQ(kept_.compiled(), 2);
}

TEST_F(KeptGrammars, TheLongestUnusedIsForgottenAndStillWorks) {
  const auto first = kept_.get("0", [] { return number(0); });
  const auto mask = first->start();
  for (int i = 1; i <= static_cast<int>(Grammars::kMost); ++i) {
    kept_.get(std::to_string(i), [i] { return number(i); });
    kept_.get("1", [] { return number(1); });
  }
  const std::int64_t before = kept_.compiled();
  kept_.get("1", [] { return number(1); });
  EXPECT_EQ(kept_.compiled(), before);
  EXPECT_NE(kept_.get("0", [] { return number(0); }), first);
  EXPECT_EQ(allowed(*mask), std::vector<engine::Token>{'0'});
}

TEST_F(KeptGrammars, WhatIsNoGrammarIsNotKept) {
  EXPECT_THROW(kept_.get("a", [] { return std::string("root ::= nothing"); }), Error);
  EXPECT_THROW(kept_.get("a", []() -> std::string { throw Error(ErrorKind::unsupported, "a schema"); }), Error);
  EXPECT_NE(kept_.get("a", [] { return number(1); }), nullptr);
}

TEST_F(KeptGrammars, ManyThreadsAskAndWalk) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        const auto grammar = kept_.get(std::to_string((i + t) % 5), [] { return schema_grammar(Json{{"type", "string"}}); });
        EXPECT_TRUE(passes(*grammar, R"("some \n text")"));
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

TEST_F(KeptGrammars, MasksAreOfWholeTokens) {
  engine::TokenizerData data = tokenizer_.data();
  data.end_of_generation = {259};
  const engine::Tokenizer tokenizer(std::move(data));
  const auto grammar = GrammarCompiler::make(tokenizer)->compile(schema_grammar(Json{{"enum", {"ab", "b"}}}));
  const auto mask = grammar->start();
  EXPECT_EQ(allowed(*mask), std::vector<engine::Token>{'"'});
  mask->accept('"');
  EXPECT_EQ(allowed(*mask), (std::vector<engine::Token>{'a', 'b', 256}));
  mask->accept(256);
  EXPECT_FALSE(mask->may_end());
  mask->accept('"');
  EXPECT_TRUE(mask->may_end());
  EXPECT_EQ(allowed(*mask), std::vector<engine::Token>{259});
  mask->accept(259);
  EXPECT_THROW(grammar->start()->accept('x'), Error);
}

}  // namespace
}  // namespace qjl::server
