// The C API over the doors: translates structs, turns exceptions into a status and a text per thread.
#include "qjl/simd.hpp"
#include "translate.hpp"

struct qjl_threads {
  qjl::ThreadPool pool;
};
struct qjl_workspace {
  qjl::AttendWorkspace workspace;
};

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

int qjl_workspace_create(qjl_workspace** workspace) {
  return guarded([&] {
    qjl_workspace*& out = required(workspace, "qjl_workspace_create", "workspace");
    out = new qjl_workspace{};
  });
}
void qjl_workspace_destroy(qjl_workspace* workspace) { delete workspace; }

int qjl_cache_create(const qjl_cache_options* options, qjl_cache** cache) {
  return guarded([&] {
    const qjl_cache_options& o = required(options, "qjl_cache_create", "options");
    qjl_cache*& out = required(cache, "qjl_cache_create", "cache");
    out = new qjl_cache{qjl::KvCache(cache_config(o))};
  });
}
void qjl_cache_destroy(qjl_cache* cache) { delete cache; }

int qjl_sequence_create(qjl_cache* cache, qjl_sequence* sequence) {
  return guarded([&] {
    qjl_sequence& out = required(sequence, "qjl_sequence_create", "sequence");
    out = static_cast<qjl_sequence>(required(cache, "qjl_sequence_create", "cache").cache.create());
  });
}

int qjl_sequence_fork(qjl_cache* cache, qjl_sequence sequence, qjl_sequence* fork) {
  return guarded([&] {
    qjl_sequence& out = required(fork, "qjl_sequence_fork", "fork");
    out = static_cast<qjl_sequence>(required(cache, "qjl_sequence_fork", "cache").cache.fork(id(sequence)));
  });
}

int qjl_sequence_truncate(qjl_cache* cache, qjl_sequence sequence, int64_t num_tokens) {
  return guarded([&] { required(cache, "qjl_sequence_truncate", "cache").cache.truncate(id(sequence), num_tokens); });
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
               qjl_threads* threads) {
  constexpr const char* kName = "qjl_append";
  return guarded([&] {
    const qjl_tensor &k = required(keys, kName, "keys"), &v = required(values, kName, "values");
    qjl::KvCache& c = required(cache, kName, "cache").cache;
    c.append(id(sequence), layer, view(k, kName), view(v, kName), required(threads, kName, "threads").pool);
  });
}

int qjl_attend(const qjl_cache* cache, const qjl_attend_call* call, qjl_workspace* workspace, qjl_threads* threads) {
  constexpr const char* kName = "qjl_attend";
  return guarded([&] {
    const qjl::KvCache& c = required(cache, kName, "cache").cache;
    const qjl_attend_call& made = required(call, kName, "call");
    qjl::AttendWorkspace& w = required(workspace, kName, "workspace").workspace;
    qjl::ThreadPool& pool = required(threads, kName, "threads").pool;
    qjl::attend(c, made.layer, requests(made, kName), options(made), w, pool);
  });
}

int qjl_cache_memory(const qjl_cache* cache, qjl_memory_report* report) {
  return guarded([&] {
    qjl_memory_report& out = required(report, "qjl_cache_memory", "report");
    const qjl::MemoryReport r = required(cache, "qjl_cache_memory", "cache").cache.memory_report();
    out = {r.sealed_pages, r.free_pages, r.sinks, r.tails, r.page_tables, r.codec_tables, r.total(), r.num_tokens};
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
