// What the exact rivals read: random bf16 keys and values in distinct memory, in one buffer for every layout.
//
// Numbers are normal, drawn once into a block that is copied over the buffer: the memory traffic is that of distinct pages, the
// values repeat. One buffer serves all layouts, head dimensions and lengths, since any arrangement of such numbers is as good.
#pragma once

#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "huge_buffer.hpp"

namespace qjl::bench {

inline std::uint16_t to_bf16(float x) {  // to nearest, ties to even; no NaN here
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
inline float from_bf16(std::uint16_t x) {
  const std::uint32_t bits = std::uint32_t{x} << 16;
  float number;
  std::memcpy(&number, &bits, sizeof number);
  return number;
}

inline std::vector<float> normal_numbers(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> numbers(count);
  for (float& x : numbers) x = normal(random);
  return numbers;
}

// [count] bf16 numbers and slack behind them that a prefetch may reach.
inline HugeBuffer random_bf16(std::int64_t count) {
  constexpr std::size_t kBlock = std::size_t{1} << 20, kSlack = std::size_t{1} << 16;
  const auto numbers = normal_numbers(kBlock, 11);
  std::vector<std::uint16_t> block(kBlock);
  for (std::size_t i = 0; i < kBlock; ++i) block[i] = to_bf16(numbers[i]);
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(std::uint16_t);
  HugeBuffer buffer(bytes + kSlack);
  for (std::size_t at = 0; at < bytes; at += kBlock * sizeof(std::uint16_t)) {
    std::memcpy(buffer.as<std::byte>() + at, block.data(), std::min(bytes - at, kBlock * sizeof(std::uint16_t)));
  }
  return buffer;
}

// What one kv head's exact attention reads and writes. softmax_scale * log2(e) is in the queries, which are bf16.
struct ExactArgs {
  const std::uint16_t* cache;    // keys and values of one kv head, 2 * tokens * head_dim numbers
  const std::uint16_t* queries;  // [group, head_dim]
  float* out;                    // [group, head_dim]
  std::int64_t tokens;           // a multiple of 64
  std::int64_t prefetch_lead;    // bytes ahead of the reads
};
using ExactKernel = void (*)(const ExactArgs&);

}  // namespace qjl::bench
