// A sorted list, narrowed byte by byte to the entries that share what was read so far: an implicit trie.
#include "special_tokens.hpp"

#include <algorithm>
#include <utility>

#include "vocabulary.hpp"

namespace qjl::engine {

namespace {

std::vector<SpecialTokens::Entry> entries_of(const TokenizerData& data, std::initializer_list<TokenizerData::Type> types) {
  std::vector<SpecialTokens::Entry> entries;
  for (std::size_t i = 0; i < data.tokens.size(); ++i) {
    if (data.tokens[i].empty() || std::find(types.begin(), types.end(), data.types[i]) == types.end()) continue;
    const TokenizerData::Added* added = find_added(data, static_cast<Token>(i));
    if (added == nullptr || !added->is_normal) entries.push_back({data.tokens[i], static_cast<Token>(i)});
  }
  return entries;
}

}  // namespace

SpecialTokens::SpecialTokens(const TokenizerData& data, std::initializer_list<TokenizerData::Type> types)
    : SpecialTokens(entries_of(data, types)) {}

SpecialTokens::SpecialTokens(std::vector<Entry> entries) : entries_(std::move(entries)) {
  std::erase_if(entries_, [](const Entry& entry) { return entry.text.empty(); });
  for (const Entry& entry : entries_) starts_[static_cast<unsigned char>(entry.text[0])] = true;
  std::ranges::stable_sort(entries_, {}, &Entry::text);
  const auto again = std::ranges::unique(entries_, {}, &Entry::text);
  entries_.erase(again.begin(), again.end());
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
