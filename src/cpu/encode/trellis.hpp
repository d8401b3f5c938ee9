// Trellis codes of 2 x 16 vectors: the string whose levels lie closest, by Viterbi's algorithm in 16-bit whole numbers.
//
//   y        of norm sqrt(d), in steps of 2^-13, within `farthest` (search_tables.hpp)
//   metric   of a level: the high half of e^2, e = (y - level) 2^(k - 2) within +-32767, its low k bits 0
//   state    the last L - k bits; cost of state n after a step = min over the bits c that fell out of its window (n << k) | c of
//            cost(predecessor) + metric(level of the window); the predecessor is the window's low L - k bits
//   string   first a run without a beginning, 2 x kTrellisReach steps round the string's ends: the state in the middle of its best path
//            becomes both ends of the string; then the cheapest path from that state round to itself
//
// Costs are unsigned numbers of 16 bits that stop at 65535. A cost carries in its low k bits those that its state will lose next, so
// that the minimum tells its predecessor, and of equal ones takes the lower. Every fourth step the least cost is taken away. All is
// whole numbers: every target writes the same bytes.
//
// Cost a step: 2^L additions and minima of 32 vectors a register, d + 2 kTrellisReach steps.
#if defined(QJL_ENCODE_TRELLIS) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_ENCODE_TRELLIS
#undef QJL_ENCODE_TRELLIS
#else
#define QJL_ENCODE_TRELLIS
#endif

#include <cstdint>

#include "codebook.hpp"
#include "encode/levels.hpp"
#include "encode/words.hpp"
#include "lanes.hpp"
#include "scratch.hpp"
#include "search_tables.hpp"
#include "small.hpp"
#include "trellis.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

// The coordinate of each step: page.hpp, strings.
template <Code kCode>
inline int coordinate_of_step(const WordOrder& order, int step) {
  const bool of_keys = order.stride == 1;
  const int steps = of_keys ? key_group(traits(kCode)).steps : value_group(traits(kCode)).steps, across = of_keys ? 4 : kLanes;
  const int group = step / steps, in_group = step % steps;
  return across * (steps * (group / across) + in_group) + group % across;
}

template <Code kCode>
struct TrellisSearch {
  static constexpr int kBits = traits(kCode).bits, kBranches = 1 << kBits, kStates = trellis_states(kCode);
  static constexpr int kLevels = 2 * codebook(kCode).count;
  static constexpr std::uint32_t kLow = (kBranches - 1) * 0x10001u;
  static constexpr TrellisTables kTables = trellis_tables(kCode);
  // States kShift apart, and these alone, have the same predecessors.
  static constexpr int kShift = kStates / kBranches;

  const std::uint32_t* y;  // [d][16] by step, two vectors a lane
  int d;
  std::uint32_t* survivors;  // [d][survivor_words][16]: the low bits of each state's cost, before its own come in

  static QJL_INLINE NativeU native(std::uint32_t x) {
    NativeU v;
    fill(x, v);
    return v;
  }
  static QJL_INLINE NativeU both(int x) { return native((static_cast<std::uint32_t>(x) & 0xffffu) * 0x10001u); }

  QJL_INLINE void metrics(NativeU here, NativeU (&metric)[kLevels]) const {
    constexpr int kLimit = 32767 >> (kBits - 2);
    QJL_UNROLL
    for (int l = 0; l < kLevels; ++l) {
      NativeU e = max16(min16(subtract_bounded(here, both(kTables.level[l])), both(kLimit)), both(-kLimit));
      for (int twice = 2; twice < kBits; ++twice) e = add16(e, e);
      metric[l] = square_high(e) & native(~kLow);
    }
  }

  // One step for the vectors of a register.
  inline void step(int s, int column, const NativeU (&from)[kStates], NativeU (&to)[kStates]) const {
    NativeU here, metric[kLevels];
    read(y + s * kLanes + column, here);
    metrics(here, metric);
    constexpr int kSlotBits = survivor_bits(kCode), kPerWord = 16 / kSlotBits;
    NativeU packed{};
    QJL_UNROLL
    for (int shared = 0; shared < kShift; ++shared) {
      QJL_UNROLL
      for (int t = 0; t < kBranches; ++t) {
        const int state = shared + t * kShift, slot = shared * kBranches + t;
        NativeU best = add_bounded(from[shared << kBits], metric[kTables.index[state << kBits]]);
        QJL_UNROLL
        for (int c = 1; c < kBranches; ++c) {
          best = min_unsigned16(best, add_bounded(from[shared << kBits | c], metric[kTables.index[state << kBits | c]]));
        }
        packed = packed | (best & native(kLow)) << kSlotBits * (slot % kPerWord);
        if (slot % kPerWord == kPerWord - 1) {
          write(survivors + (s * survivor_words(kCode) + slot / kPerWord) * kLanes + column, packed);
          packed = NativeU{};
        }
        to[state] = (best & native(~kLow)) | both(state & (kBranches - 1));
      }
    }
  }

  static inline void settle(NativeU (&cost)[kStates]) {
    NativeU least = cost[0];
    for (int n = 1; n < kStates; ++n) least = min_unsigned16(least, cost[n]);
    for (int n = 0; n < kStates; ++n) cost[n] = subtract16(cost[n], least & native(~kLow));
  }

  // `count` steps from `first` on, round the string's end; a multiple of 8.
  inline void run(int first, int count, int column, NativeU (&cost)[kStates]) const {
    NativeU other[kStates];
    for (int i = 0; i < count; i += 4) {
      for (int k = 0; k < 4; k += 2) {
        step((first + i + k) % d, column, cost, other);
        step((first + i + k + 1) % d, column, other, cost);
      }
      settle(cost);
    }
  }

  // The window that the cheapest path to `state` of vector `v` had at the step whose survivors these are. Unsigned, so that dividing
  // by powers of two is a shift.
  static QJL_INLINE unsigned window(const std::uint16_t* step_survivors, unsigned v, unsigned state) {
    constexpr unsigned kShared = kShift, kSlotBits = survivor_bits(kCode), kPerWord = 16 / kSlotBits;
    const unsigned slot = state % kShared * kBranches + state / kShared;
    const unsigned survivor = step_survivors[slot / kPerWord * (2 * kLanes) + v] >> kSlotBits * (slot % kPerWord);
    return state << kBits | (survivor & (kBranches - 1));
  }
  QJL_INLINE const std::uint16_t* survivors_of(int s, int column) const {
    return reinterpret_cast<const std::uint16_t*>(survivors + s * survivor_words(kCode) * kLanes + column);
  }

  // Vector v of a register is in lane v / 2, group v mod 2. bits, indices [2 groups][num_words][16 lanes] words.
  inline void search(int column, const WordOrder& order, std::int64_t num_words, std::uint8_t* bits, std::uint8_t* indices) const {
    constexpr int kVectors = 2 * QJL_LANES;
    NativeU cost[kStates];
    for (int n = 0; n < kStates; ++n) cost[n] = both(n & (kBranches - 1));
    run(d - kTrellisReach, 2 * kTrellisReach, column, cost);
    alignas(64) std::uint16_t costs[kStates][kVectors];
    for (int n = 0; n < kStates; ++n) write(costs[n], cost[n]);
    unsigned at[kVectors] = {};
    for (unsigned n = 1; n < kStates; ++n) {
      for (unsigned v = 0; v < kVectors; ++v) at[v] = costs[n][v] >> kBits < costs[at[v]][v] >> kBits ? n : at[v];
    }
    for (int s = kTrellisReach - 1; s >= 0; --s) {
      const std::uint16_t* before = survivors_of(s, column);
      for (unsigned v = 0; v < kVectors; ++v) at[v] = window(before, v, at[v]) % kStates;
    }
    for (unsigned n = 0; n < kStates; ++n) {
      for (unsigned v = 0; v < kVectors; ++v) {
        costs[n][v] = static_cast<std::uint16_t>((n == at[v] ? 0 : kTrellisElsewhere) | (n & (kBranches - 1)));
      }
      read(costs[n], cost[n]);
    }
    run(0, d, column, cost);
    for (int s = d - 1; s >= 0; --s) {
      const std::uint16_t* before = survivors_of(s, column);
      const std::int64_t byte = order.place(coordinate_of_step<kCode>(order, s)) + 4 * column;
      for (unsigned v = 0; v < kVectors; ++v) {
        const unsigned w = window(before, v, at[v]);
        const std::int64_t out = byte + v % 2 * num_words * kLanes * 4 + v / 2 * 4;
        bits[out] = static_cast<std::uint8_t>(w >> (trellis(kCode).window_bits - kBits));
        indices[out] = kTables.index[w];
        at[v] = w % kStates;
      }
    }
  }
};

// y of two groups as whole numbers, in the order of steps, a lane of the first in the low half, of the second in the high.
template <Code kCode>
inline void trellis_targets(const WordOrder& order, const float* rotated, const f32x16 (&to_unit)[2], std::uint32_t* targets) {
  const std::int64_t d = order.coordinates;
  const f32x16 most = splat(static_cast<float>(TrellisSearch<kCode>::kTables.farthest));
  for (int s = 0; s < d; ++s) {
    const int c = coordinate_of_step<kCode>(order, s);
    u32x16 half[2];
    for (int group = 0; group < 2; ++group) {
      const f32x16 y = load(rotated + (group * 2 * d + c) * kLanes) * (to_unit[group] * splat(kTrellisSteps));
      half[group] = as_u32(to_i32(round_even(max(min(y, most), splat(0.0f) - most))));
    }
    store_u32(targets + s * kLanes, (half[0] & splat_u32(0xffffu)) | half[1] << 16);
  }
}

// Writes scratch.words: the new bits of each step; returns <y, level> of each group.
template <Code kCode>
inline void encode_trellis(const WordOrder& order, const EncodeScratch& scratch, const f32x16 (&to_unit)[2], f32x16 (&dot)[2]) {
  const int d = order.coordinates;
  trellis_targets<kCode>(order, scratch.rotated, to_unit, scratch.targets);
  const TrellisSearch<kCode> search{scratch.targets, d, scratch.survivors};
  for (int column = 0; column < kLanes; column += QJL_LANES) {
    search.search(column, order, scratch.num_words, reinterpret_cast<std::uint8_t*>(scratch.words),
                  reinterpret_cast<std::uint8_t*>(scratch.indices));
  }
  for (int group = 0; group < 2; ++group) {
    dot[group] = dot_levels<codebook(kCode).count>(kLevels<kCode>, order, scratch.rotated + std::int64_t{group} * 2 * d * kLanes,
                                                   scratch.indices + group * scratch.num_words * kLanes);
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
