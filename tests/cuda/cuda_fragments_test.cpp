// The matrix fragments of keys, values and means on the host: whole sums of whole pages of arbitrary bytes, exactly.
#include <gtest/gtest.h>

#include "attend_fragments.cuh"
#include "cache_config.hpp"
#include "rounding_terms.hpp"
#include "sealed_pages.hpp"

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
    make_row_offsets<kDim>(launched.at.keys, layout::key_row_bytes(traits(code), d), shared.row_offsets);
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
    Running<kTiles, kDim> running{};
    float base[kTiles];
    for (float& x : base) x = 1.0f / kUnitOfBase;
    for (int u = 0; u < kGroups; ++u) {
      ValueWords<kValue> words[2];
      parts.load(u, words);
      weigh_group<kValue, kTiles>(launched.value_bytes, words, fragments, base, running.values[u]);
    }
    store_sums(running, d, sums.data());
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
