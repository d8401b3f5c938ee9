// Forks and cuts on a GPU beside the same ones on the host: pages, exact rows and outputs agree to the last bit, and what a device
// does not do is an error that says so.
#include "cache_fixtures.hpp"
#include "device_verbs.hpp"
#include "qjl/moves.hpp"

namespace qjl::test {
namespace {

constexpr int kLayers = 2, kHeads = 2, kDim = 64, kTokens = 400;

// The same sequences in a cache of the host and one of the device.
class Pair {
 public:
  explicit Pair(const char* type)
      : config_(cache_config(type, kDim, 20, kLayers)),
        tokens_(random_tokens(3, config_, kTokens)),
        host_(config_),
        device_(config_, Device::cuda()) {}

  struct Both {
    SequenceId host, device;
  };
  Both create() { return {host_.create(), device_.create()}; }
  Both fork(Both of) { return {host_.fork(of.host), device_.fork(of.device)}; }
  void truncate(Both of, std::int64_t tokens) {
    host_.truncate(of.host, tokens);
    device_.truncate(of.device, tokens);
  }
  void append(Both to, Part part, int layer) {
    const auto l = static_cast<std::size_t>(layer);
    append_layer(host_, to.host, layer, tokens_, part, threads_);
    const Rows keys = part_of(tokens_.keys[l], static_cast<int>(part.first), static_cast<int>(part.count)),
               values = part_of(tokens_.values[l], static_cast<int>(part.first), static_cast<int>(part.count));
    const OnDevice<std::uint8_t> k(keys.words), v(values.words);
    const auto view = [](const Rows& rows, const OnDevice<std::uint8_t>& memory) {
      return TensorView::contiguous(memory.data(), rows.dtype, rows.heads, rows.tokens, rows.d).on(Device::cuda());
    };
    device_.append(to.device, layer, view(keys, k), view(values, v));
    device_.wait();
  }
  void append(Both to, Part part) {
    for (int layer = 0; layer < kLayers; ++layer) append(to, part, layer);
  }

  // The device's sequence, brought to the host, has the pages of the host's and attends to the same bits.
  void expect_same(Both of, const char* what) {
    KvCache moved(config_);
    const SequenceId copy = copy_sequence(device_, of.device, moved);
    for (int layer = 0; layer < kLayers; ++layer)
      ASSERT_EQ(moved.num_tokens(copy, layer), host_.num_tokens(of.host, layer)) << what;
    EXPECT_EQ(page_bytes(moved, copy), page_bytes(host_, of.host)) << what;
    EXPECT_EQ(outputs(moved, copy, threads_), outputs(host_, of.host, threads_)) << what;
    EXPECT_EQ(device_.free_pages(), host_.free_pages()) << what;
  }

  KvCache& host() { return host_; }
  KvCache& device() { return device_; }

 private:
  CacheConfig config_;
  Tokens tokens_;
  ThreadPool threads_{1};
  KvCache host_, device_;
};

class CudaSequences : public ::testing::TestWithParam<const char*> {};

TEST_P(CudaSequences, ForkAndGoTheirOwnWays) {
  Pair both(GetParam());
  const auto parent = both.create();
  both.append(parent, {0, 200});
  const auto child = both.fork(parent);
  both.expect_same(child, "a fork");
  both.append(parent, {200, 100});  // seals the page that was open
  both.append(child, {250, 150});
  both.expect_same(parent, "the parent goes on");
  both.expect_same(child, "the child goes on");
  both.device().drop(parent.device), both.host().drop(parent.host);
  both.expect_same(child, "the child alone");
}

TEST_P(CudaSequences, ForkWhileLayersDiffer) {
  Pair both(GetParam());
  const auto parent = both.create();
  both.append(parent, {0, 150});
  both.append(parent, {150, 130}, 0);
  const auto child = both.fork(parent);
  both.append(parent, {150, 130}, 1);
  both.append(child, {20, 250}, 1);
  both.expect_same(parent, "parent");
  both.expect_same(child, "child");
}

TEST_P(CudaSequences, AreCut) {
  for (const std::int64_t kept : {399, 390, 384, 300, 256, 130, 3, 0}) {  // open rows, borders, sealed pages, sinks, nothing
    Pair both(GetParam());
    const auto sequence = both.create();
    both.append(sequence, {0, kTokens});
    const auto other = both.fork(sequence);
    both.truncate(sequence, kept);
    both.expect_same(sequence, "cut");
    both.append(sequence, {50, 150});
    both.expect_same(sequence, "cut, and gone on");
    both.expect_same(other, "the fork of before");
  }
}
INSTANTIATE_TEST_SUITE_P(All, CudaSequences, ::testing::Values("k3v2", "f16", "paper"));

TEST(CudaSequencesErrors, AreClear) {
  Pair both("k3v2");
  const auto sequence = both.create();
  both.append(sequence, {0, 200});
  ThreadPool threads(1);
  KvCache& device = both.device();
  EXPECT_EQ(error_of([&] { device.page(sequence.device, 0, 0, 0); }, ErrorKind::unsupported),
            "[page] found a cache on cuda:0, wanted one of the host");
  EXPECT_EQ(error_of([&] { device.read(sequence.device, 0, 0, OutputView{}, OutputView{}); }, ErrorKind::unsupported),
            "[read] found a cache on cuda:0, wanted one of the host: copy_sequence brings it there");
  EXPECT_EQ(error_of([&] { device.fork(sequence.device, threads); }),
            "[fork] found threads of the host, wanted a stream of cuda:0");
  EXPECT_EQ(error_of([&] { both.host().truncate(sequence.host, 10, CudaStream{}); }),
            "[truncate] found a CUDA stream, wanted threads: the cache is one of the host");
  EXPECT_EQ(error_of([&] { device.truncate(sequence.device, 201); }), "[truncate] num_tokens is 201, wanted 0 to the length 200");
  CacheConfig config = device.config();
  config.on_seal = [](const SealingPage&) {};
  EXPECT_EQ(error_of([&] { KvCache(config, Device::cuda()); }),
            "[cache] found on_seal, wanted none on cuda:0: it runs on the host");
  config = device.config();
  config.layer_retention = {128, 0};
  EXPECT_EQ(error_of([&] { KvCache(config, Device::cuda()); }, ErrorKind::unsupported),
            "[cache] found layer_retention, wanted none on cuda:0: all tokens are kept there");
  config = cache_config("f16", 512, 8);
  EXPECT_EQ(error_of([&] { KvCache(config, Device::cuda()); }, ErrorKind::unsupported),
            "[cache] found head_dim 512, wanted 64, 80, 96, 128 or 256 on cuda:0");
  EXPECT_EQ(error_of([&] { PinnedPages pinned(device); }), "[pin] found a cache on cuda:0, wanted one of the host");
}

TEST(CudaSequencesErrors, APlanStandsUntilItsSequenceChanges) {
  Pair both("k3v2");
  const auto sequence = both.create();
  both.append(sequence, {0, 200});
  const OnDevice<float> numbers(kHeads * kDim), out(kHeads * kDim);
  AttendRequest request;
  request.sequence = sequence.device;
  request.queries = TensorView::contiguous(numbers.data(), DType::f32, kHeads, 1, kDim).on(Device::cuda());
  request.out = OutputView::contiguous(out.data(), kHeads, 1, kDim).on(Device::cuda());
  AttendPlan plan;
  plan.make(both.device(), 1, {&request, 1}, {});
  plan.run();
  both.append(sequence, {200, 1}, 0);
  plan.run();  // another layer
  both.append(sequence, {200, 1}, 1);
  EXPECT_EQ(error_of([&] { plan.run(); }),
            "[attend] sequence 1 has changed in layer 1 since the plan was made, wanted it made anew");
}

// Device memory by kind: all pages from the start, rows per sequence, and what a dropped sequence leaves for the next.
TEST(CudaSequencesMemory, IsCounted) {
  Pair both("k3v2");
  const KvCache& device = both.device();
  const MemoryReport empty = device.memory_report();
  const std::int64_t page = kLayers * kHeads * device.page_bytes(0);
  EXPECT_EQ(empty.sealed_pages, 0);
  EXPECT_EQ(empty.free_pages, 20 * page);
  const auto sequence = both.create();
  both.append(sequence, {0, 300});
  const MemoryReport filled = device.memory_report();
  EXPECT_EQ(filled.sealed_pages, 2 * page);
  EXPECT_EQ(filled.free_pages, 18 * page);
  EXPECT_EQ(filled.num_tokens, 300);
  const std::int64_t row = 2 * kLayers * kHeads * kDim * 2;
  EXPECT_GE(filled.tails, kTokensPerPage * row);
  EXPECT_GE(filled.sinks, 4 * row);
  both.device().drop(sequence.device);
  EXPECT_EQ(device.memory_report().scratch, empty.scratch + (kTokensPerPage + 4) * row);
}

}  // namespace
}  // namespace qjl::test
