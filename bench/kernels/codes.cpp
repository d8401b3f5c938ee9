// Cache types take turns in one set of rounds, so that they compare.
#include "codes.hpp"

#include <algorithm>
#include <memory>

#include "qjl/simd.hpp"
#include "qjl_case.hpp"
#include "report.hpp"

namespace qjl::bench {
namespace {

constexpr std::int64_t kEncodeTokens = 2048, kStepTokens = 1024;
constexpr int kSteps = 256, kStepGroup = 4;

// Of one thread; the step that seals does the work of 128.
Json seal_json(const QjlShape& shape, ThreadPool& pool) {
  QjlCase one({.cache_type = shape.cache_type,
               .head_dim = shape.head_dim,
               .kv_heads = shape.kv_heads,
               .tokens = kStepTokens,
               .spare_tokens = kSteps},
              pool);
  std::vector<double> seconds = one.steps(kStepGroup, kSteps, pool);
  std::sort(seconds.begin(), seconds.end());
  const double median = seconds[seconds.size() / 2];
  return {{"step_us_median", 1e6 * median}, {"step_longest_over_median", seconds.back() / median}};
}

void add_dim(const CodesOptions& options, int head_dim, ThreadPool& pool, const Evictor& evictor, Json& rows) {
  std::vector<std::unique_ptr<QjlCase>> cases;
  std::vector<std::unique_ptr<EncodeCase>> encodes;
  std::vector<Variant> variants;
  std::vector<Work> work;
  std::vector<Json> keys;
  const auto key = [&](const std::string& cache, const char* kind) {
    return Json{{"kind", kind}, {"cpu_target", simd_target_name(simd_target())}, {"cache", cache}, {"head_dim", head_dim}};
  };
  for (const std::string& cache : options.caches) {
    QjlCase& attended =
        *cases.emplace_back(std::make_unique<QjlCase>(QjlShape{cache, head_dim, options.kv_heads, options.tokens}, pool));
    for (const int group : options.groups) {
      keys.push_back(key(cache, "attend"));
      keys.back()["group"] = group;
      variants.push_back({cache + " d=" + std::to_string(head_dim) + " G=" + std::to_string(group),
                          [&attended, &pool, group] { attended.attend(group, pool); }});
      work.push_back({options.tokens * options.kv_heads * group, attended.bytes()});
    }
    EncodeCase& encoded =
        *encodes.emplace_back(std::make_unique<EncodeCase>(QjlShape{cache, head_dim, options.kv_heads, kEncodeTokens}, pool));
    keys.push_back(key(cache, "encode"));
    keys.back().update(seal_json({cache, head_dim, options.kv_heads}, pool));
    variants.push_back({"encode " + cache + " d=" + std::to_string(head_dim), [&encoded] { encoded.run(); }});
    work.push_back({encoded.pairs(), 0});
  }
  run_rounds(variants, {.seconds = options.seconds}, &evictor);
  for (std::size_t i = 0; i < variants.size(); ++i) {
    keys[i].update(timing_json(variants[i], work[i]));
    rows.push_back(keys[i]);
  }
}

}  // namespace

Json codes_report(const CodesOptions& options) {
  const auto pool = pinned_pool(1);
  const Evictor evictor(last_level_cache_bytes());
  Json rows = Json::array();
  for (const int head_dim : options.head_dims) add_dim(options, head_dim, *pool, evictor, rows);
  return {{"rows", rows}, {"machine", machine_json()}};
}

}  // namespace qjl::bench
