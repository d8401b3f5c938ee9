// attend_checks.hpp says what is refused; the texts name what was found and wanted.
#include "attend_checks.hpp"

#include <cmath>

#include "fail.hpp"
#include "rows.hpp"

namespace qjl {

std::int64_t window_of(const CacheConfig& config, int layer, const AttendOptions& options) {
  std::int64_t window = options.sliding_window;
  if (window == 0 && !config.layer_windows.empty()) window = config.layer_windows[static_cast<std::size_t>(layer)];
  return window < kNoWindow ? window : 0;
}

namespace {

void check_options(const AttendOptions& options) {
  require(std::isfinite(options.softmax_scale), "attend", "softmax_scale is ", options.softmax_scale, ", wanted a finite number");
  require(std::isfinite(options.logit_soft_cap) && options.logit_soft_cap >= 0, "attend", "logit_soft_cap is ",
          options.logit_soft_cap, ", wanted a finite number, 0 or more");
  require(options.sliding_window >= 0, "attend", "sliding_window is ", options.sliding_window, ", wanted 0 or more");
}

void check_request(const CacheConfig& config, const AttendRequest& r, Device where) {
  const TensorView& q = r.queries;
  require(q.heads > 0 && q.heads % config.num_kv_heads == 0, "attend", "queries have ", q.heads,
          " heads, wanted a multiple of the ", config.num_kv_heads, " kv heads");
  check_shape(q, q.heads, config.head_dim, {"attend", "queries"}, where);
  check_device(r.out.device, where, {"attend", "outputs"});
  require(r.out.heads == q.heads && r.out.tokens == q.tokens && r.out.dim == q.dim, "attend", "out is [", r.out.heads, " heads, ",
          r.out.tokens, " tokens, ", r.out.dim, " channels], wanted [", q.heads, ", ", q.tokens, ", ", q.dim, "] as the queries");
  check_extent(r.out.heads, r.out.tokens, r.out.head_stride, r.out.token_stride, {"attend", "outputs"});
  check_disjoint(r.out, {"attend", "outputs"});
  require(r.out.data != nullptr || q.tokens == 0, "attend", "out has a null address, wanted memory of ", q.tokens, " tokens");
  require(r.chunk_keys.empty() == r.chunk_values.empty(), "attend", "chunk_keys have ", r.chunk_keys.tokens,
          " tokens, chunk_values ", r.chunk_values.tokens, ", wanted both or none");
  if (r.chunk_keys.empty()) return;
  for (const TensorView* chunk : {&r.chunk_keys, &r.chunk_values}) {
    const RowsName name{"attend", chunk == &r.chunk_keys ? "chunk_keys" : "chunk_values"};
    check_shape(*chunk, config.num_kv_heads, config.head_dim, name, where);
    require(chunk->tokens == q.tokens, "attend", name.tensor, " have ", chunk->tokens, " tokens, wanted ", q.tokens,
            " as the queries");
  }
}

}  // namespace

void check_requests(const CacheLayers& cache, std::span<const AttendRequest> requests, const AttendOptions& options) {
  check_options(options);
  for (const AttendRequest& r : requests) check_request(cache.config, r, cache.device);
  for (const AttendRequest& r : requests) {
    cache.check_memory(r.queries.data, {"attend", "queries"});
    cache.check_memory(r.out.data, {"attend", "outputs"});
    cache.check_memory(r.lse, {"attend", "lse"});
    if (r.chunk_keys.empty()) continue;
    cache.check_memory(r.chunk_keys.data, {"attend", "chunk_keys"});
    cache.check_memory(r.chunk_values.data, {"attend", "chunk_values"});
  }
}

}  // namespace qjl
