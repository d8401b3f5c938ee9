// The exact bf16 rivals as the benchmark sees them: the best paired kernel that this machine offers, and the plain row-major one.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "exact_data.hpp"
#include "qjl/threads.hpp"

namespace qjl::bench {

enum class ExactLayout : std::uint8_t { pairs, rows };

// Which kernel and prefetch lead; found by find_best().
struct ExactChoice {
  ExactKernel kernel = nullptr;
  std::string name;
  std::int64_t prefetch_lead = 0;
};

// Attention of kv_heads heads of `tokens` tokens each.
struct ExactJob {
  int head_dim = 0, group = 0, kv_heads = 0;
  std::int64_t tokens = 0;
  const std::uint16_t* cache = nullptr;  // [kv_heads][2 * tokens * head_dim]
};

// Whether this processor can run them (AVX-512 with BF16), and what to say when it cannot.
bool has_exact_rivals();
inline constexpr const char* kNoExactRivals = "the exact bf16 rivals need AVX-512 with BF16, which this processor lacks";

// Every kernel of a layout for a shape: 64 or 128 channels, 1, 3, 4 or 8 query heads per kv head. Empty for other shapes.
std::vector<ExactChoice> exact_kernels(ExactLayout layout, int head_dim, int group);

// The fastest kernel of these layouts with its best prefetch lead on this job, cold or warm as the job will be timed.
class Evictor;
inline constexpr ExactLayout kAllLayouts[] = {ExactLayout::pairs, ExactLayout::rows};
ExactChoice find_best(std::span<const ExactLayout> layouts, const ExactJob& job, const Evictor* evictor, ThreadPool& threads);

// One decode step of all kv heads, shared out over the threads by head.
void attend_exact(const ExactJob& job, const ExactChoice& choice, const std::uint16_t* queries, float* out, ThreadPool& threads);

// bf16 queries [kv_heads * group, head_dim], softmax scale and log2(e) included.
std::vector<std::uint16_t> exact_queries(const ExactJob& job);

// Largest relative error of any kernel of the shape against attention in doubles on the same bf16 numbers, and its bound. The
// bound: weights are rounded to bf16 (2^-9 each, at most as large as the output's terms), 2^x and fp32 sums add less than 2^-12.
double exact_error(int head_dim, int group);
inline constexpr double kExactErrorBound = 1.0 / 256;

}  // namespace qjl::bench
