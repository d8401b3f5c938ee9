// A short list, searched from its front.
#include "grammars.hpp"

#include <algorithm>

namespace qjl::server {

std::shared_ptr<const TokenGrammar> Grammars::find(const std::string& name) {
  const auto found = std::ranges::find(kept_, name, &Kept::name);
  if (found == kept_.end()) return nullptr;
  kept_.splice(kept_.begin(), kept_, found);
  return found->grammar;
}

std::shared_ptr<const TokenGrammar> Grammars::get(const std::string& name, const std::function<std::string()>& write) {
  {
    const std::lock_guard lock(mutex_);
    if (auto found = find(name)) return found;
  }
  std::call_once(made_, [this] { compiler_ = GrammarCompiler::make(tokenizer_); });
  auto grammar = compiler_->compile(write());
  const std::lock_guard lock(mutex_);
  ++compiled_;
  if (auto found = find(name)) return found;  // another thread's, of the same name
  kept_.push_front({name, grammar});
  std::size_t count = 0, bytes = 0;
  kept_.remove_if([&](const Kept& each) {
    bytes += each.grammar->bytes();
    return ++count > 1 && (count > kMost || bytes > kMostBytes);
  });
  return grammar;
}

std::int64_t Grammars::compiled() const {
  const std::lock_guard lock(mutex_);
  return compiled_;
}

}  // namespace qjl::server
