// Which instruction set the kernels use.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace qjl {

// Ordered: a later one can do all that an earlier one can (on its architecture).
enum class SimdTarget : std::uint8_t {
  scalar,        // the compiler's baseline
  avx2,          // AVX2, FMA, F16C, BMI2
  avx512,        // + AVX-512 F, BW, DQ, VL, CD
  avx512vbmi,    // + VBMI, VNNI, BITALG, VPOPCNTDQ, GFNI
  neon,          // 64-bit Arm as it always is
  neon_dotprod,  // + SDOT, UDOT
};

std::string_view simd_target_name(SimdTarget target);

// The targets that this build has and this processor can run, slowest first; scalar is always there.
std::span<const SimdTarget> simd_targets();

// The best of them, or the one that the environment variable QJL_CPU_TARGET names (read once).
// Errors: invalid_argument when that name is unknown or the processor lacks it.
SimdTarget simd_target();

// Whether simd_target() allows, and this processor has, products of bf16 pairs (AVX-512 BF16).
bool has_bf16_products();

}  // namespace qjl
