// The attend door of a cache: checks a call once, finds what its sequences hold, and watches that they do not change under a plan.
#include "attend_plan.hpp"

#include <algorithm>
#include <string>

#include "attend_checks.hpp"
#include "fail.hpp"

namespace qjl {
namespace {

const Sequence::Layer& rows_of(const KvCache::State& cache, const AttendRequest& r, int layer) {
  return cache.find(r.sequence, "attend").layers[static_cast<std::size_t>(layer)];
}

// What the queries see is kept.
void check_kept(const KvCache::State& cache, const AttendRequest& r, int layer, const AttendOptions& options) {
  if (r.queries.tokens == 0 || !cache.groups.of(layer).forgets()) return;
  const Sequence& sequence = cache.find(r.sequence, "attend");
  const std::int64_t length = rows_of(cache, r, layer).length, window = window_of(cache.config, layer, options);
  const std::int64_t position = std::max<std::int64_t>(0, r.chunk_keys.empty() ? length - r.queries.tokens : length);
  const std::int64_t first = window > 0 ? std::max<std::int64_t>(0, position - window + 1) : 0;
  cache.check_kept(sequence, layer, first, length, "attend", "a query at position " + std::to_string(position));
}

void check_stands(const AttendPlan::State& s) {
  require(s.cache != nullptr, "attend", "found no plan, wanted one made by make()");
  for (std::size_t i = 0; i < s.work.requests.size(); ++i) {
    const AttendRequest& r = s.work.requests[i];
    require(rows_of(*s.cache, r, s.work.layer.index).version == s.versions[i], "attend", "sequence ",
            static_cast<std::int64_t>(r.sequence), " has changed in layer ", s.work.layer.index,
            " since the plan was made, wanted it made anew");
  }
}

}  // namespace

AttendPlan::AttendPlan() : state_(std::make_unique<State>()) {}
AttendPlan::~AttendPlan() = default;
AttendPlan::AttendPlan(AttendPlan&&) noexcept = default;
AttendPlan& AttendPlan::operator=(AttendPlan&&) noexcept = default;

std::int64_t AttendPlan::bytes() const {
  const State& s = *state_;
  const auto tables = s.versions.capacity() * sizeof(std::int64_t) + s.held.capacity() * sizeof(HeldTokens);
  return static_cast<std::int64_t>(tables) + s.work.bytes();
}

void AttendPlan::make(const KvCache& cache, int layer, std::span<const AttendRequest> requests, const AttendOptions& options,
                      Queue queue) {
  State& s = *state_;
  const KvCache::State& c = cache.state();
  const DeviceScope scope = c.select();
  c.check_layer(layer, "attend");
  for (const AttendRequest& r : requests) c.find(r.sequence, "attend");
  check_requests(c, requests, options);
  for (const AttendRequest& r : requests) check_kept(c, r, layer, options);
  s.cache = nullptr;
  s.versions.clear();
  s.held.clear();
  for (const AttendRequest& r : requests) {
    s.versions.push_back(rows_of(c, r, layer).version);
    s.held.push_back(c.held(c.find(r.sequence, "attend"), layer));
  }
  s.work.plan(c.layer(layer), requests, s.held, options, queue);
  s.cache = &c;
}

void AttendPlan::run(Queue queue) {
  State& s = *state_;
  check_stands(s);
  const DeviceScope scope = s.cache->select();
  s.work.run(queue);
}

void attend(const KvCache& cache, int layer, std::span<const AttendRequest> requests, const AttendOptions& options,
            AttendPlan& plan, Queue queue) {
  plan.make(cache, layer, requests, options, queue);
  plan.run(queue);
}

}  // namespace qjl
