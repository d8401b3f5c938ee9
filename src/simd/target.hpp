// The means to compile a function for an instruction set: what each target is called for the compiler, and regions of a file.
//
//   QJL_TARGET_BEGIN(QJL_TARGET_AVX2) ... QJL_TARGET_END
//
// A region holds functions only, in a namespace of its own, so that no inline function is shared between instruction sets; every
// #include stands outside. No file needs an -m flag. Files for several targets are compiled by foreach_target.hpp.
#pragma once

#include "qjl/simd.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define QJL_PRAGMA(text) _Pragma(#text)
#if defined(__x86_64__)
#define QJL_TARGET_AVX2 "avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt"
#define QJL_TARGET_AVX512 QJL_TARGET_AVX2 ",avx512f,avx512bw,avx512dq,avx512vl,avx512cd"
#define QJL_TARGET_AVX512VBMI QJL_TARGET_AVX512 ",avx512vbmi,avx512vnni,avx512bitalg,avx512vpopcntdq,gfni"
#define QJL_TARGET_AVX512BF16 QJL_TARGET_AVX512VBMI ",avx512bf16"
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

// A function that may not be inlined takes vectors by reference: clang's AddressSanitizer aligns its frames to 32 bytes, and an
// argument of 64 bytes on the stack to 64.
#define QJL_INLINE inline __attribute__((always_inline))
// Before a loop over an array of vectors, which stays in registers only when the loop is unrolled whole.
#if defined(__clang__)
#define QJL_UNROLL _Pragma("unroll")
#else
#define QJL_UNROLL _Pragma("GCC unroll 16")
#endif
