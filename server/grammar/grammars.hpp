// The grammars that requests ask for, compiled once and kept.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "token_grammar.hpp"

namespace qjl::server {

class Grammars {
 public:
  static constexpr std::size_t kMost = 64, kMostBytes = std::size_t{256} << 20;

  // The tokenizer is the caller's and outlives it; it is read at the first grammar.
  explicit Grammars(const engine::Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  // The grammar of `name`; at its first time, and after it was forgotten, the one whose text `write` gives. Least recently asked for
  // ones are forgotten beyond kMost or kMostBytes in all. Any thread; a grammar that is compiled keeps nobody else waiting. Errors:
  // those of `write` and of GrammarCompiler::compile, after which nothing is kept.
  std::shared_ptr<const TokenGrammar> get(const std::string& name, const std::function<std::string()>& write);

  std::int64_t compiled() const;  // so far

 private:
  struct Kept {
    std::string name;
    std::shared_ptr<const TokenGrammar> grammar;
  };
  std::shared_ptr<const TokenGrammar> find(const std::string& name);

  const engine::Tokenizer& tokenizer_;
  std::once_flag made_;
  std::unique_ptr<GrammarCompiler> compiler_;
  mutable std::mutex mutex_;
  std::list<Kept> kept_;  // last asked for first
  std::int64_t compiled_ = 0;
};

}  // namespace qjl::server
