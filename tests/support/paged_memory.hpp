// Blocks and tails of one layer in a test's own memory, full of rubbish at first: as an engine keeps them for a PagedCache.
#pragma once

#include <cstdint>
#include <vector>

#include "qjl/codec.hpp"
#include "qjl/paged.hpp"
#include "test_rows.hpp"

namespace qjl::test {

enum class BlockOrder { by_block, by_head };  // which stride is the larger one

struct PagedBytes {
  std::vector<std::uint8_t> pages, tails;
  PagedMemory memory;

  PagedBytes(const PagedCache& cache, int layer, std::int64_t blocks, std::int64_t num_tails, BlockOrder order) {
    constexpr std::int64_t kLine = 64;
    const std::int64_t part = (cache.part_bytes(layer) + kLine - 1) / kLine * kLine, heads = cache.config().num_kv_heads;
    pages.assign(static_cast<std::size_t>(blocks * heads * part + kLine), 0xA5);
    tails.assign(static_cast<std::size_t>(num_tails * cache.tail_bytes() + kLine), 0xFF);  // not a number in either format
    const bool by_block = order == BlockOrder::by_block;
    memory.layer = layer;
    memory.pages = {aligned(pages.data()), blocks, by_block ? heads * part : part, by_block ? part : blocks * part, part, {}};
    memory.tails = {aligned(tails.data()), num_tails, cache.tail_bytes(), {}};
  }
  PagedBytes(const PagedBytes&) = delete;
  PagedBytes& operator=(const PagedBytes&) = delete;
  PagedBytes(PagedBytes&&) = default;

  std::uint8_t* part(std::int64_t block, int kv_head) const {
    return static_cast<std::uint8_t*>(memory.pages.base) + block * memory.pages.block_stride + kv_head * memory.pages.head_stride;
  }

 private:
  static std::uint8_t* aligned(std::uint8_t* at) { return at + (64 - reinterpret_cast<std::uintptr_t>(at) % 64) % 64; }
};

// New tokens and their queries as one request's; views of rows that live on.
inline PagedRequest paged_request(std::span<const std::int32_t> blocks, std::int64_t tokens, std::int64_t tail) {
  PagedRequest r;
  r.block_ids = blocks;
  r.num_tokens = tokens;
  r.tail_id = tail;
  return r;
}

}  // namespace qjl::test
