// Philox4x32-10: random numbers as a function of a counter, so that any machine computes any of them alone.
//
//   key = (low, high word of the seed), counter = (block, stream, 0, 0) -> four 32-bit words
//   sign c of a stream:    bit c % 32 of word (c / 32) % 4 of block c / 128; 1 means -1
//   normal i of a stream:  words (a, b) = pair i / 2 (two pairs a block); Box-Muller in double with u = (a + .5) / 2^32,
//                          v = (b + .5) / 2^32: sqrt(-2 ln u) cos(2 pi v) for even i, sin for odd i
//
// Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

#include "hd.hpp"

namespace qjl {

// Which random numbers are whose.
enum class Stream : std::uint32_t {
  key_sign_in = 0,      // D2
  key_sign_mid = 1,     // + f: D1_f
  value_sign_in = 16,   // D2
  value_sign_mid = 17,  // + f: D1_f
  key_frame = 64,       // + f: Gaussian of a dense frame
  value_frame = 80,     // + f
  sketch = 128,
  outlier_sketch = 129,
};
QJL_HD constexpr std::uint32_t stream_of(Stream base, int frame) {
  return static_cast<std::uint32_t>(base) + static_cast<std::uint32_t>(frame);
}

struct PhiloxWords {
  std::uint32_t word[4];
};

QJL_HD constexpr PhiloxWords philox(std::uint64_t seed, std::uint32_t stream, std::uint32_t block) {
  std::uint32_t key0 = static_cast<std::uint32_t>(seed), key1 = static_cast<std::uint32_t>(seed >> 32);
  PhiloxWords c{{block, stream, 0, 0}};
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xD2511F53u} * c.word[0], product1 = std::uint64_t{0xCD9E8D57u} * c.word[2];
    c = {{static_cast<std::uint32_t>(product1 >> 32) ^ c.word[1] ^ key0, static_cast<std::uint32_t>(product1),
          static_cast<std::uint32_t>(product0 >> 32) ^ c.word[3] ^ key1, static_cast<std::uint32_t>(product0)}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return c;
}

QJL_HD constexpr float philox_sign(std::uint64_t seed, std::uint32_t stream, std::uint32_t c) {
  const std::uint32_t word = philox(seed, stream, c / 128).word[c / 32 % 4];
  return (word >> c % 32 & 1u) != 0 ? -1.0f : 1.0f;
}

inline double philox_normal(std::uint64_t seed, std::uint32_t stream, std::uint32_t i) {
  const PhiloxWords words = philox(seed, stream, i / 4);
  const double u = (words.word[i / 2 % 2 * 2] + 0.5) * 0x1p-32, v = (words.word[i / 2 % 2 * 2 + 1] + 0.5) * 0x1p-32;
  const double radius = std::sqrt(-2.0 * std::log(u)), angle = 2.0 * std::numbers::pi * v;
  return radius * (i % 2 == 0 ? std::cos(angle) : std::sin(angle));
}

}  // namespace qjl
