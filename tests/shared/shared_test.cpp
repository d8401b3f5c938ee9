// The arithmetic that host and device share: 16-bit numbers, 8-bit scales, sketch constants, softmax merging, cache type names and
// the checks of a codec's configuration.
#include <gtest/gtest.h>

#include "codebook.hpp"
#include "codec_tables.hpp"
#include "estimator.hpp"
#include "every_code.hpp"
#include "half.hpp"
#include "qjl/codec.hpp"
#include "qjl/error.hpp"
#include "search_tables.hpp"
#include "softmax_state.hpp"

namespace qjl::test {
namespace {

// Every finite fp16 number is its own nearest; halfway points go to the even neighbour, and just beside them to the nearest.
TEST(Shared, HalfRoundsToNearestEven) {
  for (std::uint32_t bits = 0; bits < 0x7c00u; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits), next = static_cast<std::uint16_t>(bits + 1);
    const double value =
        std::ldexp(bits < 0x400u ? bits : (bits & 0x3ffu) | 0x400u, bits < 0x400u ? -24 : static_cast<int>(bits >> 10) - 25);
    ASSERT_EQ(half_to_float(half), value) << bits;
    ASSERT_EQ(float_to_half(static_cast<float>(value)), half);
    ASSERT_EQ(float_to_half(static_cast<float>(-value)), half | 0x8000u);
    const float middle = next == 0x7c00u ? 65520.0f : 0.5f * (half_to_float(half) + half_to_float(next));
    ASSERT_EQ(float_to_half(middle), bits % 2 == 0 ? half : next) << bits;
    ASSERT_EQ(float_to_half(std::nextafter(middle, 0.0f)), half) << bits;
    ASSERT_EQ(float_to_half(std::nextafter(middle, 1e9f)), next) << bits;
  }
  EXPECT_EQ(float_to_half(std::numeric_limits<float>::infinity()), 0x7c00u);
  EXPECT_TRUE(std::isnan(half_to_float(float_to_half(std::numeric_limits<float>::quiet_NaN()))));
}

TEST(Shared, BfloatRoundsToNearestEven) {
  for (std::uint32_t bits = 0; bits < 0x7f80u; ++bits) {
    const auto bfloat = static_cast<std::uint16_t>(bits);
    const float value = std::bit_cast<float>(bits << 16), middle = std::bit_cast<float>(bits << 16 | 0x8000u);
    ASSERT_EQ(bfloat_to_float(bfloat), value);
    ASSERT_EQ(float_to_bfloat(value), bfloat);
    ASSERT_EQ(float_to_bfloat(middle), bits % 2 == 0 ? bits : bits + 1) << bits;
    ASSERT_EQ(float_to_bfloat(std::bit_cast<float>(bits << 16 | 0x8001u)), bits + 1) << bits;
  }
  EXPECT_TRUE(std::isnan(bfloat_to_float(float_to_bfloat(std::numeric_limits<float>::quiet_NaN()))));
}

// The code is the nearest in log2 (to 1e-6 of a step, the rounding of ratio and thresholds), 1 down to half of its value, then 0.
TEST(Shared, ScaleCodesAreNearestInLog2) {
  const float max = 3.7f;
  EXPECT_EQ(scale_code(max, max), 255);
  EXPECT_EQ(scale_code(0.0f, max), 0);
  EXPECT_EQ(scale_code(0.0f, 0.0f), 0);
  for (int i = 0; i < 100000; ++i) {
    const float scale = max * static_cast<float>(std::exp2(-i * 1e-4));
    const double steps = 255.0 + 32.0 * std::log2(double{scale} / max);
    const int code = scale_code(scale, max);
    if (steps < 1.0 - 32.0 - 1e-5) {
      ASSERT_EQ(code, 0) << scale;
    } else if (steps > 1.0 && code > 0) {
      ASSERT_NEAR(code, steps, 0.5 + 1e-4) << scale;
    } else if (steps > 1.0 - 32.0 + 1e-5) {
      ASSERT_EQ(code, 1) << scale;
    }
  }
  for (int code = 1; code <= kScaleCodeMax; ++code) {
    ASSERT_NEAR(kScaleFactors.of[code], std::exp2((code - 255) / 32.0), 1e-7) << code;
    ASSERT_EQ(scale_code(kScaleFactors.of[code], 1.0f), code);
  }
}

TEST(Shared, LevelsAndThresholds) {
  for (Code code : codes_where([](Code each) { return traits(each).book == Book::levels; })) {
    const int count = 2 * codebook(code).count;
    for (int i = 0; i < count; ++i) {
      EXPECT_EQ(level_of(code, i), -level_of(code, count - 1 - i)) << code_name(code) << ' ' << i;
      if (i > 0) {
        EXPECT_LT(level_of(code, i - 1), level_of(code, i)) << code_name(code) << ' ' << i;
      }
      EXPECT_EQ(level_table(code).entry[i], level_table(code).entry[(i + count) % kTableLevels]);
    }
  }
}

// Two neighbouring levels, a threshold in half units, fit a byte; of the table there is the positive half.
TEST(Shared, FineLevels) {
  for (Code code : codes_where([](Code each) { return traits(each).book == Book::fine; })) {
    const Codebook& book = codebook(code);
    for (int i = 0; i < book.count; ++i) {
      const float level = level_of(code, book.count + i);
      EXPECT_EQ(level, -level_of(code, book.count - 1 - i)) << code_name(code) << ' ' << i;
      EXPECT_GT(level, i > 0 ? book.level[i - 1] : 0.0f) << code_name(code) << ' ' << i;
      EXPECT_LE(level + (i > 0 ? book.level[i - 1] : 0.0f), 255.0f) << code_name(code) << ' ' << i;
      const LevelTable table = level_table(code);
      EXPECT_EQ(level, i < kTableLevels ? table.entry[i] : table.upper[i - kTableLevels]) << code_name(code) << ' ' << i;
    }
  }
}

// Levels of trellis codes come in pairs of opposite sign, and a window and its complement stand for such a pair.
TEST(Shared, TrellisesAreSymmetric) {
  for (Code code : codes_where([](Code each) { return traits(each).book == Book::trellis; })) {
    const int count = 2 * codebook(code).count, windows = 1 << trellis(code).window_bits;
    EXPECT_EQ(1 << index_bits(code), count);
    for (int i = 0; i < count; ++i) EXPECT_EQ(level_of(code, i), -level_of(code, count - 1 - i)) << code_name(code) << ' ' << i;
    std::vector<int> met(count);
    for (int w = 0; w < windows; ++w) ++met[trellis(code).index(w)];
    for (int i = 0; i < count; ++i) EXPECT_EQ(met[i], windows / count) << code_name(code) << ' ' << i;
  }
}

// A byte holds every magnitude that a threshold parts; the tables follow the levels at each candidate.
TEST(Shared, SearchTables) {
  for (Code code : codes_where([](Code each) { return traits(each).book == Book::levels; })) {
    const Codebook& book = codebook(code);
    const ScaleSearch search = scale_search(book);
    ASSERT_LE(search.count, kMaxScaleCandidates);
    for (int g = 0; g < search.count; ++g) {
      for (int i = 0; i + 1 < book.count; ++i) {
        EXPECT_LT(search.threshold[g][i], 255) << code_name(code);
        EXPECT_TRUE(i == 0 || search.threshold[g][i] > search.threshold[g][i - 1]) << code_name(code);
        EXPECT_TRUE(g == 0 || search.threshold[g][i] <= search.threshold[g - 1][i]) << code_name(code);
      }
    }
  }
}

// E|u_1| against the Gamma function, and the bounds of the paper.
TEST(Shared, SketchConstants) {
  for (int d : {1, 2, 3, 4, 5, 8, 64, 80, 128, 255, 256}) {
    const double expected = std::exp(std::lgamma(0.5 * d) - std::lgamma(0.5 * (d + 1))) / std::sqrt(std::numbers::pi);
    EXPECT_NEAR(mean_abs_coordinate(d), expected, 1e-13 * d) << d;
  }
  EXPECT_NEAR(gaussian_sketch_scale(256) * 256, 1.2533141373155, 1e-12);
  EXPECT_NEAR(sufficient_rows(0.1, 0.01) / published_rows(0.1, 0.01), (std::numbers::pi + 0.4 / 3.0) / (4.0 / 3.0 * 1.1), 1e-12);
}

TEST(Shared, EmptySoftmaxPiecesMergeWithoutNan) {
  SoftmaxState empty, other{2.0f, 3.0f};
  float out_a[2] = {0.0f, 0.0f}, out_b[2] = {5.0f, 6.0f};
  merge(empty, out_a, SoftmaxState{}, out_b, 2);
  EXPECT_TRUE(empty.empty());
  EXPECT_EQ(out_a[0], 0.0f);
  EXPECT_EQ(log_sum_exp(empty), -std::numeric_limits<float>::infinity());
  merge(empty, out_a, other, out_b, 2);
  EXPECT_EQ(out_a[1], 6.0f);
  EXPECT_FLOAT_EQ(log_sum_exp(empty), 2.0f + std::log(3.0f));
}

TEST(CacheType, NamesReadBack) {
  for (const char* name : {"f16",
                           "k1v1",
                           "k2v2",
                           "k3v2",
                           "k3v3",
                           "k4v3",
                           "k4v4",
                           "t2v2",
                           "t3v2",
                           "t3v3",
                           "k5v4",
                           "k6v6",
                           "t4v4",
                           "kt2vt2",
                           "k3vt2",
                           "t3v2:seed=3",
                           "kl4vs2",
                           "k3vf16",
                           "kf16v2",
                           "paper",
                           "paper:sketch=gaussian,rows=512,outliers=0,outlier_rows=8",
                           "k3v2:seed=7",
                           "f16:sinks=2",
                           "k2v2:seed=18446744073709551615,sinks=0",
                           "paper:seed=9,rows=8"}) {
    EXPECT_EQ(cache_type_name(codec_config(name)), name);
  }
  EXPECT_EQ(cache_type_name(codec_config("ks2vl4")), "k2v2");
  EXPECT_EQ(cache_type_name(codec_config("k3", "v2")), "k3v2");
  EXPECT_EQ(cache_type_name(codec_config("f16", "l16")), "kf16v4");
  EXPECT_EQ(cache_type_name(codec_config("kt2wvt2")), "t2v2");
  EXPECT_EQ(codec_config("t3v2").sink_tokens, 4);
  EXPECT_EQ(codec_config("paper").sink_tokens, 0);
  EXPECT_EQ(codec_config("paper:outliers=0").sketch.outlier_channels, -1);
  EXPECT_EQ(codec_config("k3v2").sink_tokens, 4);
}

// Every code but those of one side: the paper's.
TEST(CacheType, CodesOfAPlan) {
  using enum Code;
  EXPECT_EQ(plan_codes(), (std::vector{f16, s1, s2, l4, l8, l16, t2, t2w, t3, t4, l32, l64}));
}

TEST(CacheType, WidthsOfTrellisCodes) {
  for (const auto& [type, widths] : {std::pair{"k3v2", std::vector{64, 80, 96, 128, 256}},
                                     {"t2v2", {64, 128, 256}},
                                     {"t3v2", {64, 128, 256}},
                                     {"t3v3", {64, 128, 256}},
                                     {"t4v4", {64, 128, 256}},
                                     {"k5v4", {64, 96, 128, 256}},
                                     {"k6v4", {64, 80, 96, 128, 256}},
                                     {"k6v6", {64, 128, 256}},
                                     {"kt4v2", {64, 80, 96, 128, 256}},
                                     {"kt2v2", {64, 80, 96, 128, 256}},
                                     {"kt3v2", {64, 96, 128, 256}}}) {
    for (int d : {32, 64, 80, 96, 128, 256}) {
      const bool taken = std::ranges::find(widths, d) != widths.end();
      EXPECT_EQ(takes_width(codec_config(type), d), taken) << type << ' ' << d;
      if (d == 32) continue;
      if (taken)
        EXPECT_NO_THROW(PageCodec(d, codec_config(type))) << type << ' ' << d;
      else
        EXPECT_THROW(PageCodec(d, codec_config(type)), Error) << type << ' ' << d;
    }
  }
}

TEST(CacheType, UnknownNamesAreRefused) {
  for (const char* name : {"",
                           "k",
                           "kv",
                           "k7v2",
                           "k3v",
                           "k3v2x",
                           "q4_0",
                           "kminmaxv2",
                           "k3vjl",
                           "paper:rows",
                           "paper:rows=x",
                           "paper:rows=-8",
                           "paper:colour=red",
                           "paper:rows=99999999999",
                           "paper:",
                           "k3v2:",
                           "k3v2:rows=8",
                           "k3v2:seed=1,",
                           "k3v2:seed=18446744073709551616",
                           "k3v2:sinks=-1"}) {
    EXPECT_THROW(codec_config(name), Error) << name;
  }
  EXPECT_THROW(codec_config("k9", "v2"), Error);
  EXPECT_THROW(codec_config("k3", "k3"), Error);
  try {
    codec_config("q4_0");
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("k3v2"), std::string::npos) << error.what();
  }
}

TEST(CodecConstants, RefusesWhatItCannotCode) {
  const auto refused = [](int head_dim, const CodecConfig& config) {
    EXPECT_THROW(CodecConstants(head_dim, config, DType::f16), Error) << head_dim;
  };
  const CodecConfig good = codec_config("paper");
  EXPECT_NO_THROW(CodecConstants(64, good, DType::f16));
  for (int head_dim : {0, -64, 32, 63, 65, 112, 512}) refused(head_dim, good);
  CodecConfig bad = good;
  bad.sink_tokens = 17;
  refused(64, bad);
  for (int rows : {-8, 7, 12, 1 << 20}) {
    bad = good;
    bad.sketch.rows = rows;
    refused(64, bad);
  }
  for (int channels : {-2, 33, 64}) {
    bad = good;
    bad.sketch.outlier_channels = channels;
    refused(64, bad);
  }
  bad = good;
  bad.key_code = Code::minmax;
  refused(64, bad);
  bad = good;
  bad.value_code = Code::jl;
  refused(64, bad);
  bad.value_code = Code{200};
  refused(64, bad);
  EXPECT_THROW(CodecConstants(64, good, DType::f32), Error);
}

// Moving the owner leaves the tables where they are; bytes() counts every number.
TEST(CodecConstants, TablesSurviveAMove) {
  CodecConstants first(80, codec_config("ks2vs2"), DType::f16);
  const float* frames = first.tables().key_frames;
  const CodecConstants second = std::move(first);
  EXPECT_EQ(second.tables().key_frames, frames);
  const std::int64_t bytes = (2 + 16) * 80 * 80 * 4 + (1 + 8) * 80 * 80 * 2;  // frames, and products of their pairs
  EXPECT_GE(second.bytes(), bytes);
  EXPECT_LE(second.bytes(), bytes * 2);
}

}  // namespace
}  // namespace qjl::test
