// Grammars over the tokens of one vocabulary. The one place that knows xgrammar is xgrammar.cpp; a build without it has no_xgrammar.cpp.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "request.hpp"
#include "tokenizer.hpp"

namespace qjl::server {

// "xgrammar 0.2.9", or "" in a build without it.
std::string grammar_library();

// A compiled grammar; any number of masks at once, on any threads.
class TokenGrammar {
 public:
  virtual ~TokenGrammar() = default;
  // At the grammar's beginning. Tokens that end a generation come where the grammar may end, control tokens never. The mask keeps what
  // it needs of the grammar.
  virtual std::unique_ptr<engine::TokenMask> start() const = 0;
  virtual std::size_t bytes() const = 0;  // about; grows with the places that masks have been at
};

class GrammarCompiler {
 public:
  // Of the tokenizer nothing is kept. Cost: its vocabulary is sorted, tens of milliseconds.
  static std::unique_ptr<GrammarCompiler> make(const engine::Tokenizer& tokenizer);
  virtual ~GrammarCompiler() = default;
  // Of Grammar::ebnf. Any thread. Masks of places are made when an answer first comes to them. Errors: unsupported when it is none.
  virtual std::shared_ptr<const TokenGrammar> compile(const std::string& ebnf) const = 0;
};

}  // namespace qjl::server
