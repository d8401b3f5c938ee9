// What every attend does, whoever holds the pages: writes down the arguments of a call, has them cut and run.
#include <cmath>

#include "attend_checks.hpp"
#include "attend_plan.hpp"
#include "queue.hpp"

namespace qjl {

void add_rows(AttendArgs& args, const ExactRows& rows) {
  if (rows.count > 0) args.exact[args.num_exact++] = rows;
}

AttendArgs request_args(const AttendWork& work, const AttendRequest& r, const HeldTokens& held) {
  const CacheConfig& config = work.config();
  const std::int64_t sealed = std::ssize(held.pages);
  AttendArgs args{};
  args.tables = &work.layer.tables();
  args.row_dtype = config.tail_dtype;
  args.queries = r.queries.data;
  args.query_dtype = r.queries.dtype;
  args.query_head_stride = r.queries.head_stride;
  args.query_token_stride = r.queries.token_stride;
  args.num_query_heads = static_cast<int>(r.queries.heads);
  args.num_kv_heads = config.num_kv_heads;
  args.num_queries = r.queries.tokens;
  args.first_query_position = r.chunk_keys.empty() ? held.length - r.queries.tokens : held.length;
  args.pages = work.layer.pages.sealed(held.pages);
  if (sealed > 0 && !held.sinks.empty()) add_rows(args, held.sinks.exact(0, config.codec.sink_tokens));
  if (!held.tail.empty()) add_rows(args, held.tail.exact(sealed * layout::kPageTokens, held.length % layout::kPageTokens));
  const float scale = work.options.softmax_scale;
  args.softmax_scale = scale != 0.0f ? scale : 1.0f / std::sqrt(static_cast<float>(config.head_dim));
  args.logit_soft_cap = work.options.logit_soft_cap;
  args.sliding_window = window_of(config, work.layer.index, work.options);
  return args;
}

// Page tables are copied, since a sequence's own moves when it grows in another layer.
void AttendWork::plan(const CacheLayer& of, std::span<const AttendRequest> list, std::span<const HeldTokens> held,
                      const AttendOptions& how, const Queue& queue) {
  layer = of;
  options = how;
  requests.assign(list.begin(), list.end());
  args.clear();
  page_tables.clear();
  cut_requests.clear();
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const AttendArgs& a = args.emplace_back(request_args(*this, requests[i], held[i]));
    page_tables.insert(page_tables.end(), a.pages.page_table, a.pages.page_table + a.pages.count);
    cut_requests.push_back({a.num_queries, a.first_query_position, a.num_kv_heads, a.num_query_heads / a.num_kv_heads});
  }
  const std::int32_t* table = page_tables.data();
  for (AttendArgs& a : args) {
    a.pages.page_table = table;
    table += a.pages.count;
  }
  layer.all->gpu ? plan_on_device(*this, stream_of(queue, layer.all->device, "attend"))
                 : plan_on_host(*this, threads_of(queue, "attend").num_threads());
}

void AttendWork::run(const Queue& queue) {
  layer.all->gpu ? run_on_device(*this, stream_of(queue, layer.all->device, "attend"))
                 : run_on_host(*this, threads_of(queue, "attend"));
}

std::int64_t AttendWork::bytes() const {
  const auto tables = requests.capacity() * sizeof(AttendRequest) + args.capacity() * sizeof(AttendArgs) +
                      page_tables.capacity() * sizeof(std::int32_t) + cut_requests.capacity() * sizeof(CutRequest);
  return static_cast<std::int64_t>(tables) + cuts.bytes() + host.bytes() + device.bytes();
}

}  // namespace qjl
