// Which instruction set the kernels use, and the means to compile a function for one.
//
// A kernel file includes everything first, then opens a region per target; each region is a namespace of its own, so that no
// inline function is shared between instruction sets. No file needs an -m flag.
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

#define QJL_PRAGMA(text) _Pragma(#text)
#if defined(__x86_64__)
#define QJL_TARGET_AVX2 "avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt"
#define QJL_TARGET_AVX512 QJL_TARGET_AVX2 ",avx512f,avx512bw,avx512dq,avx512vl,avx512cd"
#define QJL_TARGET_AVX512VBMI QJL_TARGET_AVX512 ",avx512vbmi,avx512vnni,avx512bitalg,avx512vpopcntdq,gfni"
#elif defined(__aarch64__)
#if defined(__clang__)
#define QJL_TARGET_NEON "neon"
#define QJL_TARGET_NEON_DOTPROD "dotprod"
#else
#define QJL_TARGET_NEON "+simd"
#define QJL_TARGET_NEON_DOTPROD "arch=armv8.2-a+dotprod"
#endif
#endif
#if defined(__clang__)
#define QJL_TARGET_BEGIN(features) QJL_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define QJL_TARGET_END _Pragma("clang attribute pop")
#else
#define QJL_TARGET_BEGIN(features) _Pragma("GCC push_options") QJL_PRAGMA(GCC target(features))
#define QJL_TARGET_END _Pragma("GCC pop_options")
#endif
