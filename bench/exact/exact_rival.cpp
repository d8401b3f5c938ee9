// Lists the kernels of each shape, tries them, checks them against doubles.
#include "exact_rival.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <span>
#include <utility>

#include "exact_pairs.hpp"
#include "exact_rows.hpp"
#include "rounds.hpp"

namespace qjl::bench {
namespace {

#if defined(__x86_64__)
// Register tiles: score vectors x heads + value vectors x heads.
template <int D, auto kHint>
std::vector<ExactChoice> pair_kernels_of(int group, const std::string& level) {
  using namespace bf16;
  constexpr int kAll = D / 16;
  switch (group) {
    case 1: return {{PairKernel<D, 1, 4, 1, kAll, 1, kHint>::attend, "4x1 + all x1, " + level}};
    case 3:
      return {{PairKernel<D, 3, 4, 3, 4, 3, kHint>::attend, "4x3 + 4x3, " + level},
              {PairKernel<D, 3, 4, 3, kAll, 3, kHint>::attend, "4x3 + all x3, " + level}};
    case 4:
      return {{PairKernel<D, 4, 4, 4, 4, 4, kHint>::attend, "4x4 + 4x4, " + level},
              {PairKernel<D, 4, 4, 4, kAll, 2, kHint>::attend, "4x4 + all x2, " + level}};
    case 8:
      return {{PairKernel<D, 8, 4, 4, 4, 4, kHint>::attend, "4x4 + 4x4, " + level},
              {PairKernel<D, 8, 2, 8, 2, 8, kHint>::attend, "2x8 + 2x8, " + level}};
    default: return {};
  }
}

template <int D>
std::vector<ExactChoice> pair_kernels(int group) {
  auto kernels = pair_kernels_of<D, _MM_HINT_T0>(group, "T0");
  for (auto& kernel : pair_kernels_of<D, _MM_HINT_T1>(group, "T1")) kernels.push_back(std::move(kernel));
  return kernels;
}

template <int D>
std::vector<ExactChoice> row_kernels(int group) {
  using namespace bf16;
  switch (group) {
    case 1: return {{RowKernel<D, 1>::attend, "rows"}};
    case 3: return {{RowKernel<D, 3>::attend, "rows"}};
    case 4: return {{RowKernel<D, 4>::attend, "rows"}};
    case 8: return {{RowKernel<D, 8>::attend, "rows"}};
    default: return {};
  }
}
#endif

constexpr std::array<std::int64_t, 6> kLeads = {0, 1024, 4096, 8192, 16384, 32768};
constexpr std::size_t kFinalists = 4;

// out [group, head_dim] in doubles; the cache of one head in either layout.
double key_at(const ExactArgs& args, ExactLayout layout, int head_dim, std::int64_t token, int channel) {
  const std::int64_t block = token / 64, in_block = token % 64;
  return from_bf16(layout == ExactLayout::rows
                       ? args.cache[token * head_dim + channel]
                       : args.cache[block * 128 * head_dim + channel / 2 * 128 + 2 * in_block + channel % 2]);
}
double value_at(const ExactArgs& args, ExactLayout layout, int head_dim, std::int64_t token, int channel) {
  const std::int64_t block = token / 64, in_block = token % 64;
  return from_bf16(
      layout == ExactLayout::rows
          ? args.cache[(args.tokens + token) * head_dim + channel]
          : args.cache[block * 128 * head_dim + 64 * head_dim + in_block / 2 * 2 * head_dim + 2 * channel + in_block % 2]);
}

std::vector<double> attend_doubles(const ExactArgs& args, ExactLayout layout, int head_dim, int group) {
  std::vector<double> out(static_cast<std::size_t>(group * head_dim)), scores(static_cast<std::size_t>(args.tokens));
  for (int g = 0; g < group; ++g) {
    for (std::int64_t t = 0; t < args.tokens; ++t) {
      double score = 0;
      for (int c = 0; c < head_dim; ++c) score += from_bf16(args.queries[g * head_dim + c]) * key_at(args, layout, head_dim, t, c);
      scores[static_cast<std::size_t>(t)] = score;
    }
    const double max = *std::max_element(scores.begin(), scores.end());
    double sum = 0;
    for (std::int64_t t = 0; t < args.tokens; ++t) {
      const double weight = std::exp2(scores[static_cast<std::size_t>(t)] - max);
      sum += weight;
      for (int c = 0; c < head_dim; ++c) {
        out[static_cast<std::size_t>(g * head_dim + c)] += weight * value_at(args, layout, head_dim, t, c);
      }
    }
    for (int c = 0; c < head_dim; ++c) out[static_cast<std::size_t>(g * head_dim + c)] /= sum;
  }
  return out;
}

double relative_error(std::span<const float> found, std::span<const double> wanted) {
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    error += (found[i] - wanted[i]) * (found[i] - wanted[i]);
    norm += wanted[i] * wanted[i];
  }
  return std::sqrt(error / norm);
}

}  // namespace

bool has_exact_rivals() {
#if defined(__x86_64__)
  return simd_targets().back() >= SimdTarget::avx512vbmi && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

std::vector<ExactChoice> exact_kernels(ExactLayout layout, int head_dim, int group) {
#if defined(__x86_64__)
  if (!has_exact_rivals()) return {};
  if (layout == ExactLayout::pairs) {
    return head_dim == 64 ? pair_kernels<64>(group) : head_dim == 128 ? pair_kernels<128>(group) : std::vector<ExactChoice>{};
  }
  return head_dim == 64 ? row_kernels<64>(group) : head_dim == 128 ? row_kernels<128>(group) : std::vector<ExactChoice>{};
#else
  (void)layout, (void)head_dim, (void)group;
  return {};
#endif
}

void attend_exact(const ExactJob& job, const ExactChoice& choice, const std::uint16_t* queries, float* out, ThreadPool& threads) {
  const std::int64_t head_numbers = 2 * job.tokens * job.head_dim, head_queries = std::int64_t{job.group} * job.head_dim;
  threads.run(job.kv_heads, [&](std::int64_t head, int) {
    choice.kernel({job.cache + head * head_numbers, queries + head * head_queries, out + head * head_queries, job.tokens,
                   choice.prefetch_lead});
  });
}

std::vector<std::uint16_t> exact_queries(const ExactJob& job) {
  const auto numbers = normal_numbers(static_cast<std::size_t>(job.kv_heads * job.group * job.head_dim), 12);
  const float scale = std::numbers::log2e_v<float> / std::sqrt(static_cast<float>(job.head_dim));
  std::vector<std::uint16_t> queries(numbers.size());
  std::transform(numbers.begin(), numbers.end(), queries.begin(), [scale](float x) { return to_bf16(x * scale); });
  return queries;
}

ExactChoice find_best(std::span<const ExactLayout> layouts, const ExactJob& job, const Evictor* evictor, ThreadPool& threads) {
  const auto queries = exact_queries(job);
  std::vector<float> out(queries.size());
  std::vector<ExactChoice> choices;
  for (const ExactLayout layout : layouts) {
    for (const auto& kernel : exact_kernels(layout, job.head_dim, job.group)) {
      for (const std::int64_t lead : kLeads)
        choices.push_back({kernel.kernel, kernel.name + ", lead " + std::to_string(lead), lead});
    }
  }
  // Few rounds for all, more for those that came out first: the best of few rounds is often not the best.
  for (const int rounds : {3, 8}) {
    std::vector<Variant> variants;
    for (const auto& choice : choices) {
      variants.push_back({choice.name, [&] { attend_exact(job, choice, queries.data(), out.data(), threads); }});
    }
    run_rounds(variants, {.rounds = rounds, .min_rounds = rounds}, evictor);
    std::vector<std::pair<double, std::size_t>> order;
    for (std::size_t i = 0; i < variants.size(); ++i) order.emplace_back(variants[i].timing().best, i);
    std::sort(order.begin(), order.end());
    order.resize(std::min(order.size(), kFinalists));
    std::vector<ExactChoice> finalists;
    for (const auto& [seconds, i] : order) finalists.push_back(choices[i]);
    choices = std::move(finalists);
  }
  return choices.front();
}

double exact_error(int head_dim, int group) {
  ExactJob job{.head_dim = head_dim, .group = group, .kv_heads = 1, .tokens = 1024};
  const HugeBuffer cache = random_bf16(2 * job.tokens * head_dim);
  job.cache = cache.as<std::uint16_t>();
  const auto queries = exact_queries(job);
  std::vector<float> out(queries.size());
  double worst = 0;
  for (const ExactLayout layout : {ExactLayout::pairs, ExactLayout::rows}) {
    const ExactArgs args{job.cache, queries.data(), out.data(), job.tokens, 4096};
    const auto wanted = attend_doubles(args, layout, head_dim, group);
    for (const auto& choice : exact_kernels(layout, head_dim, group)) {
      choice.kernel(args);
      worst = std::max(worst, relative_error(out, wanted));
    }
  }
  return worst;
}

}  // namespace qjl::bench
