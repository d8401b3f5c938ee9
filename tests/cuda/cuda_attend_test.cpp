// Attention of the CUDA back end, on the host: every kernel against softmax over decoded numbers in doubles.
#include "attend_scene.hpp"
#include "cache_config.hpp"
#include "oracle_view.hpp"
#include "page_codes.cuh"
#include "rounding_terms.hpp"

namespace qjl::test {
namespace {

// The pairs that fast kernels take, whose queries are whole numbers: of steps of the row's largest coordinate / `steps`.
struct WholeQueries {
  bool taken;
  double steps;
};
WholeQueries whole_queries(const layout::PageShape& shape) {
  const Code key = shape.key_code, value = shape.value_code;
  const bool signs = key == Code::s1 || key == Code::s2, levels = value == Code::l4 || value == Code::l8 || value == Code::l16;
  const bool taken =
      signs ? value == Code::l4 : (key == Code::l8 || key == Code::l16) && levels && !(key == Code::l16 && value == Code::l4);
  return {taken, signs ? 31.0 : 16256.0};
}

// One kv head of one sequence as attention should see it: decoded rows where pages are sealed, else the rows themselves. Levels
// times scale of sealed keys, in projected coordinates, for what whole queries change.
struct Truth {
  std::vector<oracle::Vector> keys, values, levels;
  double key_reach = 0.0, value_reach = 0.0, mean = 0.0, key_scale = 0.0, value_scale = 0.0;
};
Truth truth_of(const CodecTables& tables, const Story& story, int head) {
  Truth truth;
  const Sealed& sealed = story.sealed[head];
  const Decoded numbers = decode(cpu::backend(SimdTarget::scalar), tables, sealed);
  const layout::PageShape& shape = tables.shape;
  const layout::BodyLayout at = layout::body_layout(shape);
  const int d = shape.head_dim;
  for (int t = 0; t < story.tokens; ++t) {
    truth.keys.push_back(story.keys[head].row(0, t));
    truth.values.push_back(story.values[head].row(0, t));
    truth.levels.emplace_back();
    if (t >= kSceneSinks && t < story.pages * kTokensPerPage) {
      const std::ptrdiff_t first = std::ptrdiff_t{t} * d, page = t / kTokensPerPage;
      const int slot = layout::slot_of_token(t % kTokensPerPage);
      truth.keys[t].assign(numbers.keys.begin() + first, numbers.keys.begin() + first + d);
      truth.values[t].assign(numbers.values.begin() + first, numbers.values.begin() + first + d);
      const layout::PageHead& of_page = sealed.heads[page];
      const std::uint8_t* body = sealed.bodies.data + page * at.bytes;
      truth.key_reach = std::max(truth.key_reach, key_reach(shape, of_page, body, &numbers.keys[first]));
      truth.mean = std::max(truth.mean, 127.0 * of_page.mean_scale * std::sqrt(d));
      truth.key_scale = std::max(truth.key_scale, double{of_page.key_scale_max});
      truth.value_scale = std::max(truth.value_scale, double{of_page.value_scale_max});
      const double scale = shape.key.rotated() ? of_page.key_scale_max * scale_factor(body[at.key_scales + slot]) : 0.0;
      for (int c = 0; whole_queries(shape).taken && c < layout::key_coordinates(shape); ++c)
        truth.levels[t].push_back(scale * level_of(shape.key_code, cuda::key_code_at(shape, body + at.keys, slot, c)));
    }
    truth.key_reach = std::max(truth.key_reach, oracle::norm(truth.keys[t]));
    truth.value_reach = std::max(truth.value_reach, 2.0 * std::sqrt(2.0) * oracle::norm(truth.values[t]));
  }
  return truth;
}

double worst = 0.0;  // error, in bounds

oracle::Rule rule_of(const AttendCase& c) {
  return {1.0f / std::sqrt(static_cast<float>(c.d)), c.cap, static_cast<long long>(c.window)};
}

// What rounding to whole steps changes in each coordinate of a projected query; its largest.
oracle::Vector rounding_of(const CodecTables& tables, const oracle::Vector& q, double& largest) {
  const layout::PageShape& shape = tables.shape;
  const double steps = whole_queries(shape).steps;
  const std::vector<float> query(q.begin(), q.end());
  std::vector<float> projected(static_cast<std::size_t>(layout::key_coordinates(shape)));
  cpu::backend(SimdTarget::scalar).project_query({&tables, query.data(), 1, nullptr, projected.data()});
  largest = 0.0;
  for (float x : projected) largest = std::max(largest, std::abs(double{x}));
  oracle::Vector change;
  for (float x : projected) change.push_back(largest == 0.0 ? 0.0 : std::nearbyint(x * steps / largest) * largest / steps - x);
  return change;
}

// Attention of a query as the kernels round it: a further coordinate, 1 in the query, has what rounding adds to each score.
// Left is what the bounds have: of a score, six standard errors of the rounded turns of the query in `line`, and the bias of
// products of bits, 2^25 steps rounded twice; of the output, six standard errors of 1024 weights that are off by less than 1 / 8191
// of the largest sum of a lane, which is at most the sum of all, in units of a value's scale; levels are 1 / unit on the average.
struct Rounded {
  oracle::Attended attended;
  double score = 0.0, out = 0.0;
};
Rounded attend_rounded(const CodecTables& tables, const Truth& truth, oracle::Vector q, long long position,
                       const oracle::Rule& rule) {
  const layout::PageShape& shape = tables.shape;
  const WholeQueries whole = whole_queries(shape);
  if (!whole.taken) return {oracle::attend(q, truth.keys, truth.values, position, rule)};
  double largest = 0.0;
  const oracle::Vector change = rounding_of(tables, q, largest);
  std::vector<oracle::Vector> keys = truth.keys, values = truth.values;
  for (std::size_t t = 0; t < keys.size(); ++t) {
    keys[t].push_back(truth.levels[t].empty() ? 0.0 : oracle::dot(change, truth.levels[t]));
    values[t].push_back(0.0);
  }
  const double norm = oracle::norm(q), step = truth.key_scale * largest / whole.steps;
  q.push_back(1.0);
  const double tokens = std::min<double>(1024.0, static_cast<double>(keys.size()));
  return {oracle::attend(q, keys, values, position, rule),
          6.0 / std::sqrt(12.0) * truth.mean * std::sqrt(2.0) * norm / 16256.0 + (whole.steps < 100.0 ? 4.0 * step : 0.0),
          6.0 * 0.5 * truth.value_scale / 8191.0 * std::sqrt(tokens) / codebook(shape.value_code).unit};
}

// Logits: as scores, then tanh (4e-7 of the cap) and the units of log 2. Weights: 2^x within 2^-22, twice for out and sum. Sums:
// `tokens` terms. What a common change of weights does to the output is bounded by the values' distance from it.
void check_row(const AttendCase& c, const CodecTables& tables, const Story& story, const Truth& truth, int row) {
  const CodecConfig config = turned_config(c.cache_type, c.d);
  const int head = row / c.queries, query = row % c.queries;
  const oracle::Vector q = story.queries.row(head, query);
  const Rounded rounded = attend_rounded(tables, truth, q, story.tokens - c.queries + query, rule_of(c));
  const oracle::Attended& e = rounded.attended;
  const double terms = score_terms(oracle_format(c.d, config)) + 2.0 * projection_norm_terms(c.d);
  const double logit = (kUnit * terms * oracle::norm(q) * truth.key_reach + rounded.score) / std::sqrt(c.d) + 4e-7 * c.cap +
                       8.0 * kUnit * e.largest_logit;
  const double weight = 2.0 * (std::expm1(logit) + 4e-7 + kUnit * story.tokens);
  ASSERT_NEAR(story.lse[row], e.lse, weight + kUnit * 4.0 * std::abs(e.lse)) << c << " row " << row;
  worst = std::max(worst, std::abs(story.lse[row] - e.lse) / (weight + kUnit * 4.0 * std::abs(e.lse)));
  for (int channel = 0; channel < c.d; ++channel) {
    const float found = story.out[static_cast<std::size_t>(row) * c.d + channel];
    double distance = 0.0;
    for (std::size_t t = 0; t < truth.values.size(); ++t)
      distance += e.weight[t] * std::abs(truth.values[t][channel] - e.out[channel]);
    const double bound = weight * distance +
                         kUnit * (projection_norm_terms(c.d) + 16.0 + 4.0 * std::sqrt(story.tokens)) * truth.value_reach +
                         rounded.out;
    ASSERT_NEAR(found, e.out[channel], bound) << c << " row " << row << " channel " << channel;
    worst = std::max(worst, std::abs(found - e.out[channel]) / bound);
  }
}

void expect_agreement(const AttendCase& c) {
  const CodecConstants constants(c.d, turned_config(c.cache_type, c.d), DType::f16);
  const CodecTables& tables = constants.tables();
  Integers random(static_cast<std::uint64_t>(c.d + c.group));
  std::vector<std::unique_ptr<Story>> stories;
  Plan plan;
  for (int pages : c.pages) {
    stories.push_back(std::make_unique<Story>(c, tables, pages, random));
    plan.add(c, *stories.back(), tables);
  }
  plan.run(tables);
  for (const auto& story : stories) {
    for (int head = 0; head < c.kv_heads; ++head) {
      const Truth truth = truth_of(tables, *story, head);
      for (int row = head * c.group * c.queries; row < (head + 1) * c.group * c.queries; ++row) {
        check_row(c, tables, *story, truth, row);
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

// Against the variance that codes give to scores, that of rounded queries is what the byte loops of the CPU may add, 1.5 %, or
// less.
TEST(CudaAttend, RoundedQueriesAddLittle) {
  for (const char* cache_type : {"ks1vl4", "k2v2", "k3v2", "k4v4"}) {
    for (int d : {64, 128}) {
      const AttendCase c{.cache_type = cache_type, .d = d, .pages = {4}};
      const CodecConstants constants(d, turned_config(cache_type, d), DType::f16);
      Integers random(static_cast<std::uint64_t>(d));
      const Story story(c, constants.tables(), c.pages[0], random);
      const Truth truth = truth_of(constants.tables(), story, 0);
      double of_code = 0.0, of_rounding = 0.0;
      for (int row = 0; row < c.group; ++row) {
        const oracle::Vector q = story.queries.row(row, 0);
        double largest = 0.0;
        const oracle::Vector change = rounding_of(constants.tables(), q, largest);
        for (std::size_t t = 0; t < truth.levels.size(); ++t) {
          if (truth.levels[t].empty()) continue;
          of_code += std::pow(oracle::dot(q, truth.keys[t]) - oracle::dot(q, story.keys[0].row(0, static_cast<int>(t))), 2);
          of_rounding += std::pow(oracle::dot(change, truth.levels[t]), 2);
        }
      }
      std::cout << cache_type << " d=" << d << ": rounded queries add " << 100.0 * of_rounding / of_code
                << " % of the code's variance\n";
      EXPECT_LT(of_rounding, 0.015 * of_code) << cache_type << " d=" << d;
      EXPECT_GT(of_rounding, 0.0);
    }
  }
}

TEST(CudaAttend, EveryCode) {
  for (const char* cache_type :
       {"k1v1", "k2v2", "k3v2", "k3v3", "k4v3", "k4v4", "kl4vs2", "ks2vl16", "kl8vf16", "kf16vl8", "f16", "paper", "ks1vl4"}) {
    for (int d : {64, 80, 96, 128, 256}) {
      worst = 0.0;
      expect_agreement({.cache_type = cache_type, .d = d, .group = d == 96 ? 7 : 4, .pages = {1}});
      if (HasFatalFailure()) return;
      std::cout << cache_type << " d=" << d << ": largest error " << worst << " of its bound\n";
    }
  }
}

TEST(CudaAttend, EveryShape) {
  const AttendCase cases[] = {
      {.cache_type = "k3v2", .d = 128, .kv_heads = 2, .group = 1, .pages = {1, 0, 2}, .pages_a_piece = 1},
      {.cache_type = "k2v2", .d = 96, .group = 3, .queries = 2, .window = 100, .pages = {2}, .pages_a_piece = 1},
      {.cache_type = "k4v3", .d = 256, .group = 2, .cap = 5.0f, .pages = {1}},
      {.cache_type = "k3v2", .d = 64, .group = 40, .pages = {1}, .tail = 3},
      {.cache_type = "k3v3", .d = 64, .group = 4, .queries = 11, .window = 7, .pages = {1}, .tail = 0},
      {.cache_type = "k3v2", .d = 64, .kv_heads = 2, .group = 8, .pages = {11, 3}, .pages_a_piece = 9},  // steps, and part of one
      {.cache_type = "k2v2", .d = 128, .group = 4, .pages = {17}, .spread = 12.0},                       // a peaked softmax
      {.cache_type = "k3v2", .d = 64, .group = 3, .pages = {17}, .loud = 20.0},                          // weights leave fp32
      {.cache_type = "k4v4", .d = 128, .group = 8, .pages = {17}, .loud = 20.0, .loud_from = 1030},      // in the middle of a page
      {.cache_type = "k2v2", .d = 64, .group = 8, .cap = 90.0f, .pages = {17}, .loud = 20.0},
      {.cache_type = "k4v4", .d = 64, .group = 2, .queries = 3, .window = 700, .pages = {9}, .query_dtype = DType::bf16},
      {.cache_type = "paper", .d = 64, .group = 4, .queries = 2, .pages = {2, 1}, .pages_a_piece = 1, .query_dtype = DType::f16},
  };
  for (const AttendCase& c : cases) {
    worst = 0.0;
    expect_agreement(c);
    if (HasFatalFailure()) return;
    std::cout << c << ": largest error " << worst << " of its bound\n";
  }
}

// A missing barrier shows as another result in another order of threads.
TEST(CudaAttend, EveryOrderOfThreads) {
  for (const int order : kOrders) {
    take_turns(order);
    expect_agreement({.cache_type = "k3v2", .d = 64, .group = 4, .pages = {9}, .loud = 20.0, .loud_from = 1030});
    for (const char* cache_type : {"k2v2", "k3v2", "k4v4", "paper"}) {
      for (int group : {4, 7}) {
        expect_agreement({.cache_type = cache_type, .d = 64, .group = group, .queries = 2, .pages = {9}, .tail = 130});
        if (HasFatalFailure()) return;
      }
    }
  }
  take_turns(0);
}

}  // namespace
}  // namespace qjl::test
