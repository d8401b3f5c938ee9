// The doors of PagedCache: everything is checked, then pages are sealed, requests attend, and last the open rows are written.
#include "qjl/paged.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "attend_checks.hpp"
#include "attend_plan.hpp"
#include "fail.hpp"
#include "paged_state.hpp"
#include "queue.hpp"

namespace qjl {
namespace {

// New rows of a call, those of requests that have some. First pages come before later ones: a sketch takes the channels of a page
// from the first, which another request of the call may be about to seal.
std::vector<AppendRows> new_rows(const PagedLayer& memory, std::span<const PagedRequest> requests) {
  std::vector<AppendRows> rows;
  for (const bool starts : {true, false}) {
    for (const PagedRequest& r : requests) {
      if (r.keys.tokens > 0 && (r.num_tokens < layout::kPageTokens) == starts) rows.push_back(memory.rows(r));
    }
  }
  return rows;
}

void seal(const PagedCache::State& s, const PagedLayer& memory, std::span<const AppendRows> rows, const Queue& queue,
          std::string_view operation) {
  if (s.gpu) {
    for (const AppendRows& each : rows) seal_on_device(each, stream_of(queue, s.device, operation));
    return;
  }
  ThreadPool& threads = threads_of(queue, operation);
  for (const AppendRows& each : rows) {
    if (!open_rows_fit(each)) check_rows(each, threads);
  }
  for (const AppendRows& each : rows) {
    memory.check_channels(each);
    seal_on_host(each, threads);
  }
}

// Cannot fail on the host.
void keep_open(const PagedCache::State& s, const PagedLayer& memory, std::span<const PagedRequest> requests, const Queue& queue,
               std::string_view operation) {
  for (const PagedRequest& r : requests) {
    if (r.keys.tokens == 0 || (r.num_tokens + r.keys.tokens) % layout::kPageTokens == 0) continue;
    const AppendRows rows = memory.rows(r);
    s.gpu ? keep_open_on_device(rows, memory.tail(r), stream_of(queue, s.device, operation))
          : keep_open_on_host(rows, memory.tail(r));
  }
}

std::vector<AttendRequest> attend_requests(std::span<const PagedRequest> requests) {
  std::vector<AttendRequest> list;
  for (const PagedRequest& r : requests) {
    list.push_back({.queries = r.queries, .chunk_keys = r.keys, .chunk_values = r.values, .out = r.out, .lse = r.lse});
  }
  return list;
}

void check_attend(const PagedCache::State& s, const PagedLayer& memory, std::span<const PagedRequest> requests,
                  const AttendOptions& options) {
  check_requests(s, attend_requests(requests), options);
  for (const PagedRequest& r : requests) {
    memory.full_pages(r, 0);
    memory.check_tail(r, 0);
  }
}

void run_attend(const PagedCache::State& s, const PagedLayer& memory, std::span<const PagedRequest> requests,
                const AttendOptions& options, AttendPlan& plan, const Queue& queue) {
  AttendPlan::State& state = plan.state();
  state.cache = nullptr;  // what it planned before no longer stands
  state.held.clear();
  for (const PagedRequest& r : requests) state.held.push_back(memory.held(r));
  if (!s.gpu) memory.check_pages(requests, threads_of(queue, "attend"));
  state.work.plan(memory.layer(), attend_requests(requests), state.held, options, queue);
  state.work.run(queue);
}

}  // namespace

PagedCache::PagedCache(CacheConfig config, Device device) : state_(std::make_unique<State>(std::move(config), device)) {
  require(this->config().layer_retention.empty(), "cache", "found layer_retention, wanted none: the caller has the pages");
  require(this->config().recurrent_numbers == 0, "cache", "found recurrent_numbers, wanted 0: the caller has the states");
}
PagedCache::~PagedCache() = default;

const CacheConfig& PagedCache::config() const { return state_->config; }
Device PagedCache::device() const { return state_->device; }

std::int64_t PagedCache::page_bytes(int layer) const {
  state_->check_layer(layer, "page_bytes");
  return state_->page_bytes(layer);
}
std::int64_t PagedCache::sink_bytes() const { return state_->sink_bytes(); }
std::int64_t PagedCache::part_bytes(int layer) const { return page_bytes(layer) + sink_bytes(); }
std::int64_t PagedCache::tail_bytes() const { return state_->tail_bytes(); }

void PagedCache::append(const PagedMemory& where, std::span<const PagedRequest> requests, Queue queue) {
  const State& s = *state_;
  const DeviceScope scope = s.select();
  const PagedLayer memory(s, where, "append");
  check_appends(s, memory, requests, "append");
  seal(s, memory, new_rows(memory, requests), queue, "append");
  keep_open(s, memory, requests, queue, "append");
}

void PagedCache::attend(const PagedMemory& where, std::span<const PagedRequest> requests, const AttendOptions& options,
                        AttendPlan& plan, Queue queue) const {
  const State& s = *state_;
  const DeviceScope scope = s.select();
  const PagedLayer memory(s, where, "attend");
  check_attend(s, memory, requests, options);
  run_attend(s, memory, requests, options, plan, queue);
}

void PagedCache::step(const PagedMemory& where, std::span<const PagedRequest> requests, const AttendOptions& options,
                      AttendPlan& plan, Queue queue) {
  const State& s = *state_;
  const DeviceScope scope = s.select();
  const PagedLayer memory(s, where, "step");
  check_appends(s, memory, requests, "step");
  for (const PagedRequest& r : requests) {
    require(r.keys.tokens == r.queries.tokens, "step", "keys have ", r.keys.tokens, " tokens, wanted ", r.queries.tokens,
            " as the queries");
  }
  check_attend(s, memory, requests, options);
  seal(s, memory, new_rows(memory, requests), queue, "step");
  run_attend(s, memory, requests, options, plan, queue);
  keep_open(s, memory, requests, queue, "step");
}

void PagedCache::wait(Queue queue) { state_->wait(queue); }

std::int64_t PagedCache::bytes() const { return state_->table_bytes() + (state_->gpu ? state_->gpu->scratch_bytes() : 0); }

}  // namespace qjl
