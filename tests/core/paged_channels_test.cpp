// A sketch codes every page with the channels of its request's first one. Another request may seal that in the same call, at any place
// in the list: pages are then those of a KvCache all the same.
#include <gtest/gtest.h>

#include <cstring>

#include "cache_fixtures.hpp"
#include "paged_memory.hpp"

namespace qjl::test {
namespace {

constexpr int kHeads = 2, kDim = 64;

TEST(PagedChannels, AreThoseOfTheFirstPageWhoeverSealsIt) {
  CacheConfig config = cache_config("paper", kDim, 8);
  config.codec.sink_tokens = 0;
  const std::vector<std::int32_t> blocks{1, 2, 3};
  const Rows old_keys = random_rows(1, kHeads, 128, kDim), old_values = random_rows(2, kHeads, 128, kDim, 0.0);
  const Rows keys = random_rows(3, kHeads, 258, kDim), values = random_rows(4, kHeads, 258, kDim, 0.0);
  KvCache held(config);
  const SequenceId sequence = held.create();
  held.append(sequence, 0, keys.view(), values.view());
  for (const bool in_order : {true, false}) {
    PagedCache paged(config);
    const PagedBytes bytes(paged, 0, 4, 1, BlockOrder::by_block);
    PagedRequest old = paged_request(blocks, 0, kNoTail), first = old, later = paged_request(blocks, 128, 0);
    old.keys = old_keys.view();
    old.values = old_values.view();
    paged.append(bytes.memory, {&old, 1});  // what a reused block still holds: whole, with channels of its own
    first.keys = keys.view(0, 128);
    first.values = values.view(0, 128);
    later.keys = keys.view(128, 130);
    later.values = values.view(128, 130);
    paged.append(bytes.memory, in_order ? std::vector{first, later} : std::vector{later, first});
    for (int head = 0; head < kHeads; ++head) {
      for (const int page : {0, 1}) {
        const KvCache::PageBytes wanted = held.page(sequence, 0, head, page);
        const std::uint8_t* part = bytes.part(blocks[static_cast<std::size_t>(page)], head);
        EXPECT_EQ(std::memcmp(part, wanted.body.data(), wanted.body.size()), 0) << in_order << ", body of page " << page;
        EXPECT_EQ(std::memcmp(part + wanted.body.size(), wanted.head.data(), wanted.head.size()), 0) << "head of page " << page;
      }
    }
  }
}

}  // namespace
}  // namespace qjl::test
