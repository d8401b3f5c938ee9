// The matrix fragments of keys, values and means on the host: whole sums of whole pages of arbitrary bytes, exactly.
#include "attend_fragments.cuh"
#include "kernels_fixtures.hpp"

namespace qjl::cuda {
namespace {

using test::Integers;

constexpr int kRows = 8, kTiles = 2;

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

// sum over coordinates of (whole query number) * level, for every row and slot.
template <KeyPath kPath, int kDim>
void check_keys(Code code, int d) {
  const layout::PageShape shape{d, code, Code::l4};
  const AttendLaunch launched = bare_launch(shape);
  const int width = layout::key_coordinates(shape), rows = layout::key_row_bytes(code, d);
  Integers random(static_cast<std::uint64_t>(d) * 7 + static_cast<int>(code));
  const std::vector<std::uint8_t> body = noise(random, launched.at.bytes);
  std::vector<float> query(static_cast<std::size_t>(kRows) * width);
  for (float& x : query) x = static_cast<float>(random.bell());
  std::vector<int> found(kRows * layout::kPageTokens);
  simt::run(dim3(1), kStepThreads, sizeof(StepStorage<kPath, kDim, kRows>), [&] {
    auto& shared = shared_memory<StepStorage<kPath, kDim, kRows>>();
    const Job job{launched, launched.args, launched.piece, 0, kRows};
    for (std::size_t i = threadIdx.x; i < sizeof(shared.planes); i += kStepThreads) shared.planes[i] = 0;
    for (int i = thread_idx(); i < 2 * 64; i += kStepThreads) {
      shared.row_offset[i / 64][i % 64] = static_cast<int>(layout::key_row_offset(rows, i / 64, std::min(i % 64, rows - 1)));
    }
    __syncthreads();
    const int row = warp_idx();
    make_planes<kPath, kDim>(query.data() + row * width, width, shared.planes + row * row_plane_bytes<kPath, kDim>(),
                             shared.units[row]);
    __syncthreads();
    int sum[kTiles][4][4];
    key_sums<kPath, kDim, kTiles>(job, shared, {body.data(), 0, 0, 0, 0, 1}, sum);
    const int g = lane_idx() / 4, t = lane_idx() % 4;
    for (int i = 0; warp_idx() == 0 && i < 16 * kTiles; ++i) {
      const int tile = i / 16, w = i / 4 % 4, slot = layout::kHalfSlots * (g / 4) + 16 * (i % 4) + 4 * (g % 4) + w;
      found[(kTileRows * tile + t) * layout::kPageTokens + slot] = sum[tile][w][i % 4];
    }
  });
  for (int row = 0; row < kRows; ++row) {
    const float* x = &query[static_cast<std::size_t>(row) * width];
    float largest = 0.0f;
    for (int c = 0; c < width; ++c) largest = std::max(largest, std::abs(x[c]));
    const float inverse = (kPath == KeyPath::bits ? kLargestOfBits : kLargestOfPlanes) / largest;
    for (int slot = 0; slot < layout::kPageTokens; ++slot) {
      int expected = 0;
      for (int c = 0; c < width; ++c) {
        const int level = static_cast<int>(level_of(code, key_code_at(shape, body.data() + launched.at.keys, slot, c)));
        expected += static_cast<int>(std::nearbyint(x[c] * inverse)) * level;
      }
      ASSERT_EQ(found[row * layout::kPageTokens + slot], expected)
          << code_name(code) << " d=" << d << " path " << static_cast<int>(kPath) << " row " << row << " slot " << slot;
    }
  }
}

TEST(CudaFragments, KeysAreSummedExactly) {
  for (const Code code : {Code::s1, Code::s2}) {
    check_keys<KeyPath::bits, 64>(code, 64);
    check_keys<KeyPath::sign_bytes, 64>(code, 64);
    for (int d : {80, 96, 128}) check_keys<KeyPath::bits, 128>(code, d), check_keys<KeyPath::sign_bytes, 128>(code, d);
    check_keys<KeyPath::bits, 256>(code, 256);
    check_keys<KeyPath::sign_bytes, 256>(code, 256);
  }
  check_keys<KeyPath::l8, 64>(Code::l8, 64);
  check_keys<KeyPath::l16, 64>(Code::l16, 64);
  for (int d : {80, 96, 128}) check_keys<KeyPath::l8, 128>(Code::l8, d), check_keys<KeyPath::l16, 128>(Code::l16, d);
  check_keys<KeyPath::l8, 256>(Code::l8, 256);
  check_keys<KeyPath::l16, 256>(Code::l16, 256);
}

// sum over 16 tokens of a frame and eight pages of (256 high + low) * level, for every row, frame and channel.
template <Code kValue, int kGroups>
void check_values(int d) {
  const layout::PageShape shape{d, Code::l8, kValue};
  const AttendLaunch launched = bare_launch(shape);
  Integers random(static_cast<std::uint64_t>(d) * 5 + static_cast<int>(kValue));
  std::vector<std::vector<std::uint8_t>> bodies;
  for (int i = 0; i < kStepPages; ++i) bodies.push_back(noise(random, launched.at.bytes));
  const std::vector<std::uint8_t> weights = noise(random, kRows * kRowWeightBytes);
  constexpr int kBytes = kRows * kRowWeightBytes;
  const int stride = sums_stride(d);
  std::vector<float> sums(static_cast<std::size_t>(kRows) * stride, 1.0f);
  simt::run(dim3(1), kStepThreads, kBytes, [&] {
    auto* shared = &shared_memory<std::uint8_t>();
    for (int i = thread_idx(); i < kBytes; i += kStepThreads) shared[i] = weights[static_cast<std::size_t>(i)];
    __syncthreads();
    const Job job{launched, launched.args, launched.piece, 0, kRows};
    StepPage pages[kStepPages];
    for (int i = 0; i < kStepPages; ++i) pages[i] = {bodies[static_cast<std::size_t>(i)].data(), 0, 0, 0, 0, 1};
    weigh_values<kValue, kGroups>(job, pages, shared, StepFactors<kTiles>{{0, 0}, {1, 1}}, sums.data());
  });
  for (int row = 0; row < kRows; ++row) {
    for (int frame = 0; frame < layout::kFrames; ++frame) {
      for (int channel = 0; channel < d; ++channel) {
        int expected = 0;
        for (int page = 0; page < kStepPages; ++page) {
          const std::uint8_t* at = &weights[row * kRowWeightBytes + frame * kFrameWeightBytes + page * 32];
          for (int j = 0; j < layout::kFrameSlots; ++j) {
            const int code = value_code_at(shape, bodies[page].data() + launched.at.values, frame, j, channel);
            expected += (256 * at[j] + at[16 + j]) * static_cast<int>(level_of(kValue, code));
          }
        }
        ASSERT_EQ(sums[static_cast<std::size_t>(row * stride + frame * d + channel)], static_cast<float>(expected))
            << code_name(kValue) << " d=" << d << " row " << row << " frame " << frame << " channel " << channel;
      }
    }
  }
}

TEST(CudaFragments, ValuesAreSummedExactly) {
  check_values<Code::l4, 1>(64), check_values<Code::l8, 1>(64), check_values<Code::l16, 1>(64);
  for (int d : {80, 96, 128}) check_values<Code::l4, 2>(d), check_values<Code::l8, 2>(d), check_values<Code::l16, 2>(d);
  check_values<Code::l4, 4>(256), check_values<Code::l8, 4>(256), check_values<Code::l16, 4>(256);
}

template <int kDim>
void check_knots(int d) {
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
  constexpr int kBytes = mean_fragment_bytes(kRows, kDim);
  simt::run(dim3(1), kStepThreads, kBytes, [&] {
    auto* fragments = &shared_memory<std::uint8_t>();
    for (int i = thread_idx(); i < kBytes; i += kStepThreads) fragments[i] = 0;
    __syncthreads();
    turn_query<kRows, kDim>(tables, query.data() + warp_idx() * d, warp_idx(), fragments, units[warp_idx()]);
    __syncthreads();
    StepPage pages[kStepPages];
    for (int i = 0; i < kStepPages; ++i) pages[i] = {bodies[static_cast<std::size_t>(i)].data(), 1.0f, 0, 0, 0, 1};
    mean_knots<kRows, kDim>(pages, fragments, units, found.data());
  });
  for (int page = 0; page < kStepPages; ++page) {
    const auto* codes = reinterpret_cast<const std::int8_t*>(bodies[static_cast<std::size_t>(page)].data());
    double sum = 0.0;
    for (int c = 0; c < d; ++c) sum += std::abs(codes[c]);
    for (int row = 0; row < kRows; ++row) {
      for (int knot = 0; knot < layout::kMeanKnots; ++knot) {
        const float expected = knot_score(tables, query.data() + row * d, codes, knot);
        ASSERT_NEAR(found[(page * kRows + row) * kKnotFloats + knot], expected, 0.51 * units[row].mean_step * sum + 1e-4)
            << "d=" << d << " page " << page << " row " << row << " knot " << knot;
      }
    }
  }
}

// A knot is off by half a step for each number of the mean at most, and by the rounding of fp32.
TEST(CudaFragments, KnotsAreDotsWithTurnedMeans) {
  check_knots<64>(64);
  for (int d : {80, 96, 128}) check_knots<128>(d);
  check_knots<256>(256);
}

}  // namespace
}  // namespace qjl::cuda
