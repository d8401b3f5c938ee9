// A schema, texts that its grammar is to let pass, and texts that it is not to. What a grammar lets pass is asked of the compiled one,
// byte by byte, so a build without xgrammar skips this.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "byte_tokenizer.hpp"
#include "qjl/error.hpp"
#include "schema.hpp"
#include "token_grammar.hpp"

namespace qjl::server {

class Schemas : public testing::Test {
 protected:
  void SetUp() override {
    if (grammar_library().empty()) GTEST_SKIP() << "this build has no xgrammar";
    compiler_ = GrammarCompiler::make(tokenizer_);
  }

  bool passes(const TokenGrammar& grammar, const std::string& text) const {
    const auto mask = grammar.start();
    std::vector<std::uint32_t> allowed((static_cast<std::size_t>(tokenizer_.vocab_size()) + 31) / 32);
    for (const char c : text) {
      const auto token = static_cast<unsigned char>(c);
      std::ranges::fill(allowed, ~0U);
      mask->fill(allowed);
      if ((allowed[token / 32] >> (token % 32) & 1U) == 0) return false;
      mask->accept(token);
    }
    return mask->may_end();
  }

  void expect(const std::string& schema, const std::vector<std::string>& valid, const std::vector<std::string>& others) const {
    const auto grammar = compiler_->compile(schema_grammar(Json::parse(schema)));
    for (const std::string& text : valid) EXPECT_TRUE(passes(*grammar, text)) << schema << " is to let pass " << text;
    for (const std::string& text : others) EXPECT_FALSE(passes(*grammar, text)) << schema << " is not to let pass " << text;
  }

  engine::Tokenizer tokenizer_ = make_byte_tokenizer();
  std::unique_ptr<GrammarCompiler> compiler_;
};

// Why a schema is none; empty: it is one.
inline std::string refusal(const std::string& schema) {
  try {
    schema_grammar(Json::parse(schema));
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

inline std::string repeated(const std::string& text, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

inline std::string list_of(const std::string& item, int count) {
  std::string out = "[" + item;
  for (int i = 1; i < count; ++i) out += "," + item;
  return out + "]";
}

}  // namespace qjl::server
