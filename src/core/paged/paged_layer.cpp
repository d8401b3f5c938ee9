// Where the parts of blocks and tails are, and whether a request's are there. paged_state.hpp gives the picture.
#include <algorithm>
#include <atomic>
#include <limits>
#include <string>
#include <vector>

#include "fail.hpp"
#include "page_fault.hpp"
#include "paged_state.hpp"

namespace qjl {
namespace {

constexpr std::int64_t kPage = layout::kPageTokens, kTailAlignment = 16;

bool is_aligned(const void* at, std::int64_t bytes) {
  return reinterpret_cast<std::uintptr_t>(at) % static_cast<std::uintptr_t>(bytes) == 0;
}

// Whether `inner` parts follow each other at one stride and `outer` rows of them at the other, without overlap.
bool is_apart(std::int64_t outer, std::int64_t outer_stride, std::int64_t inner, std::int64_t inner_stride, std::int64_t part) {
  std::int64_t row = 0;
  if (__builtin_mul_overflow(inner - 1, inner_stride, &row) || __builtin_add_overflow(row, part, &row)) return false;
  std::int64_t all = 0;
  return (inner == 1 || inner_stride >= part) && (outer == 1 || outer_stride >= row) &&
         !__builtin_mul_overflow(outer, outer_stride, &all);
}

std::uint16_t* numbers_at(void* base, std::int64_t byte) {
  return reinterpret_cast<std::uint16_t*>(static_cast<std::uint8_t*>(base) + byte);
}

}  // namespace

PagedLayer::PagedLayer(const PagedCache::State& cache, const PagedMemory& memory, std::string_view operation)
    : s_(cache), pages_(memory.pages), tails_(memory.tails), operation_(operation) {
  cache.check_layer(memory.layer, operation);
  layer_ = {&cache, memory.layer, {}};
  check_memory();
  const std::int64_t body = layout::body_layout(layer_.tables().shape).bytes, head = sizeof(layout::PageHead);
  auto* base = static_cast<std::uint8_t*>(pages_.base);
  auto* heads = base == nullptr ? nullptr : reinterpret_cast<layout::PageHead*>(base + body);
  layer_.pages = {base, pages_.head_stride, pages_.block_stride, heads, pages_.head_stride / head, pages_.block_stride / head,
                  body};
}

void PagedLayer::check_memory() const {
  const std::int64_t part = s_.part_bytes(layer_.index), heads = s_.config.num_kv_heads, blocks = pages_.num_blocks;
  check_device(pages_.device, s_.device, {operation_, "pages"});
  require(blocks >= 0 && blocks <= std::numeric_limits<std::int32_t>::max(), operation_, "pages have ", blocks,
          " blocks, wanted 0 to ", std::numeric_limits<std::int32_t>::max());
  require(pages_.page_bytes >= part, operation_, "pages keep ", pages_.page_bytes, " bytes for a kv head in a block, wanted ", part,
          " or more in layer ", layer_.index);
  require(pages_.base != nullptr || blocks == 0, operation_, "pages have a null address, wanted memory of ", blocks, " blocks");
  require(is_aligned(pages_.base, layout::kLineBytes) && pages_.block_stride % layout::kLineBytes == 0 &&
              pages_.head_stride % layout::kLineBytes == 0,
          operation_, "pages are at ", pages_.base, " with ", pages_.block_stride, " bytes from block to block and ",
          pages_.head_stride, " from head to head, wanted multiples of ", layout::kLineBytes);
  require(blocks == 0 || is_apart(blocks, pages_.block_stride, heads, pages_.head_stride, part) ||
              is_apart(heads, pages_.head_stride, blocks, pages_.block_stride, part),
          operation_, "pages are ", pages_.block_stride, " bytes from block to block and ", pages_.head_stride,
          " from head to head, which overlap: wanted ", part, " of its own for each of ", blocks, " blocks and ", heads,
          " kv heads");
  check_device(tails_.device, s_.device, {operation_, "tails"});
  require(tails_.num_tails >= 0, operation_, "tails are ", tails_.num_tails, ", wanted 0 or more");
  require(tails_.base != nullptr || tails_.num_tails == 0, operation_, "tails have a null address, wanted memory of ",
          tails_.num_tails);
  require(is_aligned(tails_.base, kTailAlignment) && tails_.tail_stride % kTailAlignment == 0, operation_, "tails are at ",
          tails_.base, ", ", tails_.tail_stride, " bytes from one to the next, wanted multiples of ", kTailAlignment);
  require(tails_.num_tails <= 1 || tails_.tail_stride >= s_.tail_bytes(), operation_, "tails are ", tails_.tail_stride,
          " bytes from one to the next, wanted ", s_.tail_bytes(), " or more");
  s_.check_memory(pages_.base, {operation_, "pages"});
  s_.check_memory(tails_.base, {operation_, "tails"});
}

std::span<const std::int32_t> PagedLayer::full_pages(const PagedRequest& r, std::int64_t new_tokens) const {
  const std::int64_t blocks = std::ssize(r.block_ids);
  require(r.num_tokens >= 0, operation_, "num_tokens is ", r.num_tokens, ", wanted 0 or more");
  const bool fits = r.num_tokens / kPage <= blocks && (r.num_tokens + new_tokens) / kPage <= blocks;
  require(fits, operation_, "found ", blocks, " blocks of a request, wanted one for each ", kPage, " of its ", r.num_tokens, " + ",
          new_tokens, " tokens");
  const auto full = r.block_ids.first(static_cast<std::size_t>((r.num_tokens + new_tokens) / kPage));
  for (const std::int32_t block : full) {
    require(block >= 0 && block < pages_.num_blocks, operation_, "block id is ", block, ", wanted 0 to ", pages_.num_blocks - 1);
  }
  return full;
}

void PagedLayer::check_tail(const PagedRequest& r, std::int64_t new_tokens) const {
  if (r.num_tokens % kPage == 0 && (r.num_tokens + new_tokens) % kPage == 0) return;
  require(r.tail_id >= 0 && r.tail_id < tails_.num_tails, operation_, "tail id is ", r.tail_id, ", wanted 0 to ",
          tails_.num_tails - 1, " for the open page of ", r.num_tokens, " + ", new_tokens, " tokens");
}

RowPlaces PagedLayer::tail(const PagedRequest& r) const {
  const std::int64_t dim = s_.config.head_dim, numbers = s_.config.num_kv_heads * kPage * dim;
  std::uint16_t* keys = numbers_at(tails_.base, r.tail_id * tails_.tail_stride);
  return {keys, keys + numbers, kPage * dim, dim};
}

RowPlaces PagedLayer::sinks(std::int32_t block) const {
  const std::int64_t dim = s_.config.head_dim, count = s_.config.codec.sink_tokens;
  if (count == 0) return {};
  std::uint16_t* keys = numbers_at(pages_.base, block * pages_.block_stride + s_.page_bytes(layer_.index));
  return {keys, keys + count * dim, pages_.head_stride / static_cast<std::int64_t>(sizeof *keys), dim};
}

HeldTokens PagedLayer::held(const PagedRequest& r) const {
  HeldTokens held{r.num_tokens, r.block_ids.first(static_cast<std::size_t>(r.num_tokens / kPage)), {}, {}};
  if (r.num_tokens % kPage > 0) held.tail = tail(r);
  if (!held.pages.empty()) held.sinks = sinks(held.pages[0]);
  return held;
}

AppendRows PagedLayer::rows(const PagedRequest& r) const {
  AppendRows rows{layer_, AppendSpan(r.num_tokens, r.keys.tokens), r.keys, r.values};
  rows.pages = r.block_ids.first(static_cast<std::size_t>(rows.span.end_page));
  if (rows.span.seals()) rows.channel_page = rows.pages[0];
  if (rows.span.open_before > 0) rows.open = tail(r);
  if (rows.num_sinks() > 0) rows.sinks = sinks(rows.pages[0]);
  return rows;
}

// A page that no cache of this config has sealed there is told from one by its head.
std::string PagedLayer::page_fault_at(std::int32_t block, int kv_head, bool is_first) const {
  const layout::PageHead& head = *layer_.pages.head(kv_head, block);
  const std::string fault = page_fault(head, layer_.pages.body(kv_head, block), layer_.tables().shape);
  const int sinks = is_first ? s_.config.codec.sink_tokens : 0;
  if (!fault.empty() || head.num_sinks == sinks) return fault;
  return "found a page with " + std::to_string(head.num_sinks) + " sinks, wanted " + std::to_string(sinks) + " there";
}

void PagedLayer::refuse_page(std::int32_t block, std::int64_t kv_head, const std::string& fault) const {
  fail(ErrorKind::invalid_argument, operation_, "block ", block, ", kv head ", kv_head, " of layer ", layer_.index, ": ", fault);
}

void PagedLayer::check_channels(const AppendRows& rows) const {
  if (layer_.tables().shape.outlier_channels == 0 || rows.span.first_page == 0 || !rows.span.seals()) return;
  for (int head = 0; head < s_.config.num_kv_heads; ++head) {
    const std::string fault = page_fault_at(rows.pages[0], head, true);
    if (!fault.empty()) refuse_page(rows.pages[0], head, fault);
  }
}

void PagedLayer::check_pages(std::span<const PagedRequest> requests, ThreadPool& threads) const {
  const int heads = s_.config.num_kv_heads;
  std::atomic<std::int64_t> first_bad{std::numeric_limits<std::int64_t>::max()};
  const auto check = [&](std::int64_t item, auto found) {
    const std::span<const std::int32_t> pages = held(requests[static_cast<std::size_t>(item / heads)]).pages;
    for (std::size_t i = 0; i < pages.size(); ++i) {
      const std::string fault = page_fault_at(pages[i], static_cast<int>(item % heads), i == 0);
      if (!fault.empty()) return found(pages[i], fault);
    }
  };
  threads.run(std::ssize(requests) * heads, [&](std::int64_t item, int) {
    check(item, [&](std::int32_t, const std::string&) {
      std::int64_t seen = first_bad.load();
      while (item < seen && !first_bad.compare_exchange_weak(seen, item)) {
      }
    });
  });
  const std::int64_t bad = first_bad.load();
  if (bad == std::numeric_limits<std::int64_t>::max()) return;
  check(bad, [&](std::int32_t block, const std::string& fault) { refuse_page(block, bad % heads, fault); });
}

}  // namespace qjl
