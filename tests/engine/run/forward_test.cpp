// forward() on a tiny random model: batches and chunks give the logits of one sequence in one call, and errors change nothing.
//
// Bound: the same sums in another order. Logits of this model are about 3; 2 layers of sums over 192 numbers in fp32, through
// rounding of keys and values to 16 bit (2^-11 relative at worst, when fp32 noise falls across a tie), stay below 2^-8 absolute.
#include <gtest/gtest.h>

#include <cmath>

#include "model.hpp"
#include "qjl/error.hpp"
#include "tiny_model.hpp"

namespace qjl::engine::test {
namespace {

constexpr double kSameLogits = 1.0 / 256;
using Logits = ForwardOptions::Logits;

std::vector<Token> tokens(std::int64_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<Token> out;
  for (std::int64_t i = 0; i < count; ++i) out.push_back(static_cast<Token>(random() % 96));
  return out;
}

struct ForwardTest : testing::Test {
  std::vector<std::byte> bytes = TinyModel().bytes();
  Model model = Model::load(parse_model_file(bytes, "tiny"));
  ThreadPool threads{2};

  std::vector<float> run(KvCache& cache, SequenceId sequence, std::span<const Token> ids, Logits logits = Logits::all) {
    const ForwardItem item{sequence, ids};
    ForwardOptions options;
    options.logits = logits;
    const std::span<const float> out = model.forward(cache, {&item, 1}, options, threads);
    return {out.begin(), out.end()};
  }
  CacheConfig shape(const char* type = "f16", std::int64_t context = 512, int sequences = 1) const {
    return model.cache_config(codec_config(type), context, sequences);
  }
  std::string error_of(KvCache& cache, std::span<const ForwardItem> items, ErrorKind kind) {
    try {
      model.forward(cache, items, {}, threads);
    } catch (const Error& error) {
      EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(kind)) << error.what();
      return error.what();
    }
    return "no error";
  }
};

void expect_near(std::span<const float> found, std::span<const float> wanted, const char* what) {
  ASSERT_EQ(found.size(), wanted.size()) << what;
  for (std::size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], wanted[i], kSameLogits) << what << ", logit " << i;
}

TEST_F(ForwardTest, ChunksAgreeWithOneCall) {
  const std::vector<Token> ids = tokens(300, 1);
  KvCache whole(shape()), parts(shape());
  const std::vector<float> wanted = run(whole, whole.create(), ids);
  const SequenceId sequence = parts.create();
  std::vector<float> found;
  for (std::size_t begin = 0, size = 1; begin < ids.size(); begin += size, size = size % 7 == 0 ? 90 : size + 2) {
    size = std::min(size, ids.size() - begin);
    const std::vector<float> part = run(parts, sequence, std::span(ids).subspan(begin, size));
    found.insert(found.end(), part.begin(), part.end());
  }
  expect_near(found, wanted, "chunks");
}

TEST_F(ForwardTest, BatchAgreesWithSingleSequences) {
  const std::vector<Token> a = tokens(150, 2), b = tokens(1, 3), c = tokens(37, 4);
  KvCache single(shape("f16", 512, 3)), batch(shape("f16", 512, 3));
  std::vector<float> wanted;
  for (const std::vector<Token>* ids : {&a, &b, &c}) {
    const std::vector<float> part = run(single, single.create(), *ids, Logits::last);
    wanted.insert(wanted.end(), part.begin(), part.end());
  }
  const ForwardItem items[] = {{batch.create(), a}, {batch.create(), b}, {batch.create(), c}};
  expect_near(model.forward(batch, items, {}, threads), wanted, "batch");
  for (const ForwardItem& item : items) EXPECT_EQ(batch.num_tokens(item.sequence), std::ssize(item.tokens));
}

// Rows of a kind have the same bits alone and in company: prompts that go on or begin, and decode rows, more of them than go together.
TEST_F(ForwardTest, RowsOfAKindDoNotDependOnTheOthers) {
  const std::vector<std::byte> coded = TinyModel().bytes(TinyModel::Matrices::q8_0);
  Model packed = Model::load(parse_model_file(coded, "tiny"));
  const CacheConfig shape_of_many = packed.cache_config(codec_config("k3v2"), 512, 40);
  for (const Arithmetic arithmetic : {Arithmetic::exact, Arithmetic::fast}) {
    const ForwardOptions options{.arithmetic = arithmetic, .observe_kv = {}};
    std::vector<std::vector<Token>> before, next;
    std::vector<RowKind> kinds;
    for (std::uint64_t i = 0; i < 23; ++i) {
      const bool is_prompt = i % 6 == 0;
      before.push_back(tokens(i % 4 == 3 ? 0 : 7 + 19 * static_cast<std::int64_t>(i), i));
      next.push_back(tokens(is_prompt ? 1 + 13 * static_cast<std::int64_t>(i) : 1, 100 + i));
      kinds.push_back(is_prompt ? RowKind::prompt : RowKind::decode);
    }
    const auto with_past = [&](KvCache& cache, std::size_t i) {
      const SequenceId sequence = cache.create();
      if (before[i].empty()) return sequence;
      const ForwardItem item{sequence, before[i], {}, RowKind::prompt};
      packed.forward(cache, {&item, 1}, options, threads);
      return sequence;
    };
    KvCache many(shape_of_many);
    std::vector<ForwardItem> items;
    for (std::size_t i = 0; i < before.size(); ++i) items.push_back({with_past(many, i), next[i], {}, kinds[i]});
    const auto together = packed.forward(many, items, options, threads);
    const std::vector<float> found(together.begin(), together.end());
    for (std::size_t i = 0; i < before.size(); ++i) {
      KvCache one(shape_of_many);
      const ForwardItem item{with_past(one, i), next[i], {}, kinds[i]};
      const auto wanted = packed.forward(one, {&item, 1}, options, threads);
      for (std::size_t t = 0; t < 96; ++t) ASSERT_EQ(found[i * 96 + t], wanted[t]) << "item " << i << ", token " << t;
    }
  }
}

TEST_F(ForwardTest, LogitsByItemAndByBlocks) {
  const std::vector<Token> a = tokens(300, 5), b = tokens(3, 6), c = tokens(40, 7);
  KvCache cache(shape("f16", 512, 6));
  const std::vector<float> all_a = run(cache, cache.create(), a), last_b = run(cache, cache.create(), b, Logits::last);
  const ForwardItem items[] = {{cache.create(), a, Logits::all}, {cache.create(), b}, {cache.create(), c, Logits::none}};
  std::vector<float> taken;
  std::vector<std::int64_t> firsts;
  ForwardOptions options;
  options.on_logits = [&](std::size_t item, std::int64_t first, std::span<const float> rows) {
    EXPECT_EQ(item, 0u);
    EXPECT_LE(rows.size(), 256u * 96u);
    firsts.push_back(first);
    taken.insert(taken.end(), rows.begin(), rows.end());
  };
  expect_near(model.forward(cache, items, options, threads), last_b, "what is returned");
  expect_near(taken, all_a, "what the callback takes");
  EXPECT_EQ(firsts, (std::vector<std::int64_t>{0, 256}));
}

TEST_F(ForwardTest, NoLogitsAndNoItems) {
  KvCache cache(shape());
  EXPECT_TRUE(run(cache, cache.create(), tokens(5, 1), Logits::none).empty());
  EXPECT_TRUE(model.forward(cache, {}, {}, threads).empty());
  EXPECT_GT(model.peak_scratch_bytes(), 0);
}

TEST_F(ForwardTest, RefusesWrongItemsAndChangesNothing) {
  KvCache cache(shape("f16", 512, 2));
  const SequenceId a = cache.create(), b = cache.create();
  const std::vector<Token> good = tokens(10, 1), outside = {1, 2, 96}, negative = {-1}, none = {};
  run(cache, a, good);
  const auto refused = [&](std::initializer_list<ForwardItem> items, std::initializer_list<const char*> words) {
    const std::string text = error_of(cache, {items.begin(), items.size()}, ErrorKind::invalid_argument);
    for (const char* word : words) EXPECT_NE(text.find(word), std::string::npos) << text << " lacks " << word;
    EXPECT_EQ(cache.num_tokens(a), 10);
    EXPECT_EQ(cache.num_tokens(b), 0);
  };
  refused({{a, good}, {b, outside}}, {"item 1", "96", "95"});
  refused({{a, negative}}, {"item 0", "-1"});
  refused({{a, good}, {b, none}}, {"item 1", "0 tokens"});
  refused({{b, good}, {b, good}}, {"item 1", "item 0", "once"});
}

TEST_F(ForwardTest, RefusesACacheOfAnotherShape) {
  CacheConfig other = shape();
  other.num_layers = 3;
  KvCache cache(other);
  const std::vector<Token> ids = tokens(3, 1);
  const ForwardItem item{cache.create(), ids};
  const std::string text = error_of(cache, {&item, 1}, ErrorKind::invalid_argument);
  EXPECT_NE(text.find("3 layers"), std::string::npos) << text;
  EXPECT_NE(text.find("2 layers"), std::string::npos) << text;
}

TEST_F(ForwardTest, OutOfPagesAppendsNothing) {
  KvCache cache(shape("f16", 128, 1));  // one page
  const SequenceId a = cache.create(), b = cache.create();
  run(cache, a, tokens(10, 1));
  const std::vector<Token> ids = tokens(300, 2), one = tokens(1, 3);
  const ForwardItem items[] = {{a, one}, {b, ids}};
  const std::string text = error_of(cache, items, ErrorKind::out_of_pages);
  EXPECT_NE(text.find("page"), std::string::npos) << text;
  for (int layer = 0; layer < 2; ++layer) {
    EXPECT_EQ(cache.num_tokens(a, layer), 10) << layer;
    EXPECT_EQ(cache.num_tokens(b, layer), 0) << layer;
  }
}

// An error in the middle of the layers, when the first has taken its tokens: the next call is as if there had been none.
TEST_F(ForwardTest, ErrorBetweenLayersIsUndone) {
  const std::vector<Token> first = tokens(20, 1), second = tokens(30, 2);
  KvCache calm(shape()), disturbed(shape());
  const SequenceId a = calm.create(), b = disturbed.create();
  run(calm, a, first);
  run(disturbed, b, first);
  const ForwardItem item{b, second};
  ForwardOptions options;
  options.observe_kv = [](int layer, std::size_t, const TensorView&, const TensorView&) {
    if (layer == 1) throw std::runtime_error("stop");
  };
  EXPECT_THROW(model.forward(disturbed, {&item, 1}, options, threads), std::runtime_error);
  for (int layer = 0; layer < 2; ++layer) EXPECT_EQ(disturbed.num_tokens(b, layer), 20) << layer;
  EXPECT_EQ(run(disturbed, b, second), run(calm, a, second));
}

// What observe_kv sees, appended elsewhere, makes a cache that continues alike.
TEST_F(ForwardTest, ObservedKeysAndValuesFillAnotherCache) {
  const std::vector<Token> ids = tokens(140, 1), next = tokens(3, 2);
  KvCache seen(shape()), filled(shape());
  const SequenceId a = seen.create(), b = filled.create();
  const ForwardItem item{a, ids};
  ForwardOptions options;
  options.observe_kv = [&](int layer, std::size_t, const TensorView& keys, const TensorView& values) {
    filled.append(b, layer, keys, values, threads);
  };
  model.forward(seen, {&item, 1}, options, threads);
  EXPECT_EQ(run(filled, b, next), run(seen, a, next));
}

// Fast arithmetic on stored codes. A step of one token has activations of 15 bits: every product is right to 2^-14 and the 14
// products on a token's way add up to less than 2^-8 of logits of about 3. A prompt's factors have 8 bits: 2^-8 at worst each, as
// independent roundings of 128 terms 2^-8 / 4 in all, 14 of them below 2^-4 of 3.
TEST_F(ForwardTest, FastArithmeticStaysNearTheExact) {
  const std::vector<std::byte> coded = TinyModel().bytes(TinyModel::Matrices::q8_0);
  model = Model::load(parse_model_file(coded, "tiny"));
  const std::vector<Token> prompt = tokens(140, 1);
  KvCache exact(shape()), fast(shape());
  const SequenceId a = exact.create(), b = fast.create();
  const ForwardOptions options{.logits = Logits::all, .arithmetic = Arithmetic::fast, .observe_kv = {}};
  const std::vector<float> wanted = run(exact, a, prompt);
  const ForwardItem item{b, prompt};
  const std::span<const float> found = model.forward(fast, {&item, 1}, options, threads);
  ASSERT_EQ(found.size(), wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) ASSERT_NEAR(found[i], wanted[i], 3.0 / 16) << "prompt, logit " << i;
  for (const Token token : tokens(20, 2)) {
    const std::span<const Token> one(&token, 1);
    const std::vector<float> step = run(exact, a, one);
    const ForwardItem next{exact.fork(a), one};
    exact.truncate(next.sequence, exact.num_tokens(a) - 1);
    expect_near(model.forward(exact, {&next, 1}, options, threads), step, "step");
    exact.drop(next.sequence);
  }
}

// A window, two RoPEs, norms after each branch, GELU: the rows of a block and the positions of a chunk find their own. The norms
// after a branch keep hidden rows at the scale of llama's, so the bounds are those above.
TEST_F(ForwardTest, LayersThatDiffer) {
  const std::vector<std::byte> coded = TinyModel::gemma3().bytes(TinyModel::Matrices::q8_0);
  model = Model::load(parse_model_file(coded, "tiny"));
  const std::vector<Token> ids = tokens(300, 1);
  KvCache whole(shape()), parts(shape()), fast(shape());
  const std::vector<float> wanted = run(whole, whole.create(), ids);
  const SequenceId a = parts.create();
  for (std::size_t begin = 0; begin < ids.size(); begin += 50) {
    const std::vector<float> found = run(parts, a, std::span(ids).subspan(begin, 50));
    expect_near(found, std::span(wanted).subspan(begin * 96, 50 * 96), "chunk");
  }
  const ForwardOptions options{.logits = Logits::all, .arithmetic = Arithmetic::fast, .observe_kv = {}};
  const ForwardItem item{fast.create(), ids};
  const std::span<const float> found = model.forward(fast, {&item, 1}, options, threads);
  for (std::size_t i = 0; i < wanted.size(); ++i) ASSERT_NEAR(found[i], wanted[i], 3.0 / 16) << "fast prompt, logit " << i;
}

TEST_F(ForwardTest, TheSameBitsForAnyCallAlike) {
  const std::vector<Token> ids = tokens(200, 1);
  KvCache one(shape("k3v2")), two(shape("k3v2"));
  EXPECT_EQ(run(one, one.create(), ids), run(two, two.create(), ids));
}

}  // namespace
}  // namespace qjl::engine::test
