// One page, coded by the library and judged by the oracle: every byte of it is what the mathematics asks for, up to rounding.
//
//   mean     |mean - stored| <= half a step;  codes equal, except where a projection lies within its rounding bound of a
//            threshold (a tie: counted, printed, few);  |log2(stored scale / closing scale)| <= 1/64, half a step
//   decode   the page read in doubles;  score  <q, decoded key>
//
// The stored numbers of one stage are the input of the next, so that a tie does not spoil what follows. Bounds: docs/numerics.md.
#include "cache_config.hpp"
#include "every_code.hpp"
#include "forced_target.hpp"
#include "oracle_view.hpp"
#include "rounding_terms.hpp"
#include "test_rows.hpp"

namespace qjl::test {
namespace {

// How the keys of a case turn: not, all pairs as halves, or three quarters of the channels interleaved.
enum class Turn { none, halves, partial };
struct Case {
  const char* cache_type;
  int d;
  Turn turn = Turn::halves;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.cache_type << " d=" << c.d << " turn " << static_cast<int>(c.turn); }

KeyRope rope_of(const Case& c) {
  if (c.turn == Turn::none) return {};
  return c.turn == Turn::halves ? rope(c.d / 2, 1e4) : rope(c.d * 3 / 8, 1e5, KeyRope::Pairs::interleaved);
}

constexpr double kHalfStep = 1.0 / 64.0 + 0x1p-9;  // octaves: half a step, and the page maximum may be rounded to 16 bits

class OnePage : public ::testing::TestWithParam<Case> {
 protected:
  void encode(std::uint64_t seed, int num_sinks, DType dtype) {
    const auto [cache_type, d, turn] = GetParam();
    config_ = codec_config(cache_type);
    config_.seed = seed;
    config_.rope = rope_of(GetParam());
    Integers random(seed + d);
    keys_ = turned_rows(dtype, lifelike_numbers(random, 1, kTokensPerPage, d));
    std::vector<double> values = lifelike_numbers(random, 1, kTokensPerPage, d);
    std::fill_n(values.begin() + 17 * d, d, 0.0);  // token 17 has no value at all
    values_ = make_rows(dtype, 1, kTokensPerPage, d, values);
    queries_ = bell_rows(random, DType::f32, 1, 3, d);
    codec_ = std::make_unique<PageCodec>(d, config_);
    page_bytes_ = codec_->encode(keys_.view(), values_.view(), num_sinks);
    oracle_ = std::make_unique<oracle::Codec>(oracle_format(d, config_, dtype == DType::bf16 ? DType::bf16 : DType::f16), seed);
    page_ = std::make_unique<oracle::Page>(oracle_->format, page_bytes_.head, page_bytes_.body);
    num_sinks_ = num_sinks;
    ties_ = 0;
    key_crosses_ = crosses(oracle_->format.key, oracle_->key_frames);
    value_crosses_ = crosses(oracle_->format.value, oracle_->value_frames);
  }

  // Of each pair of frames; one without meaning for a code of one frame.
  static std::vector<oracle::Cross> crosses(oracle::Code code, const std::vector<oracle::Matrix>& frames) {
    std::vector<oracle::Cross> out;
    for (std::size_t f = 0; code == oracle::Code::s2 && f < frames.size(); f += 2) {
      out.push_back(oracle::make_cross(frames[f], frames[f + 1]));
    }
    if (out.empty()) out.emplace_back();
    return out;
  }

  // Keys of a page at some position, turned as a model turns them.
  Rows turned_rows(DType dtype, std::vector<double> numbers) const {
    constexpr int kPosition = 1280;
    const int d = GetParam().d;
    const oracle::Format f = oracle_format(d, config_);
    for (int t = 0; t < kTokensPerPage; ++t) {
      for (std::size_t i = 0; i < f.turn.size(); ++i) {
        const auto [first, second] = oracle::channels_of(f, static_cast<int>(i));
        double &a = numbers[t * d + first], &b = numbers[t * d + second];
        const oracle::Complex k = std::polar(1.0, f.turn[i] * (kPosition + t)) * oracle::Complex(a, b);
        a = k.real(), b = k.imag();
      }
    }
    return make_rows(dtype, 1, kTokensPerPage, d, numbers);
  }

  void check_head() const {
    ASSERT_EQ(page_bytes_.head.size(), 16u);
    ASSERT_EQ(static_cast<int>(page_bytes_.body.size()), page_->body_bytes());
    EXPECT_EQ(page_->version(), 2);
    EXPECT_EQ(page_->key_code(), static_cast<int>(config_.key_code));
    EXPECT_EQ(page_->value_code(), static_cast<int>(config_.value_code));
    EXPECT_EQ(page_->num_sinks(), num_sinks_);
  }

  void check_mean() const {
    std::vector<oracle::Vector> keys;
    double longest = 0.0, largest = 0.0;
    for (int t = 0; t < kTokensPerPage; ++t) {
      keys.push_back(keys_.row(0, t));
      for (double x : keys.back()) longest = std::max(longest, std::abs(x));
    }
    const oracle::Vector mean = oracle::mean_of(oracle_->format, keys, num_sinks_);
    for (double m : mean) largest = std::max(largest, std::abs(m));
    // A sum of 128 terms, each of two products with rounded cosines, over a weight of two thirds at least: 400 u max |k|.
    const double summing = 400.0 * kUnit * longest;
    EXPECT_NEAR(page_->mean_scale(), largest / 127.0, (largest * 0x1p-10 + summing) / 127.0);  // may be rounded to 16 bits
    for (int c = 0; c < oracle_->format.d; ++c) {
      EXPECT_NEAR(page_->mean(c), mean[c], page_->mean_scale() * 0.5 + largest * 0x1p-10 + summing) << "channel " << c;
    }
  }

  // Numbers are the oracle's, unless a rounding to whole numbers was as close as fp32 may err (a tie).
  struct Coded {
    oracle::Code code;
    std::vector<const oracle::Matrix*> frames;
    const oracle::Cross* cross;
    int across;  // groups of a string side by side
  };
  void check_numbers(const Coded& coded, const oracle::Vector& x, const std::vector<int>& numbers, double extra_bound) {
    const int d = oracle_->format.d;
    const auto& [code, frames, cross, across] = coded;
    const oracle::Choice choice = oracle::is_trellis(code)   ? oracle::trellis_numbers(code, across, *frames[0], x)
                                  : oracle::is_fine(code)    ? oracle::fine_levels(code, *frames[0], x)
                                  : code == oracle::Code::s1 ? oracle::plain_signs(*frames[0], x)
                                  : code == oracle::Code::s2 ? oracle::annealed_signs(*frames[0], *frames[1], *cross, x)
                                                             : oracle::searched_levels(code, *frames[0], x);
    if (choice.numbers == numbers) return;
    ++ties_;
    // y has norm sqrt(d); its norm and factor add eight roundings of their own to those of the projection.
    EXPECT_LE(choice.margin, std::sqrt(d) * (kUnit * (projection_terms(d) + 8.0) + extra_bound)) << "numbers differ, none was near";
  }

  void check_scales(oracle::Code code, const oracle::Vector& exact, const oracle::Vector& stored, double stored_max) const {
    const double largest = *std::max_element(exact.begin(), exact.end());
    // Of fine codes it is one of the scales that can be stored.
    EXPECT_NEAR(stored_max, largest, largest * (oracle::is_fine(code) ? std::exp2(kHalfStep) - 1.0 : 0x1p-10));
    for (int t = 0; t < kTokensPerPage; ++t) {
      if (exact[t] == 0.0) {
        EXPECT_EQ(stored[t], 0.0) << "token " << t;
      } else if (exact[t] > largest * std::exp2(-254.0 / 32.0)) {
        EXPECT_LE(std::abs(std::log2(stored[t] / exact[t])), kHalfStep) << "token " << t << " scale " << exact[t];
      }
    }
  }

  void check_keys() {
    const oracle::Format& f = oracle_->format;
    oracle::Vector exact(kTokensPerPage), stored(kTokensPerPage);
    for (int t = 0; t < kTokensPerPage; ++t) {
      SCOPED_TRACE(::testing::Message() << "key token " << t);
      stored[t] = page_->key_scale(t);
      if (t < num_sinks_) continue;
      oracle::Vector x = keys_.row(0, t);
      const oracle::Vector mean = oracle::predicted_key(*page_, t);
      for (int c = 0; c < f.d; ++c) x[c] -= mean[c];
      std::vector<int> numbers;
      for (int c = 0; c < f.d * oracle::frames_of(f.key); ++c) numbers.push_back(page_->key_number(t, c));
      // Of the prediction: int8, cosine, product, sum, between two knots (3); and of the difference.
      const double rounding = kUnit * (1.0 + 7.0 * oracle::norm(mean) / oracle::norm(x));
      check_numbers({f.key, oracle_->frames_of_keys(), key_crosses_.data(), 4}, x, numbers, rounding);
      exact[t] = oracle::closing_scale(x, oracle::code_vector(oracle_->frames_of_keys(), oracle_->key_levels(*page_, t)));
    }
    check_scales(oracle_->format.key, exact, stored, page_->key_scale_max());
  }

  void check_values() {
    const oracle::Format& f = oracle_->format;
    oracle::Vector exact(kTokensPerPage), stored(kTokensPerPage);
    for (int t = 0; t < kTokensPerPage; ++t) {
      SCOPED_TRACE(::testing::Message() << "value token " << t);
      stored[t] = page_->value_scale(t);
      const oracle::Vector x = values_.row(0, t);
      if (t < num_sinks_ || oracle::norm(x) == 0.0) continue;
      std::vector<int> numbers;
      for (int c = 0; c < f.d * oracle::frames_of(f.value); ++c) numbers.push_back(page_->value_number(t, c));
      check_numbers({f.value, oracle_->frames_of_value(t), value_crosses_.data() + t % value_crosses_.size(), 16}, x, numbers, 0.0);
      exact[t] = oracle::closing_scale(x, oracle::code_vector(oracle_->frames_of_value(t), oracle_->value_levels(*page_, t)));
    }
    check_scales(oracle_->format.value, exact, stored, page_->value_scale_max());
  }

  CodecConfig config_;
  Rows keys_, values_, queries_;
  std::unique_ptr<PageCodec> codec_;
  EncodedPage page_bytes_;
  std::unique_ptr<oracle::Codec> oracle_;
  std::unique_ptr<oracle::Page> page_;
  std::vector<oracle::Cross> key_crosses_, value_crosses_;
  int num_sinks_ = 0;
  int ties_ = 0;
};

TEST_P(OnePage, EncodesWhatTheOracleDoes) {
  int ties = 0;
  for (int num_sinks : {0, 4}) {
    SCOPED_TRACE(::testing::Message() << "sinks " << num_sinks);
    encode(kDefaultSeed + num_sinks, num_sinks, num_sinks == 0 ? DType::f16 : DType::bf16);
    check_head();
    if (oracle::rotated(oracle_->format.key)) {
      check_mean();
      check_keys();
    }
    if (oracle::rotated(oracle_->format.value)) check_values();
    ties += ties_;
  }
  std::cout << "ties: " << ties << " of " << 4 * kTokensPerPage << " vectors\n";
  EXPECT_LE(ties, 4 * kTokensPerPage / 100);
}

TEST_P(OnePage, DecodesAndScoresThePage) {
  encode(7, 4, DType::f32);
  const int d = oracle_->format.d;
  const OracleNumbers numbers = read_page(*oracle_, nullptr, *page_);
  const std::vector<float> keys = codec_->decode_keys(page_bytes_), values = codec_->decode_values(page_bytes_);
  const std::vector<float> scores = codec_->score(queries_.view(), page_bytes_);
  ASSERT_EQ(keys.size(), static_cast<std::size_t>(kTokensPerPage) * d);
  ASSERT_EQ(values.size(), static_cast<std::size_t>(kTokensPerPage) * d);
  ASSERT_EQ(scores.size(), static_cast<std::size_t>(kTokensPerPage) * queries_.tokens);
  for (int t = 0; t < kTokensPerPage; ++t) {
    // A rotation back is a projection; eight more for the scale, its table and the mean.
    const double key_bound = kUnit * (projection_terms(d) + 8.0) * numbers.key_reach[t];
    const double value_bound = kUnit * (projection_terms(d) + 8.0) * numbers.value_reach[t];
    for (int c = 0; c < d; ++c) {
      ASSERT_NEAR(keys[t * d + c], numbers.keys[t][c], key_bound) << "key token " << t << " channel " << c;
      ASSERT_NEAR(values[t * d + c], numbers.values[t][c], value_bound) << "value token " << t << " channel " << c;
    }
    for (int i = 0; i < queries_.tokens; ++i) {
      const oracle::Vector q = queries_.row(0, i);
      ASSERT_NEAR(scores[i * kTokensPerPage + t], oracle::dot(q, numbers.keys[t]),
                  kUnit * score_terms(oracle_->format) * oracle::norm(q) * numbers.key_reach[t])
          << "query " << i << " token " << t;
    }
  }
}

// Nothing but zeros, and nothing but one vector: no NaN, no division by a zero scale.
TEST_P(OnePage, DegeneratePages) {
  const auto [cache_type, d, turn] = GetParam();
  CodecConfig config = codec_config(cache_type);
  config.rope = rope_of(GetParam());
  const PageCodec codec(d, config);
  for (double height : {0.0, 3.0, 0x1p-24}) {
    const Rows rows =
        make_rows(DType::f16, 1, kTokensPerPage, d, std::vector<double>(static_cast<std::size_t>(kTokensPerPage) * d, height));
    const EncodedPage page = codec.encode(rows.view(), rows.view(), 0);
    for (const std::vector<float>& decoded : {codec.decode_keys(page), codec.decode_values(page)}) {
      for (float x : decoded) ASSERT_TRUE(std::isfinite(x) && (height > 0.0 || x == 0.0f)) << "found " << x << " for " << height;
    }
  }
}

std::vector<Case> all_cases() {
  static const std::vector<std::string> kTypes =
      with_every_code({"k2v2", "k3v2", "k3v3", "k4v3", "k4v4", "k1v1", "kl4vs2", "ks2vl8", "f16"});
  std::vector<Case> cases;
  for (const std::string& type : kTypes) {
    const char* cache_type = type.c_str();
    for (int d : {QJL_TEST_HEAD_DIMS}) {
      if (made_for(type, d)) cases.push_back({cache_type, d});
    }
    cases.push_back({cache_type, 64, Turn::none});
    cases.push_back({cache_type, made_for(type, 80) ? 80 : 64, Turn::partial});
  }
  return cases;
}
std::string case_name(const ::testing::TestParamInfo<Case>& info) {
  constexpr const char* kTurns[] = {"_still", "", "_partial"};
  return std::string(info.param.cache_type) + "_d" + std::to_string(info.param.d) + kTurns[static_cast<int>(info.param.turn)];
}
INSTANTIATE_TEST_SUITE_P(All, OnePage, ::testing::ValuesIn(all_cases()), case_name);

}  // namespace
}  // namespace qjl::test
