// Rounding at the door against its definition: the nearest number of the format, ties to the even one.
#include "rows.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <vector>

#include "half.hpp"
#include "qjl/error.hpp"
#include "rounding.hpp"

namespace qjl::test {
namespace {

constexpr std::uint16_t kUntouched = 0xABCD;  // behind what is written

std::uint16_t door(float number, DType to) {
  std::uint16_t out = 0;
  round_rows(TensorView::contiguous(&number, DType::f32, 1, 1, 1), 0, 0, 1, to, &out);
  return out;
}

// Around every number of the format and every midpoint of two neighbours, one fp32 step to each side.
void check_all_neighbours(DType to, std::uint32_t infinity) {
  for (std::uint32_t bits = 0; bits + 1 < infinity; ++bits) {
    const double here = to_float(static_cast<std::uint16_t>(bits), to), next = to_float(static_cast<std::uint16_t>(bits + 1), to);
    const auto middle = static_cast<float>((here + next) / 2);  // exact: one more bit
    for (const float sign : {1.0f, -1.0f}) {
      const std::uint32_t sign_bit = sign < 0 ? 0x8000 : 0;
      ASSERT_EQ(door(sign * static_cast<float>(here), to), bits | sign_bit) << here;
      ASSERT_EQ(door(sign * std::nextafter(middle, 0.0f), to), bits | sign_bit) << middle;
      ASSERT_EQ(door(sign * middle, to), (bits + (bits & 1)) | sign_bit) << middle;
      ASSERT_EQ(door(sign * std::nextafter(middle, INFINITY), to), (bits + 1) | sign_bit) << middle;
    }
  }
}

TEST(Rows, EveryTieAndItsNeighboursRoundRight) {
  check_all_neighbours(DType::f16, 0x7C00);
  check_all_neighbours(DType::bf16, 0x7F80);
}

// The check at the door refuses exactly what would round to infinity.
TEST(Rows, LimitsOfTheFormats) {
  ThreadPool threads(1);
  const auto accepted = [&](float number, DType to) {
    try {
      check_numbers(TensorView::contiguous(&number, DType::f32, 1, 1, 1), to, {"test", "rows"}, threads);
      return true;
    } catch (const Error&) {
      return false;
    }
  };
  const float f16_limit = 65520.0f,
              bf16_limit = std::bit_cast<float>(0x7F7F8000u);  // halfway between the largest and the next power
  EXPECT_FALSE(accepted(f16_limit, DType::f16));
  EXPECT_FALSE(accepted(bf16_limit, DType::bf16));
  EXPECT_TRUE(accepted(std::nextafter(f16_limit, 0.0f), DType::f16));
  EXPECT_TRUE(accepted(std::nextafter(bf16_limit, 0.0f), DType::bf16));
  EXPECT_EQ(door(std::nextafter(f16_limit, 0.0f), DType::f16), 0x7BFF);
  EXPECT_EQ(door(std::nextafter(bf16_limit, 0.0f), DType::bf16), 0x7F7F);
  EXPECT_TRUE(accepted(3e38f, DType::f32));
  EXPECT_FALSE(accepted(NAN, DType::f32));
}

// Every instruction set, whole vectors and what is left of them, against the definition in half.hpp.
TEST(Rows, StretchesOfEveryTarget) {
  std::vector<float> numbers;
  for (std::uint32_t bits = 0; bits < 0x47800000u; bits += 0x1fe7) {  // odd steps: all places of the fraction, below 65536
    numbers.push_back(std::bit_cast<float>(bits));
    numbers.push_back(-std::bit_cast<float>(bits));
  }
  while (numbers.size() % 16 != 13) numbers.push_back(1.0f);
  const auto count = std::ssize(numbers);
  std::vector<std::uint16_t> out(numbers.size());
  for (const SimdTarget target : simd_targets()) {
    const auto& stretch = rounding(target);
    const auto name = simd_target_name(target);
    const bool holds = std::ranges::none_of(numbers, [](float x) { return std::abs(x) >= 65520.0f; });
    EXPECT_EQ(stretch.to_half(numbers.data(), count, out.data()), holds) << name;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      if (std::abs(numbers[i]) >= 65520.0f) continue;
      ASSERT_EQ(out[i], float_to_half(numbers[i])) << name << ' ' << numbers[i];
    }
    EXPECT_TRUE(stretch.to_bfloat(numbers.data(), count, out.data())) << name;
    for (std::size_t i = 0; i < numbers.size(); ++i) ASSERT_EQ(out[i], float_to_bfloat(numbers[i])) << name << ' ' << numbers[i];
  }
}

// One number that a format cannot hold, anywhere in a row.
TEST(Rows, StretchesRefuseWhatTheFormatCannotHold) {
  constexpr std::size_t kCount = 45;
  std::uint16_t out[kCount];
  for (const SimdTarget target : simd_targets()) {
    const auto& stretch = rounding(target);
    for (std::size_t at = 0; at < kCount; ++at) {
      std::vector<float> row(kCount, 65519.0f);
      const auto refused = [&](float number) {
        row[at] = number;
        const bool half = stretch.to_half(row.data(), kCount, out), bfloat = stretch.to_bfloat(row.data(), kCount, out);
        return 2 * !half + !bfloat;
      };
      for (const float sign : {1.0f, -1.0f}) {
        EXPECT_EQ(refused(sign * 65519.99f), 0) << simd_target_name(target) << ' ' << at;
        EXPECT_EQ(refused(sign * 65520.0f), 2) << simd_target_name(target) << ' ' << at;
        EXPECT_EQ(refused(sign * 3.4e38f), 3) << simd_target_name(target) << ' ' << at;
        EXPECT_EQ(refused(sign * INFINITY), 3) << simd_target_name(target) << ' ' << at;
      }
      EXPECT_EQ(refused(NAN), 3) << simd_target_name(target) << ' ' << at;
    }
  }
}

TEST(Rows, SixteenBitFormatsIntoEachOther) {
  const std::uint16_t halves[] = {0x3C00, 0x0001, 0x7BFF, 0xB555,
                                  0x3C00};  // 1, 2^-24, 65504, about -0.33; and one that is not asked for
  std::uint16_t out[5] = {0, 0, 0, 0, kUntouched};
  round_rows(TensorView::contiguous(halves, DType::f16, 1, 1, 4), 0, 0, 1, DType::bf16, out);
  EXPECT_EQ(out[0], 0x3F80);
  EXPECT_EQ(out[1], 0x3380);
  EXPECT_EQ(out[2], 0x4780);  // 65504 rounds to 65536
  EXPECT_EQ(out[3], 0xBEAB);  // -0.33325: 0xBEAAA000 rounds up
  EXPECT_EQ(out[4], kUntouched);
  round_rows(TensorView::contiguous(out, DType::bf16, 1, 1, 2), 0, 0, 1, DType::f16, out + 2);
  EXPECT_EQ(out[2], 0x3C00);
  EXPECT_EQ(out[3], 0x0001);
}

TEST(Rows, RowsOfTheFormatAreCopied) {
  const std::vector<std::uint16_t> rows = {0x3C00, 0x0001, 0x7BFF, 0xB555, 0x0000, 0x8001};
  for (const DType format : {DType::f16, DType::bf16}) {
    std::vector<std::uint16_t> out(7, kUntouched), wanted = rows;
    wanted.push_back(kUntouched);
    EXPECT_TRUE(round_rows(TensorView::contiguous(rows.data(), format, 1, 2, 3), 0, 0, 2, format, out.data()));
    EXPECT_EQ(out, wanted);
  }
}

// One bad number in [2, 5, 3]: found by the stretches of rows that hold it, and by no other.
TEST(Rows, AStretchIsItsRowsAndNoOther) {
  constexpr std::int64_t kHeads = 2, kTokens = 5, kDim = 3;
  for (std::int64_t bad = 0; bad < kHeads * kTokens; ++bad) {
    std::vector<float> numbers(kHeads * kTokens * kDim);
    std::iota(numbers.begin(), numbers.end(), 1.0f);
    numbers[static_cast<std::size_t>(bad * kDim + bad % kDim)] = 1e6f;
    const TensorView rows = TensorView::contiguous(numbers.data(), DType::f32, kHeads, kTokens, kDim);
    for (std::int64_t head = 0; head < kHeads; ++head) {
      for (std::int64_t first = 0; first < kTokens; ++first) {
        for (std::int64_t count = 0; first + count <= kTokens; ++count) {
          const std::int64_t begin = head * kTokens + first;
          const bool has_it = begin <= bad && bad < begin + count;
          std::vector<std::uint16_t> out(static_cast<std::size_t>(count * kDim), kUntouched), wanted;
          for (std::int64_t i = begin * kDim; i < (begin + count) * kDim; ++i)
            wanted.push_back(float_to_half(numbers[static_cast<std::size_t>(i)]));
          out.push_back(kUntouched), wanted.push_back(kUntouched);
          EXPECT_EQ(rows_fit(rows, head, first, count, DType::f16), !has_it) << bad << ' ' << head << ' ' << first << ' ' << count;
          EXPECT_EQ(round_rows(rows, head, first, count, DType::f16, out.data()), !has_it);
          if (!has_it) {
            EXPECT_EQ(out, wanted) << bad << ' ' << head << ' ' << first << ' ' << count;
          }
        }
      }
    }
  }
}

TEST(Rows, DecodedNumbersStayFinite) {
  const float numbers[] = {1e6f, -1e6f, 65504.0f, 1.0f};
  std::uint16_t out[4] = {0, 0, 0, kUntouched};
  round_decoded(numbers, 3, DType::f16, out);
  EXPECT_EQ(out[0], 0x7BFF);
  EXPECT_EQ(out[1], 0xFBFF);
  EXPECT_EQ(out[2], 0x7BFF);
  EXPECT_EQ(out[3], kUntouched);
}

}  // namespace
}  // namespace qjl::test
