// The engine's pass with its cache on a GPU (the emulated one): logits of the host's pass, pages of the host's cache, and a pass that
// fails in the middle leaves the sequence as it was.
//
// Bound: exact rows and pages of f16 are the same 16-bit numbers on both sides, products of weights the same instructions; attention
// is the same sum in another order. forward_test.cpp says why that is below 2^-8 for this model.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "model.hpp"
#include "qjl/error.hpp"
#include "qjl/moves.hpp"
#include "tiny_model.hpp"

namespace qjl::engine::test {
namespace {

constexpr double kSameLogits = 1.0 / 256;

std::vector<Token> tokens(std::int64_t count) {
  std::mt19937_64 random(5);
  std::vector<Token> out;
  for (std::int64_t i = 0; i < count; ++i) out.push_back(static_cast<Token>(random() % 96));
  return out;
}

struct CudaForward : testing::Test {
  std::vector<std::byte> bytes = TinyModel().bytes();
  Model model = Model::load(parse_model_file(bytes, "tiny"));
  ThreadPool threads{2};

  std::vector<float> run(KvCache& cache, SequenceId sequence, std::span<const Token> ids) {
    const ForwardItem item{sequence, ids};
    ForwardOptions options;
    options.logits = ForwardOptions::Logits::all;
    const std::span<const float> out = model.forward(cache, {&item, 1}, options, threads);
    return {out.begin(), out.end()};
  }
  CacheConfig shape(const char* type) const { return model.cache_config(codec_config(type), 512, 2); }
};

TEST_F(CudaForward, GivesTheHostsLogits) {
  const std::vector<Token> ids = tokens(200);
  KvCache host(shape("f16")), device(shape("f16"), Device::cuda());
  const SequenceId here = host.create(), there = device.create();
  for (const auto& [begin, count] : {std::pair<std::size_t, std::size_t>{0, 150}, {150, 1}, {151, 1}, {152, 48}}) {
    const std::span<const Token> part = std::span(ids).subspan(begin, count);
    const std::vector<float> wanted = run(host, here, part), found = run(device, there, part);
    ASSERT_EQ(found.size(), wanted.size());
    for (std::size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], wanted[i], kSameLogits) << "from " << begin << ", " << i;
  }
}

// Keys and values of the first layer come before any attention: the same numbers, so the same page.
TEST_F(CudaForward, SealsTheHostsPages) {
  const std::vector<Token> ids = tokens(150);
  KvCache host(shape("k3v2")), device(shape("k3v2"), Device::cuda()), moved(shape("k3v2"));
  const SequenceId here = host.create(), there = device.create();
  run(host, here, ids);
  run(device, there, ids);
  const SequenceId copy = copy_sequence(device, there, moved);
  for (int head = 0; head < host.config().num_kv_heads; ++head) {
    const KvCache::PageBytes found = moved.page(copy, 0, head, 0), wanted = host.page(here, 0, head, 0);
    EXPECT_TRUE(std::ranges::equal(found.body, wanted.body)) << "kv head " << head;
  }
}

TEST_F(CudaForward, LeavesTheSequenceWhenALayerFails) {
  const std::vector<Token> ids = tokens(130);
  KvCache device(shape("k3v2"), Device::cuda());
  const SequenceId sequence = device.create();
  run(device, sequence, std::span(ids).first(100));
  const ForwardItem item{sequence, std::span(ids).subspan(100)};
  ForwardOptions options;
  options.observe_kv = [](int layer, std::size_t, const TensorView&, const TensorView&) {
    if (layer == 1) throw std::runtime_error("stop");
  };
  EXPECT_THROW(model.forward(device, {&item, 1}, options, threads), std::runtime_error);
  EXPECT_EQ(device.num_tokens(sequence, 0), 100);
  EXPECT_EQ(device.num_tokens(sequence, 1), 100);
}

}  // namespace
}  // namespace qjl::engine::test
