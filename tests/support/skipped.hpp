// What a test leaves out is told: a line `SKIPPED name: reason` each, which tools/sum_reports.py counts, and a program that leaves
// everything out ends with kSkipped, which ctest counts (SKIP_RETURN_CODE in tests/CMakeLists.txt).
#pragma once

#include <cstdlib>
#include <iostream>
#include <string_view>

namespace qjl::test {

inline constexpr int kSkipped = 77;

inline void tell_skipped(std::string_view name, std::string_view reason) {
  std::cout << "SKIPPED " << name << ": " << reason.substr(0, reason.find('\n')) << std::endl;
}

// For an environment, whose GTEST_SKIP() would end the program as a success of all tests.
[[noreturn]] inline void skip_program(std::string_view reason) {
  tell_skipped("all tests", reason);
  std::exit(kSkipped);
}

}  // namespace qjl::test
