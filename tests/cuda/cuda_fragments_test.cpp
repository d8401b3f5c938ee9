// The matrix fragments of keys, values and means on the host: whole sums of whole pages of arbitrary bytes, exactly.
#include "attend_fragments.cuh"
#include "kernels_fixtures.hpp"

namespace qjl::cuda {
namespace {

using test::Integers;

std::vector<std::uint8_t> noise(Integers& random, std::int64_t count) {
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(count) + 64);
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random.bits(8));
  return bytes;
}

// Where fragments are read from: nothing but the shape and the layout matter.
AttendLaunch bare_launch(const layout::PageShape& shape) {
  AttendLaunch launched{};
  launched.tables.shape = shape;
  launched.at = layout::body_layout(shape);
  launched.key_bytes = byte_levels_of(shape.key_code);
  launched.value_bytes = byte_levels_of(shape.value_code);
  return launched;
}

// sum over coordinates of (whole query number) * level, or of signs over those that are minus, for every row and slot.
template <KeyPath kPath, int kDim, int kTiles>
void check_keys(Code code, int d) {
  constexpr int kRows = kRowsOf<kTiles>;
  const layout::PageShape shape{d, code, Code::l4};
  const AttendLaunch launched = bare_launch(shape);
  const int width = layout::key_coordinates(shape);
  Integers random(static_cast<std::uint64_t>(d) * 7 + static_cast<int>(code));
  const std::vector<std::uint8_t> body = noise(random, launched.at.bytes);
  std::vector<float> query(static_cast<std::size_t>(kRows) * width);
  for (float& x : query) x = static_cast<float>(random.bell());
  std::vector<int> found(kRows * layout::kPageTokens);
  RowUnits units[kRows];
  simt::run(dim3(1), kStepThreads, sizeof(StepStorage<kPath, kDim, kTiles>), [&] {
    auto& shared = shared_memory<StepStorage<kPath, kDim, kTiles>>();
    for (std::size_t i = threadIdx.x; i < sizeof(shared.planes); i += kStepThreads) shared.planes[i] = 0;
    make_row_offsets<kDim>(launched.at.keys, layout::key_row_bytes(code, d), shared.row_offsets);
    __syncthreads();
    if (const int row = warp_idx(); row < kRows)
      make_planes<kPath, kDim, kTiles>(query.data() + row * width, width, row, shared.planes, units[row]);
    __syncthreads();
    KeySums<kTiles> sum;
    key_sums<kPath, kDim, kTiles>(launched, shared, body.data(), sum);
    const int g = lane_group();
    for (int i = 0; warp_idx() == 0 && i < 16 * kTiles; ++i) {
      const int slot = layout::kHalfSlots * (g / 4) + 16 * (i % 4) + 4 * (g % 4) + i / 4 % 4;
      const int bits = sum[i / 16][i / 4 % 4][i % 4], whole = kPath == KeyPath::bits ? bits - kWholeBits : bits;
      const float bias = kPath == KeyPath::bits ? kWholeNumber : 0.0f;
      if (number_of<kPath>(bits) != bias + static_cast<float>(whole)) ADD_FAILURE() << bits << " is no number";
      found[lane_row<kTiles>(lane_part(), i / 16) * layout::kPageTokens + slot] = whole;
    }
  });
  for (int row = 0; row < kRows; ++row) {
    const float* x = &query[static_cast<std::size_t>(row) * width];
    float largest = 0.0f;
    for (int c = 0; c < width; ++c) largest = std::max(largest, std::abs(x[c]));
    const float inverse = (kPath == KeyPath::bits ? kLargestOfBits : kLargestOfPlanes) / largest;
    for (int slot = 0; slot < layout::kPageTokens; ++slot) {
      int expected = 0, total = 0;
      for (int c = 0; c < width; ++c) {
        const int level = static_cast<int>(level_of(code, key_code_at(shape, body.data() + launched.at.keys, slot, c)));
        const int whole = static_cast<int>(std::nearbyint(x[c] * inverse));
        expected += whole * level;
        total += whole;
      }
      if (kPath == KeyPath::bits || kPath == KeyPath::sign_bytes) expected = (total - expected) / 2;  // the sum over minus signs
      ASSERT_EQ(found[row * layout::kPageTokens + slot], expected)
          << code_name(code) << " d=" << d << " path " << static_cast<int>(kPath) << " row " << row << " slot " << slot;
    }
  }
}
template <KeyPath kPath, int kDim>
void check_tiles(Code code, int d) {
  check_keys<kPath, kDim, 1>(code, d);
  if (kDim == 64 || kDim == 128) check_keys<kPath, kDim, 2>(code, d);
}

TEST(CudaFragments, KeysAreSummedExactly) {
  for (const Code code : {Code::s1, Code::s2}) {
    check_tiles<KeyPath::bits, 64>(code, 64), check_tiles<KeyPath::sign_bytes, 64>(code, 64);
    for (int d : {80, 96}) check_tiles<KeyPath::bits, 96>(code, d), check_tiles<KeyPath::sign_bytes, 96>(code, d);
    check_tiles<KeyPath::bits, 128>(code, 128), check_tiles<KeyPath::sign_bytes, 128>(code, 128);
    check_tiles<KeyPath::bits, 256>(code, 256), check_tiles<KeyPath::sign_bytes, 256>(code, 256);
  }
  check_tiles<KeyPath::l8, 64>(Code::l8, 64), check_tiles<KeyPath::l16, 64>(Code::l16, 64);
  for (int d : {80, 96}) check_tiles<KeyPath::l8, 96>(Code::l8, d), check_tiles<KeyPath::l16, 96>(Code::l16, d);
  check_tiles<KeyPath::l8, 128>(Code::l8, 128), check_tiles<KeyPath::l16, 128>(Code::l16, 128);
  check_tiles<KeyPath::l8, 256>(Code::l8, 256), check_tiles<KeyPath::l16, 256>(Code::l16, 256);
}

// What turns a number into a score: step (number) + offset is step of the query times the sum, to a rounding of the bias.
TEST(CudaFragments, UnitsUndoTheBiasOfBits) {
  Integers random(5);
  std::vector<float> query(256);
  for (float& x : query) x = static_cast<float>(random.bell());
  RowUnits units;
  std::vector<std::uint8_t> planes(plane_bytes<KeyPath::bits, 128, 1>());
  simt::run(dim3(1), kWarpLanes, 16, [&] { make_planes<KeyPath::bits, 128, 1>(query.data(), 256, 0, planes.data(), units); });
  double largest = 0.0, total = 0.0;
  for (float x : query) largest = std::max(largest, std::abs(double{x}));
  const double step = largest / kLargestOfBits;
  for (float x : query) total += std::nearbyint(x / step);
  for (int minus : {-3000, 0, 1, 3000}) {
    const float score = std::fma(kWholeNumber + static_cast<float>(minus), units.step, units.offset);
    // Two roundings of a number of 2^25 steps, half a unit in the last place (2 steps) each, and one of the step.
    EXPECT_NEAR(score, step * (total - 2.0 * minus), 2.0 * 0x1p-24 * 2.0 * kWholeNumber * step + 0x1p-22 * std::abs(score))
        << minus;
  }
}

// sum over 16 tokens of a frame and eight pages of (256 high + low) * level, for every row, frame and channel.
template <Code kValue, int kDim, int kTiles>
void check_values(int d) {
  constexpr int kRows = kRowsOf<kTiles>, kGroups = (kDim + 63) / 64, kBytes = kRows * kRowWeightBytes;
  const layout::PageShape shape{d, Code::l8, kValue};
  const AttendLaunch launched = bare_launch(shape);
  Integers random(static_cast<std::uint64_t>(d) * 5 + static_cast<int>(kValue));
  std::vector<std::vector<std::uint8_t>> bodies;
  for (int i = 0; i < kStepPages; ++i) bodies.push_back(noise(random, launched.at.bytes));
  const std::vector<std::uint8_t> weights = noise(random, kBytes);
  const int stride = sums_stride(d);
  std::vector<float> sums(static_cast<std::size_t>(kRows) * stride, 1.0f);
  simt::run(dim3(1), kStepThreads, kBytes, [&] {
    auto* shared = &shared_memory<std::uint8_t>();
    for (int i = thread_idx(); i < kBytes; i += kStepThreads) shared[i] = weights[static_cast<std::size_t>(i)];
    __syncthreads();
    StepPage pages[kStepPages];
    for (int i = 0; i < kStepPages; ++i) pages[i] = {bodies[static_cast<std::size_t>(i)].data(), 0, 0, 0, 0, true, true};
    const FrameParts<kValue, kDim> parts(launched, pages);
    WeightFragment fragments[kTiles];
    weight_fragments<kValue, kTiles>(shared + weight_offset<kTiles>(), fragments);
    ValueSums<kDim, kTiles> of_lane = {};
    float base[kTiles];
    for (float& x : base) x = 1.0f / kUnitOfBase;
    for (int u = 0; u < kGroups; ++u) {
      ValueWords<kValue> words[2];
      parts.load(u, words);
      weigh_group<kValue, kTiles>(launched.value_bytes, words, fragments, base, of_lane[u]);
    }
    store_sums<kTiles>(of_lane, d, sums.data());
  });
  // Byte of a page's 32: planes one after the other, or words of four tokens by turns.
  const auto byte = [](int plane, int j) { return kTiles == 1 ? 16 * plane + j : 8 * (j / 4) + 4 * plane + j % 4; };
  for (int row = 0; row < kRows; ++row) {
    for (int frame = 0; frame < layout::kFrames; ++frame) {
      for (int channel = 0; channel < d; ++channel) {
        int expected = 0;
        for (int page = 0; page < kStepPages; ++page) {
          const std::uint8_t* at = &weights[row * kRowWeightBytes + frame * kFrameWeightBytes + page * kPageWeightBytes];
          for (int j = 0; j < layout::kFrameSlots; ++j) {
            const int code = value_code_at(shape, bodies[page].data() + launched.at.values, frame, j, channel);
            expected += (256 * at[byte(0, j)] + at[byte(1, j)]) * static_cast<int>(level_of(kValue, code));
          }
        }
        ASSERT_EQ(sums[static_cast<std::size_t>(row * stride + frame * d + channel)], static_cast<float>(expected))
            << code_name(kValue) << " d=" << d << " row " << row << " frame " << frame << " channel " << channel;
      }
    }
  }
}

TEST(CudaFragments, ValuesAreSummedExactly) {
  check_values<Code::l4, 64, 1>(64), check_values<Code::l8, 64, 1>(64), check_values<Code::l16, 64, 1>(64);
  check_values<Code::l4, 64, 2>(64), check_values<Code::l8, 64, 2>(64), check_values<Code::l16, 64, 2>(64);
  for (int d : {80, 96}) check_values<Code::l4, 96, 1>(d), check_values<Code::l8, 96, 1>(d), check_values<Code::l16, 96, 1>(d);
  check_values<Code::l4, 128, 1>(128), check_values<Code::l8, 128, 1>(128), check_values<Code::l16, 128, 1>(128);
  check_values<Code::l4, 128, 2>(128), check_values<Code::l8, 128, 2>(128), check_values<Code::l16, 128, 2>(128);
  check_values<Code::l4, 256, 1>(256), check_values<Code::l8, 256, 1>(256), check_values<Code::l16, 256, 1>(256);
}

// Weights as they are stored: whole numbers of the unit, the sum of many keeps to what was asked, none reaches beyond 15 bits.
TEST(CudaFragments, WeightsAreWholeNumbersThatKeepTheirSum) {
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
TEST(CudaFragments, StepsArePlanned) {
  constexpr int kPages = 19;
  Integers random(3);
  std::vector<layout::PageHead> heads(kPages);
  std::vector<std::int32_t> table;
  for (int i = 0; i < kPages; ++i) {
    heads[static_cast<std::size_t>(i)] = {
        layout::kFormatVersion, 0, 0, static_cast<std::uint8_t>(i == 2 ? 4 : 0), 1.0f * i, 2.0f * i, 3.0f * i};
    table.push_back(kPages - 1 - i);
  }
  AttendLaunch launched = bare_launch({64, Code::l8, Code::l4});
  const std::vector<std::uint8_t> bodies = noise(random, 64 * kPages);
  launched.args.pages = {bodies.data(), 0, 64, heads.data(), 0, 1, table.data(), kPages};
  const Job job{launched, launched.args, launched.piece, 0, 1};
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
TEST(CudaFragments, OrderOfFloats) {
  const float ascending[] = {kNothing, -3e38f, -1.0f, -1e-40f, 0.0f, 1e-40f, 1.0f, 3e38f};
  for (std::size_t i = 0; i + 1 < std::size(ascending); ++i) {
    EXPECT_LT(order_of(ascending[i]), order_of(ascending[i + 1]));
    EXPECT_EQ(from_order(order_of(ascending[i])), ascending[i]);
  }
  EXPECT_EQ(order_of(kNothing), kOrderOfNothing);
}

template <int kDim, int kTiles>
void check_knots(int d) {
  constexpr int kRows = kRowsOf<kTiles>;
  const CodecConstants constants(d, test::turned_config("k3v2", d), DType::f16);
  const CodecTables& tables = constants.tables();
  Integers random(static_cast<std::uint64_t>(d));
  std::vector<std::vector<std::uint8_t>> bodies;
  for (int i = 0; i < kStepPages; ++i) {
    bodies.push_back(noise(random, layout::body_layout(tables.shape).bytes));
    for (int c = d; c < layout::round_up(d, layout::kLineBytes); ++c) bodies.back()[static_cast<std::size_t>(c)] = 0;
  }
  std::vector<float> query(static_cast<std::size_t>(kRows) * d), found(kStepPages * kRows * kKnotFloats);
  for (float& x : query) x = static_cast<float>(random.bell());
  RowUnits units[kRows];
  constexpr int kBytes = mean_fragment_bytes<kRows, kDim>();
  simt::run(dim3(1), kStepThreads, kBytes, [&] {
    auto* fragments = &shared_memory<std::uint8_t>();
    for (int i = thread_idx(); i < kBytes; i += kStepThreads) fragments[i] = 0;
    __syncthreads();
    if (warp_idx() < kRows) {
      turn_query<kRows, kDim>(tables, query.data() + warp_idx() * d, warp_idx(), fragments, units[warp_idx()]);
      if (lane_idx() == 0) units[warp_idx()].line_offset = static_cast<float>(warp_idx());
    }
    __syncthreads();
    StepPage pages[kStepPages];
    for (int i = 0; i < kStepPages; ++i) pages[i] = {bodies[static_cast<std::size_t>(i)].data(), 1.0f, 0, 0, 0, true, true};
    const KnotMaker<kTiles, kDim> maker(pages, fragments, units, found.data());
    maker.warp_knots();
    if (warp_idx() == 3) maker.last_knots();
  });
  for (int page = 0; page < kStepPages; ++page) {
    const auto* codes = reinterpret_cast<const std::int8_t*>(bodies[static_cast<std::size_t>(page)].data());
    double sum = 0.0;
    for (int c = 0; c < d; ++c) sum += std::abs(codes[c]);
    for (int row = 0; row < kRows; ++row) {
      for (int knot = 0; knot < layout::kMeanKnots; ++knot) {
        const float expected = knot_score(tables, query.data() + row * d, codes, knot) + static_cast<float>(row);
        ASSERT_NEAR(found[(page * kRows + row) * kKnotFloats + knot], expected, 0.51 * units[row].mean_step * sum + 1e-4)
            << "d=" << d << " page " << page << " row " << row << " knot " << knot;
      }
    }
  }
}

// A knot is off by half a step for each number of the mean at most, and by the rounding of fp32.
TEST(CudaFragments, KnotsAreDotsWithTurnedMeans) {
  check_knots<64, 1>(64), check_knots<64, 2>(64);
  for (int d : {80, 96}) check_knots<96, 1>(d);
  check_knots<128, 1>(128), check_knots<128, 2>(128);
  check_knots<256, 1>(256);
}

}  // namespace
}  // namespace qjl::cuda
