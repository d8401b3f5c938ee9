// The inside of AttendPlan: what every device's attend begins with, and what each keeps beside.
//
//   plan  the requests become AttendArgs, which are cut (attend_cuts.hpp); a GPU gets both by one copy
//   run   pieces on the back end, merged
#pragma once

#include <span>
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

// One call: its requests as the verbs take them, their cuts, and the memory that both are kept in.
struct AttendWork {
  CacheLayer layer;
  AttendOptions options;
  std::vector<AttendRequest> requests;
  std::vector<AttendArgs> args;  // [requests]
  std::vector<std::int32_t> page_tables;
  std::vector<CutRequest> cut_requests;
  AttendCuts cuts;
  HostAttend host;
  DeviceAttend device;

  const CacheConfig& config() const { return layer.config(); }
  const Backend& backend() const { return layer.backend(); }
  // Plans checked requests of sequences that hold those tokens in that layer; runs the plan. The layer's device is selected.
  void plan(const CacheLayer& of, std::span<const AttendRequest> list, std::span<const HeldTokens> held, const AttendOptions& how,
            const Queue& queue);
  void run(const Queue& queue);
  std::int64_t bytes() const;
};

// Of a cache with a pool. PagedCache has the work alone.
struct AttendPlan::State {
  const KvCache::State* cache = nullptr;  // null: there is no plan
  std::vector<std::int64_t> versions;     // of the requests' sequences in the layer
  std::vector<HeldTokens> held;           // [requests]
  AttendWork work;
};

// Of one request, but for the place of its page table and its chunk.
AttendArgs request_args(const AttendWork& work, const AttendRequest& request, const HeldTokens& held);
void add_rows(AttendArgs& args, const ExactRows& rows);

// The rest of a plan, and its run. On the host of requests whose numbers are looked at by the run.
void plan_on_host(AttendWork& work, int num_threads);
void run_on_host(AttendWork& work, ThreadPool& threads);
void plan_on_device(AttendWork& work, DeviceStream stream);
void run_on_device(const AttendWork& work, DeviceStream stream);

}  // namespace qjl
