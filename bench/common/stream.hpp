// The read bandwidth of memory, the floor of every decode step: bytes / seconds of a plain walk over a large buffer.
//
// 64-byte loads with and without a prefetch ahead; the best of all leads counts. With several threads each walks its own part.
#pragma once

#include <cstdint>
#include <vector>

#include "huge_buffer.hpp"
#include "qjl/threads.hpp"
#include "rounds.hpp"

namespace qjl::bench {

class Stream {
 public:
  explicit Stream(const HugeBuffer& buffer, std::int64_t bytes, ThreadPool& threads);
  // One variant per prefetch lead, to be timed among the others.
  std::vector<Variant> variants() const;
  std::int64_t bytes() const { return bytes_; }

 private:
  const std::byte* data_;
  std::int64_t bytes_;
  ThreadPool* threads_;
};

}  // namespace qjl::bench
