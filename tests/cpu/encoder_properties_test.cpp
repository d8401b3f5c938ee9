// What every encoder keeps, whatever the rows: the same bytes on every SIMD target, scales that are finite and positive but for a
// vector of zeros, estimates exact along the vector, and levels that point at least as well as the nearest ones without a search.
#include <gtest/gtest.h>

#include "every_code.hpp"
#include "oracle_view.hpp"
#include "sealed_pages.hpp"

namespace qjl::test {
namespace {

const std::vector<std::string> kRotated = with_every_code({"k1v1", "ks2vs2", "kl4vl4", "k3v3", "k4v4"});
constexpr int kDims[] = {64, 80, 96, 128, 256};

// Pages of odd rows. Every second row is the negative of the one before it, so that the mean is zero.
enum class Kind { bells, one_channel, equal_channels, sparse, tiny, huge, mixed };
constexpr Kind kKinds[] = {Kind::bells, Kind::one_channel, Kind::equal_channels, Kind::sparse, Kind::tiny, Kind::huge, Kind::mixed};
void PrintTo(Kind kind, std::ostream* out) { *out << "kind " << static_cast<int>(kind); }

double number_of(Kind kind, DType dtype, int token, int channel, Integers& random) {
  const double bell = random.bell();
  const double least = dtype == DType::f16 ? 0x1p-24 : 0x1p-133, most = dtype == DType::f16 ? 0x1p15 : 0x1p120;
  switch (kind) {
    case Kind::bells: return bell;
    case Kind::one_channel: return channel == token ? 3.0 : 0.0;
    case Kind::equal_channels: return 0.5;
    case Kind::sparse: return channel % 16 == token % 16 ? bell : 0.0;
    case Kind::tiny: return least * (1 + random.bits(3));
    case Kind::huge: return (random.bits(1) != 0 ? most : -most) * (1.0 - 0.125 * random.bits(1));
    default: return token % 5 == 0 ? 0.0 : token % 3 == 0 ? least : bell;
  }
}
Rows page_of(Kind kind, DType dtype, int d) {
  Integers random(static_cast<std::uint64_t>(d) + static_cast<std::uint64_t>(kind));
  std::vector<double> numbers;
  for (int t = 0; t < kTokensPerPage; t += 2) {
    for (int c = 0; c < d; ++c) numbers.push_back(number_of(kind, dtype, t, c, random));
    for (int c = 0; c < d; ++c) numbers.push_back(-numbers[numbers.size() - static_cast<std::size_t>(d)]);
  }
  return make_rows(dtype, 1, kTokensPerPage, d, numbers);
}

TEST(EncoderProperties, EveryTargetWritesTheSameBytes) {
  for (const std::string& cache_type : kRotated) {
    for (int d : kDims) {
      if (!made_for(cache_type, d)) continue;
      for (DType dtype : {DType::f16, DType::bf16}) {
        const CodecConstants constants(d, codec_config(cache_type), dtype);
        for (Kind kind : kKinds) {
          const Rows rows = page_of(kind, dtype, d);
          const Sealed expected = seal(cpu::backend(SimdTarget::scalar), constants.tables(), rows, rows, 3);
          for (SimdTarget target : simd_targets()) {
            const Sealed found = seal(cpu::backend(target), constants.tables(), rows, rows, 3);
            ASSERT_EQ(std::memcmp(&found.heads[0], &expected.heads[0], sizeof(layout::PageHead)), 0)
                << cache_type << " d=" << d << " " << simd_target_name(target);
            ASSERT_EQ(std::memcmp(found.bodies.data, expected.bodies.data, expected.bodies.bytes), 0)
                << cache_type << " d=" << d << " " << simd_target_name(target) << " " << ::testing::PrintToString(kind);
          }
        }
      }
    }
  }
}

// A stored scale is off by half a step, 2^(1/64), or by a factor 2 at the bottom of the range; below that it is zero.
TEST(EncoderProperties, EstimatesAreFiniteAndExactAlongTheVector) {
  for (const std::string& cache_type : kRotated) {
    for (int d : {64, 96, 128}) {
      if (!made_for(cache_type, d)) continue;
      const CodecConstants constants(d, codec_config(cache_type), DType::bf16);
      const Backend& verbs = cpu::backend(simd_target());
      for (Kind kind : kKinds) {
        SCOPED_TRACE(::testing::Message() << cache_type << " d=" << d << " " << ::testing::PrintToString(kind));
        const Rows rows = page_of(kind, DType::bf16, d);
        const Sealed sealed = seal(verbs, constants.tables(), rows, rows, 0);
        const Decoded numbers = decode(verbs, constants.tables(), sealed);
        double largest = 0.0;
        for (int t = 0; t < kTokensPerPage; ++t) largest = std::max(largest, oracle::norm(rows.row(0, t)));
        for (const std::vector<float>* side : {&numbers.keys, &numbers.values}) {
          for (int t = 0; t < kTokensPerPage; ++t) {
            const oracle::Vector x = rows.row(0, t);
            double along = 0.0;
            for (int c = 0; c < d; ++c) along += x[c] * (*side)[static_cast<std::size_t>(t) * d + c];
            const double xx = oracle::dot(x, x);
            ASSERT_TRUE(std::isfinite(along));
            if (std::sqrt(xx) > largest * 0x1p-6) {
              ASSERT_NEAR(along / xx, 1.0, 0.012) << "token " << t;  // 2^(1/64) - 1 = .0109, and rounding
            } else {
              ASSERT_TRUE(xx > 0.0 || along == 0.0) << "token " << t;
            }
          }
        }
      }
    }
  }
}

// Cosine of the code with its vector, against the levels nearest at the Lloyd-Max scale.
TEST(EncoderProperties, TheSearchIsNotBelowNearestLevels) {
  constexpr int d = 128;
  for (const char* cache_type : {"kl4vl4", "k3v3", "k4v4"}) {
    const CodecConfig config = codec_config(cache_type);
    const CodecConstants constants(d, config, DType::f16);
    const oracle::Codec oracle(oracle_format(d, config), config.seed);
    const oracle::Book book = oracle::book(oracle.format.key);
    const Rows rows = page_of(Kind::bells, DType::f16, d);
    const Backend& verbs = cpu::backend(simd_target());
    const Decoded numbers = decode(verbs, constants.tables(), seal(verbs, constants.tables(), rows, rows, 0));
    for (int t = 0; t < kTokensPerPage; ++t) {
      const oracle::Vector x = rows.row(0, t), y = oracle::to_unit(oracle.key_frames[0], x);
      oracle::Vector nearest, found(x.size());
      for (double coordinate : y) {
        const auto closer = [&](int a, int b) {
          return std::abs(a - coordinate / book.step) < std::abs(b - coordinate / book.step);
        };
        nearest.push_back(*std::min_element(book.levels.begin(), book.levels.end(), closer));
      }
      for (int c = 0; c < d; ++c) found[c] = numbers.keys[static_cast<std::size_t>(t) * d + c];
      const double plain = oracle::dot(y, nearest) / oracle::norm(y) / oracle::norm(nearest);
      // Candidates are near 1, not 1, and are judged on magnitudes rounded to 1/32 (relative error of a sum of 128: 2^-10).
      EXPECT_GE(oracle::dot(x, found) / oracle::norm(x) / oracle::norm(found), plain * (1.0 - 0x1p-10)) << cache_type << " " << t;
    }
  }
}

}  // namespace
}  // namespace qjl::test
