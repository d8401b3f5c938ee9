// Sequence: which pages hold its sealed tokens, and its exact rows: the open tail and, once page 0 is sealed, the sinks.
//
//   layer of length n: pages[0 .. n / 128) sealed, tail rows [0, n mod 128), sinks rows [0, sink_tokens) when n >= 128
//
// On a GPU a sequence owns the memory of all its rows from the start, tail and sinks of every layer: an append takes none there.
//
// Layers may differ in length while a prompt goes through them one by one; a page index is shared by all layers of a group
// (layer_groups.hpp). Invariant: a page with more than one reference is behind the shortest layer of the group in all its owners, so
// nobody ever writes to it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "device_memory.hpp"
#include "layer_groups.hpp"
#include "mapping.hpp"
#include "page_places.hpp"

namespace qjl {

// Exact keys and values of one layer, 16 bit: [num_kv_heads, capacity, head_dim] each.
class RowBlock {
 public:
  // In memory of its own on the host, zero at first; or in `memory` of a device that outlives it.
  RowBlock(int num_kv_heads, std::int64_t capacity, std::int64_t head_dim);
  RowBlock(std::uint16_t* memory, int num_kv_heads, std::int64_t capacity, std::int64_t head_dim);

  std::uint16_t* keys(int kv_head, std::int64_t token) const { return data_ + (kv_head * capacity_ + token) * dim_; }
  std::uint16_t* values(int kv_head, std::int64_t token) const { return keys(num_kv_heads_ + kv_head, token); }
  std::int64_t head_stride() const { return capacity_ * dim_; }
  RowPlaces places() const { return {keys(0, 0), values(0, 0), head_stride(), dim_}; }
  static std::int64_t bytes_of(int num_kv_heads, std::int64_t capacity, std::int64_t head_dim) {  // of the rows
    return 2 * num_kv_heads * capacity * head_dim * static_cast<std::int64_t>(sizeof(std::uint16_t));
  }
  std::int64_t bytes() const;

  // On the host: copies the first `count` tokens of every head.
  void copy_rows(const RowBlock& from, std::int64_t count);

 private:
  int num_kv_heads_;
  std::int64_t capacity_, dim_;
  std::vector<std::uint16_t> small_;
  Mapping large_;
  std::uint16_t* data_;
  bool is_owner_ = true;
};

inline constexpr std::int32_t kNoPage = -1;

// Pages of the layers of a group, by position; kNoPage where there is none (any more).
struct PageTable {
  std::vector<std::int32_t> pages;  // sealed in some layer, or reserved
  std::int64_t first = 0;           // those before it are forgotten

  bool has(std::int64_t page) const { return page < std::ssize(pages) && pages[static_cast<std::size_t>(page)] != kNoPage; }
};

struct Sequence {
  // On the host forks share blocks. A tail with one owner may be written beyond its length; sinks are never written again.
  struct Layer {
    std::int64_t length = 0;
    std::int64_t version = 0;         // rises with every change: a plan of an older one no longer stands
    PageSpan gap = {};                // pages that this layer never sealed or lets go of before others do
    std::shared_ptr<RowBlock> tail;   // null while no token is open
    std::shared_ptr<RowBlock> sinks;  // null until page 0 is sealed, and when there are none
    void set_length(std::int64_t tokens) { length = tokens, ++version; }
  };

  Sequence(int num_layers, int num_groups)
      : tables(static_cast<std::size_t>(num_groups)), layers(static_cast<std::size_t>(num_layers)) {}

  std::int64_t shortest() const;
  std::int64_t longest() const;
  // This record and its tables; row blocks apart.
  std::int64_t record_bytes() const;

  std::vector<PageTable> tables;  // [groups]
  std::vector<Layer> layers;
  DeviceMemory rows;  // on a GPU: that of all blocks
  // Of layers without keys: their numbers, null while all are 0, and after how many tokens they are so. Forks share them until one
  // goes on.
  std::shared_ptr<std::vector<float>> recurrent;
  std::int64_t recurrent_tokens = 0;
};

}  // namespace qjl
