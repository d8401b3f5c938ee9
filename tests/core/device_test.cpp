// Tensors say whose memory they are in; a machine without a device says so.
#include <gtest/gtest.h>

#include "dl_tensor.hpp"
#include "qjl/cache.hpp"
#include "qjl/device.hpp"
#include "qjl/dlpack.hpp"
#include "qjl/error.hpp"

namespace qjl::test {
namespace {

std::string error_of(const DlTensor& tensor) {
  try {
    view_of(tensor);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Dlpack, IsAView) {
  float numbers[2 * 3 * 8];
  std::int64_t shape[] = {2, 3, 4}, strides[] = {8, 16, 1};
  DlTensor tensor{numbers, {kDlCuda, 0}, 3, {kDlFloat, 32, 1}, shape, strides, 4};
  const TensorView view = view_of(tensor);
  EXPECT_EQ(view.data, numbers + 1);
  EXPECT_EQ(view.device, Device::cuda());
  EXPECT_EQ(view.dtype, DType::f32);
  EXPECT_EQ(view.heads, 2);
  EXPECT_EQ(view.tokens, 3);
  EXPECT_EQ(view.dim, 4);
  EXPECT_EQ(view.head_stride, 8);
  EXPECT_EQ(view.token_stride, 16);
  tensor.strides = nullptr;
  tensor.dtype = {kDlBfloat, 16, 1};
  tensor.device.device_type = kDlCpu;
  EXPECT_EQ(view_of(tensor).head_stride, 12);
  EXPECT_EQ(view_of(tensor).token_stride, 4);
  EXPECT_EQ(view_of(tensor).dtype, DType::bf16);
  EXPECT_EQ(view_of(tensor).device, Device::cpu());
  EXPECT_THROW(output_of(tensor), Error);
}

TEST(Dlpack, RefusesWhatIsNoView) {
  std::int64_t shape[] = {2, 3, 4}, strides[] = {24, 8, 2};
  const DlTensor good{nullptr, {kDlCpu, 0}, 3, {kDlFloat, 32, 1}, shape, nullptr, 0};
  DlTensor bad = good;
  bad.ndim = 4;
  EXPECT_NE(error_of(bad).find("found 4 dimensions"), std::string::npos);
  bad = good;
  bad.dtype.bits = 64;
  EXPECT_NE(error_of(bad).find("64 bits"), std::string::npos);
  bad = good;
  bad.device.device_type = 10;  // ROCm
  EXPECT_NE(error_of(bad).find("device type 10"), std::string::npos);
  bad = good;
  bad.strides = strides;
  EXPECT_NE(error_of(bad).find("channels 2 apart"), std::string::npos);
  EXPECT_EQ(error_of(good), "");
}

TEST(Cuda, AbsenceIsAnErrorWithItsReason) {
  const CudaDevices found = cuda_devices();
  EXPECT_EQ(found.devices.empty(), !found.absence.empty());
  if (!found.devices.empty()) GTEST_SKIP() << "a device is here: " << found.devices[0].name;
  CacheConfig config;
  config.num_layers = config.num_kv_heads = 1;
  config.head_dim = 64;
  config.max_pages = 1;
  try {
    KvCache cache(config, Device::cuda());
    ADD_FAILURE() << "a cache without a device";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unsupported);
    EXPECT_EQ(error.what(), "[cuda] " + found.absence);
  }
}

}  // namespace
}  // namespace qjl::test
