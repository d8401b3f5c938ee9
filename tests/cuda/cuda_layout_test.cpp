// Index arithmetic of the device code, compiled for the host: every bit of a page's codes belongs to one number, and the packers
// put it where the readers look. encode and decode tests cover the same through kernels, beside the CPU's own arithmetic.
#include <gtest/gtest.h>

#include "every_code.hpp"
#include "levels.cuh"
#include "sealed_pages.hpp"

namespace qjl::test {
namespace {

TEST(CudaLayout, SlotsAndTokensAreInverse) {
  for (int token = 0; token < kTokensPerPage; ++token) EXPECT_EQ(layout::token_of_slot(layout::slot_of_token(token)), token);
  for (int slot = 0; slot < kTokensPerPage; ++slot) {
    const cuda::SlotPlace place = cuda::slot_place(slot);
    const int token = layout::token_of_slot(slot);
    EXPECT_EQ(place.token, token / layout::kFrames);
    EXPECT_EQ(4 * place.half + place.frame_in_half, token % layout::kFrames);
  }
}

// All codes of one side of a page as a reader sees them.
std::vector<int> key_codes(const layout::PageShape& shape, const std::vector<std::uint8_t>& keys) {
  std::vector<int> codes;
  for (int slot = 0; slot < kTokensPerPage; ++slot) {
    for (int c = 0; c < layout::key_coordinates(shape); ++c) codes.push_back(cuda::key_code_at(shape, keys.data(), slot, c));
  }
  return codes;
}
std::vector<int> value_codes(const layout::PageShape& shape, const std::vector<std::uint8_t>& values) {
  std::vector<int> codes;
  const int channels = shape.head_dim * shape.value.frames;
  for (int f = 0; f < layout::kFrames; ++f) {
    for (int j = 0; j < layout::kFrameSlots; ++j) {
      for (int c = 0; c < channels; ++c) codes.push_back(cuda::value_code_at(shape, values.data(), f, j, c));
    }
  }
  return codes;
}

// Turns random bits over, one at a time: one number changes, by that one bit. `spare`: bits that fill up a line change none.
template <typename Read>
void expect_bits_are_numbers(std::int64_t bytes, bool spare, const Read& read) {
  Integers random(static_cast<std::uint64_t>(bytes));
  std::vector<std::uint8_t> page(static_cast<std::size_t>(bytes));
  for (std::uint8_t& byte : page) byte = static_cast<std::uint8_t>(random.bits(8));
  const std::vector<int> before = read(page);
  for (int trial = 0; trial < 40; ++trial) {
    const std::size_t byte = static_cast<std::size_t>(random.bits(30)) % page.size();
    const std::uint8_t bit = static_cast<std::uint8_t>(1u << random.bits(3));
    page[byte] ^= bit;
    const std::vector<int> after = read(page);
    int changed = 0;
    for (std::size_t i = 0; i < after.size(); ++i) {
      const int difference = before[i] ^ after[i];
      changed += difference != 0 ? 1 : 0;
      EXPECT_EQ(difference & (difference - 1), 0) << "two bits of number " << i;
    }
    EXPECT_LE(changed, 1) << "byte " << byte;
    if (!spare) {
      EXPECT_EQ(changed, 1) << "byte " << byte;
    }
    page[byte] ^= bit;
  }
}

TEST(CudaLayout, EveryBitOfTheCodesBelongsToOneNumber) {
  for (const int d : {64, 80, 96, 128, 256}) {
    for (const Code code : codes_where(is_rotated)) {
      if (!is_on_gpus(code)) continue;
      const layout::PageShape shape{d, code, code};
      const layout::BodyLayout at = layout::body_layout(shape);
      ASSERT_EQ(at.values - at.keys, std::int64_t{kTokensPerPage} * layout::key_row_bytes(traits(code), d));
      expect_bits_are_numbers(at.values - at.keys, false, [&](const auto& page) { return key_codes(shape, page); });
      const int blocks = d * traits(code).frames / 16;
      expect_bits_are_numbers(at.bytes - at.values, blocks % 2 == 1, [&](const auto& page) { return value_codes(shape, page); });
    }
  }
}

TEST(CudaLayout, ScalesAreTheTables) {
  for (int code = 0; code <= kScaleCodeMax; ++code) {  // 2^x within 2^-22
    EXPECT_NEAR(cuda::scale_of(code, 3.0f), 3.0f * scale_factor(code), 3.0f * scale_factor(code) * 0x1p-21f) << code;
  }
}

}  // namespace
}  // namespace qjl::test
