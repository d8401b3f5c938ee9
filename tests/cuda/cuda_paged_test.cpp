// A PagedCache in device memory beside a KvCache there: the same bytes in blocks, the same numbers, bit for bit; host memory is refused.
#include "device_verbs.hpp"
#include "paged_memory.hpp"
#include "qjl/attention.hpp"
#include "qjl/error.hpp"
#include "qjl/moves.hpp"

namespace qjl::test {
namespace {

constexpr int kHeads = 2, kGroup = 2, kDim = 64, kBlocks = 5, kTails = 2, kTokens = 320;

// Rows in device memory.
struct DeviceRows {
  OnDevice<std::uint8_t> memory;
  const Rows& rows;
  explicit DeviceRows(const Rows& of) : memory(of.words), rows(of) {}
  TensorView view(std::int64_t first, std::int64_t count) const {
    TensorView some = rows.view(first, count).on(Device::cuda());
    some.data = memory.data() + first * rows.d * dtype_bytes(rows.dtype);
    return some;
  }
};

// Every sealed page of the sequence is in its block.
void expect_same_bytes(const std::vector<std::uint8_t>& bytes, const PageMemory& memory, const std::vector<std::int32_t>& blocks,
                       const KvCache& cache, SequenceId sequence) {
  for (int head = 0; head < kHeads; ++head) {
    for (std::int64_t page = 0; page < cache.num_tokens(sequence) / kTokensPerPage; ++page) {
      const KvCache::PageBytes wanted = cache.page(sequence, 0, head, page);
      const std::uint8_t* at =
          bytes.data() + blocks[static_cast<std::size_t>(page)] * memory.block_stride + head * memory.head_stride;
      EXPECT_EQ(std::memcmp(at, wanted.body.data(), wanted.body.size()), 0) << "body of page " << page << ", kv head " << head;
      EXPECT_EQ(std::memcmp(at + wanted.body.size(), wanted.head.data(), wanted.head.size()), 0) << "head of page " << page;
    }
  }
}

class CudaPaged : public ::testing::TestWithParam<const char*> {};

TEST_P(CudaPaged, BytesAndNumbersOfAKvCache) {
  CacheConfig config = cache_config(GetParam(), kDim, 8, 1);
  config.codec.sink_tokens = config.codec.key_code == Code::jl ? 0 : 1;
  KvCache held(config, Device::cuda()), on_host(config);
  PagedCache paged(config, Device::cuda());
  const PagedBytes host(paged, 0, kBlocks, kTails, BlockOrder::by_head);
  const std::int64_t part = host.memory.pages.page_bytes;
  const OnDevice<std::uint8_t> pages(static_cast<std::size_t>(part * kBlocks * kHeads)),
      tails(static_cast<std::size_t>(kTails * paged.tail_bytes()));
  PagedMemory memory = host.memory;
  memory.pages.base = pages.data();
  memory.tails.base = tails.data();
  memory.pages.device = memory.tails.device = Device::cuda();

  Integers random(21);
  const Rows keys = lifelike_rows(random, DType::f32, kHeads, kTokens, kDim),
             values = lifelike_rows(random, DType::f16, kHeads, kTokens, kDim),
             queries = bell_rows(random, DType::f32, kHeads * kGroup, kTokens, kDim);
  const DeviceRows k(keys), v(values), q(queries);
  const SequenceId sequence = held.create();
  const std::vector<std::int32_t> blocks{4, 1, 2};
  std::int64_t before = 0;
  for (const std::int64_t count : {100, 1, 27, 1, 180}) {
    const auto numbers = static_cast<std::size_t>(kHeads * kGroup * count);
    const OnDevice<float> found(numbers * kDim), found_lse(numbers), wanted(numbers * kDim), wanted_lse(numbers);
    PagedRequest r = paged_request(blocks, before, 1);
    AttendRequest beside;
    r.keys = beside.chunk_keys = k.view(before, count);
    r.values = beside.chunk_values = v.view(before, count);
    r.queries = beside.queries = q.view(before, count);
    r.out = OutputView::contiguous(found.data(), kHeads * kGroup, count, kDim).on(Device::cuda());
    r.lse = found_lse.data();
    beside.sequence = sequence;
    beside.out = OutputView::contiguous(wanted.data(), kHeads * kGroup, count, kDim).on(Device::cuda());
    beside.lse = wanted_lse.data();
    AttendPlan plan, other;
    paged.step(memory, {&r, 1}, {}, plan);
    paged.wait();
    attend(held, 0, {&beside, 1}, {}, other);
    held.append(sequence, 0, beside.chunk_keys, beside.chunk_values);
    held.wait();
    EXPECT_EQ(found.host(), wanted.host()) << before << " + " << count;
    EXPECT_EQ(found_lse.host(), wanted_lse.host());
    before += count;
    // And through what is stored.
    r.keys = r.values = beside.chunk_keys = beside.chunk_values = {};
    r.num_tokens = before;
    paged.attend(memory, {&r, 1}, {}, plan);
    attend(held, 0, {&beside, 1}, {}, other);
    device_backend().wait(nullptr);
    EXPECT_EQ(found.host(), wanted.host()) << "through " << before;
  }
  const SequenceId brought = copy_sequence(held, sequence, on_host);
  expect_same_bytes(pages.host(), memory.pages, blocks, on_host, brought);
}
INSTANTIATE_TEST_SUITE_P(, CudaPaged, ::testing::Values("k3v2", "k2v2", "k4v4", "kl8vf16", "f16", "paper"),
                         [](const auto& one) { return std::string(one.param); });

TEST(CudaPagedErrors, MemoryOfAnotherPlaceIsRefused) {
  PagedCache paged(cache_config("k3v2", kDim, 8, 1), Device::cuda());
  const PagedBytes host(paged, 0, kBlocks, kTails, BlockOrder::by_block);
  const auto error = [&](const PagedMemory& memory) -> std::string {
    try {
      paged.append(memory, {});
    } catch (const Error& refused) {
      return refused.what();
    }
    return "";
  };
  EXPECT_EQ(error(host.memory), "[append] pages lie in the memory of the host, wanted that of CUDA device 0");
  PagedMemory lying = host.memory;
  lying.pages.device = lying.tails.device = Device::cuda();
  EXPECT_EQ(error(lying), "[append] pages point to memory of the host, wanted that of CUDA device 0");
}

}  // namespace
}  // namespace qjl::test
