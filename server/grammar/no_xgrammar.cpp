// A build without xgrammar: whoever asks for a grammar is told.
#include "qjl/error.hpp"
#include "token_grammar.hpp"

namespace qjl::server {

std::string grammar_library() { return {}; }

std::unique_ptr<GrammarCompiler> GrammarCompiler::make(const engine::Tokenizer&) {
  throw Error(ErrorKind::unsupported, "[grammar] this build has no xgrammar, wanted one configured with QJL_XGRAMMAR");
}

}  // namespace qjl::server
