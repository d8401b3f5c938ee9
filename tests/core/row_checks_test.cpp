// Checks of rows at the door, each at its bounds: device, counts, strides, overlap, and the place of a number that no format holds.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "cache_fixtures.hpp"
#include "rows.hpp"

namespace qjl::test {
namespace {

constexpr RowsName kName{"test", "rows"};
constexpr std::int64_t kAny = std::numeric_limits<std::int64_t>::min();  // of a stride that is never taken

TEST(RowChecks, DevicesAreNamed) {
  EXPECT_EQ(error_of([] { check_device(Device::cuda(1), Device::cuda(1), kName); }), "");
  const std::string text = "[test] rows lie in the memory of CUDA device 1, wanted that of the host";
  EXPECT_EQ(error_of([] { check_device(Device::cuda(1), Device::cpu(), kName); }), text);
  const float number = 1;
  const TensorView rows = TensorView::contiguous(&number, DType::f32, 1, 1, 1).on(Device::cuda(1));
  EXPECT_EQ(error_of([&] { check_shape(rows, 1, 1, kName); }), text);
}

bool is_extent(std::int64_t heads, std::int64_t tokens, std::int64_t head_stride, std::int64_t token_stride) {
  return error_of([&] { check_extent(heads, tokens, head_stride, token_stride, kName); }).empty();
}

TEST(RowChecks, CountsHaveBounds) {
  EXPECT_TRUE(is_extent(kMostHeads, kMostTokens, 0, 0));
  EXPECT_FALSE(is_extent(kMostHeads + 1, 1, 0, 0));
  EXPECT_FALSE(is_extent(1, kMostTokens + 1, 0, 0));
}

TEST(RowChecks, StridesReachNoFurtherThanMemory) {
  for (const std::int64_t count : {2, 3, 5}) {
    const std::int64_t far = (std::int64_t{1} << 58) / (count - 1);
    for (const std::int64_t sign : {1, -1}) {
      EXPECT_TRUE(is_extent(count, 1, sign * far, kAny)) << count;
      EXPECT_TRUE(is_extent(1, count, kAny, sign * far)) << count;
      EXPECT_FALSE(is_extent(count, 1, sign * (far + 1), kAny)) << count;
      EXPECT_FALSE(is_extent(1, count, kAny, sign * (far + 1))) << count;
    }
  }
}

TEST(RowChecks, RowsThatAreWrittenDoNotOverlap) {
  const auto are_apart = [](std::int64_t heads, std::int64_t tokens, std::int64_t head_stride, std::int64_t token_stride) {
    const OutputView rows{nullptr, heads, tokens, 8, head_stride, token_stride, {}};
    return error_of([&] { check_disjoint(rows, kName); }).empty();
  };
  EXPECT_TRUE(are_apart(2, 3, 24, 8));
  EXPECT_TRUE(are_apart(2, 3, 8, 16));
  EXPECT_TRUE(are_apart(3, 2, 16, 8));
  EXPECT_TRUE(are_apart(3, 2, 8, 24));
  EXPECT_TRUE(are_apart(2, 3, -24, -8));
  EXPECT_FALSE(are_apart(2, 3, 23, 8));
  EXPECT_FALSE(are_apart(2, 3, 24, 7));
  EXPECT_FALSE(are_apart(2, 3, 8, 15));
  EXPECT_FALSE(are_apart(3, 2, 8, 23));
  EXPECT_FALSE(are_apart(3, 3, 0, 8));
  EXPECT_FALSE(are_apart(3, 3, 24, 0));
  EXPECT_FALSE(are_apart(2, 1, 7, kAny));
  EXPECT_FALSE(are_apart(1, 2, kAny, 7));
  EXPECT_TRUE(are_apart(2, 1, 8, kAny));
  EXPECT_TRUE(are_apart(1, 2, kAny, 8));
  EXPECT_TRUE(are_apart(1, 1, kAny, kAny));
  EXPECT_TRUE(are_apart(0, 3, 0, 0)) << "no row at all";
  EXPECT_TRUE(are_apart(3, 0, 0, 0));
}

TEST(RowChecks, ShapesAreAsWanted) {
  const std::vector<float> numbers(12);
  const TensorView good = TensorView::contiguous(numbers.data(), DType::f32, 2, 3, 2);
  const auto error_with = [&](auto change) {
    TensorView rows = good;
    change(rows);
    return error_of([&] { check_shape(rows, 2, 2, kName); });
  };
  const auto is_refused = [&](auto change, const char* words) {
    const std::string error = error_with(change);
    EXPECT_NE(error.find(words), std::string::npos) << error << " lacks " << words;
  };
  EXPECT_EQ(error_with([](TensorView&) {}), "");
  EXPECT_EQ(error_with([](TensorView& rows) { rows.tokens = 0, rows.data = nullptr; }), "");
  is_refused([](TensorView& rows) { rows.heads = 3; }, "wanted [2 heads, tokens, 2 channels]");
  is_refused([](TensorView& rows) { rows.dim = 3; }, "wanted [2 heads, tokens, 2 channels]");
  is_refused([](TensorView& rows) { rows.tokens = -1; }, "wanted [2 heads, tokens, 2 channels]");
  is_refused([](TensorView& rows) { rows.tokens = 1, rows.data = nullptr; }, "a null address, wanted memory of 1 tokens");
  is_refused([](TensorView& rows) { rows.token_stride = kAny; }, "wanted ones that memory has room for");
}

// [2, tokens, dim] with rows of NaN after the last token of each head, which are no part of it.
struct Padded {
  std::int64_t tokens, dim, head_stride = (tokens + 1) * dim;
  std::vector<float> numbers = std::vector<float>(static_cast<std::size_t>(2 * head_stride), NAN);

  Padded(std::int64_t num_tokens, std::int64_t num_channels) : tokens(num_tokens), dim(num_channels) {
    for (std::int64_t head : {0, 1}) std::fill_n(&numbers[static_cast<std::size_t>(head * head_stride)], tokens * dim, 1.0f);
  }
  float& at(std::int64_t head, std::int64_t token, std::int64_t channel) {
    return numbers[static_cast<std::size_t>(head * head_stride + token * dim + channel)];
  }
  std::string error() {
    ThreadPool threads(2);
    const TensorView rows{numbers.data(), DType::f32, 2, tokens, dim, head_stride, dim, {}};
    return error_of([&] { check_numbers(rows, DType::f16, kName, threads); });
  }
};

// In checks by one thread, and by several in blocks of 256 tokens.
TEST(RowChecks, TheFirstBadNumberIsNamedWhereverItIs) {
  for (const auto& [tokens, dim] : {std::pair{600, 3}, {600, 128}, {257, 256}, {256, 256}}) {
    Padded rows(tokens, dim);
    EXPECT_EQ(rows.error(), "");
    for (const std::int64_t head : {1, 0}) {
      for (const std::int64_t token : {599, 512, 511, 256, 255, 1, 0}) {  // each before those that are bad already
        if (token >= tokens) continue;
        const std::int64_t channel = token % dim;
        rows.at(head, token, channel) = INFINITY;
        EXPECT_EQ(rows.error(), "[test] rows hold inf at head " + std::to_string(head) + ", token " + std::to_string(token) +
                                    ", channel " + std::to_string(channel) +
                                    ", wanted finite numbers that the 16-bit format can hold");
      }
    }
  }
}

TEST(RowChecks, NumbersOf16BitsAreNamedToo) {
  ThreadPool threads(1);
  const std::vector<std::uint16_t> rows = {0x3F80, 0xC780, 0x7F80};  // 1, -65536 and infinity in bf16
  const auto error_with = [&](DType stored) {
    return error_of([&] { check_numbers(TensorView::contiguous(rows.data(), DType::bf16, 1, 1, 3), stored, kName, threads); });
  };
  EXPECT_NE(error_with(DType::f16).find("hold -65536 at head 0, token 0, channel 1"), std::string::npos);
  EXPECT_NE(error_with(DType::bf16).find("hold inf at head 0, token 0, channel 2"), std::string::npos);
}

// Within a run of the same threads there is no other: so a check tells whether it asks for them.
TEST(RowChecks, FewNumbersWakeNoThreads) {
  const auto wakes = [](std::int64_t heads, std::int64_t tokens, std::int64_t dim) {
    const std::vector<float> numbers(static_cast<std::size_t>(heads * tokens * dim));
    const TensorView rows = TensorView::contiguous(numbers.data(), DType::f32, heads, tokens, dim);
    ThreadPool threads(2);
    std::string error;
    threads.run(1, [&](std::int64_t, int) { error = error_of([&] { check_numbers(rows, DType::f16, kName, threads); }); });
    return !error.empty();
  };
  EXPECT_FALSE(wakes(1, 1, 64));
  EXPECT_FALSE(wakes(32, 64, 63));
  EXPECT_TRUE(wakes(32, 64, 64));  // 2^17
}

}  // namespace
}  // namespace qjl::test
