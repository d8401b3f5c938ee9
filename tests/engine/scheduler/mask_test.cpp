// A mask says which tokens may come: each choice has its own, also parked and forked; what is left to draw is what mask, bias and ends
// leave, and what happens when that is nothing.
#include "recorder.hpp"

namespace qjl::engine::test {
namespace {

// Lets pass the tokens of one text, one after another, then those that end; notes what it was told.
class TextMask : public TokenMask {
 public:
  TextMask(Tokens text, Tokens ends, std::vector<Tokens>& told) : text_(std::move(text)), ends_(std::move(ends)), told_(told) {
    told_.emplace_back();
    mine_ = told_.size() - 1;
  }
  void fill(std::span<std::uint32_t> allowed) override {
    const Tokens now = may_end() ? ends_ : Tokens{text_[at_]};
    for (Token token = 0; token < kVocab; ++token) {
      if (std::ranges::find(now, token) == now.end()) allowed[static_cast<std::size_t>(token) / 32] &= ~(1U << (token % 32));
    }
  }
  void accept(Token token) override {
    told_[mine_].push_back(token);
    ++at_;
  }
  bool may_end() const override { return at_ == text_.size(); }

 private:
  const Tokens text_, ends_;
  std::vector<Tokens>& told_;
  std::size_t mine_ = 0, at_ = 0;
};

constexpr Token kEnd = 7;

class MaskTest : public SchedulerFixture {
 protected:
  MaskTest() : SchedulerFixture() {}

  std::shared_ptr<Recorder> ask(const std::function<void(Request&)>& change) {
    Driver driver(*this, config(100, 10));
    auto recorder = std::make_shared<Recorder>();
    Request request = request_of(random_tokens(40, 1), 50, recorder);
    request.stop_tokens = {kEnd};
    request.make_mask = [this] { return std::make_unique<TextMask>(text_, Tokens{kEnd}, told_); };
    change(request);
    driver.submit(std::move(request));
    driver.run();
    return recorder;
  }

  const Tokens text_ = {80, 3, 95, 3, 3, 64, 31, 32};
  std::vector<Tokens> told_;
};

TEST_F(MaskTest, EveryChoiceGoesThroughItsOwn) {
  const auto found = ask([](Request& request) {
    request.choices = 5;
    request.sampling.temperature = 1.5f;
  });
  for (int choice = 0; choice < 5; ++choice) EXPECT_EQ(found->tokens(choice), joined(text_, {kEnd}));
  EXPECT_EQ(told_, std::vector<Tokens>(5, joined(text_, {kEnd})));
  EXPECT_EQ(found->finishes, std::vector<ChoiceFinish>(5, ChoiceFinish::stop));
}

TEST_F(MaskTest, ABiasDoesNotOpenIt) {
  const auto found = ask([](Request& request) { request.sampling.logit_bias = {{1, 100.0f}, {3, -99.0f}}; });
  EXPECT_EQ(found->tokens(), joined(text_, {kEnd}));
}

TEST_F(MaskTest, AWholeTextEndsWhereNothingIsLeft) {
  const auto found = ask([](Request& request) { request.min_tokens = 20; });
  EXPECT_EQ(found->tokens(), text_);
  EXPECT_EQ(found->finishes, std::vector{ChoiceFinish::stop});
}

TEST_F(MaskTest, AForbiddenTokenThatItWantsIsAFault) {
  const auto found = ask([](Request& request) { request.sampling.logit_bias = {{95, -100.0f}}; });
  EXPECT_EQ(found->tokens(), Tokens({80, 3}));
  ASSERT_EQ(found->ends.size(), 1U);
  EXPECT_EQ(found->ends[0].kind, End::Kind::failed);
  EXPECT_NE(found->ends[0].message.find("logit_bias"), std::string::npos);
}

}  // namespace
}  // namespace qjl::engine::test
