// The C API over PagedCache.
#include <span>

#include "qjl/paged.hpp"
#include "translate.hpp"

struct qjl_paged {
  qjl::PagedCache cache;
};

namespace qjl::capi {
namespace {

PagedMemory memory(const qjl_paged_call& call, const char* operation) {
  const qjl_page_memory& p = call.pages;
  const qjl_tail_memory& t = call.tails;
  return {call.layer,
          {p.base, p.num_blocks, p.block_stride, p.head_stride, p.page_bytes, device(p.device, operation)},
          {t.base, t.num_tails, t.tail_stride, device(t.device, operation)}};
}

std::vector<PagedRequest> paged_requests(const qjl_paged_call& call, const char* operation) {
  if (call.num_requests > 0) required(call.requests, operation, "requests");
  check_count(call.num_requests, operation);
  std::vector<PagedRequest> list;
  for (std::size_t i = 0; i < call.num_requests; ++i) {
    const qjl_paged_request& r = call.requests[i];
    if (r.num_blocks > 0) required(r.block_ids, operation, "block_ids");
    PagedRequest& request = list.emplace_back();
    request.block_ids = {r.block_ids, r.num_blocks};
    request.num_tokens = r.num_tokens;
    request.tail_id = r.tail_id;
    request.keys = chunk(r.keys, operation);
    request.values = chunk(r.values, operation);
    request.queries = view(r.queries, operation);
    request.out = view(r.out, operation);
    request.lse = r.lse;
  }
  return list;
}

}  // namespace
}  // namespace qjl::capi

using namespace qjl::capi;

extern "C" {

int qjl_paged_create(const qjl_cache_options* options, qjl_paged** paged) {
  constexpr const char* kName = "qjl_paged_create";
  return guarded([&] {
    const qjl_cache_options& o = required(options, kName, "options");
    qjl_paged*& out = required(paged, kName, "paged");
    out = new qjl_paged{qjl::PagedCache(cache_config(o, kName), device(o.device, kName))};
  });
}
void qjl_paged_destroy(qjl_paged* paged) { delete paged; }

int qjl_paged_sizes(const qjl_paged* paged, int32_t layer, qjl_paged_bytes* bytes) {
  return guarded([&] {
    const qjl::PagedCache& c = required(paged, "qjl_paged_sizes", "paged").cache;
    required(bytes, "qjl_paged_sizes", "bytes") = {c.page_bytes(layer), c.sink_bytes(), c.part_bytes(layer), c.tail_bytes()};
  });
}

int qjl_paged_append(qjl_paged* paged, const qjl_paged_call* call, qjl_queue on) {
  constexpr const char* kName = "qjl_paged_append";
  return guarded([&] {
    const qjl_paged_call& made = required(call, kName, "call");
    required(paged, kName, "paged").cache.append(memory(made, kName), paged_requests(made, kName), queue(on, kName));
  });
}

int qjl_paged_attend(const qjl_paged* paged, const qjl_paged_call* call, qjl_plan* plan, qjl_queue on) {
  constexpr const char* kName = "qjl_paged_attend";
  return guarded([&] {
    const qjl_paged_call& made = required(call, kName, "call");
    const qjl::PagedCache& c = required(paged, kName, "paged").cache;
    c.attend(memory(made, kName), paged_requests(made, kName), options(made, kName), required(plan, kName, "plan").plan,
             queue(on, kName));
  });
}

int qjl_paged_step(qjl_paged* paged, const qjl_paged_call* call, qjl_plan* plan, qjl_queue on) {
  constexpr const char* kName = "qjl_paged_step";
  return guarded([&] {
    const qjl_paged_call& made = required(call, kName, "call");
    qjl::PagedCache& c = required(paged, kName, "paged").cache;
    c.step(memory(made, kName), paged_requests(made, kName), options(made, kName), required(plan, kName, "plan").plan,
           queue(on, kName));
  });
}

int qjl_paged_wait(qjl_paged* paged, qjl_queue on) {
  constexpr const char* kName = "qjl_paged_wait";
  return guarded([&] { required(paged, kName, "paged").cache.wait(queue(on, kName)); });
}

}  // extern "C"
