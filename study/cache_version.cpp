// cache_version.hpp says what is hashed.
#include "cache_version.hpp"

#include <cstdint>
#include <random>
#include <span>
#include <string_view>
#include <vector>

#include "qjl/codec.hpp"

namespace qjl::engine {
namespace {

constexpr std::int64_t kPages = 2;

void hash_bytes(std::uint32_t& hash, std::span<const std::byte> bytes) {
  for (const std::byte byte : bytes) hash = (hash ^ std::to_integer<std::uint32_t>(byte)) * 16777619u;
}

// Sums of uniform numbers, exact in binary, so that every machine has the same rows.
std::vector<float> fixed_rows(std::size_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<float> rows(count);
  for (float& x : rows) {
    for (int i = 0; i < 4; ++i) x += static_cast<float>(random() >> 56) / 256.0f - 0.5f;
  }
  return rows;
}

}  // namespace

std::string cache_version(TrialCache& trial, ThreadPool& threads) {
  const CacheConfig& config = trial.cache().config();
  const std::int64_t tokens = kPages * kTokensPerPage;
  const auto count = static_cast<std::size_t>(config.num_kv_heads * tokens * config.head_dim);
  const auto keys = fixed_rows(count, 1), values = fixed_rows(count, 2);
  const auto view = [&](const std::vector<float>& rows) {
    return TensorView::contiguous(rows.data(), DType::f32, config.num_kv_heads, tokens, config.head_dim);
  };
  trial.append_prompt(0, view(keys), view(values), threads);
  std::uint32_t hash = 2166136261u;
  const double bits = trial.bits_sealed();
  hash_bytes(hash, std::as_bytes(std::span(&bits, 1)));
  for (int head = 0; head < config.num_kv_heads; ++head) {
    for (std::int64_t page = 0; page < kPages; ++page) {
      const auto bytes = trial.cache().page(trial.sequence(), 0, head, page);
      hash_bytes(hash, bytes.head);
      hash_bytes(hash, bytes.body);
    }
  }
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (int shift = 28; shift >= 0; shift -= 4) text += kDigits[hash >> shift & 15];
  return text;
}

}  // namespace qjl::engine
