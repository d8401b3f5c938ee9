// The C API over the doors: translates structs, turns exceptions into a status and a text per thread.
#include "qjl/moves.hpp"
#include "qjl/simd.hpp"
#include "translate.hpp"

using namespace qjl::capi;

extern "C" {

const char* qjl_last_error(void) { return last_error; }

const char* qjl_version(void) { return QJL_VERSION; }

const char* qjl_simd_target(void) {
  const char* name = nullptr;
  guarded([&] { name = qjl::simd_target_name(qjl::simd_target()).data(); });  // names are literals, so they end in a zero
  return name;
}

int qjl_threads_create(int num_threads, qjl_threads** threads) {
  return guarded([&] {
    qjl_threads*& out = required(threads, "qjl_threads_create", "threads");  // checked first: nothing to give back on an error
    out = new qjl_threads{qjl::ThreadPool(num_threads)};
  });
}
void qjl_threads_destroy(qjl_threads* threads) { delete threads; }

int qjl_plan_create(qjl_plan** plan) {
  return guarded([&] {
    qjl_plan*& out = required(plan, "qjl_plan_create", "plan");
    out = new qjl_plan{};
  });
}
void qjl_plan_destroy(qjl_plan* plan) { delete plan; }

int qjl_cache_create(const qjl_cache_options* options, qjl_cache** cache) {
  return guarded([&] {
    const qjl_cache_options& o = required(options, "qjl_cache_create", "options");
    qjl_cache*& out = required(cache, "qjl_cache_create", "cache");
    out = new qjl_cache{qjl::KvCache(cache_config(o, "qjl_cache_create"), device(o.device, "qjl_cache_create"))};
  });
}
void qjl_cache_destroy(qjl_cache* cache) { delete cache; }

int qjl_sequence_create(qjl_cache* cache, qjl_sequence* sequence) {
  return guarded([&] {
    qjl_sequence& out = required(sequence, "qjl_sequence_create", "sequence");
    out = static_cast<qjl_sequence>(required(cache, "qjl_sequence_create", "cache").cache.create());
  });
}

int qjl_sequence_fork(qjl_cache* cache, qjl_sequence sequence, qjl_queue on, qjl_sequence* fork) {
  constexpr const char* kName = "qjl_sequence_fork";
  return guarded([&] {
    qjl_sequence& out = required(fork, kName, "fork");
    out = static_cast<qjl_sequence>(required(cache, kName, "cache").cache.fork(id(sequence), queue(on, kName)));
  });
}

int qjl_sequence_truncate(qjl_cache* cache, qjl_sequence sequence, int64_t num_tokens, qjl_queue on) {
  constexpr const char* kName = "qjl_sequence_truncate";
  return guarded([&] { required(cache, kName, "cache").cache.truncate(id(sequence), num_tokens, queue(on, kName)); });
}

int qjl_sequence_copy(const qjl_cache* from, qjl_sequence sequence, qjl_cache* to, qjl_queue on, qjl_sequence* copy) {
  constexpr const char* kName = "qjl_sequence_copy";
  return guarded([&] {
    qjl_sequence& out = required(copy, kName, "copy");
    const qjl::KvCache& source = required(from, kName, "from").cache;
    out = static_cast<qjl_sequence>(copy_sequence(source, id(sequence), required(to, kName, "to").cache, queue(on, kName)));
  });
}

int qjl_sequence_can_truncate(const qjl_cache* cache, qjl_sequence sequence, int64_t num_tokens, int32_t* can) {
  return guarded([&] {
    int32_t& out = required(can, "qjl_sequence_can_truncate", "can");
    out = required(cache, "qjl_sequence_can_truncate", "cache").cache.can_truncate(id(sequence), num_tokens) ? 1 : 0;
  });
}

int qjl_sequence_first_kept(const qjl_cache* cache, qjl_sequence sequence, int32_t layer, int64_t* token) {
  return guarded([&] {
    int64_t& out = required(token, "qjl_sequence_first_kept", "token");
    out = required(cache, "qjl_sequence_first_kept", "cache").cache.first_kept(id(sequence), layer);
  });
}

int qjl_sequence_drop(qjl_cache* cache, qjl_sequence sequence) {
  return guarded([&] { required(cache, "qjl_sequence_drop", "cache").cache.drop(id(sequence)); });
}

int qjl_sequence_reserve(qjl_cache* cache, qjl_sequence sequence, int64_t num_tokens) {
  return guarded([&] { required(cache, "qjl_sequence_reserve", "cache").cache.reserve(id(sequence), num_tokens); });
}

int qjl_sequence_num_tokens(const qjl_cache* cache, qjl_sequence sequence, int32_t layer, int64_t* num_tokens) {
  return guarded([&] {
    const qjl::KvCache& c = required(cache, "qjl_sequence_num_tokens", "cache").cache;
    int64_t& out = required(num_tokens, "qjl_sequence_num_tokens", "num_tokens");
    out = layer == -1 ? c.num_tokens(id(sequence)) : c.num_tokens(id(sequence), layer);
  });
}

int qjl_append(qjl_cache* cache, qjl_sequence sequence, int32_t layer, const qjl_tensor* keys, const qjl_tensor* values,
               qjl_queue on) {
  constexpr const char* kName = "qjl_append";
  return guarded([&] {
    const qjl_tensor &k = required(keys, kName, "keys"), &v = required(values, kName, "values");
    qjl::KvCache& c = required(cache, kName, "cache").cache;
    c.append(id(sequence), layer, view(k, kName), view(v, kName), queue(on, kName));
  });
}

int qjl_cache_wait(qjl_cache* cache, qjl_queue on) {
  constexpr const char* kName = "qjl_cache_wait";
  return guarded([&] { required(cache, kName, "cache").cache.wait(queue(on, kName)); });
}

int qjl_attend_plan(const qjl_cache* cache, const qjl_attend_call* call, qjl_plan* plan, qjl_queue on) {
  constexpr const char* kName = "qjl_attend_plan";
  return guarded([&] {
    const qjl::KvCache& c = required(cache, kName, "cache").cache;
    const qjl_attend_call& made = required(call, kName, "call");
    required(plan, kName, "plan").plan.make(c, made.layer, requests(made, kName), options(made, "qjl_attend"), queue(on, kName));
  });
}

int qjl_attend_run(qjl_plan* plan, qjl_queue on) {
  constexpr const char* kName = "qjl_attend_run";
  return guarded([&] { required(plan, kName, "plan").plan.run(queue(on, kName)); });
}

int qjl_attend(const qjl_cache* cache, const qjl_attend_call* call, qjl_plan* plan, qjl_queue on) {
  const int status = qjl_attend_plan(cache, call, plan, on);
  return status == QJL_OK ? qjl_attend_run(plan, on) : status;
}

int qjl_merge(const qjl_attend_result* a, const qjl_attend_result* b, const qjl_output* out, float* lse) {
  constexpr const char* kName = "qjl_merge";
  return guarded([&] {
    merge(result(required(a, kName, "a"), kName), result(required(b, kName, "b"), kName), view(required(out, kName, "out"), kName),
          lse);
  });
}

int qjl_cache_memory(const qjl_cache* cache, qjl_memory_report* report) {
  return guarded([&] {
    qjl_memory_report& out = required(report, "qjl_cache_memory", "report");
    const qjl::MemoryReport r = required(cache, "qjl_cache_memory", "cache").cache.memory_report();
    const auto part = [](const qjl::LayerMemory& p) {
      return qjl_layer_memory{p.num_layers, p.sealed_pages, p.free_pages, p.sinks, p.tails, p.kept_tokens};
    };
    out = {r.sealed_pages, r.free_pages, r.sinks,   r.tails,      r.page_tables, r.codec_tables,
           r.scratch,      r.recurrent,  r.total(), r.num_tokens, part(r.full),  part(r.windowed)};
  });
}

int qjl_cache_free_pages(const qjl_cache* cache, int64_t* pages) {
  return guarded([&] {
    required(pages, "qjl_cache_free_pages", "pages") = required(cache, "qjl_cache_free_pages", "cache").cache.free_pages();
  });
}

int qjl_cache_page_bytes(const qjl_cache* cache, int32_t layer, int64_t* bytes) {
  return guarded([&] {
    required(bytes, "qjl_cache_page_bytes", "bytes") = required(cache, "qjl_cache_page_bytes", "cache").cache.page_bytes(layer);
  });
}

int qjl_cache_bits_sealed(const qjl_cache* cache, double* bits) {
  return guarded([&] {
    required(bits, "qjl_cache_bits_sealed", "bits") = required(cache, "qjl_cache_bits_sealed", "cache").cache.bits_sealed();
  });
}

}  // extern "C"
