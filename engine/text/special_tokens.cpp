// A sorted list. Whatever entry a text begins with is the last one that does not come after the text, or a prefix of that one.
//
// The search for it compares no byte of the text twice: of each entry it is known what it shares with the two entries between which a
// binary search comes to it, and of these two what they share with the text (Manber and Myers, Suffix arrays, 1993). Without that, tokens
// that begin alike cost their number or length at every byte of a text that repeats their beginning.
#include "special_tokens.hpp"

#include <algorithm>
#include <cstring>
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

// Bytes that two texts share, which are `known` at least.
std::size_t count_shared(std::string_view a, std::string_view b, std::size_t known = 0) {
  constexpr std::size_t kStep = 64;
  const std::size_t end = std::min(a.size(), b.size());
  while (known + kStep <= end && std::memcmp(a.data() + known, b.data() + known, kStep) == 0) known += kStep;
  while (known < end && a[known] == b[known]) ++known;
  return known;
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
  shared_.resize(entries_.size());
  set_bounds();
  set_prefixes();
}

// Every entry is the middle of one pair of bounds; before the first and behind the last entry stand bounds that share nothing.
void SpecialTokens::set_bounds() {
  const auto count = static_cast<std::int64_t>(entries_.size());
  const auto text_of = [&](std::int64_t i) {
    return i < 0 || i == count ? std::string_view() : entries_[static_cast<std::size_t>(i)].text;
  };
  std::vector<std::pair<std::int64_t, std::int64_t>> pairs{{-1, count}};
  while (!pairs.empty()) {
    const auto [lower, upper] = pairs.back();
    pairs.pop_back();
    if (upper - lower < 2) continue;
    const std::int64_t middle = lower + (upper - lower) / 2;
    Shared& shared = shared_[static_cast<std::size_t>(middle)];
    shared.with_lower = count_shared(text_of(lower), text_of(middle));
    shared.with_upper = count_shared(text_of(middle), text_of(upper));
    pairs.push_back({lower, middle});
    pairs.push_back({middle, upper});
  }
}

// A prefix comes before what begins with it, and so does all that lies between. A jump goes as far up the chain as two equal ones of the
// prefix, where it has these (Myers, An applicative random-access stack, 1983).
void SpecialTokens::set_prefixes() {
  std::vector<std::int64_t> open;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    while (!open.empty() && !entries_[i].text.starts_with(entries_[static_cast<std::size_t>(open.back())].text)) open.pop_back();
    Shared& one = shared_[i];
    if (!open.empty()) {
      one.prefix = one.jump = open.back();
      const Shared& prefix = shared_[static_cast<std::size_t>(one.prefix)];
      one.depth = prefix.depth + 1;
      const auto depth_of = [&](std::int64_t at) { return at < 0 ? -1 : shared_[static_cast<std::size_t>(at)].depth; };
      const std::int64_t next = prefix.jump < 0 ? -1 : shared_[static_cast<std::size_t>(prefix.jump)].jump;
      if (prefix.jump >= 0 && prefix.depth - depth_of(prefix.jump) == depth_of(prefix.jump) - depth_of(next)) one.jump = next;
    }
    open.push_back(static_cast<std::int64_t>(i));
  }
}

SpecialTokens::Match SpecialTokens::longest_at_start(std::string_view text) const {
  if (text.empty() || !starts_[static_cast<unsigned char>(text[0])]) return {};
  // Entries up to `lower` do not come after the text, those from `upper` on do; the text shares so many bytes with them.
  std::int64_t lower = -1, upper = static_cast<std::int64_t>(entries_.size());
  std::size_t with_lower = 0, with_upper = 0;
  while (upper - lower > 1) {
    const std::int64_t middle = lower + (upper - lower) / 2;
    const Shared& shared = shared_[static_cast<std::size_t>(middle)];
    const bool by_lower = with_lower >= with_upper;
    const std::size_t known = by_lower ? with_lower : with_upper;
    std::size_t bytes = by_lower ? shared.with_lower : shared.with_upper;  // an entry that shares more is on the bound's side
    bool is_lower = (bytes > known) == by_lower;
    if (bytes > known)
      bytes = known;
    else if (bytes == known) {
      const std::string_view entry = entries_[static_cast<std::size_t>(middle)].text;
      bytes = count_shared(entry, text, known);
      is_lower = bytes == entry.size() ||
                 (bytes < text.size() && static_cast<unsigned char>(entry[bytes]) < static_cast<unsigned char>(text[bytes]));
    }
    (is_lower ? lower : upper) = middle;
    (is_lower ? with_lower : with_upper) = bytes;
  }
  const auto size_of = [&](std::int64_t at) { return at < 0 ? 0 : entries_[static_cast<std::size_t>(at)].text.size(); };
  while (size_of(lower) > with_lower) {
    const Shared& shared = shared_[static_cast<std::size_t>(lower)];
    lower = size_of(shared.jump) > with_lower ? shared.jump : shared.prefix;
  }
  if (lower < 0) return {};
  return {entries_[static_cast<std::size_t>(lower)].token, size_of(lower)};
}

}  // namespace qjl::engine
