// Finds tokens that stand in text as they are written ("<|im_end|>"): the longest one that starts at a position.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "tokenizer.hpp"

namespace qjl::engine {

class SpecialTokens {
 public:
  // The tokens of these types that are looked for as they are written. Keeps views of data's texts.
  SpecialTokens(const TokenizerData& data, std::initializer_list<TokenizerData::Type> types);
  // Any texts; keeps views of them. Of equal ones the first counts.
  struct Entry {
    std::string_view text;
    Token token;
  };
  explicit SpecialTokens(std::vector<Entry> entries);

  struct Match {
    Token token = -1;
    std::size_t bytes = 0;  // 0: none
  };
  // Cost: one table look-up in most places, else O(bytes + log tokens), where bytes are those that text shares with some token.
  Match longest_at_start(std::string_view text) const;

  bool empty() const { return entries_.empty(); }

 private:
  // What the search knows of an entry before it has read it.
  struct Shared {
    std::size_t with_lower = 0, with_upper = 0;  // bytes shared with the bounds between which a search comes to it
    std::int64_t prefix = -1;                    // the longest other entry that it begins with
    std::int64_t jump = -1;                      // an entry further up this chain: log steps to any of them
    int depth = 0;                               // in the chain
  };
  void set_bounds();
  void set_prefixes();

  std::vector<Entry> entries_;      // by text, as bytes, each once
  std::vector<Shared> shared_;      // of each entry
  std::array<bool, 256> starts_{};  // first bytes
};

}  // namespace qjl::engine
