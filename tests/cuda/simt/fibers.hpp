// A block of GPU threads on one host thread: every thread is a fiber with a stack of its own. A fiber runs until it waits for
// others.
//
//   wait(counter, seen)   gives way until *counter differs from `seen`
//
// Fibers take turns in an order that the test chooses: a kernel whose result depends on it has a race. When every fiber waits and
// none can go on, the block is stuck (a barrier that some threads never reach), and run_block throws.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace qjl::simt {

// By threads, each as far as it goes; or by warps, so that the first or the last one runs ahead of all others to the next barrier.
enum class Order : std::uint8_t { ascending, descending, shuffled, first_warp_ahead, last_warp_ahead };
void set_order(Order order);

// Runs `body` once for each of `count` threads, to the end of all of them.
void run_block(unsigned count, const std::function<void(unsigned thread)>& body);

// Only inside a body.
unsigned current_thread();
void wait(const std::uint64_t* counter, std::uint64_t seen, const char* what);

// Called before a thread goes on.
void on_resume(unsigned thread);

}  // namespace qjl::simt
