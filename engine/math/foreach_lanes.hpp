// Compiles the header that QJL_LANES_BODY names once per instruction set, in namespaces qjl::engine::{scalar, avx2, avx512, neon},
// each after the 16-lane type of its target (lanes_<target>.hpp) and its dot products of bytes (dot_<target>.hpp). With
// QJL_LANES_WITH_BYTE_DOTS once more in avx512vbmi, where a dot product is one instruction. A file includes all else that its body
// needs before this one.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "qjl/simd.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define QJL_LANES_INLINE [[gnu::always_inline]] inline

// clang-format off: lanes come before what is made of them
namespace qjl::engine::scalar {
#include "lanes_scalar.hpp"
#include "dot_scalar.hpp"
#include QJL_LANES_BODY
}  // namespace qjl::engine::scalar

#if defined(__x86_64__)
QJL_TARGET_BEGIN(QJL_TARGET_AVX2)
namespace qjl::engine::avx2 {
#include "lanes_avx2.hpp"
#include "dot_avx2.hpp"
#include QJL_LANES_BODY
}  // namespace qjl::engine::avx2
QJL_TARGET_END

QJL_TARGET_BEGIN(QJL_TARGET_AVX512)
namespace qjl::engine::avx512 {
#include "lanes_avx512.hpp"
#include "dot_avx512.hpp"
#include QJL_LANES_BODY
}  // namespace qjl::engine::avx512
QJL_TARGET_END

#ifdef QJL_LANES_WITH_BYTE_DOTS
QJL_TARGET_BEGIN(QJL_TARGET_AVX512VBMI)
namespace qjl::engine::avx512vbmi {
#include "lanes_avx512.hpp"
#include "dot_vnni.hpp"
#include QJL_LANES_BODY
}  // namespace qjl::engine::avx512vbmi
QJL_TARGET_END
#endif
#elif defined(__aarch64__)
QJL_TARGET_BEGIN(QJL_TARGET_NEON)
namespace qjl::engine::neon {
#include "lanes_neon.hpp"
#include "dot_neon.hpp"
#include QJL_LANES_BODY
}  // namespace qjl::engine::neon
QJL_TARGET_END
#endif
// clang-format on
