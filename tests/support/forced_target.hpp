// Tests of kernels run once per SIMD target, as ctest entries that set QJL_CPU_TARGET. A processor that lacks one skips the
// program; a name that no build knows fails.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <string_view>

#include "qjl/error.hpp"
#include "qjl/simd.hpp"
#include "skipped.hpp"

namespace qjl::test {

class ForcedTarget : public ::testing::Environment {
 public:
  void SetUp() override {
    try {
      const std::string_view name = simd_target_name(simd_target());  // before anything is printed
      std::cout << "SIMD target " << name << "\n";
    } catch (const Error& error) {
      const char* forced = std::getenv("QJL_CPU_TARGET");
      for (SimdTarget target : {SimdTarget::scalar, SimdTarget::avx2, SimdTarget::avx512, SimdTarget::avx512vbmi, SimdTarget::neon,
                                SimdTarget::neon_dotprod}) {
        if (forced != nullptr && simd_target_name(target) == forced) skip_program(error.what());
      }
      FAIL() << error.what();
    }
  }
};
inline ::testing::Environment* const kForcedTarget = ::testing::AddGlobalTestEnvironment(new ForcedTarget);

}  // namespace qjl::test
