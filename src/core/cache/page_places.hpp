// Where the pages and exact rows of a layer are, in memory of whoever owns it.
//
//   body(kv_head, page) = bodies + kv_head * body_head_stride + page * body_page_stride      (bytes)
//   head(kv_head, page) = heads + kv_head * head_head_stride + page * head_page_stride       (heads of pages)
#pragma once

#include <cstdint>
#include <span>

#include "args.hpp"

namespace qjl {

struct PagePlaces {
  std::uint8_t* bodies;
  std::int64_t body_head_stride, body_page_stride;
  layout::PageHead* heads;
  std::int64_t head_head_stride, head_page_stride;
  std::int64_t body_bytes;  // of one page

  std::uint8_t* body(int kv_head, std::int32_t page) const { return bodies + kv_head * body_head_stride + page * body_page_stride; }
  layout::PageHead* head(int kv_head, std::int32_t page) const {
    return heads + kv_head * head_head_stride + page * head_page_stride;
  }
  SealedPages sealed(std::span<const std::int32_t> page_table) const {
    return {.bodies = bodies,
            .body_head_stride = body_head_stride,
            .body_page_stride = body_page_stride,
            .heads = heads,
            .head_head_stride = head_head_stride,
            .head_page_stride = head_page_stride,
            .page_table = page_table.data(),
            .count = static_cast<std::int64_t>(page_table.size())};
  }
};

// Exact keys and values, 16 bit: [kv_heads, tokens, dim] each, the rows of a head one after the other. Of no rows: null.
struct RowPlaces {
  std::uint16_t* keys = nullptr;
  std::uint16_t* values = nullptr;
  std::int64_t head_stride = 0;  // numbers
  std::int64_t dim = 0;

  bool empty() const { return keys == nullptr; }
  std::uint16_t* key(int kv_head, std::int64_t token) const { return keys + kv_head * head_stride + token * dim; }
  std::uint16_t* value(int kv_head, std::int64_t token) const { return values + kv_head * head_stride + token * dim; }
  ExactRows exact(std::int64_t first_position, std::int64_t count) const {
    return {keys, values, head_stride, dim, first_position, count};
  }
};

// What a sequence holds in a layer of `length` tokens: its sealed pages, the rows of its open one from the page's first token on, and
// its sinks, where it has any and page 0 is sealed.
struct HeldTokens {
  std::int64_t length = 0;
  std::span<const std::int32_t> pages;
  RowPlaces tail, sinks;
};

}  // namespace qjl
