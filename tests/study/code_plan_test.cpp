// Plans: the budget is kept to the byte, more budget never costs more, the choice is the best one, files come back as they went.
#include "cache_type.hpp"
#include "plan_file.hpp"
#include "plan_search.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <random>

#include "plan_costs.hpp"
#include "qjl/codec.hpp"
#include "qjl/error.hpp"
#include "tiny_model.hpp"

namespace qjl::engine::test {
namespace {

using Codes = std::vector<std::pair<Code, Code>>;

// Damages that fall by about four with each bit, layers that differ by up to a thousand.
std::vector<LayerDamages> random_damages(int layers, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> octaves(-10, 0), fall(2, 6);
  std::vector<LayerDamages> damages(static_cast<std::size_t>(layers));
  for (LayerDamages& layer : damages) {
    double key = std::exp2(octaves(random)), value = std::exp2(octaves(random));
    for (const Code code : {Code::s1, Code::s2, Code::l8, Code::l16}) layer.keys.push_back({code, key /= fall(random)});
    for (const Code code : {Code::s1, Code::l4, Code::l8, Code::l16}) layer.values.push_back({code, value /= fall(random)});
  }
  return damages;
}

std::int64_t bytes_of(const Codes& codes) {
  std::int64_t bytes = 0;
  for (const auto& pair : codes) bytes += page_bytes(64, pair);
  return bytes;
}

// The least damage within a budget, by trying everything.
double best_by_trial(const std::vector<LayerDamages>& damages, std::size_t layer, std::int64_t budget) {
  if (budget < 0) return std::numeric_limits<double>::infinity();
  if (layer == damages.size()) return 0;
  double best = std::numeric_limits<double>::infinity();
  for (const CodeDamage& key : damages[layer].keys) {
    for (const CodeDamage& value : damages[layer].values) {
      const double rest = best_by_trial(damages, layer + 1, budget - page_bytes(64, {key.code, value.code}));
      best = std::min(best, rest + key.kld + value.kld);
    }
  }
  return best;
}

TEST(ChooseCodes, IsTheBestOfAll) {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const auto damages = random_damages(3, seed);
    for (const double bits : {1.4, 2.0, 2.3, 2.7, 3.3}) {
      const auto budget = static_cast<std::int64_t>(bits * 3 * 2 * kTokensPerPage * 64 / 8);
      const Codes codes = choose_codes(damages, 64, budget);
      EXPECT_NEAR(forecast(damages, codes), best_by_trial(damages, 0, budget), 1e-15) << bits;
    }
  }
}

TEST(ChooseCodes, KeepsTheBudgetAndUsesIt) {
  const auto damages = random_damages(30, 9);
  const std::int64_t least = 30 * page_bytes(64, {Code::s1, Code::s1}), most = 30 * page_bytes(64, {Code::l16, Code::l16});
  double before = std::numeric_limits<double>::infinity();
  for (std::int64_t budget = least; budget <= most + 1000; budget += 1777) {
    const Codes codes = choose_codes(damages, 64, budget);
    EXPECT_LE(bytes_of(codes), budget);
    const double now = forecast(damages, codes);
    EXPECT_LE(now, before);
    before = now;
  }
  EXPECT_EQ(choose_codes(damages, 64, most), Codes(30, {Code::l16, Code::l16}));
  EXPECT_EQ(choose_codes(damages, 64, least), Codes(30, {Code::s1, Code::s1}));
  EXPECT_THROW(choose_codes(damages, 64, least - 1), Error);
  EXPECT_THROW(choose_codes({LayerDamages{}}, 64, most), Error);
  EXPECT_THROW(forecast({LayerDamages{}}, {{Code::l8, Code::l4}}), Error);
}

TEST(ChooseCodes, BitsAreThoseOfTheCache) {
  CacheConfig config;
  config.num_layers = 2;
  config.num_kv_heads = 1;
  config.head_dim = 64;
  config.max_pages = 1;
  config.layer_codes = {{Code::l16, Code::l4}, {Code::s1, Code::l8}};
  EXPECT_DOUBLE_EQ(bits_sealed(64, config.layer_codes), KvCache(config).bits_sealed());
}

// Fills whole caches and counts every byte.
TEST(ChooseCodes, AWholeCacheFitsItsRoom) {
  const auto bytes = TinyModel().bytes();
  Model model = Model::load(parse_model_file(bytes, "tiny"));
  ThreadPool threads(1);
  const auto damages = random_damages(2, 4);
  const std::vector<float> zeros(500 * 64);
  for (const std::int64_t room : {380000, 420000, 460000, 500000}) {
    CacheConfig config = model.cache_config({}, 500, 2);
    config.layer_codes = choose_codes(damages, model, {.bytes = room, .context = 500, .batch = 2});
    KvCache cache(config);
    for (int sequence = 0; sequence < 2; ++sequence) {
      const SequenceId id = cache.create();
      for (int layer = 0; layer < 2; ++layer) {
        const auto rows = TensorView::contiguous(zeros.data(), DType::f32, 1, 500, 64);
        cache.append(id, layer, rows, rows, threads);
      }
    }
    EXPECT_LE(cache.memory_report().total(), room);
  }
  EXPECT_THROW(choose_codes(damages, model, {.bytes = 1000, .context = 500}), Error);
  EXPECT_THROW(choose_codes(damages, model, {.bytes = 1000000, .context = 100}), Error);
}

Plan example() {
  return {.model = "a \"model\"",
          .fingerprint = "0123456789abcdef",
          .num_kv_heads = 3,
          .head_dim = 64,
          .seed = 7,
          .sink_tokens = 2,
          .layer_codes = {{Code::l16, Code::l4}, {Code::s2, Code::s1}, {Code::f16, Code::f16}},
          .budget_bits = 2.7,
          .bits_sealed = 2.65625,
          .forecast_kld = 0.0123,
          .texts = {"one.txt", "two.txt"}};
}

TEST(PlanFile, ComesBackAsItWent) {
  const Plan plan = example(), found = read_plan(plan_json(plan), "text");
  EXPECT_EQ(plan_json(found), plan_json(plan));
  EXPECT_EQ(found.layer_codes, plan.layer_codes);
  EXPECT_EQ(found.seed, plan.seed);
  EXPECT_EQ(found.texts, plan.texts);
}

TEST(PlanFile, WhatIsNoPlanIsRefused) {
  const std::string good = plan_json(example());
  const auto changed = [&good](const std::string& from, const std::string& to) {
    std::string text = good;
    return text.replace(text.find(from), from.size(), to);
  };
  for (const std::string& text :
       {std::string(), std::string("{}"), std::string("[1, 2]"), good.substr(0, good.size() / 2), changed("qjl plan", "a plan"),
        changed("\"version\": 1", "\"version\": 2"), changed("\"l16\"", "\"l17\""),
        changed("\"num_layers\": 3", "\"num_layers\": 4"), changed("\"head_dim\": 64", "\"head_dim\": 64.5"),
        changed("\"num_kv_heads\": 3", "\"num_kv_heads\": 4294967299"), changed("\"seed\": 7", "\"seed\": -7"),
        changed("\"sinks\": 2", "\"sinks\": true"), changed("\"sinks\": 2", "\"sinks\": 18446744073709551615")}) {
    try {
      read_plan(text, "text");
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::bad_file) << text;
    }
  }
}

// The writer of JSON recurses: a message that quoted such a text would overflow the stack.
TEST(PlanFile, BracketsWithoutEndAreRefused) {
  const std::string brackets = std::string(1'000'000, '[') + std::string(1'000'000, ']');
  for (const char* key : {"\"format\": ", "\"version\": 1, \"format\": "}) {
    const std::string text = "{" + std::string(key) + brackets + "}";
    EXPECT_THROW(read_plan(text, "text"), Error);
    EXPECT_THROW(read_costs(text, "text"), Error);
  }
}

TEST(PlanFile, IsACacheType) {
  const auto path = std::filesystem::temp_directory_path() / "qjl_plan_test.json";
  std::ofstream(path) << plan_json(example());
  const CacheType type = read_cache_type(path.string());
  EXPECT_EQ(type.codec.seed, 7u);
  EXPECT_EQ(type.codec.sink_tokens, 2);
  CacheConfig config;
  config.num_layers = 3;
  config.codec.rope.frequency = {1.0, 0.5};
  type.apply(config);
  EXPECT_EQ(config.layer_codes, example().layer_codes);
  EXPECT_EQ(config.codec.rope.frequency.size(), 2u);  // the model's own
  config.num_layers = 2;
  EXPECT_THROW(type.apply(config), Error);
  std::filesystem::remove(path);
  EXPECT_THROW(read_cache_type(path.string()), Error);
  EXPECT_EQ(read_cache_type("k4v2").codec.key_code, Code::l16);
}

// One text of random tokens: the numbers mean nothing, their form does.
TEST(PlanCosts, MeasuresEveryLayerSideAndCode) {
  const auto bytes = TinyModel().bytes();
  Model model = Model::load(parse_model_file(bytes, "tiny"));
  ThreadPool threads(2);
  std::mt19937_64 random(3);
  CostText text{"random", {}};
  for (int i = 0; i < 320; ++i) text.tokens.push_back(static_cast<Token>(random() % 96));
  std::int64_t seen = 0, of = 0;
  const PlanCosts costs = measure_costs(model, {&text, 1}, {.context = 320, .positions = 64, .caches_at_once = 5}, threads,
                                        [&](std::int64_t done, std::int64_t total) {
                                          EXPECT_GE(done, seen);
                                          seen = done;
                                          of = total;
                                        });
  EXPECT_EQ(seen, of);
  ASSERT_EQ(costs.layers.size(), 2u);
  for (const LayerDamages& layer : costs.layers) {
    for (const auto* side : {&layer.keys, &layer.values}) {
      ASSERT_EQ(side->size(), 9u);
      for (const CodeDamage& damage : *side) EXPECT_GT(damage.kld, 0);
      EXPECT_GT(side->front().kld, side->back().kld);  // one bit against six
    }
  }
  const PlanCosts back = read_costs(costs_json(costs), "text");
  EXPECT_EQ(costs_json(back), costs_json(costs));
  std::string other = costs_json(costs);
  other.replace(other.find("\"t2w\""), 5, "\"jl\"");
  EXPECT_THROW(read_costs(other, "text"), Error);  // a code that no plan has
  EXPECT_THROW(read_costs("{}", "text"), Error);
  EXPECT_THROW(measure_costs(model, {}, {}, threads, {}), Error);
}

}  // namespace
}  // namespace qjl::engine::test
