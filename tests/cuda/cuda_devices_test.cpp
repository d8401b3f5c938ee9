// A cache stays on its device, whichever one the caller has chosen, and takes nothing from another.
#include <cuda_runtime_api.h>

#include "cache_state.hpp"
#include "device_verbs.hpp"
#include "qjl/error.hpp"

namespace qjl::test {
namespace {

constexpr int kHeads = 2, kDim = 64, kOther = 1;

int chosen() {
  int device = -1;
  cudaGetDevice(&device);
  return device;
}

class Chosen {
 public:
  explicit Chosen(int device) { cudaSetDevice(device); }
  ~Chosen() { cudaSetDevice(0); }
};

TEST(CudaDevices, OfTheCallerAndOfTheCache) {
  Integers random(2);
  const Rows rows = bell_rows(random, DType::f32, kHeads, 200, kDim);
  const OnDevice<std::uint8_t> here(rows.words);
  const Chosen other(kOther);
  const OnDevice<std::uint8_t> there(rows.words);
  const auto view = [&](const void* at) {
    return TensorView::contiguous(at, DType::f32, kHeads, rows.tokens, kDim).on(Device::cuda());
  };
  const CacheConfig config = cache_config("k3v2", kDim, 4, 1);
  KvCache cache(config, Device::cuda());
  const SequenceId sequence = cache.create();
  cache.append(sequence, 0, view(here.data()), view(here.data()));
  cache.wait();
  EXPECT_EQ(device_backend().holder(cache.state().pool.body(0, 0, 0)), 0);
  EXPECT_EQ(device_backend().holder(cache.state().find(sequence, "test").layers[0].tail->keys(0, 0)), 0);
  try {
    cache.append(sequence, 0, view(here.data()), view(there.data()));
    ADD_FAILURE() << "rows of another device";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "[append] values point to memory of CUDA device 1, wanted that of CUDA device 0");
  }
  EXPECT_EQ(cache.num_tokens(sequence, 0), rows.tokens);
  EXPECT_EQ(chosen(), kOther);
}

}  // namespace
}  // namespace qjl::test
