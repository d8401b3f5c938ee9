// Damage to a file's bytes, for tests of readers that trust none.
#pragma once

#include <algorithm>
#include <cstring>
#include <random>

#include "gguf_builder.hpp"

namespace qjl_test {

// One to four changes: a bit, a byte, a 32-bit or 64-bit number of a nasty size, a cut, a moved stretch.
inline void mutate(Bytes& file, std::mt19937_64& random) {
  const auto below = [&](std::size_t limit) { return static_cast<std::size_t>(random() % limit); };
  const std::uint64_t nasty[] = {0,          1,          0x7f,       0x80,       0xff,  0x7fffffff,
                                 0x80000000, 0xffffffff, 1ull << 61, 1ull << 63, ~0ull, below(file.size())};
  for (std::size_t changes = 1 + below(4); changes > 0 && !file.empty(); --changes) {
    const std::size_t at = below(file.size());
    const std::uint64_t number = nasty[below(std::size(nasty))];
    switch (below(7)) {
      case 0: file[at] ^= static_cast<std::byte>(1u << below(8)); break;
      case 1: file[at] = static_cast<std::byte>(random()); break;
      case 2: std::memcpy(&file[at], &number, std::min<std::size_t>(4, file.size() - at)); break;
      case 3: std::memcpy(&file[at], &number, std::min<std::size_t>(8, file.size() - at)); break;
      case 4: file.resize(at); break;
      case 5:
        std::rotate(file.begin() + static_cast<std::ptrdiff_t>(at / 2), file.begin() + static_cast<std::ptrdiff_t>(at), file.end());
        break;
      default: file.insert(file.begin() + static_cast<std::ptrdiff_t>(at), below(40), static_cast<std::byte>(random())); break;
    }
  }
}

}  // namespace qjl_test
