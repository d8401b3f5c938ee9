#include "packed_weight.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cstring>
#include <new>

#include "quants.hpp"

namespace qjl::engine {
namespace {

CodeWidth code_width(WeightType type) {
  switch (type) {
    case WeightType::q4_0:
    case WeightType::q4_1:
    case WeightType::q4_k: return CodeWidth::nibbles;
    case WeightType::q8_0: return CodeWidth::bytes;
    default: return CodeWidth::small_bytes;
  }
}

// The code that stands for 0, or 0 in a format with offsets.
float code_centre(WeightType type) {
  switch (type) {
    case WeightType::q4_0: return 8.0f;
    case WeightType::q5_0: return 16.0f;
    case WeightType::q8_0: return 128.0f;
    default: return 0.0f;
  }
}

void store_u16(std::byte* out, std::uint16_t value) { std::memcpy(out, &value, sizeof value); }

constexpr std::int64_t kAlignment = 64;
std::int64_t round_up(std::int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

bool PackedWeight::can_pack(const Weight& weight) {
  if (weight.columns % kBlockColumns != 0) return false;
  switch (weight.type) {
    case WeightType::q8_0:
    case WeightType::q4_0:
    case WeightType::q4_1:
    case WeightType::q5_0:
    case WeightType::q5_1:
    case WeightType::q4_k:
    case WeightType::q5_k: return true;
    default: return false;
  }
}

PackedMemory::PackedMemory(std::int64_t bytes) {
  constexpr std::size_t kLargePage = std::size_t{1} << 21;
  const std::size_t size = (static_cast<std::size_t>(bytes) + kLargePage - 1) / kLargePage * kLargePage;
  data_.reset(static_cast<std::byte*>(std::aligned_alloc(kLargePage, size)));
  if (!data_) throw std::bad_alloc();
#if defined(__linux__)
  madvise(data_.get(), size, MADV_HUGEPAGE);  // only a wish: where it fails, small pages serve
#endif
  std::memset(data_.get(), 0, size);
}

PackedWeight::PackedWeight(const Weight& weight)
    : rows_(weight.rows),
      blocks_(weight.columns / kBlockColumns),
      width_(code_width(weight.type)),
      has_offsets_(code_centre(weight.type) == 0.0f),
      centre_(code_centre(weight.type)) {}

std::int64_t PackedWeight::packed_bytes(const Weight& weight) {
  const PackedWeight shape(weight);
  return shape.groups() * shape.group_bytes();
}

PackedWeight::PackedWeight(const Weight& weight, std::byte* memory, ThreadPool& threads) : PackedWeight(weight) {
  data_ = memory;
  threads.run(groups(), [&](std::int64_t group, int) { pack_group(weight, group); });
}

std::int64_t PackedWeight::group_bytes() const { return round_up(blocks_ * (code_bytes() + (has_offsets_ ? 2 : 1) * kScaleBytes)); }

void PackedWeight::pack_group(const Weight& weight, std::int64_t group) {
  auto* codes = const_cast<std::byte*>(this->codes(group));
  auto* scales = const_cast<std::byte*>(this->scales(group));
  auto* offsets = const_cast<std::byte*>(this->offsets(group));
  const std::int64_t first = group * kGroupRows;
  for (std::int64_t r = 0; r < std::min(kGroupRows, rows_ - first); ++r) {
    for (std::int64_t b = 0; b < blocks_; ++b) {
      const CodedBlock block = coded_block(weight.type, weight.row(first + r), b);
      store_u16(scales + b * kScaleBytes + 2 * r, block.scale);
      if (has_offsets_) store_u16(offsets + b * kScaleBytes + 2 * r, block.offset);
      std::byte* out = codes + b * code_bytes() + 4 * r;
      for (std::int64_t j = 0; j < code_bytes() / 64; ++j) std::memcpy(out + 64 * j, block.codes + 4 * j, 4);
    }
  }
}

}  // namespace qjl::engine
