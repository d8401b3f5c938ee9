// Two-frame signs (s2) of 2 x 16 vectors: an annealed alternation in 16-bit whole numbers.
//
//   T_f = K s P_f x, s = 1.6 at norm sqrt(d)       targets; K = 4 u with u = d for hadamard frames, else 512
//   m_2 = soft(T_2);  each round:  m_1 = soft(T_1 - u C m_2),  m_2 = soft(T_2 - u C^T m_1),  C = P_1 P_2^T
//   soft(f) = f 2^-k rounded, within -4 .. 4; k falls from round to round to 0, where soft is the sign
//   code_f  = sign of the last round's f; sign(0) is plus
//
// A token is written as two vectors of signs, each in a frame of its own, whose sum should lie close to it. The best signs of one
// frame depend on those of the other, so they are found in turns: fix one, take the signs of what is left in the other. Signs chosen
// too early stick, hence the annealing: m_1 and m_2 begin as soft whole numbers between -4 and 4 and harden to signs over the rounds.
// This descends |s x - P_1^T m_1 - P_2^T m_2|^2: at equal cost the variance is .098 where plain alternation gives .113 and its best
// of four starts .104 (docs/results/trials.md).
//
// Why 16 bits suffice: u C = H E H with E = D1_1 D1_2, whole numbers; |H m| <= 4 d, and |H E H m| <= sqrt(d) |H E H m|_2 = 4 d^1.5
// <= 2^14 since H / sqrt(d) keeps norms; targets are kept below 2^14 too. A lane holds a token of the first group in its low half, of
// the second in its high. Cost: a round is 4 Hadamards of 32 tokens a register.
#if defined(QJL_ENCODE_SIGNS) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_ENCODE_SIGNS
#undef QJL_ENCODE_SIGNS
#else
#define QJL_ENCODE_SIGNS
#endif

#include <algorithm>
#include <bit>
#include <cstdint>
#include <type_traits>

#include "encode/tokens.hpp"
#include "encode/words.hpp"
#include "frame.hpp"
#include "lanes.hpp"
#include "page.hpp"
#include "scratch.hpp"
#include "search_tables.hpp"
#include "small.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

// Two groups of 16 vectors, each with its own pair of frames.
struct SignJob {
  Frame frame[2][2];             // [group][frame]
  const std::int16_t* cross[2];  // dense: round(512 C) of each group
  int dim() const { return frame[0][0].dim; }
  bool dense() const { return frame[0][0].dense != nullptr; }
  int unit() const { return dense() ? kCrossUnit : dim(); }
};

// v <- H v over Rows registers.
template <int Rows>
QJL_INLINE void butterflies(NativeU (&v)[Rows]) {
  QJL_UNROLL
  for (int apart = 1; apart < Rows; apart *= 2) {
    QJL_UNROLL
    for (int k = 0; k < Rows; ++k) {
      if ((k & apart) != 0) continue;
      const NativeU a = v[k], b = v[k + apart];
      v[k] = add16(a, b);
      v[k + apart] = subtract16(a, b);
    }
  }
}

QJL_INLINE NativeU soft(NativeU f, NativeU half, int shift) {
  NativeU low, high;
  fill(0xfffcfffcu, low);
  fill(0x00040004u, high);
  return min16(max16(shift_right16(add16(f, half), shift), low), high);
}

// The levels of a Hadamard whose pairs are 16 or more apart, the flips, and the same levels again: field [d][16].
template <int Rows>
inline void cross_blocks(const std::uint32_t* flips, std::uint32_t* field) {
  for (int c = 0; c < 16; ++c) {
    for (int column = 0; column < 16; column += QJL_LANES) {
      NativeU v[Rows];
      QJL_UNROLL
      for (int k = 0; k < Rows; ++k) read(field + (c + 16 * k) * 16 + column, v[k]);
      butterflies(v);
      QJL_UNROLL
      for (int k = 0; k < Rows; ++k) {
        NativeU flip;
        fill(flips[c + 16 * k], flip);
        v[k] = multiply16(v[k], flip);
      }
      butterflies(v);
      QJL_UNROLL
      for (int k = 0; k < Rows; ++k) write(field + (c + 16 * k) * 16 + column, v[k]);
    }
  }
}

// What becomes of f = T - u C m: softened into the next m, or also kept in place of T.
enum class Fields { pass, keep };

// Ends the product in `field`, decides, and begins the next: the levels inside blocks of 16 coordinates.
template <Fields kFields>
inline void decide_blocks(std::uint32_t* target, std::uint32_t* field, int d, int shift) {
  NativeU half;
  fill((1u << shift >> 1) * 0x10001u, half);
  for (int block = 0; block < d; block += 16) {
    for (int column = 0; column < 16; column += QJL_LANES) {
      const int at = block * 16 + column;
      NativeU v[16];
      QJL_UNROLL
      for (int k = 0; k < 16; ++k) read(field + at + k * 16, v[k]);
      butterflies(v);
      QJL_UNROLL
      for (int k = 0; k < 16; ++k) {
        NativeU t;
        read(target + at + k * 16, t);
        const NativeU f = subtract16(t, v[k]);
        if (kFields == Fields::keep) write(target + at + k * 16, f);
        v[k] = soft(f, half, shift);
      }
      butterflies(v);
      QJL_UNROLL
      for (int k = 0; k < 16; ++k) write(field + at + k * 16, v[k]);
    }
  }
}

// One half round of hadamard frames.
template <Fields kFields>
inline void decide_hadamard(const std::uint32_t* flips, std::uint32_t* target, std::uint32_t* field, int d, int shift) {
  switch (d / 16) {
    case 4: cross_blocks<4>(flips, field); break;
    case 8: cross_blocks<8>(flips, field); break;
    default: cross_blocks<16>(flips, field);
  }
  decide_blocks<kFields>(target, field, d, shift);
}

// One half round of dense frames: f = T - cross m, or its transpose, then m = soft(f).
template <Fields kFields>
inline void decide_dense(const SignJob& job, int frame, std::uint32_t* target, std::uint32_t* soft_signs, std::uint32_t* field,
                         int shift) {
  const int d = job.dim(), along = frame == 0 ? 1 : d, across = frame == 0 ? d : 1;
  for (int i = 0; i < d; ++i) {
    u32x16 sum = splat_u32(0);
    for (int j = 0; j < d; ++j) {
      const int at = i * across + j * along;
      const auto first = static_cast<std::uint16_t>(job.cross[0][at]), second = static_cast<std::uint16_t>(job.cross[1][at]);
      sum = add16(sum, multiply16(splat_u32(first | static_cast<std::uint32_t>(second) << 16), load_u32(soft_signs + j * 16)));
    }
    store_u32(field + i * 16, sum);
  }
  NativeU half;
  fill((1u << shift >> 1) * 0x10001u, half);
  for (int at = 0; at < d * 16; at += QJL_LANES) {
    NativeU t, u;
    read(target + at, t);
    read(field + at, u);
    const NativeU f = subtract16(t, u);
    if (kFields == Fields::keep) write(target + at, f);
    write(soft_signs + at, soft(f, half, shift));
  }
}

// T_f [2][d][16] from y [group][frame][d][16].
inline void make_targets(const SignJob& job, const float* y, const f32x16 (&to_unit)[2], std::uint32_t* targets) {
  const int d = job.dim(), unit = job.unit();
  const float steps = kSignScale * static_cast<float>(kSoftMax * kTargetSteps);
  const float limit = static_cast<float>((kTargetMax - 1) / (unit / kTargetSteps));
  const u32x16 rest = splat_16(unit / kTargetSteps);
  for (int i = 0; i < 2 * d; ++i) {
    u32x16 bits[2];
    for (int group = 0; group < 2; ++group) {
      const f32x16 t = load(y + (group * 2 * d + i) * 16) * (to_unit[group] * splat(steps));
      bits[group] = as_u32(max(min(t, splat(limit)), splat(-limit)) + splat(0x1.8p23f));  // the integer is in the low bits
    }
    store_u32(targets + i * 16, multiply16((bits[0] & splat_u32(0xffffu)) | bits[1] << 16, rest));
  }
}

// Code words of both groups, [group][words][16], and <y, signs> of both.
inline void anneal_signs(const SignJob& job, const WordOrder& order, const EncodeScratch& scratch, const f32x16 (&to_unit)[2],
                         f32x16 (&dot)[2]) {
  const int d = job.dim();
  std::uint32_t* target[2] = {scratch.targets, scratch.targets + d * 16};
  make_targets(job, scratch.rotated, to_unit, scratch.targets);
  std::uint32_t flips[layout::kMaxHeadDim];
  if (!job.dense()) {
    for (int c = 0; c < d; ++c) {
      const bool first = job.frame[0][0].sign_mid[c] != job.frame[0][1].sign_mid[c];
      const bool second = job.frame[1][0].sign_mid[c] != job.frame[1][1].sign_mid[c];
      flips[c] = (first ? 0xffffu : 1u) | (second ? 0xffffu : 1u) << 16;
    }
  }
  std::fill_n(scratch.field, d * 16, 0u);
  std::fill_n(scratch.soft_signs, d * 16, 0u);
  const auto decide = [&](int frame, int shift, auto fields) {
    if (job.dense())
      decide_dense<fields()>(job, frame, target[frame], scratch.soft_signs, scratch.field, shift);
    else
      decide_hadamard<fields()>(flips, target[frame], scratch.field, d, shift);
  };
  constexpr auto kPass = std::integral_constant<Fields, Fields::pass>();
  constexpr auto kKeep = std::integral_constant<Fields, Fields::keep>();
  const int start = std::bit_width(static_cast<unsigned>(job.unit())) - 1;
  decide(1, start - kAnnealing.cooling[0], kPass);
  for (int cooling : kAnnealing.cooling) {
    const int shift = std::max(0, start - cooling);
    decide(0, shift, kPass);
    decide(1, shift, kPass);
  }
  decide(0, 0, kKeep);
  decide(1, 0, kKeep);
  for (int group = 0; group < 2; ++group) {
    const int bit = 15 + 16 * group;
    const float* y = scratch.rotated + std::int64_t{group} * 2 * d * 16;
    dot[group] =
        sum_of(2 * d, [&](int c) { return load(y + c * 16) * sign_of_bit(load_u32(scratch.targets + c * 16) >> 16 * group, 15); });
    for (int w = 0; w < order.words(); ++w) {
      const auto byte = [&](int c) { return load_u32(scratch.targets + c * 16) >> bit & splat_u32(1); };
      store_u32(scratch.words + (group * scratch.num_words + w) * 16, make_word(order, w, byte));
    }
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
