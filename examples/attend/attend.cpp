// Keeps 1000 random tokens of one layer in a compressed cache, attends to them, and compares with the exact cache.
//
//   out = sum_t softmax(<q, k_t> / sqrt(head_dim)) v_t      queries [6, 1, 64], keys and values [2, 1000, 64]
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "qjl/attention.hpp"
#include "qjl/cache.hpp"
#include "qjl/config.hpp"
#include "qjl/threads.hpp"

namespace {

constexpr std::int64_t kHeads = 6, kKvHeads = 2, kTokens = 1000, kHeadDim = 64;

std::vector<float> random_numbers(std::int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> numbers(static_cast<std::size_t>(count));
  for (float& x : numbers) x = normal(random);
  return numbers;
}

// Attends from the last token, prints what the cache takes, returns the output [6, 1, 64].
std::vector<float> attend_with(const std::string& cache_type) {
  const auto keys = random_numbers(kKvHeads * kTokens * kHeadDim, 1), values = random_numbers(kKvHeads * kTokens * kHeadDim, 2);
  const auto queries = random_numbers(kHeads * kHeadDim, 3);
  std::vector<float> out(queries.size());

  qjl::ThreadPool threads(1);
  qjl::KvCache cache({.num_layers = 1,
                      .num_kv_heads = kKvHeads,
                      .head_dim = kHeadDim,
                      .max_pages = 8,
                      .codec = qjl::codec_config(cache_type),
                      .layer_codes = {}});
  const auto sequence = cache.create();
  cache.append(sequence, 0, qjl::TensorView::contiguous(keys.data(), qjl::DType::f32, kKvHeads, kTokens, kHeadDim),
               qjl::TensorView::contiguous(values.data(), qjl::DType::f32, kKvHeads, kTokens, kHeadDim), threads);

  qjl::AttendPlan plan;
  const qjl::AttendRequest request{.sequence = sequence,
                                   .queries = qjl::TensorView::contiguous(queries.data(), qjl::DType::f32, kHeads, 1, kHeadDim),
                                   .chunk_keys = {},
                                   .chunk_values = {},
                                   .out = qjl::OutputView::contiguous(out.data(), kHeads, 1, kHeadDim)};
  qjl::attend(cache, 0, {&request, 1}, {}, plan, threads);
  std::printf("%-5s %7.1f kB, a sealed page has %.2f bits per number\n", cache_type.c_str(),
              static_cast<double>(cache.memory_report().total()) / 1e3, cache.bits_sealed());
  return out;
}

}  // namespace

int main() {
  const auto exact = attend_with("f16");
  for (const char* type : {"k4v4", "k3v2", "k2v2"}) {
    const auto coded = attend_with(type);
    double error = 0, norm = 0;
    for (std::size_t i = 0; i < exact.size(); ++i) {
      error += (coded[i] - exact[i]) * (coded[i] - exact[i]);
      norm += exact[i] * exact[i];
    }
    std::printf("      relative error of the output %.3f\n", std::sqrt(error / norm));
    if (!(error < norm)) return 1;
  }
}
