// PagePool: where sealed pages live. Never looks inside one.
//
//   body(layer, kv_head, page) = bodies + layer_base[layer] + kv_head * stream_bytes[layer] + page * body_bytes[layer]
//   head(layer, kv_head, page) = heads + (layer * num_kv_heads + kv_head) * max_pages + page
//
// A page index stands for 128 tokens of one sequence in all layers of a group (layer_groups.hpp) and all kv heads; every group counts
// its own, max_pages each. The pages of one kv head are neighbours, so a sequence that took pages in order is read as one sequential
// stream per head. On the host address space for max_pages is reserved at once and memory comes as pages are first written; on a GPU
// all of it is taken. The lowest free index is handed out first, which keeps the touched part small.
//
// On the host a stream (the bodies of one layer and kv head) starts at a page of the system: a saved cache's file, where streams
// start so too, is mapped over the beginning of each and attended to in place. Such pages are the page cache's, shared by all
// processes that load the file; a page that is given back and written again becomes this process's own (copy on write).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "device_memory.hpp"
#include "mapping.hpp"
#include "page_places.hpp"

namespace qjl {

class PagePool {
 public:
  // body_bytes [num_layers], each a multiple of 64; group_of [num_layers]; in memory of the back end's device, now selected, where it
  // has some. Errors: invalid_argument when the range is larger than an address space, std::bad_alloc when the system refuses it,
  // unsupported without room on the device.
  PagePool(std::vector<std::int64_t> body_bytes, std::vector<int> group_of, int num_kv_heads, std::int64_t max_pages,
           const Backend& backend);

  std::int64_t capacity() const { return max_pages_; }
  std::int64_t free_pages(int group) const { return counts(group).free; }

  // Fills `pages` with free indices, each with one reference; the caller has checked free_pages(). Cost: O(pages scanned).
  void acquire(int group, std::span<std::int32_t> pages) noexcept;
  void share(int group, std::int32_t page) noexcept { ++counts(group).references()[page]; }
  void release(int group, std::int32_t page) noexcept;

  std::uint8_t* body(int layer, int kv_head, std::int32_t page) const;
  layout::PageHead* head(int layer, int kv_head, std::int32_t page) const;
  std::int64_t body_bytes(int layer) const { return body_bytes_[static_cast<std::size_t>(layer)]; }
  PagePlaces places(int layer) const;

  // Notes that a layer's part of a page is about to be written. Copies that part from one page to another; cannot fail on the host.
  void touch(int layer, std::int32_t page) noexcept;
  void copy(int layer, std::int32_t from, std::int32_t to, DeviceStream stream);

  // On the host: the memory of free pages goes back to the system, unless it is pinned: a device would still copy from and to what
  // the driver pinned, and no longer from and to what the process sees there. Pins are counted.
  void trim() noexcept;
  void pin() const noexcept { ++pins_; }
  void unpin() const noexcept { --pins_; }

  // Puts a file's bytes at the beginning of a stream of the host: a private mapping of [offset, offset + bytes.size()) of the open
  // file where the system's pages allow it, else a copy of `bytes`, which are the same. Returns whether it is mapped.
  bool put(int layer, int kv_head, int file, std::int64_t offset, std::span<const std::byte> bytes);
  // Hands out the first `pages` of a group that has handed out none, as written.
  std::vector<std::int32_t> adopt(int group, std::int64_t pages);

  // Bytes of written bodies and heads that some sequence uses, and of the rest of their resident memory, in the layers of a group.
  // Cost: O(layers * kv_heads * pages).
  struct Bytes {
    std::int64_t sealed, free;
  };
  Bytes bytes(int group) const;
  std::int64_t record_bytes() const;  // of the pool's own

 private:
  // A stretch of 2 MB that ends in this page becomes one huge page of the system when all of it is in use: a walk through a long
  // cache then pays for bytes and not for address translation, and nothing is resident that holds no page.
  void join(int layer, std::int32_t page) noexcept;
  bool is_on_host() const { return backend_.allocate == nullptr; }

  // Which pages of a group are in use.
  struct Counts {
    std::uint32_t* references() const { return reinterpret_cast<std::uint32_t*>(memory.data()); }
    Mapping memory;  // u32 [max_pages]
    std::int64_t free;
    std::int64_t first_free = 0;  // no page below it is free
    std::int64_t adopted = 0;     // pages that came from a file: no huge pages there
    std::int64_t highest = 0;     // no page at or above it was ever handed out
  };
  Counts& counts(int group) { return counts_[static_cast<std::size_t>(group)]; }
  const Counts& counts(int group) const { return counts_[static_cast<std::size_t>(group)]; }

  std::vector<std::int64_t> body_bytes_, stream_bytes_, layer_base_;
  std::vector<int> group_of_;  // [num_layers]
  int num_kv_heads_;
  std::int64_t max_pages_;
  const Backend& backend_;
  Mapping bodies_, heads_;  // on the host
  DeviceMemory device_bodies_, device_heads_;
  std::uint8_t* body_base_ = nullptr;
  layout::PageHead* head_base_ = nullptr;
  std::vector<Counts> counts_;  // [groups]
  mutable int pins_ = 0;
  Mapping written_;  // u8 [num_layers, max_pages]: 1 when a layer's part was ever written, so that it is resident
};

}  // namespace qjl
