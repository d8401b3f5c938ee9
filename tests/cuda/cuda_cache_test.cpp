// A cache on a GPU beside one of the host: the same tokens in any chunking give the same pages; sequences go over and back; each side attends to
// what the other sealed; a device tensor meets a clear error at a cache of the host.
#include "device_verbs.hpp"
#include "every_code.hpp"
#include "qjl/attention.hpp"
#include "qjl/error.hpp"
#include "qjl/moves.hpp"
#include "rounding_terms.hpp"

namespace qjl::test {
namespace {

constexpr int kLayers = 2, kHeads = 2, kGroup = 3;

// Keys and values of all layers, and the same tokens on the device.
struct Story {
  int d, tokens;
  Rows keys[kLayers], values[kLayers];
  Story(int dim, int count, Integers& random, DType dtype = DType::f32) : d(dim), tokens(count) {
    for (int layer = 0; layer < kLayers; ++layer) {
      keys[layer] = lifelike_rows(random, dtype, kHeads, tokens, d);
      values[layer] = lifelike_rows(random, dtype, kHeads, tokens, d);
    }
  }
  void append(KvCache& cache, SequenceId sequence, int first, int count) const {
    if (cache.device() == Device::cuda()) return append_on_device(cache, sequence, first, count);
    for (int layer = 0; layer < kLayers; ++layer) {
      cache.append(sequence, layer, keys[layer].view(first, count), values[layer].view(first, count));
    }
  }
  void append_on_device(KvCache& cache, SequenceId sequence, int first, int count) const {
    for (int layer = 0; layer < kLayers; ++layer) {
      const OnDevice<std::uint8_t> k(keys[layer].words), v(values[layer].words);
      const auto view = [&](const Rows& rows, const OnDevice<std::uint8_t>& memory) {
        TensorView some = rows.view(first, count).on(Device::cuda());
        some.data = memory.data() + static_cast<std::ptrdiff_t>(first) * d * dtype_bytes(rows.dtype);
        return some;
      };
      cache.append(sequence, layer, view(keys[layer], k), view(values[layer], v));
      cache.wait();
    }
  }
};

void expect_same_pages(const KvCache& a, SequenceId x, const KvCache& b, SequenceId y) {
  for (int layer = 0; layer < kLayers; ++layer) {
    ASSERT_EQ(a.num_tokens(x, layer), b.num_tokens(y, layer));
    for (int head = 0; head < kHeads; ++head) {
      for (std::int64_t i = 0; i < a.num_tokens(x, layer) / kTokensPerPage; ++i) {
        const KvCache::PageBytes p = a.page(x, layer, head, i), q = b.page(y, layer, head, i);
        EXPECT_EQ(std::memcmp(p.head.data(), q.head.data(), p.head.size()), 0) << "head of page " << i << " of kv head " << head;
        EXPECT_EQ(std::memcmp(p.body.data(), q.body.data(), p.body.size()), 0) << "body of page " << i << " of kv head " << head;
      }
    }
  }
}

struct Result {
  std::vector<float> out, lse;
};
Result attend_on_host(const KvCache& cache, SequenceId sequence, int layer, const Rows& queries, const Rows* chunk_keys,
                      const Rows* chunk_values) {
  Result result{std::vector<float>(queries.number.size()),
                std::vector<float>(static_cast<std::size_t>(queries.heads) * queries.tokens)};
  AttendRequest request;
  request.sequence = sequence;
  request.queries = queries.view();
  if (chunk_keys != nullptr) request.chunk_keys = chunk_keys->view(), request.chunk_values = chunk_values->view();
  request.out = OutputView::contiguous(result.out.data(), queries.heads, queries.tokens, queries.d);
  request.lse = result.lse.data();
  AttendPlan plan;
  ThreadPool threads(1);
  attend(cache, layer, std::span(&request, 1), {}, plan, threads);
  return result;
}
Result attend_on_device(const KvCache& cache, SequenceId sequence, int layer, const Rows& queries, const Rows* chunk_keys,
                        const Rows* chunk_values) {
  const OnDevice<std::uint8_t> q(queries.words), k(chunk_keys ? chunk_keys->words : queries.words),
      v(chunk_values ? chunk_values->words : queries.words);
  const OnDevice<float> out(queries.number.size()), lse(static_cast<std::size_t>(queries.heads) * queries.tokens);
  const auto view = [](const Rows& rows, const OnDevice<std::uint8_t>& memory) {
    return TensorView::contiguous(memory.data(), rows.dtype, rows.heads, rows.tokens, rows.d).on(Device::cuda());
  };
  AttendRequest request;
  request.sequence = sequence;
  request.queries = view(queries, q);
  if (chunk_keys != nullptr) request.chunk_keys = view(*chunk_keys, k), request.chunk_values = view(*chunk_values, v);
  request.out = OutputView::contiguous(out.data(), queries.heads, queries.tokens, queries.d).on(Device::cuda());
  request.lse = lse.data();
  AttendPlan attend;
  attend.make(cache, layer, std::span(&request, 1), {});
  attend.run();
  device_backend().wait(nullptr);
  return {out.host(), lse.host()};
}

double largest(const Rows& rows) {
  double most = 0.0;
  for (const double x : rows.number) most = std::max(most, std::abs(x));
  return most;
}

// Queries of 0 weigh every token alike, whatever its code: lse is ln n, so that a token too many or too few shows, and outputs are
// the mean of n values. Weights are off by less than 1 / 65280 in the kernels of whole numbers, values decode to at most twice
// their size, and sums of n terms round on both sides.
double mean_bound(const Story& story, int tokens) {
  return 2.0 * std::max(largest(story.values[0]), largest(story.values[1])) * (0x1p-15 + 4.0 * kUnit * tokens);
}
double lse_bound(int tokens) { return 8.0 * kUnit * (1.0 + std::log(tokens)); }

void expect_near(const Result& found, const Result& wanted, double bound, double lse_bound) {
  for (std::size_t i = 0; i < wanted.out.size(); ++i) ASSERT_NEAR(found.out[i], wanted.out[i], bound) << "number " << i;
  for (std::size_t i = 0; i < wanted.lse.size(); ++i) ASSERT_NEAR(found.lse[i], wanted.lse[i], lse_bound) << "lse " << i;
}

class CudaCaches : public ::testing::TestWithParam<const char*> {};

TEST_P(CudaCaches, SealAttendAndMoveLikeTheHosts) {
  constexpr int kDim = 64, kTokens = 330, kQueries = 5;
  Integers random(11);
  const CacheConfig config = cache_config(GetParam(), kDim, 12);
  const Story story(kDim, kTokens + kQueries, random);
  KvCache host(config), back(config);
  KvCache device(config, Device::cuda());
  const SequenceId on_host = host.create(), on_device = device.create();
  story.append(host, on_host, 0, kTokens);
  for (int first = 0, step = 1; first < kTokens; first += step, step = 3 * step + 50) {
    take_turns(step);
    story.append(device, on_device, first, std::min(step, kTokens - first));
  }
  const SequenceId offloaded = copy_sequence(device, on_device, back);
  expect_same_pages(host, on_host, back, offloaded);

  const Rows queries = bell_rows(random, DType::f32, kHeads * kGroup, kQueries, kDim);
  const Rows zeros = make_rows(DType::f32, kHeads * kGroup, kQueries, kDim, std::vector<double>(queries.number.size()));
  for (int layer = 0; layer < kLayers; ++layer) {
    const Rows chunk_keys = part_of(story.keys[layer], kTokens, kQueries),  // the new tokens of a step
        chunk_values = part_of(story.values[layer], kTokens, kQueries);
    const Result wanted = attend_on_host(host, on_host, layer, queries, &chunk_keys, &chunk_values);
    expect_near(attend_on_device(device, on_device, layer, zeros, &chunk_keys, &chunk_values),
                attend_on_host(host, on_host, layer, zeros, &chunk_keys, &chunk_values), mean_bound(story, kTokens + kQueries),
                lse_bound(kTokens + kQueries));
    // What the device sealed, attended on the host, has the host's bits.
    const Result moved = attend_on_host(back, offloaded, layer, queries, &chunk_keys, &chunk_values);
    EXPECT_EQ(moved.out, wanted.out);
    EXPECT_EQ(moved.lse, wanted.lse);
  }

  // And over again: uploaded, it goes on as if it had never left.
  const SequenceId again = copy_sequence(back, offloaded, device);
  story.append(device, again, kTokens, kQueries);
  story.append(device, on_device, kTokens, kQueries);
  const Result here = attend_on_device(device, on_device, 1, queries, nullptr, nullptr);
  const Result there = attend_on_device(device, again, 1, queries, nullptr, nullptr);
  EXPECT_EQ(here.out, there.out);
  EXPECT_EQ(here.lse, there.lse);
  device.drop(again);
  EXPECT_EQ(device.free_pages(), config.max_pages - 2);
}
INSTANTIATE_TEST_SUITE_P(All, CudaCaches, ::testing::Values("k2v2", "k3v2", "k4v4", "f16", "paper"));

template <typename Call>
void expect_error(ErrorKind kind, const char* part, const Call& call) {
  try {
    call();
    ADD_FAILURE() << "no error, wanted one with: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(CudaErrors, AreClear) {
  const CacheConfig config = cache_config("k3v2", 64, 12);
  Integers random(3);
  const Rows rows = bell_rows(random, DType::f32, kHeads, 4, 64);
  KvCache host(config);
  KvCache device(config, Device::cuda());
  ThreadPool threads(1);
  const SequenceId on_host = host.create(), on_device = device.create();
  expect_error(ErrorKind::invalid_argument, "[append] keys lie in the memory of CUDA device 0, wanted that of the host",
               [&] { host.append(on_host, 0, rows.view().on(Device::cuda()), rows.view(), threads); });
  expect_error(ErrorKind::invalid_argument, "[append] keys lie in the memory of the host, wanted that of CUDA device 0",
               [&] { device.append(on_device, 0, rows.view(), rows.view()); });
  expect_error(ErrorKind::unsupported, "wanted 77", [&] { KvCache(config, Device::cuda(77)); });
  CacheConfig other = config;
  other.codec.seed = 99;
  KvCache stranger(other);
  expect_error(ErrorKind::invalid_argument, "wanted the same", [&] { copy_sequence(device, on_device, stranger); });
  expect_error(ErrorKind::invalid_argument, "found no plan", [] { AttendPlan().run(); });
}

// Every code that is the host's alone, of keys and of values.
TEST(CudaErrors, CodesOfTheHost) {
  for (const Code code : codes_where([](Code each) { return !is_on_gpus(each); })) {
    for (const bool of_keys : {true, false}) {
      CacheConfig config = cache_config("k3v2", 64, 12);
      (of_keys ? config.codec.key_code : config.codec.value_code) = code;
      const std::string part = "found code " + std::string(code_name(code)) + " on ";
      expect_error(ErrorKind::unsupported, part.c_str(), [&] { KvCache(config, Device::cuda()); });
      EXPECT_NO_THROW(KvCache{config}) << part;
    }
  }
}

TEST(CudaErrors, NumbersThatDoNotFitAreToldAtTheWait) {
  KvCache device(cache_config("k3v2", 64, 12), Device::cuda());
  const SequenceId sequence = device.create();
  std::vector<float> numbers(kHeads * 64, 1.0f);
  numbers[70] = std::numeric_limits<float>::quiet_NaN();
  const OnDevice<float> rows(numbers);
  const TensorView view = TensorView::contiguous(rows.data(), DType::f32, kHeads, 1, 64).on(Device::cuda());
  device.append(sequence, 0, view, view);
  expect_error(ErrorKind::invalid_argument, "cannot hold", [&] { device.wait(); });
  device.wait();
}

// Memory of the host in a view that says otherwise: an error before a kernel reads it, and nothing has changed.
TEST(CudaErrors, AddressesAreLookedUp) {
  KvCache cache(cache_config("k3v2", 64, 12), Device::cuda());
  const SequenceId sequence = cache.create();
  Integers random(3);
  const Rows rows = bell_rows(random, DType::f32, kHeads, 4, 64);
  const OnDevice<std::uint8_t> memory(rows.words);
  const OnDevice<float> numbers(rows.number.size());
  const auto host_memory = std::make_unique_for_overwrite<float[]>(rows.number.size());
  const TensorView good = TensorView::contiguous(memory.data(), DType::f32, kHeads, 4, 64).on(Device::cuda());
  TensorView bad = good;
  bad.data = host_memory.get();
  const auto expect_host = [](const char* tensor, const auto& call) {
    expect_error(ErrorKind::invalid_argument, tensor, call);
    expect_error(ErrorKind::invalid_argument, "memory of the host, wanted that of CUDA device 0", call);
  };
  expect_host("[append] keys", [&] { cache.append(sequence, 0, bad, good); });
  expect_host("[append] values", [&] { cache.append(sequence, 0, good, bad); });
  EXPECT_EQ(cache.num_tokens(sequence, 0), 0);
  const auto plan = [&](const TensorView& queries, const TensorView& keys, const TensorView& values, float* out, float* lse) {
    const AttendRequest request{sequence, queries, keys, values, OutputView::contiguous(out, kHeads, 4, 64).on(Device::cuda()),
                                lse};
    AttendPlan().make(cache, 0, std::span(&request, 1), {});
  };
  float *out = numbers.data(), *host_out = host_memory.get();
  plan(good, good, good, out, out);
  expect_host("[attend] queries", [&] { plan(bad, good, good, out, out); });
  expect_host("[attend] chunk_keys", [&] { plan(good, bad, good, out, out); });
  expect_host("[attend] chunk_values", [&] { plan(good, good, bad, out, out); });
  expect_host("[attend] outputs", [&] { plan(good, good, good, host_out, out); });
  expect_host("[attend] lse", [&] { plan(good, good, good, out, host_out); });
}

#if !QJL_ON_HOST
// A plan once, its run captured and launched twice: the same numbers as a run by itself.
TEST(CudaGraphs, HoldARun) {
  constexpr int kDim = 128, kTokens = 400;
  Integers random(5);
  const Story story(kDim, kTokens, random);
  KvCache cache(cache_config("k3v2", kDim, 12), Device::cuda());
  const SequenceId sequence = cache.create();
  story.append(cache, sequence, 0, kTokens);
  const Rows queries = bell_rows(random, DType::f32, kHeads * kGroup, 1, kDim);
  const OnDevice<std::uint8_t> q(queries.words);
  const OnDevice<float> out(queries.number.size());
  AttendRequest request;
  request.sequence = sequence;
  request.queries = TensorView::contiguous(q.data(), DType::f32, queries.heads, 1, kDim).on(Device::cuda());
  request.out = OutputView::contiguous(out.data(), queries.heads, 1, kDim).on(Device::cuda());
  cudaStream_t stream;
  cudaGraph_t graph;
  cudaGraphExec_t launch;
  ASSERT_EQ(cudaStreamCreate(&stream), cudaSuccess);
  AttendPlan attend;
  attend.make(cache, 1, std::span(&request, 1), {}, CudaStream{stream});
  attend.run(CudaStream{stream});
  ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  const std::vector<float> wanted = out.host();
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  attend.run(CudaStream{stream});
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&launch, graph, 0), cudaSuccess);
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(cudaMemset(out.data(), 0xff, wanted.size() * sizeof(float)), cudaSuccess);
    ASSERT_EQ(cudaGraphLaunch(launch, stream), cudaSuccess);
    ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    EXPECT_EQ(out.host(), wanted);
  }
  cudaGraphExecDestroy(launch);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
}
#endif

}  // namespace
}  // namespace qjl::test
