// The same tokens give the same bytes and the same outputs however they arrive: in which pieces, layers in which order, from
// which number format, on how many threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "cache_fixtures.hpp"
#include "page.hpp"

namespace qjl::test {
namespace {

constexpr std::int64_t kTokens = 3 * kTokensPerPage + 57;

// Channel list of a page, rising. paper at d = 64: S of 128 rows, 4 outlier channels, S_o of 64 rows.
using Channels = std::set<int>;
Channels channels(const CacheConfig& config, const KvCache::PageBytes& page) {
  const layout::PageShape shape{config.head_dim, Code::jl, Code::minmax, DType::f16, 128, 4, 64};
  const auto list = page.body.subspan(static_cast<std::size_t>(layout::body_layout(shape).outlier_idx), 4);
  Channels found;
  for (const std::byte channel : list) found.insert(static_cast<int>(channel));
  return found;
}

class Chunking : public testing::TestWithParam<std::string> {};

// Cuts [0, count) at random: sometimes into tokens, sometimes into long runs.
std::vector<std::int64_t> random_cuts(std::mt19937_64& random, std::int64_t count) {
  std::vector<std::int64_t> cuts{0};
  const std::int64_t longest = std::int64_t{1} << random() % 9;
  while (cuts.back() < count) {
    cuts.push_back(std::min(count, cuts.back() + 1 + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(longest))));
  }
  return cuts;
}

TEST_P(Chunking, TwoHundredSplitsGiveTheSameBytes) {
  const CacheConfig config = cache_config(GetParam());
  const Tokens tokens = random_tokens(1, config, kTokens);
  KvCache cache(config);
  ThreadPool one(1), three(3);
  const SequenceId whole = cache.create();
  append(cache, whole, tokens, {0, kTokens}, one);
  const std::string wanted = page_bytes(cache, whole);
  const std::vector<Attended> wanted_out = outputs(cache, whole, one);
  ASSERT_EQ(wanted.size(), 3u * 2 * 2 * static_cast<std::size_t>(cache.page_bytes(0)));
  std::mt19937_64 random(2);
  for (int split = 0; split < 200; ++split) {
    ThreadPool& threads = split % 2 == 0 ? one : three;
    const std::vector<std::int64_t> cuts = random_cuts(random, kTokens);
    const SequenceId id = cache.create();
    const bool layer_by_layer = split % 3 == 0;
    for (std::size_t i = 0; i + 1 < cuts.size() && !layer_by_layer; ++i)
      append(cache, id, tokens, {cuts[i], cuts[i + 1] - cuts[i]}, threads);
    for (int layer = 0; layer < config.num_layers && layer_by_layer; ++layer) {
      for (std::size_t i = 0; i + 1 < cuts.size(); ++i)
        append_layer(cache, id, layer, tokens, {cuts[i], cuts[i + 1] - cuts[i]}, threads);
    }
    EXPECT_TRUE(page_bytes(cache, id) == wanted) << GetParam() << ": split " << split << " with " << cuts.size() - 1 << " pieces";
    EXPECT_TRUE(outputs(cache, id, one) == wanted_out) << GetParam() << ": outputs of split " << split;
    cache.drop(id);
    if (testing::Test::HasFailure()) return;
  }
}

// Pages are handed out again after other tokens lived in them: no old byte may shine through.
TEST_P(Chunking, ReusedPagesHoldNothingOld) {
  const CacheConfig config = cache_config(GetParam(), 80, 4);  // 80: parts of a page are padded
  const Tokens tokens = random_tokens(3, config, kTokens), other = random_tokens(4, config, kTokens);
  ThreadPool threads(2);
  KvCache fresh(config), used(config);
  const SequenceId a = fresh.create(), old = used.create();
  append(fresh, a, tokens, {0, kTokens}, threads);
  append(used, old, other, {0, kTokens}, threads);
  used.drop(old);
  const SequenceId b = used.create();
  append(used, b, tokens, {0, kTokens}, threads);
  EXPECT_TRUE(page_bytes(fresh, a) == page_bytes(used, b)) << GetParam();
}

// Rows that were 16-bit already are read in place, also with odd strides and addresses.
TEST_P(Chunking, SixteenBitRowsGiveTheSameBytes) {
  const CacheConfig config = cache_config(GetParam());
  const Tokens tokens = random_tokens(5, config, kTokens);
  ThreadPool threads(2);
  KvCache cache(config);
  const SequenceId wide = cache.create(), narrow = cache.create();
  append(cache, wide, tokens, {0, kTokens}, threads);
  const std::int64_t row_stride = config.num_kv_heads * config.head_dim + 3;
  for (int layer = 0; layer < config.num_layers; ++layer) {
    const auto l = static_cast<std::size_t>(layer);
    std::vector<std::uint16_t> keys(static_cast<std::size_t>(kTokens * row_stride + 1)), values(keys);
    for (std::int64_t t = 0; t < kTokens; ++t) {
      for (int h = 0; h < config.num_kv_heads; ++h) {
        const oracle::Vector key = tokens.keys[l].row(h, t), value = tokens.values[l].row(h, t);
        for (int c = 0; c < config.head_dim; ++c) {
          const auto at = static_cast<std::size_t>(1 + t * row_stride + h * config.head_dim + c);
          keys[at] = oracle::half_bits(key[c]);
          values[at] = oracle::half_bits(value[c]);
        }
      }
    }
    const std::int64_t cuts[] = {0, 40, 300, kTokens};
    for (int i = 0; i < 3; ++i) {
      const auto rows = [&](const std::vector<std::uint16_t>& all) {
        return TensorView::token_major(all.data() + 1 + cuts[i] * row_stride, DType::f16, config.num_kv_heads,
                                       cuts[i + 1] - cuts[i], config.head_dim, row_stride);
      };
      cache.append(narrow, layer, rows(keys), rows(values), threads);
    }
  }
  EXPECT_TRUE(page_bytes(cache, wide) == page_bytes(cache, narrow)) << GetParam();
  EXPECT_TRUE(outputs(cache, wide, threads) == outputs(cache, narrow, threads)) << GetParam();
}

INSTANTIATE_TEST_SUITE_P(Presets, Chunking, testing::ValuesIn(kPresets), [](const auto& preset) { return preset.param; });

// Layers with different codes in one cache, and pages of equal tokens but other positions: only page 0 leaves sinks out.
TEST(Chunking, LayersMayHaveTheirOwnCodes) {
  CacheConfig config = cache_config("k3v2");
  config.layer_codes = {{Code::l16, Code::l8}, {Code::s2, Code::l4}};
  const Tokens tokens = random_tokens(6, config, kTokens);
  ThreadPool threads(2);
  KvCache mixed(config), high(cache_config("k4v3")), low(cache_config("k2v2"));
  EXPECT_EQ(mixed.page_bytes(0), high.page_bytes(0));
  EXPECT_EQ(mixed.page_bytes(1), low.page_bytes(1));
  EXPECT_DOUBLE_EQ(mixed.bits_sealed(), (high.bits_sealed() + low.bits_sealed()) / 2);
  const SequenceId m = mixed.create(), h = high.create(), l = low.create();
  append(mixed, m, tokens, {0, kTokens}, threads);
  append(high, h, tokens, {0, kTokens}, threads);
  append(low, l, tokens, {0, kTokens}, threads);
  for (int head = 0; head < config.num_kv_heads; ++head) {
    for (std::int64_t page = 0; page < 3; ++page) {
      EXPECT_TRUE(std::ranges::equal(mixed.page(m, 0, head, page).body, high.page(h, 0, head, page).body)) << head << ' ' << page;
      EXPECT_TRUE(std::ranges::equal(mixed.page(m, 1, head, page).body, low.page(l, 1, head, page).body)) << head << ' ' << page;
    }
  }
  EXPECT_TRUE(outputs(mixed, m, threads)[0] == outputs(high, h, threads)[0]);
  EXPECT_TRUE(outputs(mixed, m, threads)[1] == outputs(low, l, threads)[1]);
}

// The paper finds its outlier channels in the prompt's first page: later pages keep them, whatever is loud there, until the
// sequence itself has a new first page.
TEST(Chunking, OutlierChannelsComeFromTheFirstPage) {
  const CacheConfig config = cache_config("paper");
  Tokens tokens = random_tokens(7, config, 3 * kTokensPerPage);
  Rows& keys = tokens.keys[0];
  for (int t = 0; t < keys.tokens; ++t) {
    for (int c = 0; c < 4; ++c) keys.set(keys.at(0, t, t < kTokensPerPage ? 5 + c : 50 + c), 100.0);
  }
  ThreadPool threads(2);
  KvCache cache(config);
  const SequenceId id = cache.create(), late = cache.create();
  append(cache, id, tokens, {0, 384}, threads);
  append(cache, late, tokens, {128, 256}, threads);
  const Channels wanted{5, 6, 7, 8}, other{50, 51, 52, 53};
  for (std::int64_t page = 0; page < 3; ++page) EXPECT_EQ(channels(config, cache.page(id, 0, 0, page)), wanted) << page;
  for (std::int64_t page = 0; page < 2; ++page) EXPECT_EQ(channels(config, cache.page(late, 0, 0, page)), other) << page;
}

}  // namespace
}  // namespace qjl::test
