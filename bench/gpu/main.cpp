// The GPU benchmark: one JSON line a case. Shapes: head_dim 128, 8 kv heads, one decode step of `batch` sequences.
// Usage: qjl_gpu_bench                        the machine, the first questions, and the table of shapes
//        qjl_gpu_bench machine                the machine alone; fails where there is no device
//        qjl_gpu_bench once TOKENS BATCH      one run of each kernel, for a profiler
//
//   us        median time of one attend, alone between two events, after a write of 256 MB (a cold second-level cache)
//   us_hot    the same without that write: data in the second-level cache where it fits; hot_gb_per_s is its rate
//   us_graph    launched as a CUDA graph, cold
//   share     bytes of the pages in reach / us / (bytes a second that a copy on the same device reads and writes)
//   vs_exact  time of the exact bf16 kernel of exact.cu over us, same shape, same run
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <span>

#include "gpu.hpp"
#include "qjl/attention.hpp"
#include "qjl/codec.hpp"
#include "qjl/device.hpp"

namespace qjl::bench {

constexpr int kHeads = 8, kDim = 128, kRounds = 20;
constexpr int kGroups[] = {1, 4, 8};
constexpr const char* kTypes[] = {"k2v2", "k3v2", "k4v4"};
constexpr std::size_t kFlushBytes = std::size_t{256} << 20;

double once_us(const std::function<void()>& run) {
  cudaEvent_t start, stop;
  check(cudaEventCreate(&start), "event");
  check(cudaEventCreate(&stop), "event");
  check(cudaEventRecord(start, nullptr), "event");
  run();
  check(cudaEventRecord(stop, nullptr), "event");
  check(cudaEventSynchronize(stop), "event");
  float ms = 0.0f;
  check(cudaEventElapsedTime(&ms, start, stop), "event");
  cudaEventDestroy(start);
  cudaEventDestroy(stop);
  return 1e3 * ms;
}

double median_us(int rounds, const std::function<void()>& before, const std::function<void()>& run) {
  std::vector<double> times;
  for (int i = 0; i <= rounds; ++i) {  // the first is a warm-up
    before();
    const double us = once_us(run);
    if (i > 0) times.push_back(us);
  }
  std::nth_element(times.begin(), times.begin() + rounds / 2, times.end());
  return times[static_cast<std::size_t>(rounds / 2)];
}

double copy_bytes_per_second() {
  constexpr std::size_t kBytes = std::size_t{1} << 30;
  const DeviceNumbers<char> from(kBytes), to(kBytes);
  const double us = median_us(
      10, [] {}, [&] { check(cudaMemcpyAsync(to.data(), from.data(), kBytes, cudaMemcpyDeviceToDevice, nullptr), "copy"); });
  return 2.0 * kBytes / us * 1e6;
}

namespace {

struct Shape {
  std::int64_t tokens;
  int batch;
};

// Keys, values and queries of one shape; [batch * kv_heads, tokens, d].
struct Data {
  Shape shape;
  DeviceNumbers<std::uint16_t> keys, values;
  DeviceNumbers<float> queries, out, exact_out;
  explicit Data(Shape s) : shape(s), keys(numbers(s)), values(numbers(s)), queries(rows(s)), out(rows(s)), exact_out(rows(s)) {
    fill_normal(keys.data(), static_cast<std::int64_t>(numbers(s)), 1);
    fill_normal(values.data(), static_cast<std::int64_t>(numbers(s)), 2);
    std::vector<float> q(rows(s));
    for (std::size_t i = 0; i < q.size(); ++i)
      q[i] = static_cast<float>(static_cast<int>(i * 2654435761u >> 16 & 255u) - 128) / 64.0f;
    check(cudaMemcpy(queries.data(), q.data(), q.size() * sizeof(float), cudaMemcpyHostToDevice), "queries");
  }
  static std::size_t numbers(Shape s) {
    return static_cast<std::size_t>(s.batch) * kHeads * static_cast<std::size_t>(s.tokens) * kDim;
  }
  static std::size_t rows(Shape s) { return static_cast<std::size_t>(s.batch) * kHeads * 8 * kDim; }
};

struct Flush {
  DeviceNumbers<char> memory{kFlushBytes};
  void operator()() const { check(cudaMemsetAsync(memory.data(), 1, kFlushBytes, nullptr), "flush"); }
};

double time_exact(const Data& data, int group, const Flush& flush) {
  ExactCase c{
      data.keys.data(), data.values.data(), data.queries.data(), nullptr, data.exact_out.data(), data.shape.batch, kHeads, group,
      data.shape.tokens};
  const DeviceNumbers<float> scratch(static_cast<std::size_t>(exact_scratch_floats(c)));
  c.scratch = scratch.data();
  return median_us(kRounds, std::cref(flush), [&] { attend_exact(c, nullptr); });
}

// A cache of the shape's sequences; the time of coding one of them is kept.
struct Sealed {
  KvCache cache;
  std::vector<SequenceId> sequences;
  double encode_us = 0.0;

  Sealed(const char* type, const Data& data) : cache(config(type, data.shape), Device::cuda()) {
    for (int i = 0; i < data.shape.batch; ++i) {
      sequences.push_back(cache.create());
      const std::int64_t at = std::int64_t{i} * kHeads * data.shape.tokens * kDim;
      const auto view = [&](const std::uint16_t* rows) {
        return TensorView::contiguous(rows + at, DType::bf16, kHeads, data.shape.tokens, kDim).on(Device::cuda());
      };
      const auto append = [&] { cache.append(sequences.back(), 0, view(data.keys.data()), view(data.values.data())); };
      if (i == 0)
        encode_us = once_us(append);
      else
        append();
    }
    cache.wait();
  }
  static CacheConfig config(const char* type, Shape shape) {
    CacheConfig c;
    c.num_layers = 1;
    c.num_kv_heads = kHeads;
    c.head_dim = kDim;
    c.max_pages = shape.batch * (shape.tokens / kTokensPerPage);
    c.codec = codec_config(type);
    c.tail_dtype = DType::bf16;
    return c;
  }
};

void plan(AttendPlan& attend, const Sealed& sealed, const Data& data, int group, cudaStream_t stream) {
  std::vector<AttendRequest> requests;
  for (std::size_t i = 0; i < sealed.sequences.size(); ++i) {
    const std::size_t at = i * kHeads * static_cast<std::size_t>(group) * kDim;
    AttendRequest r;
    r.sequence = sealed.sequences[i];
    r.queries = TensorView::contiguous(data.queries.data() + at, DType::f32, kHeads * group, 1, kDim).on(Device::cuda());
    r.out = OutputView::contiguous(data.out.data() + at, kHeads * group, 1, kDim).on(Device::cuda());
    requests.push_back(r);
  }
  attend.make(sealed.cache, 0, requests, {}, CudaStream{stream});
}

double time_graph(AttendPlan& attend, const Flush& flush) {
  cudaStream_t stream;
  cudaGraph_t graph;
  cudaGraphExec_t launch;
  check(cudaStreamCreate(&stream), "stream");
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), "capture");
  attend.run(CudaStream{stream});
  check(cudaStreamEndCapture(stream, &graph), "capture");
  check(cudaGraphInstantiate(&launch, graph, 0), "graph");
  const double us = median_us(kRounds, std::cref(flush), [&] { check(cudaGraphLaunch(launch, nullptr), "graph"); });
  cudaGraphExecDestroy(launch);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
  return us;
}

// Largest difference of the outputs over the largest exact output.
double difference(const Data& data, int group) {
  const std::vector<float> found = data.out.host(), wanted = data.exact_out.host();
  double most = 0.0, apart = 0.0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(data.shape.batch) * kHeads * static_cast<std::size_t>(group) * kDim; ++i) {
    most = std::max(most, std::abs(double{wanted[i]}));
    apart = std::max(apart, std::abs(double{found[i]} - wanted[i]));
  }
  return apart / most;
}

void run_shape(Shape shape, double copy, const Flush& flush) {
  const Data data(shape);
  double exact_us[3];
  for (int g = 0; g < 3; ++g) {
    exact_us[g] = time_exact(data, kGroups[g], flush);
    const double bytes = 4.0 * static_cast<double>(Data::numbers(shape));
    std::cout << Json{{"case", "attend"},       {"cache", "bf16"},
                      {"tokens", shape.tokens}, {"batch", shape.batch},
                      {"group", kGroups[g]},    {"us", exact_us[g]},
                      {"bytes", bytes},         {"share", bytes / exact_us[g] * 1e6 / copy}}
              << std::endl;
  }
  for (const char* type : kTypes) {
    const Sealed sealed(type, data);
    AttendPlan attend;
    for (int g = 0; g < 3; ++g) {
      time_exact(data, kGroups[g], flush);  // its output, to compare with
      plan(attend, sealed, data, kGroups[g], nullptr);
      const double us = median_us(kRounds, std::cref(flush), [&] { attend.run(); });
      const double hot = median_us(kRounds, [] {}, [&] { attend.run(); });
      const double bytes = sealed.cache.config().max_pages * kHeads * PageCodec(kDim, sealed.cache.config().codec).page_bytes();
      std::cout << Json{{"case", "attend"},
                        {"cache", type},
                        {"tokens", shape.tokens},
                        {"batch", shape.batch},
                        {"group", kGroups[g]},
                        {"us", us},
                        {"us_hot", hot},
                        {"hot_gb_per_s", bytes / hot * 1e-3},
                        {"bytes", bytes},
                        {"us_graph", time_graph(attend, flush)},
                        {"share", bytes / us * 1e6 / copy},
                        {"vs_exact", exact_us[g] / us},
                        {"difference", difference(data, kGroups[g])},
                        {"encode_ns_per_pair", 1e3 * sealed.encode_us / (static_cast<double>(shape.tokens) * kHeads)}}
                << std::endl;
    }
  }
}

Json machine_row(const CudaDevice& device, double copy) {
  int clock_khz = 0, l2_bytes = 0, driver = 0;
  check(cudaDeviceGetAttribute(&clock_khz, cudaDevAttrClockRate, device.index), "clock");
  check(cudaDeviceGetAttribute(&l2_bytes, cudaDevAttrL2CacheSize, device.index), "second-level cache");
  check(cudaDriverGetVersion(&driver), "driver");
  return {{"case", "machine"},
          {"device", device.name},
          {"compute_capability", std::to_string(device.major) + "." + std::to_string(device.minor)},
          {"multiprocessors", device.multiprocessors},
          {"clock_mhz", clock_khz / 1000},
          {"l2_bytes", l2_bytes},
          {"memory_bytes", device.memory_bytes},
          {"cuda_of_driver", driver},
          {"cuda_of_build", CUDART_VERSION},
          {"copy_gb_per_s", copy / 1e9}};
}

// A shape that fails leaves a row that says why, and the next one has its turn.
bool run_shapes(double copy) {
  const Flush flush;
  bool good = true;
  constexpr std::int64_t kMostTokens = std::int64_t{8} << 20;  // of all sequences together
  for (const std::int64_t tokens : {4096, 131072, 32768, 1048576}) {
    for (const int batch : {1, 8, 64}) {
      std::size_t free = 0, all = 0;
      check(cudaMemGetInfo(&free, &all), "memory");
      const auto wanted = static_cast<std::size_t>(8.0 * static_cast<double>(Data::numbers({tokens, batch})));
      if (tokens * batch > kMostTokens || wanted > free) continue;
      try {
        run_shape({tokens, batch}, copy, flush);
      } catch (const std::exception& error) {
        std::cout << Json{{"case", "failed"}, {"tokens", tokens}, {"batch", batch}, {"why", error.what()}} << std::endl;
        good = false;
      }
    }
  }
  return good;
}

void run_once(Shape shape) {
  const Data data(shape);
  for (const char* type : kTypes) {
    const Sealed sealed(type, data);
    AttendPlan attend;
    for (const int group : kGroups) {
      plan(attend, sealed, data, group, nullptr);
      attend.run();
      check(cudaDeviceSynchronize(), "attend");
    }
  }
}

bool run(std::span<char* const> words) {
  const CudaDevices found = cuda_devices();
  if (found.devices.empty()) throw std::runtime_error("no device: " + found.absence);
  const std::string verb = words.empty() ? "" : words[0];
  if (verb == "once" && words.size() == 3) {
    run_once({std::atoll(words[1]), std::atoi(words[2])});
    return true;
  }
  if (verb != "" && verb != "machine")
    throw std::runtime_error("found the word " + verb + ", wanted machine, or once TOKENS BATCH");
  const double copy = copy_bytes_per_second();
  std::cout << machine_row(found.devices[0], copy) << std::endl;
  if (verb == "machine") return true;
  std::cout << first_hour() << std::endl;
  return run_shapes(copy);
}

}  // namespace
}  // namespace qjl::bench

int main(int count, char** words) {
  try {
    return qjl::bench::run({words + 1, words + count}) ? EXIT_SUCCESS : EXIT_FAILURE;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return EXIT_FAILURE;
  }
}
