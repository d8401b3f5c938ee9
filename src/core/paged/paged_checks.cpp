// What a call that writes is refused for: rows that do not fit, blocks and tails that are written twice.
#include <algorithm>
#include <vector>

#include "fail.hpp"
#include "paged_state.hpp"

namespace qjl {
namespace {

void check_rows_of(const PagedCache::State& s, const PagedRequest& r, std::string_view operation) {
  check_shape(r.keys, s.config.num_kv_heads, s.config.head_dim, {operation, "keys"}, s.device);
  check_shape(r.values, s.config.num_kv_heads, s.config.head_dim, {operation, "values"}, s.device);
  require(r.keys.tokens == r.values.tokens, operation, "values have ", r.values.tokens, " tokens, wanted ", r.keys.tokens,
          " as the keys");
  if (r.keys.tokens == 0) return;
  s.check_memory(r.keys.data, {operation, "keys"});
  s.check_memory(r.values.data, {operation, "values"});
}

template <typename Id>
void check_once(std::vector<Id>& ids, const char* what, std::string_view operation) {
  std::ranges::sort(ids);
  const auto twice = std::ranges::adjacent_find(ids);
  if (twice != ids.end())
    fail(ErrorKind::invalid_argument, operation, what, " ", *twice, " would be written twice, wanted each once");
}

}  // namespace

void check_appends(const PagedCache::State& cache, const PagedLayer& memory, std::span<const PagedRequest> requests,
                   std::string_view operation) {
  std::vector<std::int32_t> blocks;
  std::vector<std::int64_t> tails;
  for (const PagedRequest& r : requests) {
    check_rows_of(cache, r, operation);
    const auto full = memory.full_pages(r, r.keys.tokens);
    memory.check_tail(r, r.keys.tokens);
    if (r.keys.tokens == 0) continue;
    const auto first = static_cast<std::size_t>(r.num_tokens / layout::kPageTokens);
    for (std::size_t i = first; i < full.size(); ++i) {
      const bool is_own = std::ranges::find(full.first(first), full[i]) != full.begin() + static_cast<std::ptrdiff_t>(first);
      require(!is_own, operation, "block ", full[i], " holds an earlier page of its request, wanted another for page ", i);
      blocks.push_back(full[i]);
    }
    const std::int64_t length = r.num_tokens + r.keys.tokens;
    if (r.num_tokens % layout::kPageTokens > 0 || length % layout::kPageTokens > 0) tails.push_back(r.tail_id);
  }
  check_once(blocks, "block", operation);
  check_once(tails, "tail", operation);
}

}  // namespace qjl
