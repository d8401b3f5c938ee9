// The verbs of the CUDA back end that take one page or one piece: scores are dots with decoded keys, whatever the order of threads;
// a piece alone gives what it gives in a batch.
#include "attend_scene.hpp"
#include "cache_config.hpp"
#include "oracle_view.hpp"
#include "rounding_terms.hpp"

namespace qjl::test {
namespace {

// u |q| reach for each of score_terms (projection and dots), and the decoder's rotation.
TEST(CudaScore, ScoresAreDotsWithDecodedKeys) {
  const Backend& cpu = cpu::backend(SimdTarget::scalar);
  for (const char* cache_type : {"k1v1", "k2v2", "kl4vs2", "k3v2", "k4v4", "f16", "paper"}) {
    for (int d : {64, 96, 128}) {
      const CodecConfig config = turned_config(cache_type, d);
      const CodecConstants constants(d, config, DType::f16);
      const CodecTables& tables = constants.tables();
      Integers random(static_cast<std::uint64_t>(d));
      const Rows keys = lifelike_rows(random, DType::f16, 1, kTokensPerPage, d);
      const Sealed sealed = seal(cpu, tables, keys, keys, 0);
      const Decoded numbers = decode(cpu, tables, sealed);
      const double terms = score_terms(oracle_format(d, config)) + projection_norm_terms(d);
      const int rows = 6;
      const Rows queries = bell_rows(random, DType::f32, 1, rows, d);
      const auto* q = reinterpret_cast<const float*>(queries.words.data());
      for (const int order : kOrders) {
        take_turns(order);
        std::vector<float> projected(static_cast<std::size_t>(rows) * layout::key_coordinates(tables.shape));
        std::vector<float> scores(static_cast<std::size_t>(rows) * kTokensPerPage);
        const std::uint8_t* outliers = sealed.bodies.data + layout::body_layout(tables.shape).outlier_idx;
        cuda::project_query({&tables, q, rows, outliers, projected.data()});
        wait_for_device();
        cuda::score({&tables, q, projected.data(), rows, &sealed.heads[0], sealed.bodies.data, scores.data(), nullptr});
        wait_for_device();
        for (int row = 0; row < rows; ++row) {
          const oracle::Vector query = queries.row(0, row);
          for (int t = 0; t < kTokensPerPage; ++t) {
            const float* key = &numbers.keys[static_cast<std::size_t>(t) * d];
            double expected = 0.0;
            for (int c = 0; c < d; ++c) expected += query[c] * key[c];
            const double bound =
                kUnit * terms * oracle::norm(query) * key_reach(tables.shape, sealed.heads[0], sealed.bodies.data, key);
            ASSERT_NEAR(scores[static_cast<std::size_t>(row) * kTokensPerPage + layout::slot_of_token(t)], expected, bound)
                << cache_type << " d=" << d << " row " << row << " token " << t;
          }
        }
      }
    }
  }
}

TEST(CudaAttendVerb, TakesAPieceWithoutAPlan) {
  for (const char* cache_type : {"k2v2", "k3v2", "paper"}) {
    const AttendCase c{.cache_type = cache_type, .kv_heads = 2, .queries = 2, .window = 150, .pages_a_piece = 2};
    const CodecConstants constants(c.d, turned_config(cache_type, c.d), DType::f16);
    Integers random(12);
    Story story(c, constants.tables(), 3, random);
    Plan plan;
    plan.add(c, story, constants.tables());
    plan.run(constants.tables());
    for (const AttendPiece& of_batch : plan.pieces) {
      const int rows = of_batch.num_queries * of_batch.num_heads_in_group;
      std::vector<float> out(static_cast<std::size_t>(rows * c.d)), max(static_cast<std::size_t>(rows)), sum(max.size());
      AttendPiece piece = of_batch;
      piece.out = out.data(), piece.max = max.data(), piece.sum = sum.data();
      cuda::attend(plan.requests[0], piece, nullptr);
      wait_for_device();
      EXPECT_EQ(max, std::vector<float>(of_batch.max, of_batch.max + rows)) << cache_type;
      EXPECT_EQ(sum, std::vector<float>(of_batch.sum, of_batch.sum + rows)) << cache_type;
      EXPECT_EQ(out, std::vector<float>(of_batch.out, of_batch.out + rows * c.d)) << cache_type;
    }
  }
}

}  // namespace
}  // namespace qjl::test
