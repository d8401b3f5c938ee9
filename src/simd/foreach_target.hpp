// Compiles a file once per instruction set. The file defines QJL_THIS_FILE as its own name (its folder is one of its include
// directories) and includes this header, which includes the file again for each target, with QJL_PASS defined and
//
//   QJL_NAMESPACE   scalar, avx2, avx512, avx512vbmi, avx512bf16, neon, neon_dotprod: where the pass puts all that it defines
//   QJL_LANES       32-bit numbers in one register of the target: 4, 8, 16
//   QJL_NEON        0 where the pass may not use Arm's vector intrinsics, 1 where it may, 2 with the dot products
//   QJL_VBMI        1 where bytes can be looked up across a register and multiplied by fours (AVX-512 VBMI, VNNI, GFNI), else 0
//   QJL_PASS_BEGIN  and QJL_PASS_END: around functions, which are then compiled for the target
//
// Passes for avx512vbmi and neon_dotprod are made only for files that define QJL_WITH_BYTE_DOTS; a file that defines
// QJL_ONLY_BF16_PRODUCTS has one pass, avx512bf16, and on other architectures none.
//
// After the passes QJL_ON_TARGET(target, name) is `name` of the namespace that serves a SimdTarget.
//
// Headers of a pass (lanes.hpp and all that use it) are read once a pass: QJL_TARGET_TOGGLE is defined in every second one, and a
// header that finds its own guard in the same state has not been read yet. So a pass includes the same headers whatever its target
// is; what only some targets have stands inside an #if of the header.
#pragma once

#include "target.hpp"

#define QJL_PASS
#define QJL_VBMI 0
#define QJL_NEON 0

#if defined(QJL_ONLY_BF16_PRODUCTS)
#define QJL_PASS_END QJL_TARGET_END
#if defined(__x86_64__)
#undef QJL_VBMI
#define QJL_VBMI 1
#define QJL_NAMESPACE avx512bf16
#define QJL_LANES 16
#define QJL_PASS_BEGIN QJL_TARGET_BEGIN(QJL_TARGET_AVX512BF16)
#include QJL_THIS_FILE
#undef QJL_PASS_BEGIN
#undef QJL_NAMESPACE
#undef QJL_LANES
#endif

#else
#define QJL_NAMESPACE scalar
#define QJL_LANES 4
#define QJL_PASS_BEGIN
#define QJL_PASS_END
#include QJL_THIS_FILE
#undef QJL_PASS_BEGIN
#undef QJL_PASS_END
#undef QJL_NAMESPACE
#undef QJL_LANES

#define QJL_PASS_END QJL_TARGET_END
#if defined(__x86_64__)
#define QJL_TARGET_TOGGLE
#define QJL_NAMESPACE avx512
#define QJL_LANES 16
#define QJL_PASS_BEGIN QJL_TARGET_BEGIN(QJL_TARGET_AVX512)
#include QJL_THIS_FILE
#undef QJL_PASS_BEGIN
#undef QJL_NAMESPACE
#undef QJL_LANES

#undef QJL_TARGET_TOGGLE
#define QJL_NAMESPACE avx2
#define QJL_LANES 8
#define QJL_PASS_BEGIN QJL_TARGET_BEGIN(QJL_TARGET_AVX2)
#include QJL_THIS_FILE
#undef QJL_PASS_BEGIN
#undef QJL_NAMESPACE
#undef QJL_LANES

#if defined(QJL_WITH_BYTE_DOTS)
#define QJL_TARGET_TOGGLE
#undef QJL_VBMI
#define QJL_VBMI 1
#define QJL_NAMESPACE avx512vbmi
#define QJL_LANES 16
#define QJL_PASS_BEGIN QJL_TARGET_BEGIN(QJL_TARGET_AVX512VBMI)
#include QJL_THIS_FILE
#undef QJL_PASS_BEGIN
#undef QJL_NAMESPACE
#undef QJL_LANES
#endif

#elif defined(__aarch64__)
#define QJL_TARGET_TOGGLE
#undef QJL_NEON
#define QJL_NEON 1
#define QJL_NAMESPACE neon
#define QJL_LANES 4
#define QJL_PASS_BEGIN QJL_TARGET_BEGIN(QJL_TARGET_NEON)
#include QJL_THIS_FILE
#undef QJL_PASS_BEGIN
#undef QJL_NAMESPACE

#if defined(QJL_WITH_BYTE_DOTS)
#undef QJL_TARGET_TOGGLE
#undef QJL_NEON
#define QJL_NEON 2
#define QJL_NAMESPACE neon_dotprod
#define QJL_PASS_BEGIN QJL_TARGET_BEGIN(QJL_TARGET_NEON_DOTPROD)
#include QJL_THIS_FILE
#undef QJL_PASS_BEGIN
#undef QJL_NAMESPACE
#endif
#undef QJL_LANES
#endif
#endif

#undef QJL_PASS_END
#undef QJL_VBMI
#undef QJL_NEON
#undef QJL_PASS

#if defined(__x86_64__)
#define QJL_ON_TARGET_WITHOUT_DOTS(target, name) \
  ((target) >= SimdTarget::avx512 ? avx512::name : (target) == SimdTarget::avx2 ? avx2::name : scalar::name)
#if defined(QJL_WITH_BYTE_DOTS)
#define QJL_ON_TARGET(target, name) \
  ((target) >= SimdTarget::avx512vbmi ? avx512vbmi::name : QJL_ON_TARGET_WITHOUT_DOTS(target, name))
#else
#define QJL_ON_TARGET QJL_ON_TARGET_WITHOUT_DOTS
#endif
#elif defined(__aarch64__)
#define QJL_ON_TARGET_WITHOUT_DOTS(target, name) ((target) >= SimdTarget::neon ? neon::name : scalar::name)
#if defined(QJL_WITH_BYTE_DOTS)
#define QJL_ON_TARGET(target, name) \
  ((target) >= SimdTarget::neon_dotprod ? neon_dotprod::name : QJL_ON_TARGET_WITHOUT_DOTS(target, name))
#else
#define QJL_ON_TARGET QJL_ON_TARGET_WITHOUT_DOTS
#endif
#else
#define QJL_ON_TARGET(target, name) (static_cast<void>(target), scalar::name)
#endif
