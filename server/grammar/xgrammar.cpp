// Masks by xgrammar: an Earley parser over the bytes of a text, and for each of its states which tokens may come.
//
// Its own readers (of schemas, expressions, Lark and tags) are not used and not compiled (cmake/xgrammar_left_out.cc). What it throws names
// source files and the time, so its words are not passed on.
#include <dlpack/dlpack.h>
#include <xgrammar/xgrammar.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "qjl/error.hpp"
#include "token_grammar.hpp"

namespace qjl::server {
namespace {

// The bytes of every token that is text; "" of those that xgrammar is to leave out.
xgrammar::TokenizerInfo vocabulary(const engine::Tokenizer& tokenizer) {
  std::vector<std::string> texts;
  for (engine::Token token = 0; token < tokenizer.vocab_size(); ++token) texts.emplace_back(tokenizer.piece(token));
  const auto& ends = tokenizer.data().end_of_generation;
  return {texts, xgrammar::VocabType::RAW, static_cast<int>(texts.size()), std::vector<std::int32_t>(ends.begin(), ends.end())};
}

class Mask : public engine::TokenMask {
 public:
  Mask(const xgrammar::CompiledGrammar& grammar, int vocab_size)
      : matcher_(grammar), words_(static_cast<std::size_t>(xgrammar::GetBitmaskSize(vocab_size))), shape_(std::ssize(words_)) {}

  void fill(std::span<std::uint32_t> allowed) override {
    DLTensor tensor{};
    tensor.data = words_.data();
    tensor.device = {kDLCPU, 0};
    tensor.ndim = 1;
    tensor.dtype = xgrammar::GetBitmaskDLType();
    tensor.shape = &shape_;
    try {
      matcher_.FillNextTokenBitmask(&tensor);
    } catch (const std::exception&) {
      throw Error(ErrorKind::unsupported, "[grammar] the next tokens of a response_format could not be found");
    }
    for (std::size_t i = 0; i < allowed.size(); ++i) allowed[i] &= i < words_.size() ? static_cast<std::uint32_t>(words_[i]) : 0U;
  }

  void accept(engine::Token token) override {
    if (!matcher_.AcceptToken(token))
      throw Error(ErrorKind::invalid_argument, "[grammar] found token " + std::to_string(token) + ", wanted one of the mask");
  }

  bool may_end() const override { return matcher_.IsCompleted(); }

 private:
  xgrammar::GrammarMatcher matcher_;
  std::vector<std::int32_t> words_;
  std::int64_t shape_;
};

class Compiled : public TokenGrammar {
 public:
  Compiled(xgrammar::CompiledGrammar grammar, int vocab_size) : grammar_(std::move(grammar)), vocab_size_(vocab_size) {}
  std::unique_ptr<engine::TokenMask> start() const override { return std::make_unique<Mask>(grammar_, vocab_size_); }
  std::size_t bytes() const override { return grammar_.MemorySizeBytes(); }

 private:
  const xgrammar::CompiledGrammar grammar_;
  const int vocab_size_;
};

class Compiler : public GrammarCompiler {
 public:
  explicit Compiler(const engine::Tokenizer& tokenizer) : vocabulary_(vocabulary(tokenizer)) {}

  std::shared_ptr<const TokenGrammar> compile(const std::string& ebnf) const override {
    try {
      // One thread, no cache of its own (ours has a bound), masks on demand: what an answer never comes to costs nothing.
      xgrammar::GrammarCompiler compiler(vocabulary_, 1, false, -1, true);
      return std::make_shared<Compiled>(compiler.CompileGrammar(ebnf), vocabulary_.GetVocabSize());
    } catch (const std::exception&) {
      throw Error(ErrorKind::unsupported, "[grammar] found a grammar that xgrammar does not compile");
    }
  }

 private:
  const xgrammar::TokenizerInfo vocabulary_;
};

}  // namespace

std::string grammar_library() { return "xgrammar " QJL_XGRAMMAR_VERSION; }

std::unique_ptr<GrammarCompiler> GrammarCompiler::make(const engine::Tokenizer& tokenizer) {
  return std::make_unique<Compiler>(tokenizer);
}

}  // namespace qjl::server
