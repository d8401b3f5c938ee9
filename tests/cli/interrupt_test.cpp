// Ctrl-C as the process sees it: a signal, its time of grace, and what forgets both. tests/python interrupts the program itself.
#include "interrupt.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <thread>

namespace qjl::cli::test {
namespace {

constexpr std::chrono::milliseconds kBeyondGrace{500};

TEST(Interrupt, AForgottenOneEndsNothingLater) {
  catch_interrupts();
  std::raise(SIGINT);
  EXPECT_THROW(check_interrupt(), Interrupted);
  forget_interrupt();
  std::this_thread::sleep_for(kBeyondGrace);
  EXPECT_FALSE(interrupted());
}

TEST(Interrupt, ASparedOneEndsNothingByItself) {
  catch_interrupts();
  const InterruptsSpared spared;
  std::raise(SIGINT);
  std::this_thread::sleep_for(kBeyondGrace);
  EXPECT_TRUE(interrupted());
  forget_interrupt();
}

TEST(InterruptDeathTest, OneThatNothingSeesEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        catch_interrupts();
        std::raise(SIGINT);
        for (int i = 0; i < 100; ++i) std::this_thread::sleep_for(kBeyondGrace);
      },
      testing::ExitedWithCode(130), "");
}

}  // namespace
}  // namespace qjl::cli::test
