// What the files of the C API share: structs of C into those of the doors, exceptions into a status and a text per thread.
#pragma once

#include <cstring>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "qjl/attention.hpp"
#include "qjl/cache.hpp"
#include "qjl/error.hpp"
#include "qjl/merge.hpp"
#include "qjl/qjl.h"

struct qjl_cache {
  qjl::KvCache cache;
};
struct qjl_threads {
  qjl::ThreadPool pool;
};
struct qjl_plan {
  qjl::AttendPlan plan;
};

namespace qjl::capi {

inline constexpr std::size_t kErrorTextBytes = 1024;
inline thread_local char last_error[kErrorTextBytes] = "";

inline int set_error(int status, std::string_view text) noexcept {
  const std::size_t length = text.copy(last_error, kErrorTextBytes - 1);
  last_error[length] = '\0';
  return status;
}

inline int status_of(ErrorKind kind) {
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
  } catch (const Error& error) {
    return set_error(status_of(error.kind()), error.what());
  } catch (const std::bad_alloc&) {
    return set_error(QJL_NO_MEMORY, "[memory] the system gave no memory");
  } catch (const std::length_error&) {
    return set_error(QJL_NO_MEMORY, "[memory] no memory has room for so many");
  } catch (const std::system_error&) {  // of a thread that could not be started
    return set_error(QJL_NO_MEMORY, "[threads] the system refused a thread");
  } catch (const std::exception& error) {
    return set_error(QJL_INTERNAL, error.what());
  } catch (...) {
    return set_error(QJL_INTERNAL, "[qjl] an unknown exception");
  }
}

template <typename T>
T& required(T* pointer, const char* operation, const char* name) {
  if (pointer == nullptr) {
    throw Error(ErrorKind::invalid_argument, std::string("[") + operation + "] " + name + " is null, wanted an address");
  }
  return *pointer;
}

inline DType dtype(int32_t value, const char* operation) {
  switch (value) {
    case QJL_F32: return DType::f32;
    case QJL_F16: return DType::f16;
    case QJL_BF16: return DType::bf16;
    default: break;
  }
  throw Error(ErrorKind::invalid_argument,
              std::string("[") + operation + "] dtype is " + std::to_string(value) + ", wanted QJL_F32, QJL_F16 or QJL_BF16");
}

inline Device device(int32_t value, const char* operation) {
  if (value == QJL_CPU) return Device::cpu();
  if (value >= QJL_CUDA) return Device::cuda(value - QJL_CUDA);
  throw Error(ErrorKind::invalid_argument,
              std::string("[") + operation + "] device is " + std::to_string(value) + ", wanted QJL_CPU or QJL_CUDA + a number");
}

inline Queue queue(const qjl_queue& q, const char* operation) {
  if (q.threads != nullptr && q.stream != nullptr) {
    throw Error(ErrorKind::invalid_argument,
                std::string("[") + operation + "] found threads and a stream in a queue, wanted one of them or none");
  }
  if (q.threads != nullptr) return q.threads->pool;
  return q.stream != nullptr ? Queue(CudaStream{q.stream}) : Queue();
}

inline TensorView view(const qjl_tensor& t, const char* operation) {
  return {t.data, dtype(t.dtype, operation), t.heads, t.tokens, t.dim, t.head_stride, t.token_stride, device(t.device, operation)};
}

// An absent chunk may be all zeros.
inline TensorView chunk(const qjl_tensor& t, const char* operation) {
  return t.data == nullptr && t.tokens == 0 ? TensorView{} : view(t, operation);
}

inline OutputView view(const qjl_output& t, const char* operation) {
  return {t.data, t.heads, t.tokens, t.dim, t.head_stride, t.token_stride, device(t.device, operation)};
}

inline AttendResult result(const qjl_attend_result& r, const char* operation) {
  return {view(r.out, operation), r.lse, r.out.tokens};
}

inline SequenceId id(qjl_sequence sequence) { return SequenceId{sequence}; }

inline void add_layers(const qjl_cache_options& o, CacheConfig& config) {
  if (o.layer_windows != nullptr) config.layer_windows.assign(o.layer_windows, o.layer_windows + o.num_layers);
  if (o.layer_retention != nullptr) config.layer_retention.assign(o.layer_retention, o.layer_retention + o.num_layers);
  for (std::int64_t layer = 0; o.layer_rope_frequencies != nullptr && layer < o.num_layers; ++layer) {
    const double* first = o.layer_rope_frequencies + layer * o.num_rope_frequencies;
    config.layer_ropes.push_back({{first, first + o.num_rope_frequencies}, config.codec.rope.pairs});
  }
}

inline CacheConfig cache_config(const qjl_cache_options& o, const char* operation) {
  CacheConfig config;
  config.num_layers = o.num_layers;
  config.num_kv_heads = o.num_kv_heads;
  config.head_dim = o.head_dim;
  config.max_pages = o.max_pages;
  config.tail_dtype = dtype(o.tail_dtype, operation);
  if (o.cache_type != nullptr) config.codec = codec_config(o.cache_type);
  if (o.seed != 0) config.codec.seed = o.seed;
  if (o.num_rope_frequencies < 0 || o.num_rope_frequencies > o.head_dim) {
    throw Error(ErrorKind::invalid_argument, std::string("[") + operation + "] num_rope_frequencies is " +
                                                 std::to_string(o.num_rope_frequencies) + ", wanted 0 to head_dim / 2");
  }
  if (o.num_rope_frequencies > 0 && o.layer_rope_frequencies == nullptr) {
    const double& first = required(o.rope_frequencies, operation, "rope_frequencies");
    config.codec.rope.frequency.assign(&first, &first + o.num_rope_frequencies);
  }
  if (o.rope_interleaved != 0) config.codec.rope.pairs = KeyRope::Pairs::interleaved;
  if (o.num_layers > 0) add_layers(o, config);
  return config;
}

inline constexpr std::size_t kMostRequests = std::size_t{1} << 24;

inline void check_count(std::size_t requests, const char* operation) {
  if (requests <= kMostRequests) return;
  throw Error(ErrorKind::invalid_argument, std::string("[") + operation + "] found " + std::to_string(requests) +
                                               " requests, wanted at most " + std::to_string(kMostRequests));
}

// The requests of a call.
inline std::vector<AttendRequest> requests(const qjl_attend_call& call, const char* operation) {
  if (call.num_requests > 0) required(call.requests, operation, "requests");
  check_count(call.num_requests, operation);
  std::vector<AttendRequest> list;
  for (size_t i = 0; i < call.num_requests; ++i) {
    const qjl_attend_request& r = call.requests[i];
    list.push_back({.sequence = id(r.sequence),
                    .queries = view(r.queries, operation),
                    .chunk_keys = chunk(r.chunk_keys, operation),
                    .chunk_values = chunk(r.chunk_values, operation),
                    .out = view(r.out, operation),
                    .lse = r.lse});
  }
  return list;
}
// Of a call of either kind.
template <typename Call>
AttendOptions options(const Call& call, const char* operation) {
  if (call.chunk_products != QJL_CHUNK_FP32 && call.chunk_products != QJL_CHUNK_BF16) {
    throw Error(ErrorKind::invalid_argument, std::string("[") + operation + "] chunk_products is " +
                                                 std::to_string(call.chunk_products) + ", wanted QJL_CHUNK_FP32 or QJL_CHUNK_BF16");
  }
  return {.softmax_scale = call.softmax_scale,
          .logit_soft_cap = call.logit_soft_cap,
          .sliding_window = call.sliding_window,
          .chunk_products = call.chunk_products == QJL_CHUNK_BF16 ? ChunkProducts::bf16 : ChunkProducts::fp32};
}

}  // namespace qjl::capi
