// KvCache::read: exact rows come back as they were stored, sealed ones as PageCodec decodes them, in any stretch and layout of the output.
#include <gtest/gtest.h>

#include "cache_fixtures.hpp"

namespace qjl::test {
namespace {

struct Read {
  std::vector<float> keys, values;
};

// [heads, tokens, d] contiguous, filled with NaN before.
Read read(const KvCache& cache, SequenceId id, int layer, std::int64_t first, std::int64_t tokens, ThreadPool& threads) {
  const CacheConfig& c = cache.config();
  const auto numbers = static_cast<std::size_t>(c.num_kv_heads * tokens * c.head_dim);
  Read out{std::vector<float>(numbers, NAN), std::vector<float>(numbers, NAN)};
  cache.read(id, layer, first, OutputView::contiguous(out.keys.data(), c.num_kv_heads, tokens, c.head_dim),
             OutputView::contiguous(out.values.data(), c.num_kv_heads, tokens, c.head_dim), threads);
  return out;
}

// What a token reads as, by the test's own reckoning: the stored row, or the page's by PageCodec.
Read wanted(const KvCache& cache, SequenceId id, int layer, const Tokens& tokens, std::int64_t count) {
  const CacheConfig& c = cache.config();
  const auto l = static_cast<std::size_t>(layer);
  const PageCodec codec(c.head_dim, layer_codec(c, layer));
  Read out;
  for (int head = 0; head < c.num_kv_heads; ++head) {
    std::vector<float> keys, values;
    for (std::int64_t page = 0; page < count / kTokensPerPage; ++page) {
      const KvCache::PageBytes bytes = cache.page(id, layer, head, page);
      const EncodedPage encoded{{bytes.head.begin(), bytes.head.end()}, {bytes.body.begin(), bytes.body.end()}};
      const std::vector<float> page_keys = codec.decode_keys(encoded), page_values = codec.decode_values(encoded);
      keys.insert(keys.end(), page_keys.begin(), page_keys.end());
      values.insert(values.end(), page_values.begin(), page_values.end());
    }
    const std::int64_t sealed = count / kTokensPerPage * kTokensPerPage;
    keys.resize(static_cast<std::size_t>(count * c.head_dim));
    values.resize(keys.size());
    for (std::int64_t t = 0; t < count; ++t) {
      if (t >= c.codec.sink_tokens && t < sealed) continue;
      for (int i = 0; i < c.head_dim; ++i) {
        keys[static_cast<std::size_t>(t * c.head_dim + i)] =
            static_cast<float>(tokens.keys[l].number[tokens.keys[l].at(head, t, i)]);
        values[static_cast<std::size_t>(t * c.head_dim + i)] =
            static_cast<float>(tokens.values[l].number[tokens.values[l].at(head, t, i)]);
      }
    }
    out.keys.insert(out.keys.end(), keys.begin(), keys.end());
    out.values.insert(out.values.end(), values.begin(), values.end());
  }
  return out;
}

// Rows [first, first + tokens) of every head of [heads, count, d].
std::vector<float> stretch(const std::vector<float>& all, std::int64_t count, std::int64_t first, std::int64_t tokens, int d) {
  std::vector<float> out;
  for (std::int64_t head = 0; head < std::ssize(all) / (count * d); ++head) {
    const auto from = all.begin() + (head * count + first) * d;
    out.insert(out.end(), from, from + tokens * d);
  }
  return out;
}

class Reads : public testing::TestWithParam<std::string> {};

TEST_P(Reads, EveryStretchIsWhatThePagesStandFor) {
  const CacheConfig config = cache_config(GetParam());
  const Tokens tokens = random_tokens(31, config, 300);
  for (const int num_threads : {1, 3}) {
    ThreadPool threads(num_threads);
    for (const std::int64_t count : {1, 100, 128, 300}) {
      KvCache cache(config);
      const SequenceId id = cache.create();
      append(cache, id, tokens, {0, count}, threads);
      for (int layer = 0; layer < config.num_layers; ++layer) {
        const Read all = wanted(cache, id, layer, tokens, count);
        for (const std::int64_t first : {0, 2, 5, 127, 128, 255, 299}) {
          for (const std::int64_t length : {1, 3, 126, 173, 300}) {
            if (first + length > count) continue;
            const Read found = read(cache, id, layer, first, length, threads);
            ASSERT_EQ(found.keys, stretch(all.keys, count, first, length, config.head_dim))
                << count << " " << first << " " << length;
            ASSERT_EQ(found.values, stretch(all.values, count, first, length, config.head_dim))
                << count << " " << first << " " << length;
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Presets, Reads, testing::ValuesIn(kPresets), [](const auto& preset) { return preset.param; });

// A bf16 tail, and an output whose rows are as a matrix product takes them: the numbers are the same, what lies between stays.
TEST(Read, OutputMayBeTokenMajorAndTheTailBf16) {
  CacheConfig config = cache_config("k3v2");
  config.tail_dtype = DType::bf16;
  const Tokens tokens = random_tokens(32, config, 200);
  ThreadPool threads(2);
  KvCache cache(config);
  const SequenceId id = cache.create();
  append(cache, id, tokens, {0, 200}, threads);
  const Read plain = read(cache, id, 0, 120, 70, threads);
  const std::int64_t stride = 2 * 64 + 8;
  std::vector<float> keys(static_cast<std::size_t>(70 * stride), -7.0f), values = keys;
  cache.read(id, 0, 120, OutputView::token_major(keys.data(), 2, 70, 64, stride),
             OutputView::token_major(values.data(), 2, 70, 64, stride), threads);
  for (std::int64_t t = 0; t < 70; ++t) {
    for (std::int64_t c = 0; c < stride; ++c) {
      const auto at = static_cast<std::size_t>(t * stride + c), from = static_cast<std::size_t>((c / 64 * 70 + t) * 64 + c % 64);
      EXPECT_EQ(keys[at], c < 128 ? plain.keys[from] : -7.0f);
      EXPECT_EQ(values[at], c < 128 ? plain.values[from] : -7.0f);
    }
  }
  const std::size_t last = static_cast<std::size_t>(69) * 64;
  EXPECT_EQ(plain.keys[last], static_cast<float>(oracle::round_to_bfloat(tokens.keys[0].number[tokens.keys[0].at(0, 189)])));
}

TEST(Read, NothingIsReadThatIsNotThere) {
  const CacheConfig config = cache_config("k3v2");
  const Tokens tokens = random_tokens(33, config, 130);
  ThreadPool threads(1);
  KvCache cache(config);
  const SequenceId id = cache.create();
  append(cache, id, tokens, {0, 130}, threads);
  const auto error = [&](SequenceId sequence, int layer, std::int64_t first, std::int64_t count) {
    return error_of([&] { read(cache, sequence, layer, first, count, threads); });
  };
  EXPECT_EQ(read(cache, id, 0, 130, 0, threads).keys.size(), 0u);
  EXPECT_EQ(error(id, 0, 130, 1), "[read] the tokens are 130 to 131, wanted a stretch of the 130 in layer 0");
  EXPECT_EQ(error(id, 0, -1, 1), "[read] the tokens are -1 to 0, wanted a stretch of the 130 in layer 0");
  EXPECT_EQ(error(id, 2, 0, 1), "[read] layer is 2, wanted 0 to 1");
  EXPECT_EQ(error(SequenceId{9}, 0, 0, 1), "[read] sequence 9 does not exist, wanted one of the 1 that live");
  std::vector<float> rows(2 * 64);
  const OutputView right = OutputView::contiguous(rows.data(), 2, 1, 64), narrow = OutputView::contiguous(rows.data(), 2, 1, 32),
                   null = OutputView::contiguous(nullptr, 2, 1, 64);
  EXPECT_EQ(error_of([&] { cache.read(id, 0, 0, right, narrow); }),
            "[read] values are [2 heads, 1 tokens, 32 channels], wanted [2, 1, 64]");
  EXPECT_EQ(error_of([&] { cache.read(id, 0, 0, null, right); }), "[read] keys have a null address, wanted memory of 1 tokens");
  EXPECT_EQ(error_of([&] { cache.read(id, 0, 0, right.on(Device::cuda(0)), right); }),
            "[read] keys lie in the memory of CUDA device 0, wanted that of the host");
}

}  // namespace
}  // namespace qjl::test
