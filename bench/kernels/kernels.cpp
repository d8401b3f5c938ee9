// A point is (head_dim, context, query heads per kv head, threads): memory reads, the exact rivals and every cache type take turns.
//
// Contexts whose exact cache is larger than half the last level cache are timed cold (other memory is read before each run), the
// others warm. Caches are filled once at the largest context and cut down from there.
#include "kernels.hpp"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <set>

#include "exact_rival.hpp"
#include "qjl/simd.hpp"
#include "qjl_case.hpp"
#include "report.hpp"
#include "stream.hpp"

namespace qjl::bench {
namespace {

constexpr std::int64_t kStreamBytes = std::int64_t{256} << 20;
constexpr std::int64_t kEncodeTokens = 4096;
// Types that take long to fill or to read are measured up to here.
constexpr std::int64_t kSlowTypeTokens = 131072;
constexpr int kSlowTypeEvery = 8;
bool is_slow(const std::string& cache) { return cache == "paper" || cache == "f16"; }

struct Point {
  int head_dim = 0, group = 0, threads = 0;
  std::int64_t tokens = 0;
};

class Kernels {
 public:
  explicit Kernels(const KernelsOptions& options) : options_(options), evictor_(last_level_cache_bytes()) {
    std::ifstream file(options.file);
    for (std::string line; std::getline(file, line);) done_.insert(key(Json::parse(line)));
    for (const int threads : options.threads) {
      auto pool = pinned_pool(threads);
      if (pool == nullptr) std::fprintf(stderr, "%d threads: this process may use fewer processors; left out\n", threads);
      if (pool != nullptr) pools_[threads] = std::move(pool);
    }
    if (!has_exact_rivals()) std::fprintf(stderr, "%s\n", kNoExactRivals);
  }

  void run() {
    for (const int head_dim : options_.head_dims) {
      encode(head_dim);
      attend(head_dim);
    }
  }

 private:
  // A measured row's place in the file: what it is, without its figures.
  static std::string key(const Json& row) {
    std::string text;
    for (const char* name : {"kind", "cpu_target", "head_dim", "group", "tokens", "threads", "cache"}) {
      text += row.value(name, Json(0)).dump() + " ";
    }
    return text;
  }

  void write(const Json& row) {
    if (!done_.insert(key(row)).second) return;
    std::ofstream(options_.file, std::ios::app) << row.dump() << "\n";
  }

  static Json point_json(const char* kind, const Point& p, const std::string& cache) {
    return {{"kind", kind},           {"cpu_target", simd_target_name(simd_target())},
            {"head_dim", p.head_dim}, {"group", p.group},
            {"tokens", p.tokens},     {"threads", p.threads},
            {"cache", cache}};
  }

  bool is_done(const Point& p) const {
    return std::all_of(options_.caches.begin(), options_.caches.end(), [&](const std::string& cache) {
      return (is_slow(cache) && p.tokens > kSlowTypeTokens) || done_.contains(key(point_json("attend", p, cache)));
    });
  }

  void encode(int head_dim) {
    for (const auto& [threads, pool] : pools_) {
      const Point point{head_dim, 0, threads, kEncodeTokens};
      std::vector<std::unique_ptr<EncodeCase>> cases;
      std::vector<Variant> variants;
      for (const auto& cache : options_.caches) {
        if (done_.contains(key(point_json("encode", point, cache)))) continue;
        cases.push_back(std::make_unique<EncodeCase>(QjlShape{cache, head_dim, options_.kv_heads, kEncodeTokens}, *pool));
        variants.push_back({cache, [our = cases.back().get()] { our->run(); }});
      }
      if (variants.empty()) continue;
      run_rounds(variants, {.seconds = options_.seconds}, &evictor_);
      for (std::size_t i = 0; i < variants.size(); ++i) {
        Json row = point_json("encode", point, variants[i].name);
        row.update(timing_json(variants[i], {cases[i]->pairs(), 0}));
        write(row);
      }
    }
  }

  // Contexts of this head_dim that fit in half of the free memory, largest first.
  std::vector<std::int64_t> contexts(int head_dim) const {
    std::vector<std::int64_t> tokens = options_.tokens;
    std::sort(tokens.rbegin(), tokens.rend());
    // A token takes 4 head_dim bytes exact and at most 2 head_dim in all compressed types together.
    const std::int64_t token_bytes = 6 * std::int64_t{head_dim} * options_.kv_heads;
    std::erase_if(tokens, [&](std::int64_t t) {
      const bool large = t * token_bytes > available_memory_bytes() / 2;
      if (large)
        std::fprintf(stderr, "%lld tokens of %d channels: too little memory; left out\n", static_cast<long long>(t), head_dim);
      return large;
    });
    return tokens;
  }

  void attend(int head_dim) {
    const auto tokens = contexts(head_dim);
    if (tokens.empty() || !any_left(head_dim, tokens)) return;
    const HugeBuffer memory = random_bf16(std::max(2 * tokens.front() * options_.kv_heads * head_dim, kStreamBytes / 2));
    std::map<std::string, std::unique_ptr<QjlCase>> cases;
    ThreadPool& fill_pool = *pools_.rbegin()->second;
    for (const std::int64_t context : tokens) {
      for (const auto& cache : options_.caches) {
        if (is_slow(cache) && context > kSlowTypeTokens) continue;
        auto& our = cases[cache];
        if (our == nullptr) our = std::make_unique<QjlCase>(QjlShape{cache, head_dim, options_.kv_heads, context}, fill_pool);
        our->truncate(context);
      }
      for (const int group : options_.groups) {
        for (const auto& [threads, pool] : pools_) {
          const Point point{head_dim, group, threads, context};
          if (!is_done(point)) measure(point, memory, cases, *pool);
        }
      }
    }
  }

  bool any_left(int head_dim, const std::vector<std::int64_t>& tokens) const {
    for (const std::int64_t context : tokens) {
      for (const int group : options_.groups) {
        for (const auto& [threads, pool] : pools_) {
          if (!is_done({head_dim, group, threads, context})) return true;
        }
      }
    }
    return false;
  }

  // The best kernel and lead, found once for each shape: contexts from 128k on share it.
  const ExactChoice& choice(ExactLayout layout, const Point& p, const ExactJob& job, const Evictor* evictor, ThreadPool& pool) {
    const auto place = std::to_string(static_cast<int>(layout)) + " " + std::to_string(p.head_dim) + " " + std::to_string(p.group) +
                       " " + std::to_string(p.threads) + " " + std::to_string(std::min<std::int64_t>(p.tokens, kSlowTypeTokens));
    auto found = choices_.find(place);
    if (found == choices_.end()) {
      ExactJob trial = job;
      trial.tokens = std::min(job.tokens, kSlowTypeTokens);
      found = choices_.emplace(place, find_best({&layout, 1}, trial, evictor, pool)).first;
    }
    return found->second;
  }

  void measure(const Point& p, const HugeBuffer& memory, std::map<std::string, std::unique_ptr<QjlCase>>& cases, ThreadPool& pool) {
    const ExactJob job{p.head_dim, p.group, options_.kv_heads, p.tokens, memory.as<std::uint16_t>()};
    const std::int64_t units = p.tokens * options_.kv_heads * p.group, exact_bytes = p.tokens * options_.kv_heads * p.head_dim * 4;
    const Evictor* evictor = exact_bytes > last_level_cache_bytes() / 2 ? &evictor_ : nullptr;
    const auto queries = exact_queries(job);
    std::vector<float> out(queries.size());
    std::vector<Variant> variants = Stream(memory, kStreamBytes, pool).variants();
    const std::size_t num_streams = variants.size();
    std::vector<Work> work(num_streams, {kStreamBytes, kStreamBytes});
    const auto add = [&](const std::string& name, std::function<void()> run, std::int64_t bytes) {
      variants.push_back({name, std::move(run)});
      work.push_back({units, bytes});
    };
    for (const ExactLayout layout : {ExactLayout::pairs, ExactLayout::rows}) {
      if (exact_kernels(layout, p.head_dim, p.group).empty()) continue;
      const ExactChoice& best = choice(layout, p, job, evictor, pool);
      add(
          layout == ExactLayout::pairs ? "exact_pairs" : "exact_rows",
          [&, best] { attend_exact(job, best, queries.data(), out.data(), pool); }, exact_bytes);
    }
    for (const auto& cache : options_.caches) {
      if (is_slow(cache) && p.tokens > kSlowTypeTokens) continue;
      QjlCase& our = *cases.at(cache);
      add(cache, [&our, &p, &pool] { our.attend(p.group, pool); }, our.bytes());
      if (is_slow(cache)) variants.back().every = kSlowTypeEvery;
    }
    run_rounds(variants, {.seconds = options_.seconds}, evictor);
    write_rows(p, variants, work, num_streams, evictor == nullptr);
  }

  void write_rows(const Point& p, const std::vector<Variant>& variants, const std::vector<Work>& work, std::size_t num_streams,
                  bool warm) {
    double stream = 0;
    std::map<std::string, double> ns;
    std::vector<Json> rows;
    for (std::size_t i = 0; i < variants.size(); ++i) {
      Json row = timing_json(variants[i], work[i]);
      if (i < num_streams) {
        stream = std::max(stream, row["gb_per_s"].get<double>());
        continue;
      }
      ns[variants[i].name] = row["ns_best"];
      Json full = point_json("attend", p, variants[i].name);
      row.erase("name");
      full.update(row);
      rows.push_back(full);
    }
    // Our own best exact kernel, whichever layout it has.
    const double exact = ns.contains("exact_pairs") ? std::min(ns["exact_pairs"], ns["exact_rows"]) : 0;
    for (auto& row : rows) {
      row["warm"] = warm;
      row["stream_gb_per_s"] = stream;
      row["stream_share"] = row["gb_per_s"].get<double>() / stream;
      if (exact > 0) row["vs_exact"] = exact / row["ns_best"].get<double>();
      if (ns.contains("exact_rows")) row["vs_rows"] = ns["exact_rows"] / row["ns_best"].get<double>();
      write(row);
    }
    std::fprintf(stderr, "d=%d G=%d %lld tokens %d threads\n", p.head_dim, p.group, static_cast<long long>(p.tokens), p.threads);
  }

  KernelsOptions options_;
  Evictor evictor_;
  std::map<int, std::unique_ptr<ThreadPool>> pools_;
  std::set<std::string> done_;
  std::map<std::string, ExactChoice> choices_;
};

}  // namespace

void run_kernels(const KernelsOptions& options) { Kernels(options).run(); }

}  // namespace qjl::bench
