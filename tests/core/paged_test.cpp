// PagedCache beside a KvCache of the same config: the same tokens give the same bytes in blocks and the same numbers, bit for bit.
#include "qjl/paged.hpp"

#include <gtest/gtest.h>

#include "cache_fixtures.hpp"
#include "every_code.hpp"
#include "paged_memory.hpp"

namespace qjl::test {
namespace {

constexpr int kBlocks = 24, kTails = 4, kGroup = 3;

CacheConfig with_sinks(CacheConfig config, int sinks) {
  config.codec.sink_tokens = sinks;
  return config;
}

// One request of the test: what an engine knows of it, and the sequence of the cache that holds the same.
struct Story {
  SequenceId sequence{};
  std::vector<std::int32_t> blocks;
  std::int64_t tokens = 0, tail = kNoTail;
};

// A worker: a paged cache with memory for its layers, and a KvCache beside it.
class Worker {
 public:
  explicit Worker(const CacheConfig& config) : held(config), paged(config) {
    for (int layer = 0; layer < config.num_layers; ++layer) {
      layers.emplace_back(paged, layer, kBlocks, kTails, layer == 0 ? BlockOrder::by_block : BlockOrder::by_head);
    }
    for (std::int32_t block = kBlocks; block-- > 0;) free_blocks.push_back(block);
    for (std::int64_t tail = kTails; tail-- > 0;) free_tails.push_back(tail);
  }

  void begin(Story& story) { story.sequence = held.create(); }

  // A story that starts with the full pages of another.
  Story branch(const Story& parent) {
    const std::int64_t pages = parent.tokens / kTokensPerPage;
    Story child{held.fork(parent.sequence), {parent.blocks.begin(), parent.blocks.begin() + pages}, pages * kTokensPerPage};
    held.truncate(child.sequence, child.tokens);
    return child;
  }

  // Blocks go back where `shared` is not about to use them.
  void end(Story& story, std::int64_t shared_pages) {
    free_blocks.insert(free_blocks.end(), story.blocks.begin() + shared_pages, story.blocks.end());
    if (story.tail != kNoTail) free_tails.push_back(story.tail);
    held.drop(story.sequence);
  }

  enum class Way { beside, through };

  // All stories take a step of their count in all layers; expects equal numbers.
  void step(std::span<Story* const> stories, std::span<const int> counts, Way way) {
    for (std::size_t i = 0; i < stories.size(); ++i) take_room(*stories[i], counts[i]);
    for (int layer = 0; layer < held.config().num_layers; ++layer) step_layer(layer, stories, counts, way);
    for (std::size_t i = 0; i < stories.size(); ++i) {
      Story& s = *stories[i];
      s.tokens += counts[i];
      if (s.tokens % kTokensPerPage > 0 || s.tail == kNoTail) continue;
      free_tails.push_back(s.tail);
      s.tail = kNoTail;
    }
  }

  void expect_same_bytes(const Story& s) const {
    for (int layer = 0; layer < held.config().num_layers; ++layer) {
      for (int head = 0; head < held.config().num_kv_heads; ++head) {
        for (std::int64_t page = 0; page < s.tokens / kTokensPerPage; ++page) {
          const KvCache::PageBytes wanted = held.page(s.sequence, layer, head, page);
          const std::uint8_t* part = layers[static_cast<std::size_t>(layer)].part(s.blocks[static_cast<std::size_t>(page)], head);
          ASSERT_EQ(std::memcmp(part, wanted.body.data(), wanted.body.size()), 0) << "body of page " << page;
          ASSERT_EQ(std::memcmp(part + wanted.body.size(), wanted.head.data(), wanted.head.size()), 0) << "head of page " << page;
        }
      }
    }
  }

  KvCache held;
  PagedCache paged;
  std::vector<PagedBytes> layers;
  ThreadPool threads{2};
  AttendPlan plan;
  std::vector<std::int32_t> free_blocks;
  std::vector<std::int64_t> free_tails;
  std::uint64_t seed = 1;

 private:
  void take_room(Story& s, int count) {
    while (std::ssize(s.blocks) * kTokensPerPage < s.tokens + count) {
      s.blocks.push_back(free_blocks.back());
      free_blocks.pop_back();
    }
    if (s.tail != kNoTail || (s.tokens + count) % kTokensPerPage == 0) return;
    s.tail = free_tails.back();
    free_tails.pop_back();
  }

  void step_layer(int layer, std::span<Story* const> stories, std::span<const int> counts, Way way) {
    const CacheConfig& c = held.config();
    const AttendOptions options{.softmax_scale = 0.2f, .logit_soft_cap = 20.0f};
    std::vector<Rows> keys, values, queries;
    std::vector<Attended> found, wanted;
    for (const int count : counts) {
      keys.push_back(random_rows(++seed, c.num_kv_heads, count, c.head_dim));
      values.push_back(random_rows(++seed, c.num_kv_heads, count, c.head_dim, 0.0));
      queries.push_back(random_rows(++seed, kGroup * c.num_kv_heads, count, c.head_dim, 0.0));
      const auto rows = static_cast<std::size_t>(kGroup * c.num_kv_heads * count);
      found.push_back({std::vector<float>(rows * static_cast<std::size_t>(c.head_dim)), std::vector<float>(rows)});
    }
    std::vector<PagedRequest> requests;
    for (std::size_t i = 0; i < stories.size(); ++i) {
      PagedRequest& r = requests.emplace_back(paged_request(stories[i]->blocks, stories[i]->tokens, stories[i]->tail));
      r.keys = keys[i].view();
      r.values = values[i].view();
      r.queries = queries[i].view();
      r.out = OutputView::contiguous(found[i].out.data(), kGroup * c.num_kv_heads, counts[i], c.head_dim);
      r.lse = found[i].lse.data();
    }
    const PagedMemory& memory = layers[static_cast<std::size_t>(layer)].memory;
    if (way == Way::beside) {
      paged.step(memory, requests, options, plan, threads);
    } else {
      paged.append(memory, requests, threads);
      for (std::size_t i = 0; i < requests.size(); ++i) {
        requests[i].num_tokens += counts[i];
        requests[i].keys = requests[i].values = {};
      }
      paged.attend(memory, requests, options, plan, threads);
    }
    for (std::size_t i = 0; i < stories.size(); ++i) {
      const SequenceId id = stories[i]->sequence;
      if (way == Way::beside) {
        wanted.push_back(attend_one(held, layer, id, queries[i], threads, options, &keys[i], &values[i]));
        held.append(id, layer, keys[i].view(), values[i].view(), threads);
      } else {
        held.append(id, layer, keys[i].view(), values[i].view(), threads);
        wanted.push_back(attend_one(held, layer, id, queries[i], threads, options));
      }
      EXPECT_EQ(found[i], wanted[i]) << "layer " << layer << ", request " << i << " with " << stories[i]->tokens << " tokens";
    }
  }
};

struct Case {
  std::string type;
  int head_dim, sinks;
};

class PagedSchedules : public ::testing::TestWithParam<Case> {};

TEST_P(PagedSchedules, BytesAndNumbersOfAKvCache) {
  const Case& p = GetParam();
  CacheConfig config = with_sinks(cache_config(p.type, p.head_dim, 64), p.type == "paper" ? 0 : p.sinks);
  config.layer_windows = {0, 150};
  Worker w(config);
  Story a, b, c;
  for (Story* story : {&a, &b, &c}) w.begin(*story);
  Story* const all[] = {&a, &b, &c};
  const auto step = [&](std::initializer_list<int> counts, Worker::Way way) {
    w.step(all, std::vector<int>(counts), way);
    for (const Story* story : all) w.expect_same_bytes(*story);
  };
  step({1, 128, 300}, Worker::Way::beside);  // a decode, a whole page, a prompt
  step({126, 0, 1}, Worker::Way::through);   // one token short of a page, nothing, a decode
  step({1, 129, 90}, Worker::Way::beside);   // pages fill exactly, and with one to spare
  step({1, 1, 1}, Worker::Way::through);
  Story d = w.branch(c);  // the pages of c are shared from here on
  w.end(b, 0);            // and those of b used again
  Story* const others[] = {&a, &d, &c};
  w.step(others, std::vector{200, 140, 137}, Worker::Way::beside);
  w.step(others, std::vector{1, 1, 1}, Worker::Way::beside);
  for (const Story* story : others) w.expect_same_bytes(*story);
}

std::vector<Case> cases() {
  std::vector<Case> list;
  for (const std::string& type : with_every_code(kPresets)) list.push_back({type, 64, 1});
  for (const int d : {80, 96, 128, 256}) list.push_back({"k3v2", d, 1});
  for (const int sinks : {0, 4, 16}) list.push_back({"k3v2", 64, sinks});
  list.push_back({"k4v3", 128, 4});
  return list;
}
std::string name_of(const ::testing::TestParamInfo<Case>& info) {
  return info.param.type + "_" + std::to_string(info.param.head_dim) + "_" + std::to_string(info.param.sinks);
}
INSTANTIATE_TEST_SUITE_P(, PagedSchedules, ::testing::ValuesIn(cases()), name_of);

TEST(PagedCache, SizesAreThoseOfTheFormat) {
  for (const std::string& type : kPresets) {
    for (const int d : {QJL_TEST_HEAD_DIMS}) {
      const CacheConfig config = with_sinks(cache_config(type, d), 1);
      const KvCache held(config);
      const PagedCache paged(config);
      EXPECT_EQ(paged.page_bytes(1), held.page_bytes(1)) << type << ' ' << d;
      EXPECT_EQ(paged.sink_bytes(), 4 * d);
      EXPECT_EQ(paged.part_bytes(1), held.page_bytes(1) + 4 * d);
      EXPECT_EQ(paged.tail_bytes(), 2 * 2 * kTokensPerPage * d * 2);
    }
  }
  const PagedCache paged(with_sinks(cache_config("k3v2"), 1));
  EXPECT_EQ(paged.part_bytes(0), 5456 + 256);
}

// Tails and sinks stand where paged.hpp says, as 16-bit numbers, and nothing else is written.
TEST(PagedCache, ExactRowsStandWhereTheHeaderSays) {
  const CacheConfig config = with_sinks(cache_config("k3v2", 64, 8, 1), 2);
  PagedCache paged(config);
  const PagedBytes bytes(paged, 0, 3, 3, BlockOrder::by_block), before(paged, 0, 3, 3, BlockOrder::by_block);
  const Rows keys = random_rows(5, 2, 133, 64), values = random_rows(6, 2, 133, 64);
  const std::vector<std::int32_t> blocks{2};
  PagedRequest r = paged_request(blocks, 0, 1);
  r.keys = keys.view();
  r.values = values.view();
  paged.append(bytes.memory, {&r, 1});
  const auto* tails = static_cast<const std::uint16_t*>(bytes.memory.tails.base);
  const auto tail_numbers = static_cast<std::size_t>(paged.tail_bytes()) / 2;
  for (std::size_t i = 0; i < 3 * tail_numbers; ++i) {
    const std::size_t channel = i % 64, token = i / 64 % kTokensPerPage, head = i / 64 / kTokensPerPage % 2;
    const Rows& side = i % tail_numbers < tail_numbers / 2 ? keys : values;
    const bool is_open = i / tail_numbers == 1 && token < 5;
    const auto at = is_open ? side.at(static_cast<int>(head), static_cast<int>(128 + token), static_cast<int>(channel)) : 0;
    ASSERT_EQ(tails[i], is_open ? oracle::half_bits(side.number[at]) : 0xFFFF) << "number " << i;
  }
  for (int head = 0; head < 2; ++head) {
    const auto* sinks = reinterpret_cast<const std::uint16_t*>(bytes.part(2, head) + paged.page_bytes(0));
    for (int i = 0; i < 2 * 2 * 64; ++i) {
      const Rows& side = i < 2 * 64 ? keys : values;
      ASSERT_EQ(sinks[i], oracle::half_bits(side.number[side.at(head, i / 64 % 2, i % 64)])) << "kv head " << head;
    }
  }
  const auto others = static_cast<std::size_t>(2 * bytes.memory.pages.block_stride);
  EXPECT_EQ(std::memcmp(bytes.memory.pages.base, before.memory.pages.base, others), 0) << "blocks 0 and 1";
}

// Two requests of the same first page in one step: the second has it from the first, which seals it in the same call.
TEST(PagedCache, APageMayBeAPrefixInTheStepThatSealsIt) {
  Worker w(with_sinks(cache_config("k3v2"), 1));
  Story first, later;
  w.begin(first);
  w.begin(later);
  Story* const one[] = {&first};
  w.step(one, std::vector{100}, Worker::Way::beside);
  const CacheConfig& c = w.held.config();
  const Rows keys = random_rows(90, c.num_kv_heads, 40, c.head_dim), values = random_rows(91, c.num_kv_heads, 40, c.head_dim),
             queries = random_rows(92, 2, 40, c.head_dim);
  Attended of_first{std::vector<float>(2 * 40 * 64), {}}, of_later = of_first;
  const std::vector<std::int32_t> shared = {first.blocks[0], 20};
  const auto request = [&](const std::vector<std::int32_t>& blocks, std::int64_t tokens, std::int64_t tail, Attended& result) {
    PagedRequest r = paged_request(blocks, tokens, tail);
    r.keys = keys.view();
    r.values = values.view();
    r.queries = queries.view();
    r.out = OutputView::contiguous(result.out.data(), 2, 40, c.head_dim);
    return r;
  };
  const PagedRequest requests[] = {request(first.blocks, 100, first.tail, of_first), request(shared, 128, 3, of_later)};
  w.paged.step(w.layers[0].memory, requests, {}, w.plan, w.threads);
  const SequenceId sequence = w.held.fork(first.sequence);
  w.held.append(sequence, 0, keys.view(0, 28), values.view(0, 28));
  EXPECT_EQ(of_later.out, attend_one(w.held, 0, sequence, queries, w.threads, {}, &keys, &values).out);
}

// on_seal is the door of simulations here too.
TEST(PagedCache, OnSealSeesEveryPage) {
  CacheConfig config = with_sinks(cache_config("f16", 64, 8, 1), 1);
  config.on_seal = [](const SealingPage& page) {
    for (float& number : page.values) number = static_cast<float>(page.first_position);
  };
  Worker w(config);
  Story story;
  w.begin(story);
  Story* const one[] = {&story};
  w.step(one, std::vector{300}, Worker::Way::through);
  w.expect_same_bytes(story);
}

}  // namespace
}  // namespace qjl::test
