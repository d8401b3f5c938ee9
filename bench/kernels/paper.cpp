// Layers: Llama-2-7B (32 heads, each with its own keys and values) and Llama-3-8B (32 query heads, 8 kv heads), head_dim 128.
//
//   encode: what the prompt's keys and values [kv_heads, tokens, 128] cost to put into the cache, from fp32 rows. Exact: rounded to
//           bf16 rows. The prompt's own attention, which is exact and the same for all, is not in it.
//   decode: the attention of one new token over the cache, all heads. Exact: the best bf16 kernel.
//
// One thread. Contexts go up, every cache is filled anew at each; the fill is the encode time (once), decode is of the best round.
#include "paper.hpp"

#include <cmath>
#include <cstdio>
#include <fstream>
#include <numbers>
#include <set>

#include "exact_rival.hpp"
#include "kivi_cache.hpp"
#include "qjl_case.hpp"
#include "report.hpp"

namespace qjl::bench {
namespace {

constexpr int kHeadDim = 128;
constexpr std::int64_t kStretch = 1024;

struct Layer {
  const char* name;
  int kv_heads, group;
};
constexpr Layer kLayers[] = {{"Llama-2-7B", 32, 1}, {"Llama-3-8B", 8, 4}};

// Rounds fp32 rows to bf16 rows: what an exact cache does with a prompt.
__attribute__((noinline)) void round_rows(const float* rows, std::uint16_t* out, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = to_bf16(rows[i]);
}

class Paper {
 public:
  explicit Paper(const PaperOptions& options) : options_(options), pool_(pinned_pool(1)), evictor_(last_level_cache_bytes()) {
    std::ifstream file(options.file);
    for (std::string line; std::getline(file, line);) {
      const Json row = Json::parse(line);
      done_.insert(row["layer"].get<std::string>() + row["tokens"].dump());
    }
  }

  void run() {
    for (const Layer& layer : kLayers) {
      for (const std::int64_t tokens : options_.tokens) {
        const std::int64_t bytes = tokens * layer.kv_heads * kHeadDim * 8;
        const bool fits = bytes < available_memory_bytes() / 2;
        if (!fits)
          std::fprintf(stderr, "%s, %lld tokens: too little memory; left out\n", layer.name, static_cast<long long>(tokens));
        if (fits && !done_.contains(layer.name + std::to_string(tokens))) measure(layer, tokens);
      }
    }
  }

 private:
  struct Result {
    std::string cache;
    double encode_seconds;
    std::int64_t bytes;
  };

  void measure(const Layer& layer, std::int64_t tokens) {
    const ExactJob job{kHeadDim, layer.group, layer.kv_heads, tokens, nullptr};
    auto queries = normal_numbers(static_cast<std::size_t>(layer.kv_heads * layer.group * kHeadDim), 12);
    for (float& q : queries) q *= std::numbers::log2e_v<float> / std::sqrt(static_cast<float>(kHeadDim));
    std::vector<float> out(queries.size());
    std::vector<Variant> variants;
    std::vector<Result> results;

    HugeBuffer exact(static_cast<std::size_t>(2 * tokens * layer.kv_heads * kHeadDim) * sizeof(std::uint16_t));
    KiviCache kivi(layer.kv_heads, tokens);
    const auto exact_query = exact_queries(job);
    if (has_exact_rivals()) {
      add_exact(job, exact, results);
      ExactJob filled = job;
      filled.cache = exact.as<std::uint16_t>();
      const ExactChoice choice = find_best(kAllLayouts, filled, &evictor_, *pool_);
      variants.push_back(
          {"exact", [=, this, &exact_query, &out] { attend_exact(filled, choice, exact_query.data(), out.data(), *pool_); }});
      add_kivi(layer, tokens, kivi, results);
      variants.push_back({"kivi", [&] { kivi.attend(layer.group, queries.data(), out.data(), *pool_); }});
    }
    std::vector<std::unique_ptr<QjlCase>> cases;
    for (const auto& cache : options_.caches) {
      cases.push_back(std::make_unique<QjlCase>(QjlShape{cache, kHeadDim, layer.kv_heads, tokens}, *pool_));
      results.push_back({cache, cases.back()->fill_seconds(), cases.back()->bytes()});
      variants.push_back({cache, [&, our = cases.back().get()] { our->attend(layer.group, *pool_); }});
    }
    run_rounds(variants, {.rounds = 15, .min_rounds = 3, .seconds = options_.seconds}, &evictor_);
    write(layer, tokens, variants, results);
  }

  // Rows stand in the paired kernel's memory in another order; its time does not depend on which number is where.
  void add_exact(const ExactJob& job, const HugeBuffer& exact, std::vector<Result>& results) {
    const std::int64_t numbers = 2 * job.tokens * job.kv_heads * kHeadDim, stretch = kStretch * kHeadDim;
    const auto rows = normal_numbers(static_cast<std::size_t>(stretch), 13);
    const double start = now_seconds();
    for (std::int64_t at = 0; at < numbers; at += stretch) round_rows(rows.data(), exact.as<std::uint16_t>() + at, stretch);
    results.push_back({"exact", now_seconds() - start, numbers * 2});
  }

  void add_kivi(const Layer& layer, std::int64_t tokens, KiviCache& kivi, std::vector<Result>& results) {
    const std::int64_t stretch = std::min(kStretch, tokens);
    const auto count = static_cast<std::size_t>(layer.kv_heads * stretch * kHeadDim);
    const auto keys = normal_numbers(count, 13), values = normal_numbers(count, 14);
    const double start = now_seconds();
    for (std::int64_t at = 0; at < tokens; at += stretch) kivi.encode(keys.data(), values.data(), at, stretch, *pool_);
    results.push_back({"kivi", now_seconds() - start, kivi.bytes()});
  }

  void write(const Layer& layer, std::int64_t tokens, const std::vector<Variant>& variants, const std::vector<Result>& results) {
    for (std::size_t i = 0; i < variants.size(); ++i) {
      const Timing timing = variants[i].timing();
      const Json row = {{"kind", "paper"},
                        {"layer", layer.name},
                        {"tokens", tokens},
                        {"cache", variants[i].name},
                        {"encode_seconds", results[i].encode_seconds},
                        {"decode_seconds", timing.best},
                        {"decode_seconds_median", timing.median},
                        {"spread", timing.spread},
                        {"bytes", results[i].bytes}};
      std::ofstream(options_.file, std::ios::app) << row.dump() << "\n";
    }
    std::fprintf(stderr, "%s, %lld tokens\n", layer.name, static_cast<long long>(tokens));
  }

  PaperOptions options_;
  std::unique_ptr<ThreadPool> pool_;
  Evictor evictor_;
  std::set<std::string> done_;
};

}  // namespace

void run_paper(const PaperOptions& options) { Paper(options).run(); }

}  // namespace qjl::bench
