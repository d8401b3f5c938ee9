// The plain types that every other header speaks: number formats, codes, identifiers.
#pragma once

#include <cstdint>
#include <string_view>

namespace qjl {

// A 16 or 32 bit floating point format of keys, values and queries as the caller holds them.
enum class DType : std::uint8_t { f32, f16, bf16 };

constexpr int dtype_bytes(DType dtype) { return dtype == DType::f32 ? 4 : 2; }

// How the numbers of a sealed page are written. `docs/format.md` gives the bytes.
enum class Code : std::uint8_t {
  f16,     // exact: the 16-bit numbers themselves (both sides)
  s1,      // one frame, signs: QJL with orthogonal rows, 1 bit
  s2,      // two frames, signs chosen together by annealing, 2 bits
  l4,      // one frame, 4 Lloyd-Max levels, 2 bits
  l8,      // one frame, 8 Lloyd-Max levels, 3 bits
  l16,     // one frame, 16 Lloyd-Max levels, 4 bits
  jl,      // keys only, the paper's sketch: sign(S k), norms, outlier channels apart
  minmax,  // values only, the paper's: 2 bits per number, min and max per 32 channels
  t2,      // one frame, a trellis of 2 bits a number, windows of 6 bits
  t2w,     // the same with windows of 8 bits
  t3,      // one frame, a trellis of 3 bits a number, windows of 8 bits
  t4,      // the same of 4 bits
  l32,     // one frame, 32 levels, scales chosen among those that a page can store
  l64,     // the same of 64 levels
};

std::string_view code_name(Code code);

// Names one sequence of a cache for as long as it lives; never reused.
enum class SequenceId : std::int64_t {};

}  // namespace qjl
