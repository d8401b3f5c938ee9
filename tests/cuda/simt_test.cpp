// The ground under the kernels' tests: barriers, warp operations, orders, and faults that must be seen.
#include <gtest/gtest.h>

#include <numeric>
#include <stdexcept>

#include "simt.hpp"

namespace qjl::simt {
namespace {

constexpr Order kOrders[] = {Order::ascending, Order::descending, Order::shuffled, Order::first_warp_ahead, Order::last_warp_ahead};

template <typename Kernel>
void run_kernel(unsigned blocks, unsigned threads, const Kernel& kernel) {
  run(dim3(blocks), threads, 4096, kernel);
}

TEST(Simt, BarriersPartWritesFromReads) {
  for (const Order order : kOrders) {
    set_order(order);
    int sums[3] = {};
    run_kernel(3, 200, [&] {
      int* numbers = reinterpret_cast<int*>(shared_memory());
      const unsigned me = threadIdx.x;
      for (int step = 0; step < 4; ++step) {
        numbers[me] = static_cast<int>(me) + step;
        __syncthreads();
        const int neighbour = numbers[(me + 1) % blockDim.x];
        __syncthreads();
        atomicAdd(&sums[blockIdx.x], neighbour);
      }
    });
    for (const int sum : sums) EXPECT_EQ(sum, 4 * (199 * 200 / 2) + (0 + 1 + 2 + 3) * 200);
  }
}

TEST(Simt, LanesSeeEachOther) {
  for (const Order order : kOrders) {
    set_order(order);
    int wrong = 0;
    run_kernel(2, 96, [&] {
      const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
      const int mine = 100 * warp + lane;
      wrong += __shfl_xor_sync(~0u, mine, 5) != 100 * warp + (lane ^ 5);
      wrong += __shfl_sync(~0u, mine, 7) != 100 * warp + 7;
      wrong += __shfl_sync(~0u, mine, 3, 8) != 100 * warp + lane / 8 * 8 + 3;
      wrong += __shfl_up_sync(~0u, mine, 2) != 100 * warp + (lane < 2 ? lane : lane - 2);
      wrong += __shfl_down_sync(~0u, mine, 2) != 100 * warp + (lane > 29 ? lane : lane + 2);
      wrong += __ballot_sync(~0u, lane % 3 == 0) != 0x49249249u;
      wrong += __reduce_add_sync(~0u, lane) != 31 * 32 / 2;
      if (lane < 16)
        wrong += __shfl_xor_sync(0xffffu, mine, 1) != 100 * warp + (lane ^ 1);  // a warp that has parted
      else
        wrong += __reduce_max_sync(0xffff0000u, lane) != 31;
    });
    EXPECT_EQ(wrong, 0);
  }
}

TEST(Simt, BytesAndDots) {
  EXPECT_EQ(__byte_perm(0x33221100u, 0x77665544u, 0x7520u), 0x77552200u);
  EXPECT_EQ(__byte_perm(0x80u, 0, 0x0008u), 0x808080ffu);
  EXPECT_EQ(__dp4a(static_cast<int>(0xff020304u), 0x01010101, 10), 10 - 1 + 2 + 3 + 4);
  EXPECT_EQ(__dp4a(0xff020304u, 0x01010101u, 10u), 10u + 255 + 2 + 3 + 4);
  EXPECT_EQ(__brev(1u), 0x80000000u);
}

TEST(Simt, ARaceShowsInTheOrder) {
  const auto last_writer = [](Order order) {
    set_order(order);
    unsigned last = 0;
    run_kernel(1, 64, [&] { last = threadIdx.x; });
    return last;
  };
  EXPECT_NE(last_writer(Order::ascending), last_writer(Order::descending));
}

TEST(Simt, AStuckBlockIsSeen) {
  set_order(Order::ascending);
  EXPECT_THROW(run_kernel(1, 64,
                          [] {
                            if (threadIdx.x != 5) __syncthreads();
                          }),
               std::runtime_error);
  EXPECT_THROW(run_kernel(1, 64,
                          [] {
                            if (threadIdx.x % 32 < 31) __shfl_sync(~0u, 1, 0);
                          }),
               std::runtime_error);
}

}  // namespace
}  // namespace qjl::simt
