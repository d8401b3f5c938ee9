// The tree of prefixes over a cache of one layer: what is found, shared, cut, kept and let go.
#include "prefix_tree.hpp"

#include <gtest/gtest.h>

#include <random>

namespace qjl::engine::test {
namespace {

using Tokens = std::vector<Token>;

struct PrefixTreeTest : testing::Test {
  KvCache cache{{.num_layers = 1,
                 .num_kv_heads = 1,
                 .head_dim = 64,
                 .max_pages = 64,
                 .codec = codec_config("k3v2"),
                 .layer_codes = {},
                 .on_seal = {}}};
  ThreadPool threads{1};
  PrefixTree tree{cache};
  const PrefixKey key{"", 128};

  Tokens text(std::int64_t pages, Token first) const {
    Tokens out(static_cast<std::size_t>(pages * kTokensPerPage));
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = first + static_cast<Token>(i);
    return out;
  }
  static Tokens joined(Tokens a, const Tokens& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  }
  // A sequence of so many tokens, whatever they are.
  SequenceId sequence_of(std::int64_t tokens) {
    const SequenceId sequence = cache.create();
    std::vector<float> rows(static_cast<std::size_t>(tokens) * 64);
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    for (float& x : rows) x = normal(random);
    const auto view = TensorView::token_major(rows.data(), DType::f32, 1, tokens, 64, 64);
    cache.append(sequence, 0, view, view, threads);
    return sequence;
  }
  PrefixTree::Node* insert(const Tokens& tokens, const PrefixKey& of) {
    const SequenceId sequence = sequence_of(std::ssize(tokens));
    PrefixTree::Node* node = tree.insert(of, tokens, sequence, nullptr);
    cache.drop(sequence);
    return node;
  }
  PrefixTree::Node* insert(const Tokens& tokens) { return insert(tokens, key); }
  std::int64_t found(const Tokens& tokens) { return tree.find(key, tokens).tokens; }
  std::int64_t used() const { return 64 - cache.free_pages(); }
};

TEST_F(PrefixTreeTest, FindsWholePagesOfEqualTokens) {
  const Tokens a = text(3, 0);
  insert(joined(a, {1, 2, 3}));  // the rest of a page is not held
  EXPECT_EQ(used(), 3);
  EXPECT_EQ(found(a), 384);
  EXPECT_EQ(found(joined(a, text(1, 7000))), 384);
  EXPECT_EQ(found(Tokens(a.begin(), a.begin() + 300)), 256);
  EXPECT_EQ(found(Tokens(a.begin(), a.begin() + 127)), 0);
  Tokens other = a;
  other[383] = 1;
  EXPECT_EQ(found(other), 256);
  other[0] = 1;
  EXPECT_EQ(found(other), 0);
  EXPECT_EQ(tree.find({"salt", 128}, a).tokens, 0);
  EXPECT_EQ(tree.find({"", 256}, a).tokens, 0);
}

TEST_F(PrefixTreeTest, PagesAreSharedAndEdgesSplit) {
  const Tokens common = text(2, 0), a = joined(common, text(2, 1000)), b = joined(common, text(1, 2000));
  insert(a);
  const PrefixTree::Match match = tree.find(key, b);
  EXPECT_EQ(match.tokens, 256);
  PrefixTree::Node* node = tree.node_at(match, 256);
  const SequenceId fork = tree.fork(*node);
  EXPECT_EQ(cache.num_tokens(fork), 256);
  EXPECT_EQ(used(), 4) << "the fork shares";
  insert(b);
  EXPECT_EQ(found(a), 512);
  EXPECT_EQ(found(b), 384);
  EXPECT_EQ(tree.num_nodes(), 3);
  EXPECT_EQ(tree.idle_pages(), 5);
  cache.drop(fork);
  EXPECT_EQ(tree.evict(100), 5);
  EXPECT_EQ(used(), 0);
  EXPECT_EQ(found(a), 0);
}

TEST_F(PrefixTreeTest, TheLeastRecentlyUsedLeafGoesFirstFromItsEnd) {
  const Tokens common = text(1, 0), a = joined(common, text(3, 1000)), b = joined(common, text(3, 2000));
  insert(a);
  insert(b);
  found(a);  // b is older now
  EXPECT_EQ(tree.evict(2), 2);
  EXPECT_EQ(found(b), 256);
  EXPECT_EQ(found(a), 512);
  found(b);
  EXPECT_EQ(tree.evict(4), 4);
  EXPECT_EQ(found(a), 128);
  EXPECT_EQ(found(b), 128);
  EXPECT_EQ(tree.evict(4), 1);
}

TEST_F(PrefixTreeTest, PinnedOnesStay) {
  const Tokens common = text(2, 0), a = joined(common, text(1, 1000)), b = joined(common, text(1, 2000));
  PrefixTree::Node* pinned = insert(a);
  PrefixTree::pin(pinned);
  insert(b);  // splits above the pin
  EXPECT_EQ(tree.idle_pages(), 1);
  EXPECT_EQ(tree.evict(10), 1);
  EXPECT_EQ(found(a), 384);
  PrefixTree::unpin(pinned);
  EXPECT_EQ(tree.idle_pages(), 3);
  EXPECT_EQ(tree.evict(10), 3);
  PrefixTree::pin(nullptr);
  PrefixTree::unpin(nullptr);
}

TEST_F(PrefixTreeTest, ALeafGrowsWithTheOneSequenceThatHasIt) {
  const Tokens longer = text(4, 0), shorter(longer.begin(), longer.begin() + 256);
  PrefixTree::Node* node = insert(shorter);
  PrefixTree::pin(node);
  const SequenceId sequence = sequence_of(512);
  EXPECT_EQ(tree.insert(key, longer, sequence, node), node);
  EXPECT_EQ(tree.num_nodes(), 1);
  PrefixTree::pin(node);  // somebody else now ends here
  const SequenceId further = sequence_of(640);
  EXPECT_NE(tree.insert(key, text(5, 0), further, node), node);
  EXPECT_EQ(tree.num_nodes(), 2);
}

}  // namespace
}  // namespace qjl::engine::test
