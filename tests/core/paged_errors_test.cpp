// Every wrong call of a PagedCache is an error that names what was found and wanted, and leaves sealed pages and tails as they were.
#include <gtest/gtest.h>

#include <limits>

#include "cache_fixtures.hpp"
#include "paged_memory.hpp"

namespace qjl::test {
namespace {

constexpr int kHeads = 2, kDim = 64, kTokens = 300;

// One request of 300 tokens, 200 of them there: page 0 in block 3, 72 rows in tail 1.
struct Scene {
  CacheConfig config;
  PagedCache paged{config};
  PagedBytes bytes{paged, 0, 6, 2, BlockOrder::by_block};
  Rows keys = random_rows(1, kHeads, kTokens, kDim), values = random_rows(2, kHeads, kTokens, kDim, 0.0);
  Rows queries = random_rows(3, kHeads, kTokens, kDim, 0.0);
  std::vector<std::int32_t> blocks{3, 0, 5};
  std::vector<float> out = std::vector<float>(static_cast<std::size_t>(kHeads) * kTokens * kDim);
  ThreadPool threads{2};
  AttendPlan plan;

  explicit Scene(const std::string& type = "k3v2", int sinks = 1) : config(config_of(type, sinks)) {
    PagedRequest first = request(0, 200);
    first.tail_id = 1;
    paged.append(bytes.memory, {&first, 1}, threads);
  }
  static CacheConfig config_of(const std::string& type, int sinks) {
    CacheConfig made = cache_config(type, kDim, 8);
    made.codec.sink_tokens = sinks;
    return made;
  }
  PagedRequest request(std::int64_t before, std::int64_t count) {
    PagedRequest r = paged_request(blocks, before, 1);
    r.keys = keys.view(before, count);
    r.values = values.view(before, count);
    r.queries = queries.view(before, count);
    r.out = OutputView::contiguous(out.data(), kHeads, count, kDim);
    return r;
  }
  // What counts: the sealed page, the tail.
  std::string state() const {
    std::string all(bytes.tails.begin(), bytes.tails.end());
    for (int head = 0; head < kHeads; ++head) {
      all.append(reinterpret_cast<const char*>(bytes.part(3, head)), static_cast<std::size_t>(paged.part_bytes(0)));
    }
    return all;
  }

  enum class Verb { append, attend, step };
  std::string error(const PagedMemory& memory, std::span<const PagedRequest> requests, Verb verb = Verb::append) {
    const std::string before = state();
    const std::string text = error_of([&] {
      switch (verb) {
        case Verb::append: return paged.append(memory, requests, threads);
        case Verb::attend: return paged.attend(memory, requests, {}, plan, threads);
        case Verb::step: return paged.step(memory, requests, {}, plan, threads);
      }
    });
    EXPECT_EQ(state(), before) << text;
    return text;
  }
  std::string error(const PagedMemory& memory) {
    const PagedRequest r = request(200, 1);
    return error(memory, {&r, 1});
  }
  std::string error(const PagedRequest& r, Verb verb = Verb::append) { return error(bytes.memory, {&r, 1}, verb); }
};
using Verb = Scene::Verb;

TEST(PagedErrors, Memory) {
  Scene s;
  const PagedMemory good = s.bytes.memory;
  const auto with = [&](const auto& change) {
    PagedMemory memory = good;
    change(memory);
    return s.error(memory);
  };
  EXPECT_EQ(with([](PagedMemory& m) { m.layer = 2; }), "[append] layer is 2, wanted 0 to 1");
  EXPECT_EQ(with([](PagedMemory& m) { m.pages.page_bytes = 5711; }),
            "[append] pages keep 5711 bytes for a kv head in a block, wanted 5712 or more in layer 0");
  EXPECT_EQ(with([](PagedMemory& m) { m.pages.base = nullptr; }), "[append] pages have a null address, wanted memory of 6 blocks");
  EXPECT_TRUE(with([](PagedMemory& m) {
                m.pages.base = static_cast<std::uint8_t*>(m.pages.base) + 16;
              }).starts_with("[append] pages are at "));
  EXPECT_TRUE(with([](PagedMemory& m) { m.pages.head_stride -= 32; }).starts_with("[append] pages are at "));
  EXPECT_EQ(
      with([](PagedMemory& m) { m.pages.head_stride = 0; }),
      "[append] pages are 11520 bytes from block to block and 0 from head to head, which overlap: wanted 5712 of its own for each "
      "of 6 blocks and 2 kv heads");
  EXPECT_NE(with([](PagedMemory& m) { m.pages.block_stride = m.pages.head_stride; }).find("which overlap"), std::string::npos);
  EXPECT_NE(with([](PagedMemory& m) { m.pages.head_stride = 3 * m.pages.block_stride; }).find("which overlap"), std::string::npos);
  EXPECT_NE(with([](PagedMemory& m) { m.pages.block_stride = -m.pages.block_stride; }).find("which overlap"), std::string::npos);
  EXPECT_EQ(with([](PagedMemory& m) { m.pages.num_blocks = -1; }), "[append] pages have -1 blocks, wanted 0 to 2147483647");
  EXPECT_EQ(with([](PagedMemory& m) { m.pages.device = Device::cuda(); }),
            "[append] pages lie in the memory of CUDA device 0, wanted that of the host");
  EXPECT_EQ(with([](PagedMemory& m) { m.tails.device = Device::cuda(1); }),
            "[append] tails lie in the memory of CUDA device 1, wanted that of the host");
  EXPECT_EQ(with([](PagedMemory& m) { m.tails.base = nullptr; }), "[append] tails have a null address, wanted memory of 2");
  EXPECT_EQ(with([](PagedMemory& m) { m.tails.tail_stride -= 16; }),
            "[append] tails are 65520 bytes from one to the next, wanted 65536 or more");
  EXPECT_TRUE(with([](PagedMemory& m) { m.tails.tail_stride += 8; }).starts_with("[append] tails are at "));
}

TEST(PagedErrors, BlocksAndTails) {
  Scene s;
  const auto with = [&](const auto& change, Verb verb = Verb::append) {
    PagedRequest r = s.request(200, 60);
    change(r);
    return s.error(r, verb);
  };
  const std::vector<std::int32_t> high{3, 6}, negative{3, -1}, twice{3, 3};
  for (const Verb verb : {Verb::append, Verb::step}) {
    const std::string name = verb == Verb::append ? "[append] " : "[step] ";
    EXPECT_EQ(with([&](PagedRequest& r) { r.block_ids = high; }, verb), name + "block id is 6, wanted 0 to 5");
    EXPECT_EQ(with([&](PagedRequest& r) { r.block_ids = negative; }, verb), name + "block id is -1, wanted 0 to 5");
    EXPECT_EQ(with([&](PagedRequest& r) { r.block_ids = twice; }, verb),
              name + "block 3 holds an earlier page of its request, wanted another for page 1");
    EXPECT_EQ(with([](PagedRequest& r) { r.block_ids = r.block_ids.first(1); }, verb),
              name + "found 1 blocks of a request, wanted one for each 128 of its 200 + 60 tokens");
    EXPECT_EQ(with([](PagedRequest& r) { r.tail_id = 2; }, verb),
              name + "tail id is 2, wanted 0 to 1 for the open page of 200 + 60 tokens");
    EXPECT_EQ(with([](PagedRequest& r) { r.tail_id = kNoTail; }, verb),
              name + "tail id is -1, wanted 0 to 1 for the open page of 200 + 60 tokens");
    EXPECT_EQ(with([](PagedRequest& r) { r.num_tokens = -1; }, verb), name + "num_tokens is -1, wanted 0 or more");
    EXPECT_NE(with([](PagedRequest& r) { r.num_tokens = std::numeric_limits<std::int64_t>::max(); }, verb).find("found 3 blocks"),
              std::string::npos);
  }
  EXPECT_EQ(with([](PagedRequest& r) { r.keys = r.values = {}, r.num_tokens = 400, r.tail_id = 0; }, Verb::attend),
            "[attend] block 0, kv head 0 of layer 0: found page format version 165, wanted 2");
  EXPECT_EQ(with([&](PagedRequest& r) { r.keys = r.values = {}, r.block_ids = high, r.num_tokens = 260; }, Verb::attend),
            "[attend] block id is 6, wanted 0 to 5");
}

TEST(PagedErrors, WrittenTwice) {
  Scene s;
  PagedRequest a = s.request(200, 60), b = a;
  const std::vector<std::int32_t> others{4, 0, 2};
  b.block_ids = others;
  b.tail_id = 0;
  const auto error = [&](Verb verb) {
    const PagedRequest both[] = {a, b};
    return s.error(s.bytes.memory, both, verb);
  };
  EXPECT_EQ(error(Verb::append), "[append] block 0 would be written twice, wanted each once");
  EXPECT_EQ(error(Verb::step), "[step] block 0 would be written twice, wanted each once");
  const std::vector<std::int32_t> own{4, 1, 2};
  b.block_ids = own;
  b.tail_id = 1;
  EXPECT_EQ(error(Verb::append), "[append] tail 1 would be written twice, wanted each once");
  EXPECT_EQ(error(Verb::step), "[step] tail 1 would be written twice, wanted each once");
}

// A block that another place of a request needs, or that nobody sealed.
TEST(PagedErrors, BlocksThatHoldAnotherPage) {
  Scene s;
  PagedRequest r = s.request(200, 100);
  s.paged.append(s.bytes.memory, {&r, 1}, s.threads);
  const auto with = [&](std::vector<std::int32_t> blocks) {
    PagedRequest wrong = s.request(200, 10);
    wrong.block_ids = blocks;
    wrong.keys = wrong.values = {};
    wrong.num_tokens = 256;
    return s.error(wrong, Verb::attend);
  };
  EXPECT_EQ(with({3, 0}), "");
  EXPECT_EQ(with({0, 3}), "[attend] block 0, kv head 0 of layer 0: found a page with 0 sinks, wanted 1 there");
  EXPECT_EQ(with({3, 3}), "[attend] block 3, kv head 0 of layer 0: found a page with 1 sinks, wanted 0 there");
  EXPECT_EQ(with({3, 4}), "[attend] block 4, kv head 0 of layer 0: found page format version 165, wanted 2");
  s.bytes.part(0, 1)[5440 + 1] = 200;  // the code in the page head
  EXPECT_TRUE(with({3, 0}).starts_with("[attend] block 0, kv head 1 of layer 0: found"));
}

// The channels of a sketch's first page are what its later ones are coded with.
TEST(PagedErrors, AFirstPageThatNobodySealed) {
  Scene s("paper", 0);
  PagedRequest wrong = s.request(200, 60);
  const std::vector<std::int32_t> unsealed{4, 0, 5};
  wrong.block_ids = unsealed;
  for (const Verb verb : {Verb::append, Verb::step}) {
    const std::string name = verb == Verb::append ? "[append] " : "[step] ";
    EXPECT_EQ(s.error(wrong, verb), name + "block 4, kv head 0 of layer 0: found page format version 165, wanted 2");
  }
  const PagedRequest stays_open = s.request(200, 10);
  EXPECT_EQ(error_of([&] { s.paged.append(s.bytes.memory, {&stays_open, 1}, s.threads); }), "");
  const PagedRequest good = s.request(200, 60);
  EXPECT_EQ(error_of([&] { s.paged.append(s.bytes.memory, {&good, 1}, s.threads); }), "");
}

TEST(PagedErrors, Numbers) {
  const double bad[] = {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), 1e6};
  for (const double number : bad) {
    for (const int token : {201, 258}) {  // one that a page takes, one that stays open
      Scene s;
      s.keys.set(s.keys.at(1, token, 7), number);
      PagedRequest good = s.request(0, 128), wrong = s.request(200, 60);
      const std::vector<std::int32_t> own{2};
      good.block_ids = own;
      good.tail_id = kNoTail;
      const PagedRequest both[] = {good, wrong};
      const std::string place = " at head 1, token " + std::to_string(token - 200) + ", channel 7";
      EXPECT_NE(s.error(s.bytes.memory, both, Verb::append).find(place), std::string::npos) << number << ' ' << token;
      EXPECT_NE(s.error(s.bytes.memory, both, Verb::step).find(place), std::string::npos) << number << ' ' << token;
    }
  }
  Scene s;
  s.queries.set(s.queries.at(0, 210, 3), bad[0]);
  EXPECT_NE(s.error(s.request(200, 60), Verb::step).find("queries hold nan at head 0, token 10, channel 3"), std::string::npos);
}

TEST(PagedErrors, Shapes) {
  Scene s;
  const auto with = [&](const auto& change, Verb verb = Verb::append) {
    PagedRequest r = s.request(200, 10);
    change(r);
    return s.error(r, verb);
  };
  EXPECT_EQ(with([](PagedRequest& r) { r.keys.dim = 32; }),
            "[append] keys are [2 heads, 10 tokens, 32 channels], wanted [2 heads, tokens, 64 channels]");
  EXPECT_EQ(with([](PagedRequest& r) { r.values.tokens = 9; }), "[append] values have 9 tokens, wanted 10 as the keys");
  EXPECT_EQ(with([](PagedRequest& r) { r.queries.tokens = 9; }, Verb::step), "[step] keys have 10 tokens, wanted 9 as the queries");
  EXPECT_EQ(with([](PagedRequest& r) { r.queries.heads = 3; }, Verb::step),
            "[attend] queries have 3 heads, wanted a multiple of the 2 kv heads");
  EXPECT_EQ(with([](PagedRequest& r) { r.out.data = nullptr; }, Verb::attend),
            "[attend] out has a null address, wanted memory of 10 tokens");
}

TEST(PagedErrors, Configs) {
  const auto error = [](const auto& change, ErrorKind kind = ErrorKind::invalid_argument) {
    CacheConfig config = cache_config("k3v2", kDim, 0);
    change(config);
    return error_of([&] { const PagedCache made(config); }, kind);
  };
  EXPECT_EQ(error([](CacheConfig&) {}), "") << "max_pages is not used";
  EXPECT_EQ(error([](CacheConfig& c) { c.codec.sink_tokens = 17; }), "[cache] sink_tokens is 17, wanted 0 to 16");
  EXPECT_EQ(error([](CacheConfig& c) { c.num_layers = 0; }), "[cache] num_layers is 0, wanted 1 to 4096");
  {
    CacheConfig forgets = cache_config("k3v2");
    forgets.layer_retention = {0, 256};
    EXPECT_EQ(error_of([&] { PagedCache of(forgets); }), "[cache] found layer_retention, wanted none: the caller has the pages");
  }
  const PagedCache made(cache_config("k3v2"));
  EXPECT_EQ(error_of([&] { (void)made.page_bytes(2); }), "[page_bytes] layer is 2, wanted 0 to 1");
}

}  // namespace
}  // namespace qjl::test
