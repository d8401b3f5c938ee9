// What the figures were taken on, and where the threads stand.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>

#include "qjl/threads.hpp"

namespace qjl::bench {

using Json = nlohmann::ordered_json;

// Processor, cores, caches, memory, system, compiler, instruction set of the kernels.
Json machine_json();

std::int64_t last_level_cache_bytes();
std::int64_t available_memory_bytes();
int available_processors();

// A pool whose calling thread stands on the last processor that the process may use and whose other threads stand elsewhere. Every
// pool of a run pins the caller to the same place. Null when there are fewer processors than threads.
std::unique_ptr<ThreadPool> pinned_pool(int num_threads);

}  // namespace qjl::bench
