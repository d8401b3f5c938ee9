// A sorted list, narrowed byte by byte to the entries that share what was read so far: an implicit trie.
#include "special_tokens.hpp"

#include <algorithm>

namespace qjl::engine {

SpecialTokens::SpecialTokens(const TokenizerData& data, std::initializer_list<TokenizerData::Type> types) {
  for (std::size_t i = 0; i < data.tokens.size(); ++i) {
    if (data.tokens[i].empty() || std::find(types.begin(), types.end(), data.types[i]) == types.end()) continue;
    entries_.push_back({data.tokens[i], static_cast<Token>(i)});
    starts_[static_cast<unsigned char>(data.tokens[i][0])] = true;
  }
  std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) { return a.text < b.text; });
}

SpecialTokens::Match SpecialTokens::longest_at_start(std::string_view text) const {
  Match best;
  if (text.empty() || !starts_[static_cast<unsigned char>(text[0])]) return best;
  auto first = entries_.begin();
  auto last = entries_.end();
  for (std::size_t depth = 0; depth < text.size() && first != last; ++depth) {
    const auto byte = static_cast<unsigned char>(text[depth]);
    // Every entry left is longer than depth and agrees with the text before it.
    const auto byte_of = [depth](const Entry& entry) { return static_cast<unsigned char>(entry.text[depth]); };
    first = std::partition_point(first, last, [&](const Entry& entry) { return byte_of(entry) < byte; });
    last = std::partition_point(first, last, [&](const Entry& entry) { return byte_of(entry) == byte; });
    if (first != last && first->text.size() == depth + 1) {
      best = {first->token, depth + 1};
      ++first;
    }
  }
  return best;
}

}  // namespace qjl::engine
