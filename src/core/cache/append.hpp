// One append in pages: which ones it fills, and which rows stay open.
//
//   tokens  [length ............. length + tokens)
//   pages   [first_page ... end_page)     coded from open rows [0, open_before) and new ones; then the rest becomes the open rows
#pragma once

#include <algorithm>
#include <cstdint>

#include "cache_state.hpp"

namespace qjl {

struct AppendSpan {
  AppendSpan(std::int64_t tokens_before, std::int64_t new_tokens)
      : length(tokens_before),
        tokens(new_tokens),
        first_page(length / layout::kPageTokens),
        end_page((length + tokens) / layout::kPageTokens),
        open_before(length % layout::kPageTokens),
        open_after((length + tokens) % layout::kPageTokens) {}

  bool seals() const { return end_page > first_page; }
  std::int64_t new_pages(const Sequence& sequence) const {
    return std::max<std::int64_t>(0, end_page - std::ssize(sequence.pages));
  }
  // New tokens [open_first(), tokens) become open rows from open_start() on.
  std::int64_t open_start() const { return seals() ? 0 : open_before; }
  std::int64_t open_count() const { return open_after - open_start(); }
  std::int64_t open_first() const { return tokens - open_count(); }

  std::int64_t length, tokens, first_page, end_page, open_before, open_after;
};

// Of checked tensors, at least one token. Errors: out_of_pages; on the host invalid_argument on a number that does not fit.
void append_on_host(KvCache::State& state, Sequence& sequence, int layer, const TensorView& keys, const TensorView& values,
                    ThreadPool& threads);
void append_on_device(KvCache::State& state, Sequence& sequence, int layer, const TensorView& keys, const TensorView& values,
                      DeviceStream stream);

}  // namespace qjl
