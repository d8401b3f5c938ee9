// Repacking: blocks of a file become groups of 16 rows, codes as narrow as the file has them.
#include "packed_weight.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cstring>
#include <new>
#include <optional>

#include "quants.hpp"

namespace qjl::engine {
namespace {

// How a type's codes are packed; nothing for types that have numbers instead, levels that are not even, or a scale for 16.
struct CodeForm {
  CodeWidth width;
  float centre;  // the code that stands for 0, or 0 in a format with offsets
};
std::optional<CodeForm> code_form(WeightType type) {
  switch (type) {
    case WeightType::f32:
    case WeightType::f16:
    case WeightType::bf16:
    case WeightType::q2_k:
    case WeightType::q3_k:
    case WeightType::iq1_s:
    case WeightType::iq1_m:
    case WeightType::iq2_xxs:
    case WeightType::iq2_xs:
    case WeightType::iq2_s:
    case WeightType::iq3_xxs:
    case WeightType::iq3_s:
    case WeightType::iq4_nl:
    case WeightType::iq4_xs:
    case WeightType::mxfp4: return std::nullopt;
    case WeightType::q4_0: return CodeForm{CodeWidth::nibbles, 8.0f};
    case WeightType::q4_1:
    case WeightType::q4_k: return CodeForm{CodeWidth::nibbles, 0.0f};
    case WeightType::q5_0: return CodeForm{CodeWidth::fives, 16.0f};
    case WeightType::q5_1:
    case WeightType::q5_k: return CodeForm{CodeWidth::fives, 0.0f};
    case WeightType::q6_k: return CodeForm{CodeWidth::sixes, 32.0f};
    case WeightType::q8_0: return CodeForm{CodeWidth::bytes, 128.0f};
  }
  return std::nullopt;
}

// The four bytes of a row in each register of a block.
void write_codes(CodeWidth width, const std::uint8_t* codes, std::byte* out) {
  const auto put = [out](int at, int value) { out[at / 4 * 64 + at % 4] = static_cast<std::byte>(value); };
  if (width == CodeWidth::bytes || width == CodeWidth::nibbles) {  // nibbles come in pairs
    for (int i = 0; i < (width == CodeWidth::bytes ? 32 : 16); ++i) put(i, codes[i]);
    return;
  }
  for (int i = 0; i < 16; ++i) put(i, (codes[i] & 15) | (codes[16 + i] & 15) << 4);
  const int bits = width == CodeWidth::fives ? 1 : 2, columns = 32 / bits;  // of a plane of upper bits
  for (int plane = 0; plane < bits; ++plane) {
    for (int i = 0; i < 4; ++i) {
      int upper = 0;
      for (int j = 0; j < columns / 4; ++j) upper |= codes[plane * columns + 4 * j + i] >> 4 << bits * j;
      put(16 + 4 * plane + i, upper);
    }
  }
}

void store_u16(std::byte* out, std::uint16_t value) { std::memcpy(out, &value, sizeof value); }

constexpr std::int64_t kAlignment = 64;
std::int64_t round_up(std::int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

bool PackedWeight::can_pack(const Weight& weight) {
  return weight.columns % kBlockColumns == 0 && code_form(weight.type).has_value();
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
      width_(code_form(weight.type).value().width),
      has_offsets_(code_form(weight.type).value().centre == 0.0f),
      centre_(code_form(weight.type).value().centre) {}

std::int64_t PackedWeight::packed_bytes(const Weight& weight) {
  const PackedWeight shape(weight);
  return shape.groups() * shape.group_bytes();
}

PackedWeight::PackedWeight(const Weight& weight, std::byte* memory, ThreadPool& threads) : PackedWeight(weight) {
  data_ = memory;
  threads.run(groups(), [&](std::int64_t group, int) { pack_group(weight, group); });
}

std::int64_t PackedWeight::group_bytes() const {
  return round_up(blocks_ * (code_bytes() + (scales_of(width_) + (has_offsets_ ? 1 : 0)) * kScaleBytes));
}

void PackedWeight::pack_group(const Weight& weight, std::int64_t group) {
  auto* codes = const_cast<std::byte*>(this->codes(group));
  auto* scales = const_cast<std::byte*>(this->scales(group));
  auto* offsets = const_cast<std::byte*>(this->offsets(group));
  const std::int64_t first = group * kGroupRows, num_scales = scales_of(width_);
  for (std::int64_t r = 0; r < std::min(kGroupRows, rows_ - first); ++r) {
    for (std::int64_t b = 0; b < blocks_; ++b) {
      const CodedBlock block = coded_block(weight.type, weight.row(first + r), b);
      store_u16(scales + b * num_scales * kScaleBytes + 2 * r, block.scale);
      if (num_scales == 2) store_u16(scales + (2 * b + 1) * kScaleBytes + 2 * r, block.second_scale);
      if (has_offsets_) store_u16(offsets + b * kScaleBytes + 2 * r, block.offset);
      write_codes(width_, block.codes, codes + b * code_bytes() + 4 * r);
    }
  }
}

}  // namespace qjl::engine
