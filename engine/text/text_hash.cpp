//   h = n * a;  for each 8 bytes w (the last ones with zeros behind): h = fold((h ^ w) * a),  fold(x) = upper half ^ lower half
//
// a is odd and secret: whoever does not know it cannot choose w so that different texts meet more often than by chance.
#include "text_hash.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>

namespace qjl::engine {
namespace {

__extension__ using Wide = unsigned __int128;

std::uint64_t draw_multiplier() {
  std::random_device chance;
  return (std::uint64_t{chance()} << 32) | chance() | 1;
}

}  // namespace

std::size_t TextHash::operator()(std::string_view text) const noexcept {
  static const std::uint64_t multiplier = draw_multiplier();
  std::uint64_t hash = text.size() * multiplier;
  while (!text.empty()) {
    std::uint64_t word = 0;
    const std::size_t count = std::min(text.size(), sizeof(word));
    std::memcpy(&word, text.data(), count);
    text.remove_prefix(count);
    const Wide product = Wide{hash ^ word} * multiplier;
    hash = static_cast<std::uint64_t>(product >> 64) ^ static_cast<std::uint64_t>(product);
  }
  return hash;
}

}  // namespace qjl::engine
