// Code words: four codes a 32-bit word, a byte each, arrays [word][16]; the order of their coordinates suits the packing.
#if defined(QJL_ENCODE_WORDS) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_ENCODE_WORDS
#undef QJL_ENCODE_WORDS
#else
#define QJL_ENCODE_WORDS
#endif

#include <algorithm>

#include "lanes.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

// Coordinates first(w) + k stride, k = 0..3, are the bytes of word w: neighbours (keys), or 16 apart (values: a word holds the same
// channel of four blocks). The last words of values may not be full; the other bytes are 0.
struct WordOrder {
  int coordinates, stride;
  static WordOrder of_keys(int coordinates) { return {coordinates, 1}; }
  static WordOrder of_values(int coordinates) { return {coordinates, kLanes}; }
  int words() const { return stride == 1 ? coordinates / 4 : (coordinates + 63) / 64 * kLanes; }
  int first(int word) const { return stride == 1 ? 4 * word : word / kLanes * 64 + word % kLanes; }
  // The byte of a coordinate in a lane's words: 64 bytes a word of all lanes.
  int place(int coordinate) const {
    if (stride == 1) return coordinate / 4 * 64 + coordinate % 4;
    return (coordinate / 64 * kLanes + coordinate % kLanes) * 64 + coordinate % 64 / kLanes;
  }
  int bytes(int word) const { return stride == 1 ? 4 : std::min(4, (coordinates - word / kLanes * 64) / kLanes); }
};

// The word of byte(coordinate), numbers below 256.
template <typename Byte>
QJL_INLINE u32x16 make_word(const WordOrder& order, int word, const Byte& byte) {
  const int first = order.first(word), bytes = order.bytes(word);
  u32x16 bits = byte(first);
  QJL_UNROLL
  for (int k = 1; k < 4; ++k) {
    if (k < bytes) bits = bits | byte(first + k * order.stride) << 8 * k;
  }
  return bits;
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
