// The main() of every test program: GoogleTest's, which tells what was skipped.
#include <gtest/gtest.h>

#include <string>

#include "skipped.hpp"

namespace {

class TellSkipped : public testing::EmptyTestEventListener {
  void OnTestEnd(const testing::TestInfo& test) override {
    const testing::TestResult& result = *test.result();
    for (int i = 0; i < result.total_part_count(); ++i) {
      const testing::TestPartResult& part = result.GetTestPartResult(i);
      if (part.skipped()) qjl::test::tell_skipped(std::string(test.test_suite_name()) + "." + test.name(), part.message());
    }
  }
};

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  testing::UnitTest& all = *testing::UnitTest::GetInstance();
  all.listeners().Append(new TellSkipped);
  const int failed = RUN_ALL_TESTS();
  if (failed != 0 || all.skipped_test_count() == 0) return failed;
  return all.skipped_test_count() == all.test_to_run_count() ? qjl::test::kSkipped : 0;
}
