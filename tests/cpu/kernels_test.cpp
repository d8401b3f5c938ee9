// Every verb on every target of this processor: encoders give the same bytes, scores and attention agree with decoded numbers and
// the oracle's attention over them, pieces merge to the whole.
#include "attend_call.hpp"
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

TEST(Kernels, AttendIsSoftmaxOverDecodedNumbers) {
  const AttendCase cases[] = {{3, 1, 0, 0.0f}, {1, 5, 0, 0.0f}, {8, 4, 100, 0.0f}, {1, 31, 200, 30.0f}, {32, 1, 0, 30.0f}};
  for (const std::string& cache_type : kCacheTypes) {
    for (int d : kHeadDims) {
      if (!made_for(cache_type, d)) continue;
      const CodecConfig config = turned_config(cache_type, d);
      const CodecConstants constants(d, config, DType::f16);
      const CodecTables& tables = constants.tables();
      for (const AttendCase& c : cases) {
        Integers random(static_cast<std::uint64_t>(d + c.group));
        const int total = 2 * kTokensPerPage + 77 + c.queries;
        const AttendScene scene{bell_rows(random, DType::f16, 1, total, d),
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
          found.push_back(run_attend(cpu::backend(target), tables, scene, sealed, c, {0, total}));
        }
        // Of many rows the emulator's turn checks every seventh.
        const int step = c.group * c.queries > 12 ? std::max(1, QJL_TEST_STRIDE - 1) : 1;
        for (int row = 0; row < c.group * c.queries; row += step) {
          const oracle::Vector q = scene.queries.row(row % c.group, row / c.group);
          const oracle::Attended e = oracle::attend(q, rows.keys, rows.values, total - c.queries + row / c.group,
                                                    {1.0f / std::sqrt(static_cast<float>(d)), c.cap, c.window});
          for (std::size_t i = 0; i < found.size(); ++i) {
            const SimdTarget target = simd_targets()[i];
            const AddedByBytes added = added_by_bytes(target, tables, oracle_format(d, config), sealed, q, total);
            const auto [weight, bound] = attend_bounds(oracle_format(d, config), rows, c, oracle::norm(q), e.largest_logit, added);
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
  const AttendCase c{4, 3, 150, 0.0f};
  for (int d : {64, 96}) {
    const CodecConstants constants(d, turned_config("k3v2", d), DType::f16);
    Integers random(7);
    const int total = 2 * kTokensPerPage + 40;
    const AttendScene scene{bell_rows(random, DType::f16, 1, total, d),
                            bell_rows(random, DType::f16, 1, total, d),
                            bell_rows(random, DType::f32, c.group, c.queries, d),
                            4,
                            2 * kTokensPerPage,
                            37};
    for (SimdTarget target : simd_targets()) {
      const Backend& verbs = cpu::backend(target);
      const Sealed sealed = seal(verbs, constants.tables(), scene.keys, scene.values, 4);
      const Partial whole = run_attend(verbs, constants.tables(), scene, sealed, c, {0, total});
      Partial merged = run_attend(verbs, constants.tables(), scene, sealed, c, {0, kTokensPerPage});
      for (std::int64_t first = kTokensPerPage; first < total; first += kTokensPerPage) {
        const Partial part =
            run_attend(verbs, constants.tables(), scene, sealed, c, {first, std::min<std::int64_t>(first + kTokensPerPage, total)});
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
      const Partial nothing = run_attend(verbs, constants.tables(), scene, sealed, {4, 3, 20, 0.0f}, {0, kTokensPerPage});
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
