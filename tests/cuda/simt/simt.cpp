// Blocks, barriers and what the lanes of a warp show each other.
#include "simt.hpp"

#include <map>
#include <stdexcept>
#include <vector>

namespace qjl::simt {
namespace {

// Two sides: a lane that is fast may bring its next number while slow ones still read the last.
struct Meeting {
  std::uint64_t round = 0;
  unsigned arrived = 0;
  std::uint8_t bytes[2][kWarp][kMaxExchange];
};

struct {
  std::vector<std::uint8_t> shared;
  unsigned threads = 0;
  std::uint64_t barrier_round = 0;
  unsigned at_barrier = 0;
  std::map<std::pair<unsigned, unsigned>, Meeting> meetings;  // by warp and mask
} running;

}  // namespace

void on_resume(unsigned thread) { threadIdx = dim3(thread, 0, 0); }

unsigned char* shared_memory() {
  const auto at = reinterpret_cast<std::uintptr_t>(running.shared.data());
  return reinterpret_cast<unsigned char*>((at + 127) / 128 * 128);
}

void run(dim3 grid, unsigned threads, std::size_t shared_bytes, const std::function<void()>& kernel) {
  constexpr std::size_t kMostShared = 227 << 10;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535) throw std::runtime_error("an impossible grid");
  if (shared_bytes > kMostShared) throw std::runtime_error("more shared memory than any GPU has");
  const std::function<void(unsigned)> body = [&kernel](unsigned) { kernel(); };
  gridDim = grid;
  blockDim = dim3(threads);
  running.threads = threads;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = dim3(x, y, z);
        running.shared.assign(shared_bytes + 128, 0xcd);  // what nobody wrote is noise
        running.meetings.clear();
        running.at_barrier = 0;
        run_block(threads, body);
      }
    }
  }
}

void barrier() {
  if (++running.at_barrier == running.threads) {
    running.at_barrier = 0;
    ++running.barrier_round;
    return;
  }
  wait(&running.barrier_round, running.barrier_round, "__syncthreads");
}

const std::uint8_t* exchange_bytes(unsigned mask, const void* mine, std::size_t bytes, const char* what) {
  const unsigned warp = current_thread() / kWarp, lane = current_thread() % kWarp;
  if ((mask >> lane & 1) == 0) throw std::runtime_error(std::string(what) + " whose mask leaves out the calling lane");
  Meeting& meeting = running.meetings[{warp, mask}];
  std::uint8_t(&side)[kWarp][kMaxExchange] = meeting.bytes[meeting.round % 2];
  std::memcpy(side[lane], mine, bytes);
  if (++meeting.arrived == static_cast<unsigned>(std::popcount(mask))) {
    meeting.arrived = 0;
    ++meeting.round;
  } else {
    wait(&meeting.round, meeting.round, what);
  }
  return side[0];
}

}  // namespace qjl::simt
