// Queues: which kind is wanted, and what stands for none.
#include "queue.hpp"

#include "fail.hpp"

namespace qjl {

namespace {

void check_threads(const Queue& queue, std::string_view operation) {
  require(queue.stream() == nullptr, operation, "found a CUDA stream, wanted threads: the cache is one of the host");
}

}  // namespace

ThreadPool& threads_of(const Queue& queue, std::string_view operation) {
  check_threads(queue, operation);
  thread_local ThreadPool alone(1);
  return queue.threads() != nullptr ? *queue.threads() : alone;
}

DeviceStream stream_of(const Queue& queue, Device device, std::string_view operation) {
  if (device == Device::cpu()) {
    check_threads(queue, operation);
    return nullptr;
  }
  require(queue.threads() == nullptr, operation, "found threads of the host, wanted a stream of ", device_name(device));
  return queue.stream() != nullptr ? queue.stream()->handle : nullptr;
}

}  // namespace qjl
