// Wrong input: an error that names what was found and what was wanted, and a cache that is exactly as it was.
#include <gtest/gtest.h>

#include "cache_fixtures.hpp"
#include "half.hpp"

namespace qjl::test {
namespace {

// All that can be seen of a cache with one sequence.
struct Picture {
  std::string bytes;
  std::vector<Attended> out;
  std::vector<std::int64_t> numbers;
  bool operator==(const Picture&) const = default;
};

Picture picture(const KvCache& cache, SequenceId id, ThreadPool& threads) {
  const MemoryReport r = cache.memory_report();
  std::vector<std::int64_t> numbers{r.sealed_pages, r.free_pages,   r.sinks,      r.tails,
                                    r.page_tables,  r.codec_tables, r.num_tokens, cache.free_pages()};
  for (int layer = 0; layer < cache.config().num_layers; ++layer) numbers.push_back(cache.num_tokens(id, layer));
  return {page_bytes(cache, id), outputs(cache, id, threads), numbers};
}

class Errors : public testing::Test {
 protected:
  Errors()
      : config(cache_config("k3v2", 64, 4)),
        tokens(random_tokens(21, config, 1000)),
        cache(config),
        threads(2),
        id(cache.create()) {
    append(cache, id, tokens, {0, 300}, threads);
    before = picture(cache, id, threads);
  }
  // Runs work, checks the error's text and that nothing changed.
  template <typename Work>
  void expect_error(const std::string& text, Work work, ErrorKind kind = ErrorKind::invalid_argument) {
    EXPECT_EQ(error_of(work, kind), text);
    EXPECT_TRUE(picture(cache, id, threads) == before) << "the cache changed: " << text;
  }
  std::string append_error(const TensorView& keys, const TensorView& values) {
    return error_of([&] { cache.append(id, 0, keys, values, threads); });
  }

  CacheConfig config;
  Tokens tokens;
  KvCache cache;
  ThreadPool threads;
  SequenceId id;
  Picture before;
};

TEST_F(Errors, OutOfPagesChangesNothing) {
  expect_error(
      "[append] 5 pages are wanted, 2 of 4 are free", [&] { append(cache, id, tokens, {300, 700}, threads); },
      ErrorKind::out_of_pages);
  expect_error("[reserve] 5 pages are wanted, 2 of 4 are free", [&] { cache.reserve(id, 1000); }, ErrorKind::out_of_pages);
  append(cache, id, tokens, {300, 212}, threads);  // what fits still fits
  EXPECT_EQ(cache.free_pages(), 0);
}

TEST_F(Errors, OutOfPagesInAForkOfUnequalLayers) {
  append_layer(cache, id, 0, tokens, {300, 300}, threads);
  before = picture(cache, id, threads);
  expect_error("[fork] 2 pages are wanted, 0 of 4 are free", [&] { cache.fork(id); }, ErrorKind::out_of_pages);
}

TEST_F(Errors, ShapesNameFoundAndWanted) {
  const TensorView keys = tokens.keys[0].view(300, 10), values = tokens.values[0].view(300, 10);
  TensorView wrong = keys;
  wrong.heads = 3;
  expect_error("[append] keys are [3 heads, 10 tokens, 64 channels], wanted [2 heads, tokens, 64 channels]",
               [&] { cache.append(id, 0, wrong, values, threads); });
  wrong = values;
  wrong.dim = 32;
  expect_error("[append] values are [2 heads, 10 tokens, 32 channels], wanted [2 heads, tokens, 64 channels]",
               [&] { cache.append(id, 0, keys, wrong, threads); });
  wrong = values;
  wrong.tokens = 9;
  expect_error("[append] values have 9 tokens, wanted 10 as the keys", [&] { cache.append(id, 0, keys, wrong, threads); });
  wrong.tokens = -1;
  expect_error("[append] values are [2 heads, -1 tokens, 64 channels], wanted [2 heads, tokens, 64 channels]",
               [&] { cache.append(id, 0, keys, wrong, threads); });
  wrong = keys;
  wrong.data = nullptr;
  expect_error("[append] keys have a null address, wanted memory of 10 tokens",
               [&] { cache.append(id, 0, wrong, values, threads); });
  expect_error("[append] layer is 2, wanted 0 to 1", [&] { cache.append(id, 2, keys, values, threads); });
  expect_error("[append] layer is -1, wanted 0 to 1", [&] { cache.append(id, -1, keys, values, threads); });
}

TEST_F(Errors, UnknownSequences) {
  const SequenceId gone = cache.create();
  cache.drop(gone);
  const std::string tail = " sequence 2 does not exist, wanted one of the 1 that live";
  expect_error("[append]" + tail, [&] { append(cache, gone, tokens, {0, 1}, threads); });
  expect_error("[fork]" + tail, [&] { cache.fork(gone); });
  expect_error("[drop]" + tail, [&] { cache.drop(gone); });
  expect_error("[truncate]" + tail, [&] { cache.truncate(gone, 0); });
  expect_error("[reserve]" + tail, [&] { cache.reserve(gone, 0); });
  expect_error("[num_tokens]" + tail, [&] { cache.num_tokens(gone); });
  expect_error("[attend]" + tail, [&] { attend_one(cache, 0, gone, random_rows(1, 2, 1, 64), threads); });
}

TEST_F(Errors, LengthsAndPages) {
  expect_error("[truncate] num_tokens is 301, wanted 0 to the length 300", [&] { cache.truncate(id, 301); });
  expect_error("[truncate] num_tokens is -1, wanted 0 to the length 300", [&] { cache.truncate(id, -1); });
  expect_error("[reserve] num_tokens is -5, wanted 0 or more", [&] { cache.reserve(id, -5); });
  expect_error("[page] page is 2, wanted one of the 2 sealed ones", [&] { cache.page(id, 0, 0, 2); });
  expect_error("[page] kv head is 2, wanted 0 to 1", [&] { cache.page(id, 0, 2, 0); });
}

// NaN, infinity and overflow, at any place, in any format, in long and short calls: named by position.
TEST_F(Errors, NumbersNameThePosition) {
  struct Case {
    float number;
    const char* text;
  };
  for (const Case& c :
       {Case{NAN, "nan"}, Case{INFINITY, "inf"}, Case{-INFINITY, "-inf"}, Case{65520.0f, "65520"}, Case{-70000.0f, "-70000"}}) {
    for (const std::int64_t token : {0, 7, 130, 611}) {
      Tokens bad = tokens;
      bad.keys[0].set(bad.keys[0].at(1, 300 + token, 63), c.number);
      bad.values[0].set(bad.values[0].at(0, 300 + token, 5), c.number);
      const std::string at = std::string(c.text) + " at head ", end = ", wanted finite numbers that the 16-bit format can hold";
      expect_error("[append] keys hold " + at + "1, token " + std::to_string(token) + ", channel 63" + end,
                   [&] { cache.append(id, 0, bad.keys[0].view(300, 700), tokens.values[0].view(300, 700), threads); });
      expect_error("[append] values hold " + at + "0, token " + std::to_string(token) + ", channel 5" + end,
                   [&] { cache.append(id, 0, tokens.keys[0].view(300, 700), bad.values[0].view(300, 700), threads); });
      if (std::isfinite(c.number)) continue;
      const Rows queries = random_rows(22, 4, 700, 64), chunk = random_rows(23, 2, 700, 64);
      Rows bad_queries = queries;
      bad_queries.set(bad_queries.at(3, token, 1), c.number);
      expect_error("[attend] queries hold " + at + "3, token " + std::to_string(token) + ", channel 1" + end,
                   [&] { attend_one(cache, 0, id, bad_queries, threads); });
      Rows bad_chunk = chunk;
      bad_chunk.set(bad_chunk.at(1, token, 2), c.number);
      expect_error("[attend] chunk_values hold " + at + "1, token " + std::to_string(token) + ", channel 2" + end,
                   [&] { attend_one(cache, 0, id, queries, threads, {}, &chunk, &bad_chunk); });
    }
  }
  const std::vector<std::uint16_t> halves(2 * 64, 0x7C01);
  const TensorView nan16 = TensorView::contiguous(halves.data(), DType::f16, 2, 1, 64);
  EXPECT_NE(append_error(nan16, nan16).find("keys hold nan at head 0, token 0, channel 0"), std::string::npos);
  const std::vector<std::uint16_t> bfloats(2 * 64, 0x4780);  // 65536: fine in bf16, too large for an f16 tail
  const TensorView big = TensorView::contiguous(bfloats.data(), DType::bf16, 2, 1, 64);
  EXPECT_NE(append_error(big, big).find("keys hold 65536 at head 0"), std::string::npos);
  EXPECT_TRUE(picture(cache, id, threads) == before);
}

std::vector<std::uint16_t> halves(const Rows& rows) {
  std::vector<std::uint16_t> out;
  for (const double number : rows.number) out.push_back(float_to_half(static_cast<float>(number)));
  return out;
}

// With room for all pages the rows of whole pages are checked as they are rounded, or where they lie: the first wrong number is
// named even so, keys before values, and nothing is left behind.
TEST(ErrorsOfWholePages, NumbersNameThePosition) {
  const CacheConfig config = cache_config("k3v2", 64, 12);
  const Tokens tokens = random_tokens(21, config, 1000);
  KvCache cache(config), fresh(config);
  ThreadPool threads(2);
  const SequenceId id = cache.create();
  append(cache, id, tokens, {0, 300}, threads);
  const Picture before = picture(cache, id, threads);
  for (const std::int64_t token : {3, 90, 340, 699}) {  // completes the tail, in whole pages, stays open
    Tokens bad = tokens;
    bad.keys[0].set(bad.keys[0].at(1, 300 + token, 9), NAN);
    bad.values[0].set(bad.values[0].at(0, 300), NAN);
    const TensorView keys = bad.keys[0].view(300, 700), values = bad.values[0].view(300, 700);
    const std::vector<std::uint16_t> key_halves = halves(bad.keys[0]), value_halves = halves(bad.values[0]);
    const auto in_place = [](TensorView view, const std::vector<std::uint16_t>& rows) {
      view.data = rows.data() + 300 * view.dim;
      view.dtype = DType::f16;
      return view;
    };
    const std::string text = "[append] keys hold nan at head 1, token " + std::to_string(token) +
                             ", channel 9, wanted finite numbers that the 16-bit format can hold";
    EXPECT_EQ(error_of([&] { cache.append(id, 0, keys, values, threads); }), text);
    EXPECT_EQ(error_of([&] { cache.append(id, 0, in_place(keys, key_halves), in_place(values, value_halves), threads); }), text);
    const Picture after = picture(cache, id, threads);  // but for the memory of page tables, which keep the room they made
    EXPECT_TRUE(after.bytes == before.bytes && after.out == before.out) << text;
    EXPECT_EQ(cache.num_tokens(id, 0), 300);
    EXPECT_EQ(cache.free_pages(), 10);
  }
  append(cache, id, tokens, {300, 700}, threads);
  const SequenceId whole = fresh.create();
  append(fresh, whole, tokens, {0, 1000}, threads);
  EXPECT_EQ(page_bytes(cache, id), page_bytes(fresh, whole));
}

TEST_F(Errors, AttendShapesAndOptions) {
  const Rows queries = random_rows(24, 4, 3, 64), odd = random_rows(25, 3, 3, 64), narrow = random_rows(26, 4, 3, 32);
  const Rows chunk = random_rows(27, 2, 3, 64), longer = random_rows(28, 2, 4, 64);
  expect_error("[attend] queries have 3 heads, wanted a multiple of the 2 kv heads",
               [&] { attend_one(cache, 0, id, odd, threads); });
  expect_error("[attend] queries are [4 heads, 3 tokens, 32 channels], wanted [4 heads, tokens, 64 channels]",
               [&] { attend_one(cache, 0, id, narrow, threads); });
  expect_error("[attend] chunk_values have 4 tokens, wanted 3 as the queries",
               [&] { attend_one(cache, 0, id, queries, threads, {}, &chunk, &longer); });
  expect_error("[attend] layer is 2, wanted 0 to 1", [&] { attend_one(cache, 2, id, queries, threads); });
  expect_error("[attend] sliding_window is -1, wanted 0 or more",
               [&] { attend_one(cache, 0, id, queries, threads, {.sliding_window = -1}); });
  expect_error("[attend] softmax_scale is nan, wanted a finite number",
               [&] { attend_one(cache, 0, id, queries, threads, {.softmax_scale = NAN}); });
  expect_error("[attend] logit_soft_cap is -1, wanted a finite number, 0 or more",
               [&] { attend_one(cache, 0, id, queries, threads, {.logit_soft_cap = -1}); });
  std::vector<float> out(4 * 3 * 64);
  AttendRequest request;
  request.sequence = id;
  request.queries = queries.view();
  request.out = OutputView::contiguous(out.data(), 4, 2, 64);
  AttendPlan plan;
  expect_error("[attend] out is [4 heads, 2 tokens, 64 channels], wanted [4, 3, 64] as the queries",
               [&] { attend(cache, 0, {&request, 1}, {}, plan, threads); });
}

TEST(CacheErrors, Configuration) {
  const auto error_with = [](auto change) {
    CacheConfig config = cache_config("k3v2");
    change(config);
    return error_of([&] { KvCache cache(config); });
  };
  EXPECT_EQ(error_with([](CacheConfig& c) { c.num_layers = 0; }), "[cache] num_layers is 0, wanted 1 to 4096");
  EXPECT_EQ(error_with([](CacheConfig& c) { c.num_kv_heads = -2; }), "[cache] num_kv_heads is -2, wanted 1 to 4096");
  EXPECT_EQ(error_with([](CacheConfig& c) { c.max_pages = 0; }), "[cache] max_pages is 0, wanted 1 to 2147483647");
  EXPECT_EQ(error_with([](CacheConfig& c) { c.tail_dtype = DType::f32; }), "[cache] tail_dtype is f32, wanted f16 or bf16");
  EXPECT_EQ(error_with([](CacheConfig& c) { c.layer_codes.resize(3); }), "[cache] layer_codes has 3 layers, wanted none or 2");
  EXPECT_EQ(error_with([](CacheConfig& c) { c.codec.sink_tokens = 17; }).substr(0, 8), "[cache] ");
  EXPECT_NE(error_with([](CacheConfig& c) { c.head_dim = 100; }).find("100"), std::string::npos);
  EXPECT_NE(error_with([](CacheConfig& c) { c.head_dim = 256, c.num_layers = 4096, c.num_kv_heads = 4096, c.max_pages = 1 << 30; }),
            "");
}

}  // namespace
}  // namespace qjl::test
