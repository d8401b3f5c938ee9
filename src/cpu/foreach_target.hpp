// Compiles a verb's file once per instruction set. The file defines QJL_THIS_FILE as its own name and includes this header; this
// header includes the file again inside a region of each target, with QJL_PASS defined and
//
//   QJL_NAMESPACE   scalar, avx2, avx512, avx512vbmi, neon, neon_dotprod: where the pass puts everything it defines
//   QJL_LANES       32-bit numbers in one register of the target: 4, 8, 16
//   QJL_NEON        0 where the pass may not use Arm's vector intrinsics, 1 where it may, 2 with the dot products
//   QJL_VBMI        1 where bytes can be looked up across a register and multiplied by fours (AVX-512 VBMI, VNNI, GFNI), else 0
//   QJL_BYTE_LOOPS  1 where the target has byte loops for sealed pages (bytes/shape.hpp), else 0
//
// Passes for avx512vbmi and neon_dotprod are made only for files that define QJL_WITH_BYTE_DOTS: the rest of their verbs are those
// of avx512 and neon.
// All other headers are included here, before any region opens. The headers of a pass (simd.hpp and those that say so) have no
// include guard and include nothing; a verb lists those that it needs, in order.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "args.hpp"
#include "codebook.hpp"
#include "estimator.hpp"
#include "half.hpp"
#include "page.hpp"
#include "qjl/simd.hpp"
#include "scratch.hpp"
#include "softmax_state.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define QJL_PASS
// A function that may not be inlined takes vectors by reference: clang's AddressSanitizer aligns its frames to 32 bytes, and an
// argument of 64 bytes on the stack to 64.
#define QJL_INLINE inline __attribute__((always_inline))
// Before a loop over an array of vectors, which stays in registers only when the loop is unrolled whole.
#if defined(__clang__)
#define QJL_UNROLL _Pragma("unroll")
#else
#define QJL_UNROLL _Pragma("GCC unroll 16")
#endif

#define QJL_VBMI 0
#define QJL_NEON 0
#define QJL_BYTE_LOOPS 0

#define QJL_NAMESPACE scalar
#define QJL_LANES 4
#include QJL_THIS_FILE
#undef QJL_NAMESPACE
#undef QJL_LANES

#if defined(__x86_64__)
#undef QJL_BYTE_LOOPS
#define QJL_BYTE_LOOPS 1
#define QJL_NAMESPACE avx512
#define QJL_LANES 16
QJL_TARGET_BEGIN(QJL_TARGET_AVX512)
#include QJL_THIS_FILE
QJL_TARGET_END
#undef QJL_NAMESPACE
#undef QJL_LANES

#define QJL_NAMESPACE avx2
#define QJL_LANES 8
QJL_TARGET_BEGIN(QJL_TARGET_AVX2)
#include QJL_THIS_FILE
QJL_TARGET_END
#undef QJL_NAMESPACE
#undef QJL_LANES

#if defined(QJL_WITH_BYTE_DOTS)
#undef QJL_VBMI
#define QJL_VBMI 1
#define QJL_NAMESPACE avx512vbmi
#define QJL_LANES 16
QJL_TARGET_BEGIN(QJL_TARGET_AVX512VBMI)
#include QJL_THIS_FILE
QJL_TARGET_END
#undef QJL_NAMESPACE
#undef QJL_LANES
#endif

#elif defined(__aarch64__)
#undef QJL_BYTE_LOOPS
#define QJL_BYTE_LOOPS 1
#define QJL_LANES 4
#undef QJL_NEON
#define QJL_NEON 1
#define QJL_NAMESPACE neon
QJL_TARGET_BEGIN(QJL_TARGET_NEON)
#include QJL_THIS_FILE
QJL_TARGET_END
#undef QJL_NAMESPACE

#if defined(QJL_WITH_BYTE_DOTS)
#undef QJL_NEON
#define QJL_NEON 2
#define QJL_NAMESPACE neon_dotprod
QJL_TARGET_BEGIN(QJL_TARGET_NEON_DOTPROD)
#include QJL_THIS_FILE
QJL_TARGET_END
#undef QJL_NAMESPACE
#endif
#undef QJL_LANES
#endif

#undef QJL_VBMI
#undef QJL_NEON
#undef QJL_BYTE_LOOPS
#undef QJL_PASS
