// The attend door on every device: checks a call once, writes down its arguments, has them cut and run.
#include "attend_plan.hpp"

#include <cmath>

#include "attend_checks.hpp"
#include "fail.hpp"
#include "queue.hpp"

namespace qjl {

void add_rows(AttendArgs& args, const ExactRows& rows) {
  if (rows.count > 0) args.exact[args.num_exact++] = rows;
}

AttendArgs request_args(const AttendPlan::State& plan, const AttendRequest& r) {
  const KvCache::State& cache = *plan.cache;
  const CacheConfig& config = cache.config;
  const Sequence& sequence = cache.find(r.sequence, "attend");
  const Sequence::Layer& layer = sequence.layers[static_cast<std::size_t>(plan.layer)];
  const std::int64_t sealed = layer.length / layout::kPageTokens;
  AttendArgs args{};
  args.tables = &cache.tables(plan.layer);
  args.row_dtype = config.tail_dtype;
  args.queries = r.queries.data;
  args.query_dtype = r.queries.dtype;
  args.query_head_stride = r.queries.head_stride;
  args.query_token_stride = r.queries.token_stride;
  args.num_query_heads = static_cast<int>(r.queries.heads);
  args.num_kv_heads = config.num_kv_heads;
  args.num_queries = r.queries.tokens;
  args.first_query_position = r.chunk_keys.empty() ? layer.length - r.queries.tokens : layer.length;
  args.pages = cache.pool.sealed(plan.layer, std::span(sequence.pages).first(static_cast<std::size_t>(sealed)));
  const auto add = [&](const RowBlock& block, std::int64_t first_position, std::int64_t count) {
    add_rows(args, {block.keys(0, 0), block.values(0, 0), block.head_stride(), config.head_dim, first_position, count});
  };
  if (sealed > 0 && layer.sinks) add(*layer.sinks, 0, config.codec.sink_tokens);
  if (layer.tail) add(*layer.tail, sealed * layout::kPageTokens, layer.length % layout::kPageTokens);
  const float scale = plan.options.softmax_scale;
  args.softmax_scale = scale != 0.0f ? scale : 1.0f / std::sqrt(static_cast<float>(config.head_dim));
  args.logit_soft_cap = plan.options.logit_soft_cap;
  args.sliding_window = window_of(config, plan.layer, plan.options);
  return args;
}

// Page tables are copied, since a sequence's own moves when it grows in another layer.
void AttendPlan::State::take(std::span<const AttendRequest> list) {
  requests.assign(list.begin(), list.end());
  versions.clear();
  args.clear();
  page_tables.clear();
  cut_requests.clear();
  for (const AttendRequest& r : requests) {
    versions.push_back(layer_of(r).version);
    const AttendArgs& a = args.emplace_back(request_args(*this, r));
    page_tables.insert(page_tables.end(), a.pages.page_table, a.pages.page_table + a.pages.count);
    cut_requests.push_back({a.num_queries, a.first_query_position, a.num_kv_heads, a.num_query_heads / a.num_kv_heads});
  }
  const std::int32_t* table = page_tables.data();
  for (AttendArgs& a : args) {
    a.pages.page_table = table;
    table += a.pages.count;
  }
}

namespace {

void check_all(const KvCache::State& cache, int layer, std::span<const AttendRequest> requests, const AttendOptions& options) {
  cache.check_layer(layer, "attend");
  check_options(options);
  for (const AttendRequest& r : requests) {
    cache.find(r.sequence, "attend");
    check_request(cache.config, r, cache.device);
  }
  for (const AttendRequest& r : requests) {
    cache.check_memory(r.queries.data, {"attend", "queries"});
    cache.check_memory(r.out.data, {"attend", "outputs"});
    cache.check_memory(r.lse, {"attend", "lse"});
    if (r.chunk_keys.empty()) continue;
    cache.check_memory(r.chunk_keys.data, {"attend", "chunk_keys"});
    cache.check_memory(r.chunk_values.data, {"attend", "chunk_values"});
  }
}

void check_stands(const AttendPlan::State& s) {
  require(s.cache != nullptr, "attend", "found no plan, wanted one made by make()");
  for (std::size_t i = 0; i < s.requests.size(); ++i) {
    require(s.layer_of(s.requests[i]).version == s.versions[i], "attend", "sequence ",
            static_cast<std::int64_t>(s.requests[i].sequence), " has changed in layer ", s.layer,
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
  const auto tables = s.requests.capacity() * sizeof(AttendRequest) + s.versions.capacity() * sizeof(std::int64_t) +
                      s.args.capacity() * sizeof(AttendArgs) + s.page_tables.capacity() * sizeof(std::int32_t) +
                      s.cut_requests.capacity() * sizeof(CutRequest);
  return static_cast<std::int64_t>(tables) + s.cuts.bytes() + s.host.bytes() + s.device.bytes();
}

void AttendPlan::make(const KvCache& cache, int layer, std::span<const AttendRequest> requests, const AttendOptions& options,
                      Queue queue) {
  State& s = *state_;
  const KvCache::State& c = cache.state();
  const DeviceScope scope = c.select();
  check_all(c, layer, requests, options);
  s.cache = &c;
  s.layer = layer;
  s.options = options;
  try {
    s.take(requests);
    c.gpu ? plan_on_device(s, stream_of(queue, c.device, "attend")) : plan_on_host(s, threads_of(queue, "attend").num_threads());
  } catch (...) {
    s.cache = nullptr;
    throw;
  }
}

void AttendPlan::run(Queue queue) {
  State& s = *state_;
  check_stands(s);
  const DeviceScope scope = s.cache->select();
  s.cache->gpu ? run_on_device(s, stream_of(queue, s.cache->device, "attend")) : run_on_host(s, threads_of(queue, "attend"));
}

void attend(const KvCache& cache, int layer, std::span<const AttendRequest> requests, const AttendOptions& options,
            AttendPlan& plan, Queue queue) {
  plan.make(cache, layer, requests, options, queue);
  plan.run(queue);
}

}  // namespace qjl
