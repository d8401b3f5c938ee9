// KIVI's cache of several heads over the loops of kivi.hpp.
#include "kivi_cache.hpp"

#include <cmath>
#include <numbers>

#include "exact_data.hpp"
#include "kivi.hpp"
#include "qjl/error.hpp"

namespace qjl::bench {

#if defined(__x86_64__)
namespace {

constexpr int kDim = 128;
using Group = bf16::KiviGroup<kDim>;

QJL_TARGET_BEGIN(QJL_TARGET_AVX512BF16)
void encode_group(const float* keys, const float* values, Group& group) {
  bf16::kivi_encode_keys<kDim>(keys, group);
  bf16::kivi_encode_values<kDim>(values, group);
}
float from_half(std::uint16_t x) { return _cvtsh_ss(x); }
QJL_TARGET_END

template <int G>
void attend_head(const Group* groups, std::int64_t tokens, const float* queries, float* out) {
  bf16::KiviKernel<kDim, G> kernel;
  kernel.run(groups, tokens, queries, out);
}

double key_number(const Group& group, int token, int channel) {
  const std::uint32_t word = token < 16 ? group.key_low[channel] : group.key_high[channel];
  return from_half(group.key_zero[channel]) + double{from_half(group.key_scale[channel])} * (word >> 2 * (token % 16) & 3);
}
double value_number(const Group& group, int token, int channel) {
  const int part = channel / Group::kChannels, in_part = channel % Group::kChannels;
  const std::uint32_t word = group.value_codes[part][token][in_part / 16];
  return from_half(group.value_zero[part][token]) +
         double{from_half(group.value_scale[part][token])} * (word >> 2 * (in_part % 16) & 3);
}

}  // namespace

KiviCache::KiviCache(int kv_heads, std::int64_t tokens)
    : kv_heads_(kv_heads),
      tokens_(tokens),
      groups_(static_cast<std::size_t>(kv_heads * (tokens / Group::kTokens)) * sizeof(Group)) {}

void KiviCache::encode(const float* keys, const float* values, std::int64_t at, std::int64_t count, ThreadPool& threads) {
  const std::int64_t groups = count / Group::kTokens, head_groups = tokens_ / Group::kTokens;
  threads.run(kv_heads_ * groups, [&](std::int64_t item, int) {
    const std::int64_t head = item / groups, i = item % groups;
    const std::int64_t row = head * count + i * Group::kTokens;
    encode_group(keys + row * kDim, values + row * kDim, groups_.as<Group>()[head * head_groups + at / Group::kTokens + i]);
  });
}

void KiviCache::attend(int group, const float* queries, float* out, ThreadPool& threads) const {
  if (group != 1 && group != 4) throw Error(ErrorKind::invalid_argument, "[kivi] found another group than 1 or 4");
  threads.run(kv_heads_, [&](std::int64_t head, int) {
    const Group* groups = groups_.as<Group>() + head * (tokens_ / Group::kTokens);
    const std::int64_t at = head * group * kDim;
    (group == 1 ? attend_head<1> : attend_head<4>)(groups, tokens_, queries + at, out + at);
  });
}

std::int64_t KiviCache::bytes() const { return kv_heads_ * (tokens_ / Group::kTokens) * static_cast<std::int64_t>(sizeof(Group)); }

double KiviCache::error(int group) {
  constexpr std::int64_t kTokens = 512;
  ThreadPool threads(1);
  KiviCache cache(1, kTokens);
  const auto keys = normal_numbers(kTokens * kDim, 21), values = normal_numbers(kTokens * kDim, 22);
  auto queries = normal_numbers(static_cast<std::size_t>(group * kDim), 23);
  for (float& q : queries) q *= std::numbers::log2e_v<float> / std::sqrt(static_cast<float>(kDim));
  cache.encode(keys.data(), values.data(), 0, kTokens, threads);
  std::vector<float> out(queries.size());
  cache.attend(group, queries.data(), out.data(), threads);
  double error = 0, norm = 0;
  for (int g = 0; g < group; ++g) {
    std::vector<double> wanted(kDim);
    double sum = 0;
    for (std::int64_t t = 0; t < kTokens; ++t) {
      const Group& coded = cache.groups_.as<Group>()[t / Group::kTokens];
      const int token = static_cast<int>(t % Group::kTokens);
      double score = 0;
      for (int c = 0; c < kDim; ++c) score += queries[static_cast<std::size_t>(g * kDim + c)] * key_number(coded, token, c);
      const double weight = std::exp2(score);
      sum += weight;
      for (int c = 0; c < kDim; ++c) wanted[static_cast<std::size_t>(c)] += weight * value_number(coded, token, c);
    }
    for (int c = 0; c < kDim; ++c) {
      const double right = wanted[static_cast<std::size_t>(c)] / sum, off = out[static_cast<std::size_t>(g * kDim + c)] - right;
      error += off * off;
      norm += right * right;
    }
  }
  return std::sqrt(error / norm);
}
#else
KiviCache::KiviCache(int kv_heads, std::int64_t tokens) : kv_heads_(kv_heads), tokens_(tokens) {}
void KiviCache::encode(const float*, const float*, std::int64_t, std::int64_t, ThreadPool&) {}
void KiviCache::attend(int, const float*, float*, ThreadPool&) const {}
std::int64_t KiviCache::bytes() const { return 0; }
double KiviCache::error(int) { return 0; }
#endif

}  // namespace qjl::bench
