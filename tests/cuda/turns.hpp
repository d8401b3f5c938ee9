// What a test of kernels asks of whoever runs them: the order in which the host's threads take turns (simt/), or a wait for the
// device.
#pragma once

#include "qjl/device.hpp"
#include "skipped.hpp"
#if QJL_ON_HOST
#include "simt.hpp"
#else
#include <cuda_runtime_api.h>
#endif

#include <gtest/gtest.h>

#include <iostream>
#include <iterator>

namespace qjl::test {

inline constexpr int kOrders[] = {0, 1, 2, 3, 4};  // upwards, downwards, at random, the first and the last warp ahead

#if QJL_ON_HOST
inline void take_turns(int order) { simt::set_order(static_cast<simt::Order>(order % static_cast<int>(std::size(kOrders)))); }
inline void wait_for_device() {}
#else
inline void take_turns(int) {}
inline void wait_for_device() { ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess); }
#endif

class NeedsDevice : public ::testing::Environment {
 public:
  void SetUp() override {
    const CudaDevices found = cuda_devices();
    if (found.devices.empty()) skip_program("no device: " + found.absence);
    std::cout << "device " << found.devices[0].name << "\n";
  }
};
inline ::testing::Environment* const kNeedsDevice = ::testing::AddGlobalTestEnvironment(new NeedsDevice);

}  // namespace qjl::test
