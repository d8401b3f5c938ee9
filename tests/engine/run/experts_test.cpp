// Mixtures of experts: a step reads the matrices of the experts that its token chose, and of no other.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "model.hpp"
#include "qjl/codec.hpp"
#include "qjl/threads.hpp"
#include "tiny_model.hpp"

namespace qjl::engine::test {
namespace {

constexpr int kExperts = 8, kUsed = 2;
constexpr std::int64_t kHidden = 128, kWidth = 96;

void add_experts(TinyModel& tiny) {
  tiny.keys["llama.expert_count"] = std::uint32_t{kExperts};
  tiny.keys["llama.expert_used_count"] = std::uint32_t{kUsed};
  tiny.keys["llama.expert_feed_forward_length"] = static_cast<std::uint32_t>(kWidth);
  const auto stack = [&](const std::string& name, std::int64_t rows, std::int64_t columns) {
    tiny.matrix(name, kExperts * rows, columns, 1.0);
    tiny.tensors[name].shape = {kExperts, rows, columns};
  };
  for (const std::string layer : {"blk.0.", "blk.1."}) {
    for (const char* name : {"ffn_gate.weight", "ffn_up.weight", "ffn_down.weight"}) tiny.tensors.erase(layer + name);
    tiny.matrix(layer + "ffn_gate_inp.weight", kExperts, kHidden, 1.0);
    stack(layer + "ffn_gate_exps.weight", kWidth, kHidden);
    stack(layer + "ffn_up_exps.weight", kWidth, kHidden);
    stack(layer + "ffn_down_exps.weight", kHidden, kWidth);
  }
}

struct OneSequence {
  std::vector<std::byte> bytes;
  Model model;
  KvCache cache;
  SequenceId sequence;
  ThreadPool threads{2};

  explicit OneSequence(const TinyModel& tiny, TinyModel::Matrices matrices = TinyModel::Matrices::f32)
      : bytes(tiny.bytes(matrices)),
        model(Model::load(parse_model_file(bytes, "tiny"))),
        cache(model.cache_config(codec_config("f16"), 256)),
        sequence(cache.create()) {}

  std::vector<float> step(std::span<const Token> tokens, Arithmetic arithmetic = Arithmetic::exact) {
    const ForwardItem item{sequence, tokens};
    ForwardOptions options;
    options.arithmetic = arithmetic;
    const std::span<const float> logits = model.forward(cache, {&item, 1}, options, threads);
    return {logits.begin(), logits.end()};
  }
};

TEST(Experts, AStepReadsTheChosenOnes) {
  TinyModel tiny;
  add_experts(tiny);
  OneSequence run(tiny);
  const std::vector<Token> prompt = {1, 2, 3, 4, 5, 6, 7};
  run.step(prompt);
  const std::int64_t expert = 3 * kWidth * kHidden * 4, router = kExperts * kHidden * 4;
  const std::int64_t attention = (128 + 64 + 64 + 128) * kHidden * 4, output = 96 * kHidden * 4;
  for (const Token token : {Token{8}, Token{9}, Token{10}}) {
    const std::int64_t before = run.model.weight_bytes_read();
    run.step({&token, 1});
    EXPECT_EQ(run.model.weight_bytes_read() - before, 2 * (attention + router + kUsed * expert) + output);
  }
}

// Experts that no token of a text chooses may hold anything.
TEST(Experts, TheOthersAreNotTouched) {
  TinyModel tiny;
  add_experts(tiny);
  const std::vector<Token> prompt = {1, 2, 3};
  const std::vector<float> wanted = OneSequence(tiny).step(prompt);
  int touched = 0;
  for (int e = 0; e < kExperts; ++e) {
    TinyModel spoilt = tiny;
    TinyTensor& tensor = spoilt.tensors["blk.0.ffn_down_exps.weight"];
    std::fill_n(tensor.numbers.begin() + e * kHidden * kWidth, kHidden * kWidth, 0.25f);
    const std::vector<float> found = OneSequence(spoilt).step(prompt);
    if (found != wanted) ++touched;
  }
  EXPECT_GE(touched, kUsed);
  EXPECT_LE(touched, 3 * kUsed);
  EXPECT_LT(touched, kExperts);
}

// Experts are repacked as other matrices are: 15-bit activations, one step after another.
TEST(Experts, FastArithmeticIsNear) {
  TinyModel tiny;
  add_experts(tiny);
  OneSequence exact(tiny, TinyModel::Matrices::q8_0), fast(tiny, TinyModel::Matrices::q8_0);
  for (const Token token : {Token{1}, Token{20}, Token{40}}) {
    const std::vector<float> wanted = exact.step({&token, 1}), found = fast.step({&token, 1}, Arithmetic::fast);
    const float largest = std::abs(*std::ranges::max_element(wanted, {}, [](float x) { return std::abs(x); }));
    for (std::size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], wanted[i], 2e-3f * largest) << "token " << token;
  }
  EXPECT_LT(fast.model.weight_bytes_read(), 2 * exact.model.weight_bytes_read());
}

}  // namespace
}  // namespace qjl::engine::test
