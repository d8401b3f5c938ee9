// Exact rows and their memory.
#include "sequence.hpp"

#include <algorithm>
#include <cstring>

namespace qjl {
namespace {

// Blocks from here on come from the system and go back to it when the tail is sealed; the heap would keep them.
constexpr std::int64_t kMappedBytes = std::int64_t{64} << 10;

// What std::make_shared and the heap keep beside an object: counters, a virtual table, the header of the allocation.
constexpr std::int64_t kSharedOverheadBytes = 32;

}  // namespace

RowBlock::RowBlock(int num_kv_heads, std::int64_t capacity, std::int64_t head_dim)
    : num_kv_heads_(num_kv_heads), capacity_(capacity), dim_(head_dim) {
  const std::int64_t bytes = bytes_of(num_kv_heads, capacity, head_dim);
  if (bytes >= kMappedBytes) {
    large_ = Mapping(bytes, Mapping::Pages::resident);
    data_ = reinterpret_cast<std::uint16_t*>(large_.data());
  } else {
    small_.resize(static_cast<std::size_t>(bytes) / sizeof(std::uint16_t));
    data_ = small_.data();
  }
}

RowBlock::RowBlock(std::uint16_t* memory, int num_kv_heads, std::int64_t capacity, std::int64_t head_dim)
    : num_kv_heads_(num_kv_heads), capacity_(capacity), dim_(head_dim), data_(memory), is_owner_(false) {}

std::int64_t RowBlock::bytes() const {
  const std::int64_t small = static_cast<std::int64_t>(small_.capacity() * sizeof(std::uint16_t));
  const std::int64_t rows = is_owner_ ? large_.bytes() + small : bytes_of(num_kv_heads_, capacity_, dim_);
  return rows + static_cast<std::int64_t>(sizeof(RowBlock)) + kSharedOverheadBytes;
}

void RowBlock::copy_rows(const RowBlock& from, std::int64_t count) {
  for (int head = 0; head < 2 * num_kv_heads_; ++head) {  // keys of all heads, then values
    std::memcpy(keys(head, 0), from.keys(head, 0), static_cast<std::size_t>(count * dim_) * sizeof(std::uint16_t));
  }
}

std::int64_t Sequence::shortest() const {
  const auto by_length = [](const Layer& a, const Layer& b) { return a.length < b.length; };
  return std::min_element(layers.begin(), layers.end(), by_length)->length;
}

std::int64_t Sequence::longest() const {
  const auto by_length = [](const Layer& a, const Layer& b) { return a.length < b.length; };
  return std::max_element(layers.begin(), layers.end(), by_length)->length;
}

std::int64_t Sequence::record_bytes() const {
  std::size_t bytes = sizeof(Sequence) + layers.capacity() * sizeof(Layer) + tables.capacity() * sizeof(PageTable);
  for (const PageTable& table : tables) bytes += table.pages.capacity() * sizeof(std::int32_t);
  return static_cast<std::int64_t>(bytes);
}

}  // namespace qjl
