// Single steps of several caches in turn: what is taken, what is refused, and in what order the work is told of. How fast they are is
// for benchmarks.
#include "decode_speed.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "qjl/error.hpp"
#include "tiny_model.hpp"

namespace qjl::engine::test {
namespace {

constexpr std::int64_t kContext = 20;

struct DecodeSpeedTest : testing::Test {
  ThreadPool threads{1};
  std::vector<std::int64_t> told;

  std::vector<double> measure(const DecodeSpeedConfig& config, std::int64_t num_tokens = kContext,
                              const TinyModel& tiny = TinyModel()) {
    const std::vector<std::byte> bytes = tiny.bytes();
    Model model = Model::load(parse_model_file(bytes, "tiny"));
    std::vector<Token> tokens;
    for (std::int64_t i = 0; i < num_tokens; ++i) tokens.push_back(static_cast<Token>(i * 7 % 96));
    told.clear();
    return decode_speed(model, tokens, config, threads, [&](std::int64_t done, std::int64_t total) {
      EXPECT_EQ(total, config.steps * static_cast<std::int64_t>(config.caches.size()));
      told.push_back(done);
    });
  }
  std::string refusal(const DecodeSpeedConfig& config, std::int64_t num_tokens = kContext) {
    try {
      measure(config, num_tokens);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid_argument) << error.what();
      return error.what();
    }
    return "";
  }
};

TEST_F(DecodeSpeedTest, EveryCacheTakesEveryStep) {
  for (const std::int64_t steps : {std::int64_t{1}, std::int64_t{4}, kContext - 1}) {
    const auto speeds = measure({.context = kContext, .steps = steps, .caches = {"f16", "k3v2"}});
    ASSERT_EQ(speeds.size(), 2u);
    for (const double speed : speeds) EXPECT_TRUE(std::isfinite(speed) && speed > 0) << speed;
    ASSERT_EQ(std::ssize(told), 2 * steps);
    for (std::int64_t i = 0; i < 2 * steps; ++i) EXPECT_EQ(told[static_cast<std::size_t>(i)], i + 1);
  }
}

TEST_F(DecodeSpeedTest, StepsThatAContextDoesNotHoldAreRefused) {
  for (const std::int64_t steps : {std::int64_t{-1}, std::int64_t{0}, kContext, std::numeric_limits<std::int64_t>::max()}) {
    const std::string told_of = refusal({.context = kContext, .steps = steps, .caches = {"f16"}});
    EXPECT_NE(told_of.find("found " + std::to_string(steps) + " steps, wanted 1 to 19"), std::string::npos) << told_of;
  }
}

TEST_F(DecodeSpeedTest, ATextIsAsLongAsItsContext) {
  const DecodeSpeedConfig config{.context = kContext, .steps = 2, .caches = {"f16"}};
  EXPECT_EQ(refusal(config, kContext), "");
  EXPECT_EQ(refusal(config, kContext + 1), "");
  EXPECT_NE(refusal(config, kContext - 1).find("has 19 tokens, wanted 20"), std::string::npos);
}

TEST_F(DecodeSpeedTest, LogitsThatAreNoNumbersEndIt) {
  TinyModel tiny;
  for (float& x : tiny.tensors["output_norm.weight"].numbers) x = NAN;
  EXPECT_THROW(measure({.context = kContext, .steps = 2, .caches = {"f16"}}, kContext, tiny), Error);
}

}  // namespace
}  // namespace qjl::engine::test
