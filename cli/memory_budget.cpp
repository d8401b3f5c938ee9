// Passes of two small sizes are made instead of the largest one, which on a large model would take as long as reading a prompt. What a
// pass computes with grows with its rows, or stops growing at a block of rows, so the straight line through both sizes is a bound.
#include "memory_budget.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <fstream>
#include <string_view>
#include <vector>

#include "cache_size.hpp"
#include "generate.hpp"
#include "qjl/codec.hpp"

namespace qjl::cli {
namespace {

constexpr std::int64_t kFewRows = 32, kSomeRows = 64;  // more than a batch of decode rows, so that products go the prompt's way

std::string megabytes(std::int64_t bytes) { return fmt::format("{:.0f} MB", static_cast<double>(bytes) / 1e6); }

KvCache empty_cache(const LoadedModel& loaded, const engine::CacheType& type, std::int64_t tokens) {
  CacheConfig config = loaded.model.cache_config(type.codec, tokens);
  type.apply(config);
  return KvCache(engine::forgetting(std::move(config)));
}

// Tables that every cache of the shape has, and one page's worth of tokens.
std::int64_t least_cache(const LoadedModel& loaded, const engine::CacheType& type) {
  const KvCache cache = empty_cache(loaded, type, kTokensPerPage);
  return cache.memory_report().total() + cache_size(cache, kTokensPerPage - 1).total();
}

// Of this process: RssAnon (the heap, stacks, packed weights) or RssFile (code, a model's file as far as it was read).
std::int64_t resident_bytes(std::string_view kind) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(kind)) return 1024 * std::stoll(line.substr(line.find_first_of("0123456789")));
  }
  return 0;
}

std::int64_t scratch_of(LoadedModel& loaded, const engine::CacheType& type, const LargestPass& pass, std::int64_t rows) {
  KvCache cache = empty_cache(loaded, type, rows);
  const std::vector<engine::Token> tokens(static_cast<std::size_t>(rows));
  const engine::ForwardItem item{cache.create(), tokens};
  engine::ForwardOptions options;
  options.arithmetic = pass.arithmetic;
  if (pass.scores_rows) {
    options.logits = engine::ForwardLogits::all;
    options.on_logits = [](std::size_t, std::int64_t, std::span<const float>) {};
  }
  loaded.model.forward(cache, {&item, 1}, options, loaded.threads);
  return loaded.model.peak_scratch_bytes();
}

}  // namespace

MemoryBudget measure_memory(LoadedModel& loaded, const engine::CacheType& type, std::int64_t total, const LargestPass& pass) {
  const std::int64_t least = least_cache(loaded, type);
  const auto require = [&](std::int64_t others, const std::string& what) {
    if (others + least <= total) return;
    throw Usage("--memory: found " + megabytes(total) + ", wanted at least " + megabytes(others + least) + ": " + what +
                ", and a page of the cache");
  };
  MemoryBudget budget{.total = total, .weights = loaded.model.weight_bytes()};
  require(budget.weights, megabytes(budget.weights) + " of weights");
  const std::int64_t code = resident_bytes("RssFile");  // and the file's header; no weight was read yet
  loaded.model.prepare(pass.arithmetic, loaded.threads);
  budget.weights = loaded.model.resident_weight_bytes();
  budget.program = code + std::max<std::int64_t>(0, resident_bytes("RssAnon") - loaded.model.packed_weight_bytes());
  const std::int64_t few = scratch_of(loaded, type, pass, kFewRows), some = scratch_of(loaded, type, pass, kSomeRows);
  budget.scratch = some + (some - few) * std::max<std::int64_t>(0, pass.rows - kSomeRows) / (kSomeRows - kFewRows);
  require(total - budget.cache(), fmt::format("{} of weights, {} of the program, {} to compute with", megabytes(budget.weights),
                                              megabytes(budget.program), megabytes(budget.scratch)));
  spdlog::info("--memory {}: weights {}, program {}, to compute with {}, cache {}", megabytes(total), megabytes(budget.weights),
               megabytes(budget.program), megabytes(budget.scratch), megabytes(budget.cache()));
  return budget;
}

std::int64_t context_within(const LoadedModel& loaded, const engine::CacheType& type, const MemoryBudget& budget,
                            std::int64_t most) {
  const auto tokens = [&](const engine::CacheType& each) {
    const KvCache cache = empty_cache(loaded, each, most);
    return tokens_within(cache, budget.cache() - cache.memory_report().total(), most);
  };
  const std::int64_t context = tokens(type);
  const std::string forecast =
      type.forecast_kld ? fmt::format(", forecast KL divergence {:.5f} of the plan", *type.forecast_kld) : std::string();
  spdlog::info("cache {}: a context of {} tokens fits (f16: {}){}", type.name, context, tokens(engine::read_cache_type("f16")),
               forecast);
  return context;
}

}  // namespace qjl::cli
