// The types of vectors: a register of the target (NativeF, NativeU, NativeI: QJL_LANES numbers of 32 bits), and sixteen lanes.
//
// Sixteen lanes are one register of 16, a pair of 8, or a pair of pairs of 4: compilers make poor code of vectors wider than a
// register, and good code of pairs.
#if defined(QJL_SIMD_REGISTERS) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_SIMD_REGISTERS
#undef QJL_SIMD_REGISTERS
#else
#define QJL_SIMD_REGISTERS
#endif

#include <cstdint>

#include "target.hpp"

namespace qjl::simd::QJL_NAMESPACE {

typedef float NativeF __attribute__((vector_size(4 * QJL_LANES)));
typedef std::uint32_t NativeU __attribute__((vector_size(4 * QJL_LANES)));
typedef std::int32_t NativeI __attribute__((vector_size(4 * QJL_LANES)));

template <typename T>
struct Pair {
  T lo, hi;
};

#if QJL_LANES == 16
using f32x16 = NativeF;
using u32x16 = NativeU;
using i32x16 = NativeI;
#elif QJL_LANES == 8
using f32x16 = Pair<NativeF>;
using u32x16 = Pair<NativeU>;
using i32x16 = Pair<NativeI>;
#else
using f32x16 = Pair<Pair<NativeF> >;
using u32x16 = Pair<Pair<NativeU> >;
using i32x16 = Pair<Pair<NativeI> >;
#endif

struct TwoVectors {
  f32x16 low, high;
};

}  // namespace qjl::simd::QJL_NAMESPACE

#endif
