// The inside of PagedCache: the layers of a cache, and where a call's memory has pages, sinks and tails.
//
//   part of a block = [ body | page head, 16 bytes | sinks: keys [N, d], values [N, d] ]
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "append.hpp"
#include "qjl/paged.hpp"

namespace qjl {

struct PagedCache::State : CacheLayers {
  using CacheLayers::CacheLayers;

  std::int64_t page_bytes(int layer) const { return layout::page_bytes(tables(layer).shape); }
  std::int64_t sink_bytes() const { return RowBlock::bytes_of(1, config.codec.sink_tokens, config.head_dim); }
  std::int64_t part_bytes(int layer) const { return page_bytes(layer) + sink_bytes(); }
  std::int64_t tail_bytes() const { return RowBlock::bytes_of(config.num_kv_heads, layout::kPageTokens, config.head_dim); }
};

// The memory of a call in one layer.
class PagedLayer {
 public:
  // Errors: invalid_argument, see PagedCache.
  PagedLayer(const PagedCache::State& cache, const PagedMemory& memory, std::string_view operation);

  const CacheLayer& layer() const { return layer_; }

  // Full pages of a request, `new_tokens` included, whose block ids are in order; and its tail where those tokens need one.
  // Errors: invalid_argument.
  std::span<const std::int32_t> full_pages(const PagedRequest& r, std::int64_t new_tokens) const;
  void check_tail(const PagedRequest& r, std::int64_t new_tokens) const;

  // Of a request whose blocks and tail are in order.
  HeldTokens held(const PagedRequest& r) const;
  AppendRows rows(const PagedRequest& r) const;
  RowPlaces tail(const PagedRequest& r) const;

  // Errors: invalid_argument when rows go into pages whose channels are those of a first page that nobody sealed. On the host.
  void check_channels(const AppendRows& rows) const;

  // Errors: invalid_argument unless every page that the requests hold may be shown to kernels. On the host.
  void check_pages(std::span<const PagedRequest> requests, ThreadPool& threads) const;

 private:
  void check_memory() const;
  RowPlaces sinks(std::int32_t block) const;
  std::string page_fault_at(std::int32_t block, int kv_head, bool is_first) const;
  [[noreturn]] void refuse_page(std::int32_t block, std::int64_t kv_head, const std::string& fault) const;

  const PagedCache::State& s_;
  const PageMemory& pages_;
  const TailMemory& tails_;
  std::string_view operation_;
  CacheLayer layer_;
};

// Errors: invalid_argument on new rows that do not fit, and unless each block and tail that the call writes is written once.
void check_appends(const PagedCache::State& cache, const PagedLayer& memory, std::span<const PagedRequest> requests,
                   std::string_view operation);

}  // namespace qjl
