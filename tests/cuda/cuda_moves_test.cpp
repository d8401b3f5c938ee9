// Sequences that move between host and device while the host goes on: nothing waits, and behind the stream everything is there.
#include <cuda_runtime_api.h>

#include "device_verbs.hpp"
#include "qjl/moves.hpp"

namespace qjl::test {
namespace {

constexpr int kLayers = 2, kHeads = 2, kDim = 64, kTokens = 300;

std::vector<std::byte> pages_of(const KvCache& cache, SequenceId sequence) {
  std::vector<std::byte> all;
  for (int layer = 0; layer < kLayers; ++layer) {
    for (int head = 0; head < kHeads; ++head) {
      for (std::int64_t page = 0; page < kTokens / kTokensPerPage; ++page) {
        const KvCache::PageBytes bytes = cache.page(sequence, layer, head, page);
        all.insert(all.end(), bytes.head.begin(), bytes.head.end());
        all.insert(all.end(), bytes.body.begin(), bytes.body.end());
      }
    }
  }
  return all;
}

void append(KvCache& cache, SequenceId sequence, const OnDevice<std::uint8_t>& rows, int tokens, cudaStream_t stream) {
  const TensorView view = TensorView::contiguous(rows.data(), DType::f32, kHeads, tokens, kDim).on(Device::cuda());
  for (int layer = 0; layer < kLayers; ++layer) cache.append(sequence, layer, view, view, CudaStream{stream});
}

class CudaMoves : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { ASSERT_EQ(cudaStreamCreate(&stream_), cudaSuccess); }
  void TearDown() override {
#if QJL_ON_HOST
    simt::put_off_copies(false);
#endif
    cudaStreamDestroy(stream_);
  }
  cudaStream_t stream_ = nullptr;
};

TEST_P(CudaMoves, GoOnWhileTheHostDoes) {
  const CacheConfig config = cache_config(GetParam(), kDim, 8);
  Integers random(6);
  const Rows rows = lifelike_rows(random, DType::f32, kHeads, kTokens, kDim);
  const OnDevice<std::uint8_t> memory(rows.words);
  KvCache device(config, Device::cuda());
  KvCache plain(config), host(config);
  const SequenceId sequence = device.create();
  append(device, sequence, memory, kTokens, stream_);
  const SequenceId kept = copy_sequence(device, sequence, plain, CudaStream{stream_});
  const std::vector<std::byte> wanted = pages_of(plain, kept);
  const PinnedPages pinned(host);
#if QJL_ON_HOST
  simt::put_off_copies(true);
  simt::calls = {.stream = stream_};
#endif
  const SequenceId offloaded = start_copy_sequence(device, sequence, host, CudaStream{stream_});
#if QJL_ON_HOST
  EXPECT_EQ(simt::calls.waits, 0);
  EXPECT_EQ(simt::calls.on_other_streams, 0);
  EXPECT_NE(pages_of(host, offloaded), wanted) << "the pages were copied before the call returned";
#endif
  device.wait(CudaStream{stream_});
  EXPECT_EQ(pages_of(host, offloaded), wanted);

  // And back, with an append right behind: the stream keeps the order.
  device.drop(sequence);
  const SequenceId uploaded = start_copy_sequence(host, offloaded, device, CudaStream{stream_});
  append(device, uploaded, memory, 128, stream_);
  const SequenceId beside = copy_sequence(plain, kept, device, CudaStream{stream_});
  append(device, beside, memory, 128, stream_);
  KvCache first(config), second(config);
  const SequenceId a = copy_sequence(device, uploaded, first, CudaStream{stream_});
  const SequenceId b = copy_sequence(device, beside, second, CudaStream{stream_});
  EXPECT_EQ(pages_of(first, a), wanted);
  EXPECT_EQ(pages_of(second, b), wanted);
  const KvCache::PageBytes x = first.page(a, 1, 1, 2), y = second.page(b, 1, 1, 2);  // the page that the append completed
  EXPECT_TRUE(std::ranges::equal(x.body, y.body));
}

// A driver copies from and to the memory that it pinned: given back, a page would be another one under the same address.
TEST(CudaPinned, PagesAreGivenBackWhenThePinIsGone) {
  const CacheConfig config = cache_config("k3v2", kDim, 8);
  Integers random(7);
  const Rows rows = lifelike_rows(random, DType::f32, kHeads, kTokens, kDim);
  const TensorView view = TensorView::contiguous(rows.words.data(), DType::f32, kHeads, kTokens, kDim);
  KvCache host(config);
  const SequenceId sequence = host.create();
  for (int layer = 0; layer < kLayers; ++layer) host.append(sequence, layer, view, view);
  host.drop(sequence);
  const std::int64_t free = host.memory_report().free_pages;
  ASSERT_GT(free, 0);
  {
    const PinnedPages pinned(host);
    host.trim();
    EXPECT_EQ(host.memory_report().free_pages, free);
  }
  host.trim();
  EXPECT_EQ(host.memory_report().free_pages, 0);
}

INSTANTIATE_TEST_SUITE_P(All, CudaMoves, ::testing::Values("k2v2", "k3v2", "paper"));

}  // namespace
}  // namespace qjl::test
