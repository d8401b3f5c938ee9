// attend() over a KvCache, judged by softmax attention in doubles over the numbers that the cache stands for: sealed pages as the
// oracle reads their bytes, sinks, tail and chunk as the caller gave them, rounded once to 16 bits.
// Every group size meets every length and every number of queries; head_dim, cache type, number format, soft cap, window, chunk and
// pieces of append are drawn for each case. Bounds: docs/numerics.md.
#include <numeric>

#include "byte_loop_error.hpp"
#include "cache_config.hpp"
#include "forced_target.hpp"
#include "oracle_view.hpp"
#include "qjl/attention.hpp"
#include "rounding_terms.hpp"
#include "test_rows.hpp"

namespace qjl::test {
namespace {

struct Case {
  int group, tokens, queries;  // tokens: cached ones
  int kv_heads = 2, d = 64;
  const char* cache_type = "k3v2";
  DType dtype = DType::f32, tail = DType::f16;
  bool chunk = false, token_major = false;  // token_major: queries, chunk and out as a matrix product writes them
  AttendOptions options{};

  friend std::ostream& operator<<(std::ostream& out, const Case& c) {
    return out << c.cache_type << " d=" << c.d << " group=" << c.group << " kv_heads=" << c.kv_heads << " tokens=" << c.tokens
               << " queries=" << c.queries << " dtype=" << static_cast<int>(c.dtype) << " tail=" << static_cast<int>(c.tail)
               << " chunk=" << c.chunk << " token_major=" << c.token_major << " scale=" << c.options.softmax_scale
               << " cap=" << c.options.logit_soft_cap << " window=" << c.options.sliding_window;
  }
};

// The keys and values of one kv head that attention is about.
struct Truth {
  std::vector<oracle::Vector> keys, values;
  std::vector<double> key_rounding;  // of <q, k_t>, in u |q|: score_terms * reach
  std::vector<double> value_reach;
  std::vector<double> key_scale, key_level_norm, value_scale;  // 0 for exact tokens
};

constexpr int kLayer = 1;  // of two, so that a wrong layer shows

class Attended {
 public:
  Attended(const Case& c, std::uint64_t seed)
      : case_(c),
        random_(seed),
        config_(make_config()),
        codec_(oracle_format(c.d, config_.codec, c.tail), config_.codec.seed),
        cache_(config_),
        threads_(2) {
    const int all = c.tokens + (c.chunk ? c.queries : 0);
    keys_ = lifelike_rows(random_, c.dtype, c.kv_heads, all, c.d);
    values_ = lifelike_rows(random_, c.dtype, c.kv_heads, all, c.d);
    queries_ = bell_rows(random_, c.dtype, c.kv_heads * c.group, c.queries, c.d);
    cache_.append(cache_.create(), kLayer, keys_.view(0, std::min(all, 200)), values_.view(0, std::min(all, 200)), threads_);
    sequence_ = cache_.create();
    append_in_pieces();
  }

  void run() {
    const int heads = case_.kv_heads * case_.group;
    out_.assign(static_cast<std::size_t>(heads) * case_.queries * case_.d, NAN);
    lse_.assign(static_cast<std::size_t>(heads) * case_.queries, NAN);
    std::vector<std::uint8_t> words[3];  // queries, keys, values where they are token major
    AttendRequest request{.sequence = sequence_,
                          .queries = arranged(queries_.view(), words[0]),
                          .chunk_keys = {},
                          .chunk_values = {},
                          .out = out_view(),
                          .lse = lse_.data()};
    if (case_.chunk) {
      request.chunk_keys = arranged(keys_.view(case_.tokens, case_.queries), words[1]);
      request.chunk_values = arranged(values_.view(case_.tokens, case_.queries), words[2]);
    }
    AttendPlan plan;
    attend(cache_, kLayer, {&request, 1}, case_.options, plan, threads_);
  }

  void check() const {
    const long long end = case_.tokens + (case_.chunk ? case_.queries : 0);
    oracle::Rule rule{
        .scale = case_.options.softmax_scale, .soft_cap = case_.options.logit_soft_cap, .window = case_.options.sliding_window};
    if (rule.scale == 0.0) rule.scale = 1.0 / std::sqrt(static_cast<double>(case_.d));
    for (int kv_head = 0; kv_head < case_.kv_heads; ++kv_head) {
      const Truth truth = read_truth(kv_head);
      for (int head = kv_head * case_.group; head < (kv_head + 1) * case_.group; ++head) {
        for (int i = 0; i < case_.queries; ++i) {
          const oracle::Vector q = queries_.row(head, i);
          const oracle::Attended expected = oracle::attend(q, truth.keys, truth.values, end - case_.queries + i, rule);
          check_row(head, i, truth, expected, rule.scale);
          if (::testing::Test::HasFailure()) return;
        }
      }
    }
  }

 private:
  CacheConfig make_config() const {
    CacheConfig config;
    config.num_layers = 2;
    config.num_kv_heads = case_.kv_heads;
    config.head_dim = case_.d;
    config.max_pages = (case_.tokens + case_.queries) / kTokensPerPage + 4;
    config.codec = codec_config(case_.cache_type);
    if (case_.group % 4 != 0) config.codec.rope = rope(case_.d * 3 / 8, 1e4);
    if (case_.group % 2 == 0) config.codec.rope.pairs = KeyRope::Pairs::interleaved;
    config.tail_dtype = case_.tail;
    return config;
  }

  OutputView out_view() {
    const int heads = case_.kv_heads * case_.group, d = case_.d;
    return case_.token_major ? OutputView::token_major(out_.data(), heads, case_.queries, d, heads * d)
                             : OutputView::contiguous(out_.data(), heads, case_.queries, d);
  }
  const float* out_row(int head, int query) const {
    const std::size_t heads = static_cast<std::size_t>(case_.kv_heads) * case_.group, queries = case_.queries;
    return &out_[(case_.token_major ? query * heads + head : head * queries + query) * case_.d];
  }

  // The view itself, or a copy of its rows in token-major order with three unused numbers after each token.
  TensorView arranged(const TensorView& view, std::vector<std::uint8_t>& words) const {
    if (!case_.token_major) return view;
    const std::int64_t bytes = dtype_bytes(view.dtype), row = view.heads * view.dim + 3;
    words.assign(static_cast<std::size_t>(view.tokens * row * bytes), 0xff);  // NaN, should anybody read it
    for (std::int64_t h = 0; h < view.heads; ++h) {
      for (std::int64_t t = 0; t < view.tokens; ++t) {
        const auto* from = static_cast<const std::uint8_t*>(view.data) + (h * view.head_stride + t * view.token_stride) * bytes;
        std::copy_n(from, view.dim * bytes, words.begin() + (t * row + h * view.dim) * bytes);
      }
    }
    return TensorView::token_major(words.data(), view.dtype, view.heads, view.tokens, view.dim, row);
  }

  void append_in_pieces() {
    for (int at = 0; at < case_.tokens;) {
      const int piece = std::min<int>(case_.tokens - at, 1 + static_cast<int>(random_.bits(case_.tokens > 1000 ? 10 : 8)));
      cache_.append(sequence_, kLayer, keys_.view(at, piece), values_.view(at, piece), threads_);
      at += piece;
    }
  }

  Truth read_truth(int kv_head) const {
    Truth truth;
    std::unique_ptr<oracle::Sketch> sketch;
    if (codec_.format.key == oracle::Code::jl) {
      sketch = std::make_unique<oracle::Sketch>(codec_.format, config_.codec.seed, oracle::Rows::orthogonal);
    }
    for (int page_idx = 0; page_idx < case_.tokens / kTokensPerPage; ++page_idx) {
      const KvCache::PageBytes bytes = cache_.page(sequence_, kLayer, kv_head, page_idx);
      OracleNumbers numbers = read_page(codec_, sketch.get(), oracle::Page(codec_.format, bytes.head, bytes.body));
      for (double reach : numbers.key_reach) truth.key_rounding.push_back(score_terms(codec_.format) * reach);
      const auto append = [](std::vector<double>& to, const std::vector<double>& from) {
        to.insert(to.end(), from.begin(), from.end());
      };
      append(truth.value_reach, numbers.value_reach);
      append(truth.key_scale, numbers.key_scale);
      append(truth.key_level_norm, numbers.key_level_norm);
      append(truth.value_scale, numbers.value_scale);
      std::move(numbers.keys.begin(), numbers.keys.end(), std::back_inserter(truth.keys));
      std::move(numbers.values.begin(), numbers.values.end(), std::back_inserter(truth.values));
    }
    const int sealed = static_cast<int>(truth.keys.size()), sinks = std::min(config_.codec.sink_tokens, sealed);
    truth.keys.resize(keys_.tokens), truth.values.resize(keys_.tokens);
    for (auto* x : {&truth.key_rounding, &truth.value_reach, &truth.key_scale, &truth.key_level_norm, &truth.value_scale})
      x->resize(keys_.tokens);
    for (int t = 0; t < keys_.tokens; ++t) {
      if (t >= sinks && t < sealed) continue;  // else exact: a sink, in the open tail, or in the chunk
      truth.keys[t] = keys_.row(kv_head, t), truth.values[t] = values_.row(kv_head, t);
      for (double& x : truth.keys[t]) x = round_to_dtype(x, case_.tail);
      for (double& x : truth.values[t]) x = round_to_dtype(x, case_.tail);
      truth.key_rounding[t] = (case_.d + 16.0) * oracle::norm(truth.keys[t]);
      truth.value_reach[t] = oracle::norm(truth.values[t]);
      truth.key_scale[t] = truth.key_level_norm[t] = truth.value_scale[t] = 0.0;
    }
    return truth;
  }

  // Logit t is off by e_t = u (scale |q| rounding_t + 12 (1 + |s|)), twelve for soft cap and exponential, and by what tables add.
  // To first order lse moves by sum_t w_t e_t at most and out[c] by sum_t w_t |v_t[c] - out[c]| e_t; a twentieth, and exp(e) - 1
  // for tables, covers the second. Sums of n weights and of n weighted values, rescaled as the maximum moves, are off by 2 n u; the
  // rotation back by its terms.
  void check_row(int head, int i, const Truth& truth, const oracle::Attended& expected, double scale) const {
    const oracle::Vector q = queries_.row(head, i);
    const float lse = lse_[static_cast<std::size_t>(head) * case_.queries + i];
    const float* out = out_row(head, i);
    const std::string where = "head " + std::to_string(head) + " query " + std::to_string(i);
    if (std::isinf(expected.lse)) {
      ASSERT_EQ(lse, -std::numeric_limits<float>::infinity()) << "empty range, " << where;
      for (int c = 0; c < case_.d; ++c) ASSERT_EQ(out[c], 0.0f) << "empty range, " << where << " channel " << c;
      return;
    }
    const bool bytes = has_byte_loops(simd_target(), codec_.format);
    const oracle::Vector projected = bytes ? project(codec_, q) : oracle::Vector{};
    const double terms = keys_.tokens + 16.0;
    double lse_error = 0.0, reach = 0.0;
    oracle::Vector out_error(case_.d), squares(case_.d);  // squares: of what rounded weights add
    std::vector<double> scaled_weights(expected.weight);
    for (int t = 0; t < keys_.tokens; ++t) scaled_weights[t] *= truth.value_scale[t];
    const std::vector<double> weight_error =
        bytes ? weight_errors(simd_target(), scaled_weights) : std::vector<double>(keys_.tokens);
    for (int t = 0; t < keys_.tokens; ++t) {
      const double weight = expected.weight[t];
      if (weight == 0.0) continue;
      double e = 1.05 * kUnit * (scale * oracle::norm(q) * truth.key_rounding[t] + 12.0 * (1.0 + expected.largest_logit));
      if (bytes && truth.key_scale[t] > 0.0) {
        e += std::expm1(scale * truth.key_scale[t] * table_error(simd_target(), codec_.format, projected, truth.key_level_norm[t]));
      }
      lse_error += weight * e;
      reach += weight * truth.value_reach[t];
      for (int c = 0; c < case_.d; ++c) {
        out_error[c] += weight * std::abs(truth.values[t][c] - expected.out[c]) * e;
        if (truth.value_scale[t] > 0.0) squares[c] += std::pow(weight_error[t] * truth.values[t][c] / truth.value_scale[t], 2);
      }
    }
    check_near(lse, expected.lse, lse_error + kUnit * (terms + 2.0 * std::abs(expected.lse)), where + " lse");
    const double summing = kUnit * (2.0 * terms + projection_terms(case_.d) + 8.0) * reach;
    for (int c = 0; c < case_.d; ++c) {
      check_near(out[c], expected.out[c], out_error[c] + summing + 6.0 * std::sqrt(squares[c]),
                 where + " channel " + std::to_string(c));
    }
  }

  static void check_near(float found, double expected, double bound, const std::string& where) {
    ASSERT_NEAR(found, expected, bound) << where;
    worst = std::max(worst, std::abs(found - expected) / bound);
  }

 public:
  static inline double worst = 0.0;  // largest error, in bounds

 private:
  Case case_;
  Integers random_;
  CacheConfig config_;
  oracle::Codec codec_;
  KvCache cache_;
  ThreadPool threads_;
  Rows keys_, values_, queries_;
  SequenceId sequence_{};
  std::vector<float> out_, lse_;
};

void expect_agreement(const Case& c, std::uint64_t seed) {
  SCOPED_TRACE(::testing::Message() << c);
  Attended attended(c, seed);
  attended.run();
  attended.check();
}

TEST(OracleAttend, EveryGroupLengthAndNumberOfQueries) {
  constexpr const char* kTypes[] = {"k2v2", "k3v2", "k3v3", "k4v3", "k4v4", "f16", "paper", "k1v1"};
  constexpr int kDims[] = {64, 80, 96, 128};
  Integers random(3);
  for (int number = 0; int tokens : {0, 1, 127, 128, 129, 300}) {
    for (int group : {1, 3, 4, 7, 8, 9}) {
      for (int queries : {1, 2, 5, 130}) {
        Case c{.group = group, .tokens = tokens, .queries = queries};
        c.kv_heads = 1 + static_cast<int>(random.bits(1));
        c.d = kDims[random.bits(2)];
        c.cache_type = kTypes[random.bits(3)];
        c.dtype = DType{static_cast<std::uint8_t>(random.bits(2) % 3)};
        c.tail = random.bits(1) ? DType::f16 : DType::bf16;
        c.chunk = random.bits(1);
        c.token_major = random.bits(1);
        c.options.logit_soft_cap = random.bits(2) == 0 ? 5.0f : 0.0f;
        c.options.sliding_window = random.bits(2) == 0 ? 1 + random.bits(8) : 0;
        c.options.softmax_scale = random.bits(2) == 0 ? 0.4f : 0.0f;
        if (number++ % QJL_TEST_STRIDE != 0) continue;
        expect_agreement(c, static_cast<std::uint64_t>(tokens * 10000 + group * 1000 + queries));
        if (HasFailure()) return;
      }
    }
  }
  std::cout << "largest error " << Attended::worst << " of its bound\n";
}

TEST(OracleAttend, LongSequences) {
  const Case cases[] = {
      {.group = 1, .tokens = 4096, .queries = 1, .kv_heads = 1, .d = 128, .cache_type = "k2v2"},
      {.group = 3, .tokens = 4096, .queries = 2, .kv_heads = 1, .d = 64, .cache_type = "k3v2"},
      {.group = 4, .tokens = 4096, .queries = 5, .kv_heads = 1, .d = 64, .cache_type = "k3v3", .chunk = true},
      {.group = 8, .tokens = 4096, .queries = 130, .kv_heads = 1, .d = 64, .cache_type = "k4v3", .chunk = true},
      {.group = 7, .tokens = 4099, .queries = 130, .kv_heads = 1, .d = 64, .cache_type = "k4v4"},
      {.group = 9, .tokens = 4096, .queries = 1, .kv_heads = 2, .d = 64, .cache_type = "k2v2", .options = {.sliding_window = 1500}},
      {.group = 9, .tokens = 4096, .queries = 1, .kv_heads = 2, .d = 64, .cache_type = "t3v3", .options = {.sliding_window = 1500}},
      {.group = 32, .tokens = 1500, .queries = 3, .kv_heads = 1, .d = 80, .cache_type = "k3v2", .chunk = true},
      {.group = 2, .tokens = 600, .queries = 2, .kv_heads = 1, .d = 256, .cache_type = "k4v4"},
      {.group = 2, .tokens = 600, .queries = 2, .kv_heads = 1, .d = 256, .cache_type = "k6v6"},
      {.group = 2, .tokens = 600, .queries = 2, .kv_heads = 1, .d = 256, .cache_type = "k2v2", .options = {.logit_soft_cap = 3}},
      {.group = 40, .tokens = 260, .queries = 2, .kv_heads = 1, .d = 64, .cache_type = "paper"},
  };
  for (std::size_t i = QJL_TEST_STRIDE - 1; i < std::size(cases); i += QJL_TEST_STRIDE) expect_agreement(cases[i], 99);
  std::cout << "largest error " << Attended::worst << " of its bound\n";
}

}  // namespace
}  // namespace qjl::test
