// What this processor can run, found once by cpuid or the kernel's word; QJL_CPU_TARGET forces one of it.
#include <cstdlib>
#include <string>
#include <vector>

#include "qjl/error.hpp"
#include "qjl/simd.hpp"

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace qjl {
namespace {

constexpr SimdTarget kAll[] = {SimdTarget::scalar,     SimdTarget::avx2, SimdTarget::avx512,
                               SimdTarget::avx512vbmi, SimdTarget::neon, SimdTarget::neon_dotprod};

// The features of simd.hpp's target strings; the library behind these built-ins also asks whether the system saves the registers.
bool has(SimdTarget target) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                    __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("f16c") &&
                    __builtin_cpu_supports("lzcnt");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512cd");
  const bool vbmi = avx512 && __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni") &&
                    __builtin_cpu_supports("avx512bitalg") && __builtin_cpu_supports("avx512vpopcntdq") &&
                    __builtin_cpu_supports("gfni");
  switch (target) {
    case SimdTarget::scalar: return true;
    case SimdTarget::avx2: return avx2;
    case SimdTarget::avx512: return avx512;
    case SimdTarget::avx512vbmi: return vbmi;
    case SimdTarget::neon:
    case SimdTarget::neon_dotprod: return false;
  }
  return false;
#elif defined(__aarch64__)
  switch (target) {
    case SimdTarget::scalar:
    case SimdTarget::neon: return true;
    case SimdTarget::neon_dotprod: return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
    case SimdTarget::avx2:
    case SimdTarget::avx512:
    case SimdTarget::avx512vbmi: return false;
  }
  return false;
#else
  return target == SimdTarget::scalar;
#endif
}

[[noreturn]] void refuse(const std::string& found) {
  std::string wanted;
  for (SimdTarget target : simd_targets()) wanted += (wanted.empty() ? "" : ", ") + std::string(simd_target_name(target));
  throw Error(ErrorKind::invalid_argument, "[simd] QJL_CPU_TARGET is `" + found + "`, this processor has " + wanted);
}

SimdTarget chosen_target() {
  const char* forced = std::getenv("QJL_CPU_TARGET");
  if (forced == nullptr || *forced == '\0') return simd_targets().back();
  for (SimdTarget target : simd_targets()) {
    if (simd_target_name(target) == forced) return target;
  }
  refuse(forced);
}

}  // namespace

std::string_view simd_target_name(SimdTarget target) {
  switch (target) {
    case SimdTarget::scalar: return "scalar";
    case SimdTarget::avx2: return "avx2";
    case SimdTarget::avx512: return "avx512";
    case SimdTarget::avx512vbmi: return "avx512vbmi";
    case SimdTarget::neon: return "neon";
    case SimdTarget::neon_dotprod: return "neon_dotprod";
  }
  return "unknown";
}

std::span<const SimdTarget> simd_targets() {
  static const std::vector<SimdTarget> targets = [] {
    std::vector<SimdTarget> found;
    for (SimdTarget target : kAll) {
      if (has(target)) found.push_back(target);
    }
    return found;
  }();
  return targets;
}

SimdTarget simd_target() {
  static const SimdTarget target = chosen_target();
  return target;
}

bool has_bf16_products() {
#if defined(__x86_64__)
  static const bool has = simd_target() >= SimdTarget::avx512vbmi && __builtin_cpu_supports("avx512bf16");
  return has;
#else
  return false;
#endif
}

}  // namespace qjl
