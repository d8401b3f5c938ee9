// Offsets, references and the count of resident bytes.
#include "pool.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "fail.hpp"

namespace qjl {
namespace {

constexpr std::int64_t kHeadBytes = sizeof(layout::PageHead);

// A huge page (2 MB) touched for one body of a few kB would make a cache of many layers and heads take hundreds of times what it
// holds. Below this size of a (layer, head) stream the kernel is told not to; above it a huge page is at most 3 % of the stream.
constexpr std::int64_t kHugeStreamBytes = std::int64_t{64} << 20;

std::int64_t checked_product(std::int64_t a, std::int64_t b) {
  std::int64_t product = 0;
  require(!__builtin_mul_overflow(a, b, &product), "cache", "a pool of ", a, " x ", b, " bytes does not fit an address space");
  return product;
}

#ifdef MADV_HUGEPAGE
#ifndef MADV_COLLAPSE
constexpr int MADV_COLLAPSE = 25;  // Linux 6.1; older ones refuse, and pages stay small
#endif
constexpr std::uintptr_t kHugePage = std::uintptr_t{2} << 20;

// Both are advice: failure changes no result. The first is for memory that is not there yet, the second for memory that is.
void make_huge(std::uintptr_t at) {
  madvise(reinterpret_cast<void*>(at), kHugePage, MADV_HUGEPAGE);
  madvise(reinterpret_cast<void*>(at), kHugePage, MADV_COLLAPSE);
}
#endif

// Adds up the memory pages of the system under a series of ranges in rising order, each counted once.
class ResidentBytes {
 public:
  void add(std::int64_t begin, std::int64_t end) {
    if (begin == end) return;
    const std::int64_t grain = Mapping::os_page_bytes();
    const std::int64_t first = std::max(begin / grain, next_), last = (end - 1) / grain + 1;
    total_ += std::max<std::int64_t>(0, last - first) * grain;
    next_ = std::max(next_, last);
  }
  std::int64_t total() const { return total_; }

 private:
  std::int64_t next_ = 0, total_ = 0;
};

}  // namespace

PagePool::PagePool(std::vector<std::int64_t> body_bytes, std::vector<int> group_of, int num_kv_heads, std::int64_t max_pages,
                   const Backend& backend)
    : body_bytes_(std::move(body_bytes)),
      group_of_(std::move(group_of)),
      num_kv_heads_(num_kv_heads),
      max_pages_(max_pages),
      backend_(backend) {
  const std::int64_t grain = backend.allocate != nullptr ? layout::kLineBytes : Mapping::os_page_bytes();
  std::int64_t total = 0, largest_stream = 0;
  for (const std::int64_t bytes : body_bytes_) {
    layer_base_.push_back(total);
    const std::int64_t stream = checked_product((checked_product(bytes, max_pages) - 1) / grain + 1, grain);
    const std::int64_t layer = checked_product(stream, num_kv_heads);
    stream_bytes_.push_back(stream);
    require(!__builtin_add_overflow(total, layer, &total), "cache", "the pool does not fit an address space");
    largest_stream = std::max(largest_stream, stream);
  }
  const std::int64_t streams = checked_product(static_cast<std::int64_t>(body_bytes_.size()), num_kv_heads);
  const std::int64_t heads = checked_product(streams, checked_product(max_pages, kHeadBytes));
  if (backend.allocate != nullptr) {
    device_bodies_ = DeviceMemory(backend, total);
    device_heads_ = DeviceMemory(backend, heads);
  } else {
    bodies_ = Mapping(total, Mapping::Pages::lazy);
    heads_ = Mapping(heads, Mapping::Pages::lazy);
  }
  body_base_ = is_on_host() ? bodies_.data() : device_bodies_.data();
  head_base_ = reinterpret_cast<layout::PageHead*>(is_on_host() ? heads_.data() : device_heads_.data());
  written_ = Mapping(checked_product(static_cast<std::int64_t>(body_bytes_.size()), max_pages_), Mapping::Pages::lazy);
  std::vector<const Mapping*> mappings = {&heads_, &written_};
  if (largest_stream < kHugeStreamBytes) mappings.push_back(&bodies_);
  counts_.resize(static_cast<std::size_t>(std::ranges::max(group_of_)) + 1);
  for (Counts& group : counts_) {
    group.memory = Mapping(checked_product(max_pages, sizeof(std::uint32_t)), Mapping::Pages::lazy);
    group.free = max_pages;
    mappings.push_back(&group.memory);
  }
  for (const Mapping* mapping : mappings) {
    if (mapping->bytes() == 0) continue;
    madvise(mapping->data(), static_cast<std::size_t>(mapping->bytes()), MADV_NOHUGEPAGE);  // advice: failure changes no result
  }
}

void PagePool::acquire(int group, std::span<std::int32_t> pages) noexcept {
  Counts& c = counts(group);
  for (std::int32_t& page : pages) {
    while (c.references()[c.first_free] != 0) ++c.first_free;
    c.references()[c.first_free] = 1;
    page = static_cast<std::int32_t>(c.first_free++);
  }
  c.free -= static_cast<std::int64_t>(pages.size());
  c.highest = std::max(c.highest, c.first_free);
}

void PagePool::release(int group, std::int32_t page) noexcept {
  Counts& c = counts(group);
  if (--c.references()[page] != 0) return;
  ++c.free;
  c.first_free = std::min<std::int64_t>(c.first_free, page);
}

std::uint8_t* PagePool::body(int layer, int kv_head, std::int32_t page) const {
  const auto l = static_cast<std::size_t>(layer);
  return body_base_ + layer_base_[l] + kv_head * stream_bytes_[l] + page * body_bytes_[l];
}

layout::PageHead* PagePool::head(int layer, int kv_head, std::int32_t page) const {
  const std::int64_t stream = std::int64_t{layer} * num_kv_heads_ + kv_head;
  return head_base_ + stream * max_pages_ + page;
}

PagePlaces PagePool::places(int layer) const {
  return {.bodies = body(layer, 0, 0),
          .body_head_stride = stream_bytes_[static_cast<std::size_t>(layer)],
          .body_page_stride = body_bytes(layer),
          .heads = head(layer, 0, 0),
          .head_head_stride = max_pages_,
          .head_page_stride = 1,
          .body_bytes = body_bytes(layer)};
}

void PagePool::touch(int layer, std::int32_t page) noexcept {
  std::uint8_t& written = written_.data()[layer * max_pages_ + page];
  if (written != 0) return;
  written = 1;
  if (is_on_host()) join(layer, page);
}

void PagePool::join(int layer, std::int32_t page) noexcept {
#ifdef MADV_HUGEPAGE
  const auto bytes = static_cast<std::uintptr_t>(body_bytes(layer));
  const std::uint8_t* written = written_.data() + layer * max_pages_;
  for (int kv_head = 0; kv_head < num_kv_heads_; ++kv_head) {
    const auto stream = reinterpret_cast<std::uintptr_t>(body(layer, kv_head, 0));
    const auto page_begin = reinterpret_cast<std::uintptr_t>(body(layer, kv_head, page));
    const std::uintptr_t end = (page_begin + bytes) / kHugePage * kHugePage, begin = end - kHugePage;
    const std::int64_t adopted = counts(group_of_[static_cast<std::size_t>(layer)]).adopted;
    if (end <= page_begin || begin < stream + static_cast<std::uintptr_t>(adopted) * bytes) continue;
    const auto all_written = [](std::uint8_t x) { return x != 0; };
    if (std::all_of(written + (begin - stream) / bytes, written + page, all_written)) make_huge(begin);
  }
#endif
}

void PagePool::copy(int layer, std::int32_t from, std::int32_t to, DeviceStream stream) {
  touch(layer, to);
  const auto move = [&](void* target, const void* source, std::int64_t bytes) {
    is_on_host() ? static_cast<void>(std::memcpy(target, source, static_cast<std::size_t>(bytes)))
                 : backend_.copy(target, source, bytes, stream);
  };
  for (int kv_head = 0; kv_head < num_kv_heads_; ++kv_head) {
    move(body(layer, kv_head, to), body(layer, kv_head, from), body_bytes(layer));
    move(head(layer, kv_head, to), head(layer, kv_head, from), kHeadBytes);
  }
}

// Runs of free pages that were written, less the edges that share a page of the system with others: of those at most two a run and
// stream stay that nothing counts.
void PagePool::trim() noexcept {
  if (pins_ > 0) return;
  const std::int64_t grain = Mapping::os_page_bytes();
  for (std::size_t l = 0; l < body_bytes_.size(); ++l) {
    const auto layer = static_cast<int>(l);
    const Counts& c = counts(group_of_[l]);
    std::uint8_t* written = written_.data() + static_cast<std::int64_t>(l) * max_pages_;
    for (std::int64_t begin = 0, end = 0; begin < c.highest; begin = end) {
      end = begin + 1;
      if (written[begin] == 0 || c.references()[begin] != 0) continue;
      while (end < c.highest && written[end] != 0 && c.references()[end] == 0) ++end;
      const auto give_back = [&](std::uint8_t* first, std::uint8_t* last) {
        const auto from = reinterpret_cast<std::uintptr_t>(first), to = reinterpret_cast<std::uintptr_t>(last);
        const auto size = static_cast<std::uintptr_t>(grain);
        const std::uintptr_t start = (from + size - 1) / size * size, stop = to / size * size;
        if (start < stop) madvise(reinterpret_cast<void*>(start), stop - start, MADV_DONTNEED);
      };
      for (int kv_head = 0; kv_head < num_kv_heads_; ++kv_head) {
        give_back(body(layer, kv_head, static_cast<std::int32_t>(begin)), body(layer, kv_head, static_cast<std::int32_t>(end)));
        give_back(reinterpret_cast<std::uint8_t*>(head(layer, kv_head, static_cast<std::int32_t>(begin))),
                  reinterpret_cast<std::uint8_t*>(head(layer, kv_head, static_cast<std::int32_t>(end))));
      }
      std::fill(written + begin, written + end, std::uint8_t{0});
    }
  }
}

bool PagePool::put(int layer, int kv_head, int file, std::int64_t offset, std::span<const std::byte> bytes) {
  std::uint8_t* stream = body(layer, kv_head, 0);
  if (bytes.empty()) return true;
  if (offset % Mapping::os_page_bytes() == 0) {
    const int flags = MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE;
    if (mmap(stream, bytes.size(), PROT_READ | PROT_WRITE, flags, file, offset) != MAP_FAILED) return true;
  }
  std::memcpy(stream, bytes.data(), bytes.size());
  return false;
}

std::vector<std::int32_t> PagePool::adopt(int group, std::int64_t pages) {
  std::vector<std::int32_t> taken(static_cast<std::size_t>(pages));
  acquire(group, taken);
  counts(group).adopted = pages;
  for (std::size_t l = 0; l < body_bytes_.size(); ++l) {
    if (group_of_[l] != group) continue;
    std::memset(written_.data() + static_cast<std::int64_t>(l) * max_pages_, 1, static_cast<std::size_t>(pages));
  }
  return taken;
}

// On a GPU all memory of a layer is resident.
PagePool::Bytes PagePool::bytes(int group) const {
  const Counts& c = counts(group);
  ResidentBytes bodies, heads;
  std::int64_t sealed = 0, all = 0;
  for (std::size_t l = 0; l < body_bytes_.size(); ++l) {
    if (group_of_[l] != group) continue;
    const std::uint8_t* written = written_.data() + static_cast<std::int64_t>(l) * max_pages_;
    for (std::int64_t page = 0; page < c.highest; ++page) {
      if (written[page] != 0 && c.references()[page] != 0) sealed += num_kv_heads_ * (body_bytes_[l] + kHeadBytes);
    }
    all += num_kv_heads_ * (stream_bytes_[l] + max_pages_ * kHeadBytes);
    for (int kv_head = 0; is_on_host() && kv_head < num_kv_heads_; ++kv_head) {
      const std::int64_t body_begin = layer_base_[l] + kv_head * stream_bytes_[l];
      const std::int64_t head_begin = (static_cast<std::int64_t>(l) * num_kv_heads_ + kv_head) * max_pages_ * kHeadBytes;
      for (std::int64_t page = 0; page < c.highest; ++page) {
        if (written[page] == 0) continue;
        bodies.add(body_begin + page * body_bytes_[l], body_begin + (page + 1) * body_bytes_[l]);
        heads.add(head_begin + page * kHeadBytes, head_begin + (page + 1) * kHeadBytes);
      }
    }
  }
  return {.sealed = sealed, .free = (is_on_host() ? bodies.total() + heads.total() : all) - sealed};
}

std::int64_t PagePool::record_bytes() const {
  std::int64_t total = 0;
  for (const Counts& group : counts_) {
    ResidentBytes references;
    references.add(0, group.highest * static_cast<std::int64_t>(sizeof(std::uint32_t)));
    total += references.total();
  }
  ResidentBytes marks;
  for (std::size_t l = 0; l < body_bytes_.size(); ++l) {
    const std::int64_t first = static_cast<std::int64_t>(l) * max_pages_;
    marks.add(first, first + counts(group_of_[l]).highest);
  }
  return total + marks.total();
}

}  // namespace qjl
