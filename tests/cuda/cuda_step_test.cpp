// What stands between the products of a step of CUDA attention, on the host: whole weights, the order of logits, plans.
#include <gtest/gtest.h>

#include "attend_fragments.cuh"
#include "rounding_terms.hpp"
#include "sealed_pages.hpp"

namespace qjl::cuda {
namespace {

// Weights as they are stored: whole numbers of the unit, the sum of many keeps to what was asked, none reaches beyond 15 bits.
TEST(CudaStep, WeightsAreWholeNumbersThatKeepTheirSum) {
  for (const float size : {1.0f, 0x1p-20f, 0x1.fffffep+30f, 3.0f}) {
    constexpr int kBytes = kTileRows * kRowWeightBytes;
    std::vector<float> scales(2 * layout::kPageTokens, 1.0f);
    std::vector<std::uint8_t> stored(kBytes);
    const float base = weight_base(size * kRoomForRounding);
    simt::run(dim3(1), kStepThreads, kBytes, [&] {
      LaneLogits<1> weight;
      for (int i = 0; i < 16; ++i) weight[0][i / 4][i % 4] = i == 0 ? size : size * 0x1p-14f;
      const float bases[1] = {base};
      store_weights<1>(weight, bases, dither_of_lane() * kUnitOfBase,
                       reinterpret_cast<const float(&)[layout::kPageTokens]>(scales[0]), stored.data());
    });
    const double unit = double{base} * kUnitOfBase;
    EXPECT_GE(size / unit, 8191.0);
    EXPECT_LT(size / unit, 32768.0);
    for (int row = 0; row < kTileRows; ++row) {
      double sum = 0.0;
      for (int frame = 0; frame < layout::kFrames; ++frame) {
        for (int i = 0; i < kStepPages * layout::kFrameSlots; ++i) {
          const std::uint8_t* at = &stored[row * kRowWeightBytes + frame * kFrameWeightBytes + i / 16 * kPageWeightBytes + i % 16];
          sum += unit * (256 * at[0] + at[16]);
        }
      }
      // 64 lanes' large ones and 960 small ones; the dither of each kind is balanced over lanes to one part in 64, mirrored to 0.
      const double expected = 64.0 * size + 960.0 * size * 0x1p-14;
      EXPECT_NEAR(sum, expected, 1024.0 / 64.0 * unit) << size;
    }
  }
}

// Three steps of 19 pages: which count, which are plain, what they weigh at most; no weight is known before.
TEST(CudaStep, StepsArePlanned) {
  constexpr int kPages = 19;
  std::vector<layout::PageHead> heads(kPages);
  std::vector<std::int32_t> table;
  for (int i = 0; i < kPages; ++i) {
    heads[static_cast<std::size_t>(i)] = {
        layout::kFormatVersion, 0, 0, static_cast<std::uint8_t>(i == 2 ? 4 : 0), 1.0f * i, 2.0f * i, 3.0f * i};
    table.push_back(kPages - 1 - i);
  }
  AttendLaunch launched{};
  launched.tables.shape = {64, Code::l8, Code::l4};
  const std::vector<std::uint8_t> bodies(64 * kPages);
  launched.args.pages = {bodies.data(), 0, 64, heads.data(), 0, 1, table.data(), kPages};
  const Job job{{launched.args, launched.piece, 0, 1}, launched};
  for (int first : {0, 8, 16}) {
    StepPlan plan;
    std::memset(static_cast<void*>(&plan), 0xcd, sizeof(plan));
    simt::run(dim3(1), kWarpLanes, 16, [&] { plan_step(job, {0, kPages, 1, 18}, first, plan); });
    float largest = 0.0f;
    for (int i = 0; i < kStepPages; ++i) {
      const int page = std::min(first + i, kPages - 1), at = table[static_cast<std::size_t>(page)];
      const StepPage& found = plan.page[i];
      EXPECT_EQ(found.body, bodies.data() + 64 * at);
      EXPECT_EQ(found.mean_scale, 1.0f * at);
      EXPECT_EQ(found.key_scale_max, 2.0f * at);
      EXPECT_EQ(found.value_scale_max, 3.0f * at);
      EXPECT_EQ(found.counts, first + i < kPages);
      EXPECT_EQ(found.plain, first + i >= 1 && first + i < 18 && at != 2) << first + i;
      EXPECT_EQ(plan.largest_sum[i], 0);
      largest = std::max(largest, 3.0f * at);
    }
    EXPECT_EQ(plan.value_scale_max, largest * kRoomForRounding);
  }
}

// Integers in the order of floats.
TEST(CudaStep, OrderOfFloats) {
  const float ascending[] = {kNothing, -3e38f, -1.0f, -1e-40f, 0.0f, 1e-40f, 1.0f, 3e38f};
  for (std::size_t i = 0; i + 1 < std::size(ascending); ++i) {
    EXPECT_LT(order_of(ascending[i]), order_of(ascending[i + 1]));
    EXPECT_EQ(from_order(order_of(ascending[i])), ascending[i]);
  }
  EXPECT_EQ(order_of(kNothing), kOrderOfNothing);
}

}  // namespace
}  // namespace qjl::cuda
