// Every verb on every target of this processor: encoders give the same bytes, scores and attention agree with decoded numbers and
// the oracle's attention over them, pieces merge to the whole.
#include "cache_config.hpp"
#include "every_code.hpp"
#include "forced_target.hpp"
#include "oracle_view.hpp"
#include "rounding_terms.hpp"
#include "sealed_pages.hpp"
#include "softmax_state.hpp"

namespace qjl::test {
namespace {

const std::vector<std::string> kCacheTypes =
    with_every_code({"k1v1", "k2v2", "k3v3", "k4v4", "kl4vs2", "ks2vl16", "kl8vf16", "kf16vl8", "f16", "paper"});
constexpr int kHeadDims[] = {QJL_TEST_HEAD_DIMS};

std::string name(const std::string& cache_type, int d, SimdTarget target) {
  return cache_type + " d=" + std::to_string(d) + " " + std::string(simd_target_name(target));
}

TEST(Kernels, EncodersGiveTheSameBytesOnEveryTarget) {
  for (const std::string& cache_type : kCacheTypes) {
    for (int d : kHeadDims) {
      if (!made_for(cache_type, d)) continue;
      for (DType dtype : {DType::f16, DType::bf16}) {
        const CodecConstants constants(d, turned_config(cache_type, d), dtype);
        Integers random(static_cast<std::uint64_t>(d));
        const Rows keys = awkward_rows(random, dtype, 2 * kTokensPerPage, d),
                   values = awkward_rows(random, dtype, 2 * kTokensPerPage, d);
        const Sealed first = seal(cpu::backend(SimdTarget::scalar), constants.tables(), keys, values, 4);
        for (SimdTarget target : simd_targets()) {
          const Sealed other = seal(cpu::backend(target), constants.tables(), keys, values, 4);
          EXPECT_EQ(std::memcmp(first.bodies.data, other.bodies.data, first.bodies.bytes), 0) << name(cache_type, d, target);
          EXPECT_EQ(std::memcmp(first.heads.data(), other.heads.data(), first.heads.size() * sizeof(layout::PageHead)), 0)
              << name(cache_type, d, target);
        }
      }
    }
  }
}

// Zero rows decode to the mean and to zero, whatever the code; a page of zeros has no NaN anywhere.
TEST(Kernels, ZeroPagesDecodeToZero) {
  for (const std::string& cache_type : kCacheTypes) {
    for (int d : kHeadDims) {
      if (!made_for(cache_type, d)) continue;
      const CodecConstants constants(d, turned_config(cache_type, d), DType::f16);
      const Rows zeros =
          make_rows(DType::f16, 1, kTokensPerPage, d, std::vector<double>(static_cast<std::size_t>(kTokensPerPage) * d));
      for (SimdTarget target : simd_targets()) {
        const Backend& verbs = cpu::backend(target);
        const Decoded numbers = decode(verbs, constants.tables(), seal(verbs, constants.tables(), zeros, zeros, 0));
        for (std::size_t i = 0; i < numbers.keys.size(); ++i) {
          ASSERT_EQ(numbers.keys[i], 0.0f) << name(cache_type, d, target) << " key " << i;
          ASSERT_EQ(numbers.values[i], 0.0f) << name(cache_type, d, target) << " value " << i;
        }
      }
    }
  }
}

// A score is <q, decoded key> up to rounding: u |q| reach for each of score_terms (projection and dots), and the decoder's
// rotation.
TEST(Kernels, ScoresAreDotsWithDecodedKeys) {
  for (const std::string& cache_type : kCacheTypes) {
    for (int d : kHeadDims) {
      if (!made_for(cache_type, d)) continue;
      const CodecConfig config = turned_config(cache_type, d);
      const CodecConstants constants(d, config, DType::f16);
      const CodecTables& tables = constants.tables();
      Integers random(static_cast<std::uint64_t>(d) + 1);
      const Rows keys = lifelike_rows(random, DType::f16, 1, kTokensPerPage, d);
      const double terms = score_terms(oracle_format(d, config)) + projection_norm_terms(d);
      for (int rows : {1, 3, 4, 35}) {
        const Rows queries = bell_rows(random, DType::f32, 1, rows, d);
        const auto* q = reinterpret_cast<const float*>(queries.words.data());
        for (SimdTarget target : simd_targets()) {
          const Backend& verbs = cpu::backend(target);
          const Sealed sealed = seal(verbs, tables, keys, keys, 0);
          const Decoded numbers = decode(verbs, tables, sealed);
          const std::uint8_t* outliers = sealed.bodies.data + layout::body_layout(tables.shape).outlier_idx;
          std::vector<float> projected(static_cast<std::size_t>(rows) * layout::key_coordinates(tables.shape));
          std::vector<float> scores(static_cast<std::size_t>(rows) * kTokensPerPage);
          Lines workspace(verbs.attend_workspace_bytes(tables));
          verbs.project_query({&tables, q, rows, outliers, projected.data()});
          verbs.score({&tables, q, projected.data(), rows, &sealed.heads[0], sealed.bodies.data, scores.data(), workspace.data});
          for (int row = 0; row < rows; ++row) {
            const oracle::Vector query = queries.row(0, row);
            for (int t = 0; t < kTokensPerPage; ++t) {
              const float* key = &numbers.keys[static_cast<std::size_t>(t) * d];
              double expected = 0.0;
              for (int c = 0; c < d; ++c) expected += query[c] * key[c];
              const double bound =
                  kUnit * terms * oracle::norm(query) * key_reach(tables.shape, sealed.heads[0], sealed.bodies.data, key);
              ASSERT_NEAR(scores[static_cast<std::size_t>(row) * kTokensPerPage + layout::slot_of_token(t)], expected, bound)
                  << name(cache_type, d, target) << " row " << row << " token " << t;
            }
          }
        }
      }
    }
  }
}

// One call of attend: two pages with sinks, a tail and a new chunk, as a cache would ask.
struct Case {
  int group, queries;
  std::int64_t window;
  float cap;
};
struct Scene {
  Rows keys, values, queries;  // keys and values [all tokens, d]; the sealed ones come first
  int num_sinks, sealed_tokens, tail_tokens;
};

struct Positions {
  std::int64_t first, end;
};
struct Partial {
  std::vector<float> out, max, sum;
};
Partial run(const Backend& verbs, const CodecTables& tables, const Scene& scene, const Sealed& sealed, const Case& c,
            const Positions& range) {
  const int d = tables.shape.head_dim, rows = c.group * c.queries, total = scene.keys.tokens;
  const auto* keys = reinterpret_cast<const std::uint16_t*>(scene.keys.words.data());
  const auto* values = reinterpret_cast<const std::uint16_t*>(scene.values.words.data());
  const auto segment = [&](int first, int count) {
    return ExactRows{keys + std::int64_t{first} * d, values + std::int64_t{first} * d, 0, d, first, count};
  };
  const int chunk_first = scene.sealed_tokens + scene.tail_tokens;
  AttendArgs args{};
  args.tables = &tables;
  args.row_dtype = DType::f16;
  args.queries = scene.queries.words.data();  // [group, queries, d]
  args.query_dtype = DType::f32;
  args.query_head_stride = std::int64_t{c.queries} * d;
  args.query_token_stride = d;
  args.num_query_heads = c.group;
  args.num_kv_heads = 1;
  args.num_queries = c.queries;
  args.first_query_position = total - c.queries;
  args.pages = {sealed.bodies.data,
                0,
                layout::body_layout(tables.shape).bytes,
                sealed.heads.data(),
                0,
                1,
                sealed.table.data(),
                static_cast<std::int64_t>(sealed.table.size())};
  args.exact[0] = segment(0, scene.num_sinks);
  args.exact[1] = segment(scene.sealed_tokens, scene.tail_tokens);
  args.exact[2] = segment(chunk_first, total - chunk_first);
  args.num_exact = 3;
  args.softmax_scale = 1.0f / std::sqrt(static_cast<float>(d));
  args.logit_soft_cap = c.cap;
  args.sliding_window = c.window;
  Partial out{std::vector<float>(static_cast<std::size_t>(rows) * d), std::vector<float>(static_cast<std::size_t>(rows)),
              std::vector<float>(static_cast<std::size_t>(rows))};
  Lines workspace(verbs.attend_workspace_bytes(tables));
  verbs.attend(
      args, {0, 0, c.group, 0, c.queries, range.first, range.end, out.out.data(), out.max.data(), out.sum.data(), workspace.data});
  return out;
}

// What attention should see: decoded rows where pages are sealed, else the rows themselves; and the largest that kernels add up.
struct PlainRows {
  std::vector<oracle::Vector> keys, values;
  double key_reach = 0.0, value_reach = 0.0;

  PlainRows(const CodecTables& tables, const Scene& scene, const Sealed& sealed) {
    const Decoded numbers = decode(cpu::backend(SimdTarget::scalar), tables, sealed);
    const int d = tables.shape.head_dim;
    for (int t = 0; t < scene.keys.tokens; ++t) {
      keys.push_back(scene.keys.row(0, t));
      values.push_back(scene.values.row(0, t));
      if (t >= scene.num_sinks && t < scene.sealed_tokens) {
        const std::ptrdiff_t at = std::ptrdiff_t{t} * d, page = t / kTokensPerPage;
        keys[t].assign(numbers.keys.begin() + at, numbers.keys.begin() + at + d);
        values[t].assign(numbers.values.begin() + at, numbers.values.begin() + at + d);
        const std::uint8_t* body = sealed.bodies.data + page * layout::body_layout(tables.shape).bytes;
        key_reach = std::max(key_reach, test::key_reach(tables.shape, sealed.heads[page], body, &numbers.keys[at]));
      }
      key_reach = std::max(key_reach, oracle::norm(keys[t]));
      value_reach = std::max(value_reach, 2.0 * std::sqrt(2.0) * oracle::norm(values[t]));  // s2: two parts of norm |v|, nearly
    }
  }
};

TEST(Kernels, AttendIsSoftmaxOverDecodedNumbers) {
  const Case cases[] = {{3, 1, 0, 0.0f}, {1, 5, 0, 0.0f}, {8, 4, 100, 0.0f}, {1, 31, 200, 30.0f}, {32, 1, 0, 30.0f}};
  for (const std::string& cache_type : kCacheTypes) {
    for (int d : kHeadDims) {
      if (!made_for(cache_type, d)) continue;
      const CodecConfig config = turned_config(cache_type, d);
      const CodecConstants constants(d, config, DType::f16);
      const CodecTables& tables = constants.tables();
      for (const Case& c : cases) {
        Integers random(static_cast<std::uint64_t>(d + c.group));
        const int total = 2 * kTokensPerPage + 77 + c.queries;
        const Scene scene{bell_rows(random, DType::f16, 1, total, d),
                          bell_rows(random, DType::f16, 1, total, d),
                          bell_rows(random, DType::f32, c.group, c.queries, d),
                          4,
                          2 * kTokensPerPage,
                          77};
        // the bytes are those of every target
        const Sealed sealed = seal(cpu::backend(SimdTarget::scalar), tables, scene.keys, scene.values, scene.num_sinks);
        const PlainRows rows(tables, scene, sealed);
        std::vector<Partial> found;
        for (SimdTarget target : simd_targets()) {
          found.push_back(run(cpu::backend(target), tables, scene, sealed, c, {0, total}));
        }
        // Of many rows the emulator's turn checks every seventh.
        const int step = c.group * c.queries > 12 ? std::max(1, QJL_TEST_STRIDE - 1) : 1;
        for (int row = 0; row < c.group * c.queries; row += step) {
          const oracle::Vector q = scene.queries.row(row % c.group, row / c.group);
          const oracle::Attended e = oracle::attend(q, rows.keys, rows.values, total - c.queries + row / c.group,
                                                    {1.0f / std::sqrt(static_cast<float>(d)), c.cap, c.window});
          for (std::size_t i = 0; i < found.size(); ++i) {
            const SimdTarget target = simd_targets()[i];
            // bound of a logit = u |q| reach for each rounding of a score and of two rotations, tanh (4e-7 of the cap), byte
            // tables; of a weight = what that makes of exp, exp itself (4e-7) and sums of `total` terms, twice: in out and in their
            // sum.
            const AddedByBytes added = added_by_bytes(target, tables, oracle_format(d, config), sealed, q, total);
            const double logit = kUnit * (score_terms(oracle_format(d, config)) + 2.0 * projection_norm_terms(d)) *
                                     oracle::norm(q) * rows.key_reach / std::sqrt(d) +
                                 4e-7 * c.cap + 2.0 * kUnit * e.largest_logit + added.score / std::sqrt(d);
            const double weight = 2.0 * (std::expm1(logit) + 4e-7 + kUnit * total);
            const double bound = (weight + kUnit * (projection_norm_terms(d) + 16.0)) * rows.value_reach + added.out;
            const float lse = log_sum_exp({found[i].max[row], found[i].sum[row]});
            ASSERT_NEAR(lse, e.lse, weight + kUnit * 4.0 * std::abs(e.lse)) << name(cache_type, d, target) << " row " << row;
            for (int channel = 0; channel < d; ++channel) {
              ASSERT_NEAR(found[i].out[static_cast<std::size_t>(row) * d + channel] / found[i].sum[row], e.out[channel], bound)
                  << name(cache_type, d, target) << " group " << c.group << " row " << row << " channel " << channel;
            }
          }
        }
      }
    }
  }
}

// Pieces [0, 128), [128, 256), [256, end) merge to the whole; a piece that nothing is in is -infinity, 0 and 0.
TEST(Kernels, PiecesMergeToTheWhole) {
  const Case c{4, 3, 150, 0.0f};
  for (int d : {64, 96}) {
    const CodecConstants constants(d, turned_config("k3v2", d), DType::f16);
    Integers random(7);
    const int total = 2 * kTokensPerPage + 40;
    const Scene scene{bell_rows(random, DType::f16, 1, total, d),
                      bell_rows(random, DType::f16, 1, total, d),
                      bell_rows(random, DType::f32, c.group, c.queries, d),
                      4,
                      2 * kTokensPerPage,
                      37};
    for (SimdTarget target : simd_targets()) {
      const Backend& verbs = cpu::backend(target);
      const Sealed sealed = seal(verbs, constants.tables(), scene.keys, scene.values, 4);
      const Partial whole = run(verbs, constants.tables(), scene, sealed, c, {0, total});
      Partial merged = run(verbs, constants.tables(), scene, sealed, c, {0, kTokensPerPage});
      for (std::int64_t first = kTokensPerPage; first < total; first += kTokensPerPage) {
        const Partial part =
            run(verbs, constants.tables(), scene, sealed, c, {first, std::min<std::int64_t>(first + kTokensPerPage, total)});
        for (int row = 0; row < 12; ++row) {
          SoftmaxState state{merged.max[row], merged.sum[row]};
          merge(state, &merged.out[row * d], {part.max[row], part.sum[row]}, &part.out[row * d], d);
          merged.max[row] = state.max;
          merged.sum[row] = state.sum;
        }
      }
      for (int i = 0; i < 12 * d; ++i) {  // the same sums in another order: 2 * total roundings of numbers up to 8
        ASSERT_NEAR(merged.out[i] / merged.sum[i / d], whole.out[i] / whole.sum[i / d], kUnit * 2.0 * total * 8.0)
            << "d=" << d << " " << simd_target_name(target) << " at " << i;
      }
      const Partial nothing = run(verbs, constants.tables(), scene, sealed, {4, 3, 20, 0.0f}, {0, kTokensPerPage});
      for (int row = 0; row < 12; ++row) {
        EXPECT_EQ(nothing.max[row], -std::numeric_limits<float>::infinity());
        EXPECT_EQ(nothing.sum[row], 0.0f);
      }
      for (float x : nothing.out) EXPECT_EQ(x, 0.0f);
    }
  }
}

}  // namespace
}  // namespace qjl::test
