// A size grows with the tokens but for the moment when a page is sealed: 128 exact rows become a few.
#include "cache_size.hpp"

#include <algorithm>

#include "qjl/codec.hpp"

namespace qjl::cli {
namespace {

// Of a layer that keeps the last `kept` tokens; 0: all.
std::int64_t layer_bytes(const KvCache& cache, int layer, std::int64_t tokens, std::int64_t kept) {
  const auto& config = cache.config();
  const std::int64_t pages = tokens / kTokensPerPage, open = tokens % kTokensPerPage;
  const std::int64_t forgotten =
      kept == 0 ? 0 : std::max<std::int64_t>(0, tokens - std::max<std::int64_t>(kept, kTokensPerPage)) / kTokensPerPage;
  const std::int64_t exact_rows = open + (pages > 0 ? config.codec.sink_tokens : 0);
  const std::int64_t row = 2 * config.head_dim * dtype_bytes(config.tail_dtype);
  return config.num_kv_heads * ((pages - forgotten) * cache.page_bytes(layer) + exact_rows * row);
}

}  // namespace

CacheSize cache_size(const KvCache& cache, std::int64_t tokens) {
  const auto& retention = cache.config().layer_retention;
  CacheSize size{.recurrent = cache.config().recurrent_numbers * static_cast<std::int64_t>(sizeof(float))};
  for (int layer = 0; layer < cache.config().num_layers; ++layer) {
    const std::int64_t kept = retention.empty() ? 0 : retention[static_cast<std::size_t>(layer)];
    (kept > 0 ? size.windowed : size.full) += layer_bytes(cache, layer, tokens, kept);
    size.all_kept += layer_bytes(cache, layer, tokens, 0);
  }
  return size;
}

std::int64_t tokens_within(const KvCache& cache, std::int64_t bytes, std::int64_t most) {
  // A sequence of p whole pages is largest just before the next one is sealed.
  const auto fits = [&](std::int64_t pages) {
    return cache_size(cache, std::min(most, (pages + 1) * kTokensPerPage - 1)).total() <= bytes;
  };
  std::int64_t low = -1, high = most / kTokensPerPage + 1;  // pages: the most that are known to fit, the least that are not
  while (high - low > 1) {
    const std::int64_t middle = low + (high - low) / 2;
    (fits(middle) ? low : high) = middle;
  }
  return low < 0 ? 0 : std::min(most, (low + 1) * kTokensPerPage - 1);
}

}  // namespace qjl::cli
