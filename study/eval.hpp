// Perplexity and KL divergence of caches against the exact cache, on one text, through the cache.
//
// The first `prompt` tokens are processed exactly (one call); their keys and values fill every cache. The rest is teacher-forced
// in page-aligned chunks of at most 128 tokens: each query reads sealed pages in coded form and its own open page exactly, which is
// what a token-by-token decode computes. Errors propagate through all layers.
//   KL(p || q) = sum_v p_v (log p_v - log q_v),  p exact, q the cache's; standard errors over pages of 128 positions
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model.hpp"

namespace qjl::engine {

// A cache that no cache type names, made by the caller: codes of single layers, for example.
struct EvalCache {
  std::string name;
  CacheConfig config;  // of Model::cache_config(), with room for the context
};

struct EvalConfig {
  std::int64_t context = 4096;                // tokens of the text used
  std::optional<std::int64_t> prompt = {};    // exact tokens, 0 to context - 2; none: 3/4 of context
  std::vector<std::string> caches;            // cache types of the library, or names of rivals (rivals/rival.hpp)
  std::vector<EvalCache> made_caches = {};    // scored after `caches`
  Arithmetic arithmetic = Arithmetic::exact;  // of the caches; what they are compared with is always exact
};

struct EvalResult {
  std::string cache;
  bool simulated = false;  // a rival: decoded numbers in an exact cache; its sizes are those that its authors' format has
  double bits = 0;         // KvCache::bits() at the end of the text
  double bits_sealed = 0;  // a sealed page alone
  double cache_mb = 0;     // 1e6 bytes, codec tables included (they do not grow with the text)
  double kld_mean = 0, kld_se = 0, kld_median = 0, kld_p999 = 0;
  double same_top1 = 0, same_top1_se = 0;           // shares in [0, 1]
  double ppl = 0, ppl_exact = 0, ppl_ratio_se = 0;  // relative standard error of ppl / ppl_exact
  std::int64_t positions = 0;
  double seconds = 0;
  std::vector<double> kld_by_page;  // mean of each page, for paired comparisons
};

struct EvalReport {
  std::vector<EvalResult> results;
  double floor_kld = 0;  // exact cache against exact cache in other chunks: what the arithmetic alone gives
  std::int64_t peak_scratch_bytes = 0;
};

// Called with (done, total) positions summed over caches, the prompt and the exact cache included.
using Progress = std::function<void(std::int64_t done, std::int64_t total)>;

// Errors: invalid_argument when the text has fewer than context tokens (found and wanted) or a cache type is unknown.
EvalReport evaluate(Model& model, std::span<const Token> tokens, const EvalConfig& config, ThreadPool& threads,
                    const Progress& progress);

}  // namespace qjl::engine
