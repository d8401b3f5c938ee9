// The C API over the doors: translates structs, turns exceptions into a status and a text per thread.
#include <cstring>
#include <new>
#include <string_view>
#include <vector>

#include "qjl/attention.hpp"
#include "qjl/cache.hpp"
#include "qjl/error.hpp"
#include "qjl/qjl.h"
#include "qjl/simd.hpp"

struct qjl_cache {
  qjl::KvCache cache;
};
struct qjl_threads {
  qjl::ThreadPool pool;
};
struct qjl_workspace {
  qjl::AttendWorkspace workspace;
};

namespace {

using qjl::ErrorKind;

constexpr std::size_t kErrorTextBytes = 1024;
thread_local char last_error[kErrorTextBytes] = "";

int set_error(int status, std::string_view text) noexcept {
  const std::size_t length = text.copy(last_error, kErrorTextBytes - 1);
  last_error[length] = '\0';
  return status;
}

int status_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::invalid_argument: return QJL_INVALID_ARGUMENT;
    case ErrorKind::out_of_pages: return QJL_OUT_OF_PAGES;
    case ErrorKind::bad_file: return QJL_BAD_FILE;
    case ErrorKind::io: return QJL_IO;
    case ErrorKind::unsupported: return QJL_UNSUPPORTED;
  }
  return QJL_INTERNAL;
}

template <typename Work>
int guarded(Work work) noexcept {
  try {
    work();
    return QJL_OK;
  } catch (const qjl::Error& error) {
    return set_error(status_of(error.kind()), error.what());
  } catch (const std::bad_alloc&) {
    return set_error(QJL_NO_MEMORY, "[memory] the system gave no memory");
  } catch (const std::exception& error) {
    return set_error(QJL_INTERNAL, error.what());
  } catch (...) {
    return set_error(QJL_INTERNAL, "[qjl] an unknown exception");
  }
}

template <typename T>
T& required(T* pointer, const char* operation, const char* name) {
  if (pointer == nullptr) {
    throw qjl::Error(ErrorKind::invalid_argument, std::string("[") + operation + "] " + name + " is null, wanted an address");
  }
  return *pointer;
}

qjl::DType dtype(int32_t value, const char* operation) {
  switch (value) {
    case QJL_F32: return qjl::DType::f32;
    case QJL_F16: return qjl::DType::f16;
    case QJL_BF16: return qjl::DType::bf16;
    default: break;
  }
  throw qjl::Error(ErrorKind::invalid_argument,
                   std::string("[") + operation + "] dtype is " + std::to_string(value) + ", wanted QJL_F32, QJL_F16 or QJL_BF16");
}

qjl::TensorView view(const qjl_tensor& t, const char* operation) {
  return {t.data, dtype(t.dtype, operation), t.heads, t.tokens, t.dim, t.head_stride, t.token_stride};
}

// An absent chunk may be all zeros.
qjl::TensorView chunk(const qjl_tensor& t, const char* operation) {
  return t.data == nullptr && t.tokens == 0 ? qjl::TensorView{} : view(t, operation);
}

qjl::OutputView view(const qjl_output& t) { return {t.data, t.heads, t.tokens, t.dim, t.head_stride, t.token_stride}; }

qjl::SequenceId id(qjl_sequence sequence) { return qjl::SequenceId{sequence}; }

qjl::CacheConfig cache_config(const qjl_cache_options& o) {
  qjl::CacheConfig config;
  config.num_layers = o.num_layers;
  config.num_kv_heads = o.num_kv_heads;
  config.head_dim = o.head_dim;
  config.max_pages = o.max_pages;
  config.tail_dtype = dtype(o.tail_dtype, "qjl_cache_create");
  if (o.cache_type != nullptr) config.codec = qjl::codec_config(o.cache_type);
  if (o.seed != 0) config.codec.seed = o.seed;
  if (o.num_rope_frequencies < 0 || o.num_rope_frequencies > o.head_dim) {
    throw qjl::Error(ErrorKind::invalid_argument, "[qjl_cache_create] num_rope_frequencies is " +
                                                      std::to_string(o.num_rope_frequencies) + ", wanted 0 to head_dim / 2");
  }
  if (o.num_rope_frequencies > 0) {
    const double& first = required(o.rope_frequencies, "qjl_cache_create", "rope_frequencies");
    config.codec.rope.frequency.assign(&first, &first + o.num_rope_frequencies);
  }
  if (o.rope_interleaved != 0) config.codec.rope.pairs = qjl::KeyRope::Pairs::interleaved;
  return config;
}

}  // namespace

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
    if (made.num_requests > 0) required(made.requests, kName, "requests");
    std::vector<qjl::AttendRequest> list;
    for (size_t i = 0; i < made.num_requests; ++i) {
      const qjl_attend_request& r = made.requests[i];
      list.push_back({.sequence = id(r.sequence),
                      .queries = view(r.queries, kName),
                      .chunk_keys = chunk(r.chunk_keys, kName),
                      .chunk_values = chunk(r.chunk_values, kName),
                      .out = view(r.out),
                      .lse = r.lse});
    }
    qjl::attend(c, made.layer, list, {made.softmax_scale, made.logit_soft_cap, made.sliding_window}, w, pool);
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
