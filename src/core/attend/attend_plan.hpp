// The inside of AttendPlan: what every device's attend begins with, and what each keeps beside.
//
//   make  the requests become AttendArgs, which are cut (attend_cuts.hpp); a GPU gets both by one copy
//   run   pieces on the back end, merged
#pragma once

#include <vector>

#include "attend_chunk.hpp"
#include "attend_cuts.hpp"
#include "buffer.hpp"
#include "cache_state.hpp"
#include "qjl/attention.hpp"

namespace qjl {

struct HostAttend {
  Buffer chunks, workers, partials;
  ChunkWork apart;
  std::vector<AttendRequest> requests;  // of a call with chunks apart: with an lse where one is needed
  std::vector<float> lse;
  std::int64_t bytes() const;
};

struct DeviceAttend {
  std::vector<AttendPiece> pieces;
  std::vector<CombineBlock> blocks;
  std::vector<CopyRowsArgs> chunk_copies;
  std::vector<std::uint8_t> records;  // as they are copied
  DeviceMemory record_memory, chunk_memory, result_memory;
  AttendBatch batch{};
  CombineBatch combine{};
  std::int64_t bytes() const;
};

struct AttendPlan::State {
  const KvCache::State* cache = nullptr;  // null: there is no plan
  int layer = 0;
  AttendOptions options;
  std::vector<AttendRequest> requests;
  std::vector<std::int64_t> versions;  // of the requests' sequences in the layer
  std::vector<AttendArgs> args;        // [requests]
  std::vector<std::int32_t> page_tables;
  std::vector<CutRequest> cut_requests;
  AttendCuts cuts;
  HostAttend host;
  DeviceAttend device;

  const CacheConfig& config() const { return cache->config; }
  const Sequence::Layer& layer_of(const AttendRequest& r) const {
    return cache->find(r.sequence, "attend").layers[static_cast<std::size_t>(layer)];
  }
  // Takes the requests and makes their args, but for chunks.
  void take(std::span<const AttendRequest> list);
};

// Of one request, but for the place of its page table and its chunk.
AttendArgs request_args(const AttendPlan::State& plan, const AttendRequest& request);
void add_rows(AttendArgs& args, const ExactRows& rows);

// The rest of make, and run. On the host of requests whose numbers are looked at by run.
void plan_on_host(AttendPlan::State& plan, int num_threads);
void run_on_host(AttendPlan::State& plan, ThreadPool& threads);
void plan_on_device(AttendPlan::State& plan, DeviceStream stream);
void run_on_device(const AttendPlan::State& plan, DeviceStream stream);

}  // namespace qjl
