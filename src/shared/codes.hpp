// What a code is: a row of traits for each, and the visitor that makes a code a constant.
//
//   traits(code)                                 the row, at run time or at compile time, on the host and on devices
//   with_code(code, [&]<Code kCode>() { ... })   calls with the code as a template argument
//   with_key_frame_code(code, ...), with_value_frame_code   the same with the code that one frame of a rotated code is written in
//
// Whatever depends on a code asks its row. No switch over an enum has a `default:`, and the build makes a missing case an error;
// what is written for one layout takes codes of that layout only. So a code that some place forgot does not compile:
// docs/add_a_code.md.
#pragma once

#include <cstdint>

#include "qjl/types.hpp"

namespace qjl {

// What a code index stands for.
enum class Book : std::uint8_t {
  exact,    // nothing: the 16-bit number itself
  signs,    // +1 or -1 in a rotated frame, times the token's closing scale
  levels,   // a level of codebook.hpp in a rotated frame, times the token's closing scale
  fine,     // the same, levels and scale chosen together: cpu/encode/fine_levels.hpp
  trellis,  // the same, of a window of the token's bit string: trellis.hpp
  sketch,   // the sign of <row of S, k>, times the token's norm
  minmax,   // the minimum and so many steps, of 32 channels
};

// The order of key bits and of value bits in a body: page.hpp. `none`: the code is not for that side.
enum class KeyLayout : std::uint8_t { none, slots, rows, triples, words, strings };
enum class ValueLayout : std::uint8_t { none, slots, shared_lines, lines, triples, line_pairs, strings };

struct CodeTraits {
  const char* name;  // null: there is no such code
  Book book;
  int bits;    // of a coordinate in one frame
  int frames;  // that a token uses at once
  KeyLayout keys;
  ValueLayout values;
  Code frame_code;              // that each frame is written in: `frames` times this is the code
  char key_digit, value_digit;  // k3, v3: the digit by which people ask for the code; 0: by name only

  // Whether its numbers live in rotated frames, with a closing scale per token.
  constexpr bool rotated() const {
    return book == Book::signs || book == Book::levels || book == Book::fine || book == Book::trellis;
  }
};

// Always inlined, so that a reader pays for the field it asks for.
[[gnu::always_inline]] constexpr CodeTraits traits(Code code) {
  using enum Code;
  using K = KeyLayout;
  using V = ValueLayout;
  switch (code) {
    case f16: return {"f16", Book::exact, 16, 1, K::slots, V::slots, f16, 0, 0};
    case s1: return {"s1", Book::signs, 1, 1, K::rows, V::shared_lines, s1, '1', '1'};
    case s2: return {"s2", Book::signs, 1, 2, K::rows, V::shared_lines, s1, '2', 0};
    case l4: return {"l4", Book::levels, 2, 1, K::rows, V::lines, l4, 0, '2'};
    case l8: return {"l8", Book::levels, 3, 1, K::triples, V::triples, l8, '3', '3'};
    case l16: return {"l16", Book::levels, 4, 1, K::words, V::line_pairs, l16, '4', '4'};
    case jl: return {"jl", Book::sketch, 1, 1, K::slots, V::none, jl, 0, 0};
    case minmax: return {"minmax", Book::minmax, 2, 1, K::none, V::slots, minmax, 0, 0};
    case t2: return {"t2", Book::trellis, 2, 1, K::strings, V::strings, t2, 0, 0};
    case t2w: return {"t2w", Book::trellis, 2, 1, K::strings, V::strings, t2w, 0, 0};
    case t3: return {"t3", Book::trellis, 3, 1, K::strings, V::strings, t3, 0, 0};
    case t4: return {"t4", Book::trellis, 4, 1, K::strings, V::strings, t4, 0, 0};
    case l32: return {"l32", Book::fine, 5, 1, K::strings, V::strings, l32, '5', '5'};
    case l64: return {"l64", Book::fine, 6, 1, K::strings, V::strings, l64, '6', '6'};
  }
  return {};  // a number that is no code, from a file or a caller
}

constexpr bool is_code(Code code) { return traits(code).name != nullptr; }
// Codes are numbered without gaps.
inline constexpr int kNumCodes = [] {
  int count = 0;
  while (is_code(static_cast<Code>(count))) ++count;
  return count;
}();

constexpr bool is_rotated(Code code) { return traits(code).rotated(); }

// The most bits that a key takes a channel, over all its frames, in a code that GPUs have: not a string.
inline constexpr int kMaxKeyBits = [] {
  int most = 0;
  for (int number = 0; number < kNumCodes; ++number) {
    const CodeTraits code = traits(static_cast<Code>(number));
    if (code.rotated() && code.keys != KeyLayout::strings && code.bits * code.frames > most) most = code.bits * code.frames;
  }
  return most;
}();

// Always inlined, so that it takes on the instruction set of its caller.
template <typename Function>
[[gnu::always_inline]] constexpr decltype(auto) with_code(Code code, const Function& function) {
  switch (code) {
    case Code::f16: return function.template operator()<Code::f16>();
    case Code::s1: return function.template operator()<Code::s1>();
    case Code::s2: return function.template operator()<Code::s2>();
    case Code::l4: return function.template operator()<Code::l4>();
    case Code::l8: return function.template operator()<Code::l8>();
    case Code::l16: return function.template operator()<Code::l16>();
    case Code::jl: return function.template operator()<Code::jl>();
    case Code::minmax: return function.template operator()<Code::minmax>();
    case Code::t2: return function.template operator()<Code::t2>();
    case Code::t2w: return function.template operator()<Code::t2w>();
    case Code::t3: return function.template operator()<Code::t3>();
    case Code::t4: return function.template operator()<Code::t4>();
    case Code::l32: return function.template operator()<Code::l32>();
    case Code::l64: return function.template operator()<Code::l64>();
  }
  __builtin_unreachable();
}

// Of keys, of values.
template <typename Function>
[[gnu::always_inline]] constexpr decltype(auto) with_key_frame_code(Code code, const Function& function) {
  using Result = decltype(function.template operator()<Code::s1>());
  return with_code(code, [&]<Code kCode>() __attribute__((always_inline)) -> Result {
    if constexpr (is_rotated(kCode) && traits(kCode).keys != KeyLayout::none) {
      return function.template operator()<traits(kCode).frame_code>();
    }
    __builtin_unreachable();
  });
}
template <typename Function>
[[gnu::always_inline]] constexpr decltype(auto) with_value_frame_code(Code code, const Function& function) {
  using Result = decltype(function.template operator()<Code::s1>());
  return with_code(code, [&]<Code kCode>() __attribute__((always_inline)) -> Result {
    if constexpr (is_rotated(kCode) && traits(kCode).values != ValueLayout::none) {
      return function.template operator()<traits(kCode).frame_code>();
    }
    __builtin_unreachable();
  });
}

}  // namespace qjl
