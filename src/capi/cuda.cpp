// The C API's cache on a GPU.
#include "qjl/cuda_cache.hpp"
#include "translate.hpp"

using namespace qjl::capi;

struct qjl_cuda_cache {
  qjl::CudaCache cache;
};
struct qjl_cuda_attend {
  qjl::CudaAttend attend;
};

extern "C" {

int qjl_cuda_cache_create(const qjl_cache_options* options, int32_t device_idx, qjl_cuda_cache** cache) {
  return guarded([&] {
    const qjl_cache_options& o = required(options, "qjl_cuda_cache_create", "options");
    qjl_cuda_cache*& out = required(cache, "qjl_cuda_cache_create", "cache");
    out = new qjl_cuda_cache{qjl::CudaCache(cache_config(o), device_idx)};
  });
}
void qjl_cuda_cache_destroy(qjl_cuda_cache* cache) { delete cache; }

int qjl_cuda_sequence_create(qjl_cuda_cache* cache, qjl_sequence* sequence) {
  return guarded([&] {
    qjl_sequence& out = required(sequence, "qjl_cuda_sequence_create", "sequence");
    out = static_cast<qjl_sequence>(required(cache, "qjl_cuda_sequence_create", "cache").cache.create());
  });
}
int qjl_cuda_sequence_drop(qjl_cuda_cache* cache, qjl_sequence sequence) {
  return guarded([&] { required(cache, "qjl_cuda_sequence_drop", "cache").cache.drop(id(sequence)); });
}
int qjl_cuda_sequence_num_tokens(const qjl_cuda_cache* cache, qjl_sequence sequence, int32_t layer, int64_t* num_tokens) {
  return guarded([&] {
    const qjl::CudaCache& c = required(cache, "qjl_cuda_sequence_num_tokens", "cache").cache;
    required(num_tokens, "qjl_cuda_sequence_num_tokens", "num_tokens") = c.num_tokens(id(sequence), layer);
  });
}

int qjl_cuda_append(qjl_cuda_cache* cache, qjl_sequence sequence, int32_t layer, const qjl_tensor* keys, const qjl_tensor* values,
                    void* stream) {
  constexpr const char* kName = "qjl_cuda_append";
  return guarded([&] {
    const qjl_tensor &k = required(keys, kName, "keys"), &v = required(values, kName, "values");
    required(cache, kName, "cache").cache.append(id(sequence), layer, view(k, kName), view(v, kName), stream);
  });
}
int qjl_cuda_wait(qjl_cuda_cache* cache, void* stream) {
  return guarded([&] { required(cache, "qjl_cuda_wait", "cache").cache.wait(stream); });
}

int qjl_cuda_upload(qjl_cuda_cache* cache, const qjl_cache* from, qjl_sequence sequence, void* stream, qjl_sequence* uploaded) {
  return guarded([&] {
    qjl_sequence& out = required(uploaded, "qjl_cuda_upload", "uploaded");
    const qjl::KvCache& source = required(from, "qjl_cuda_upload", "from").cache;
    out = static_cast<qjl_sequence>(required(cache, "qjl_cuda_upload", "cache").cache.upload(source, id(sequence), stream));
  });
}
int qjl_cuda_offload(const qjl_cuda_cache* cache, qjl_sequence sequence, qjl_cache* to, void* stream, qjl_sequence* offloaded) {
  return guarded([&] {
    qjl_sequence& out = required(offloaded, "qjl_cuda_offload", "offloaded");
    qjl::KvCache& target = required(to, "qjl_cuda_offload", "to").cache;
    out = static_cast<qjl_sequence>(required(cache, "qjl_cuda_offload", "cache").cache.offload(id(sequence), target, stream));
  });
}

int qjl_cuda_attend_create(qjl_cuda_attend** attend) {
  return guarded([&] {
    qjl_cuda_attend*& out = required(attend, "qjl_cuda_attend_create", "attend");
    out = new qjl_cuda_attend{};
  });
}
void qjl_cuda_attend_destroy(qjl_cuda_attend* attend) { delete attend; }

int qjl_cuda_attend_plan(qjl_cuda_attend* attend, const qjl_cuda_cache* cache, const qjl_attend_call* call, void* stream) {
  constexpr const char* kName = "qjl_cuda_attend_plan";
  return guarded([&] {
    const qjl_attend_call& made = required(call, kName, "call");
    const qjl::CudaCache& c = required(cache, kName, "cache").cache;
    required(attend, kName, "attend").attend.plan(c, made.layer, requests(made, kName), options(made), stream);
  });
}
int qjl_cuda_attend_run(qjl_cuda_attend* attend, void* stream) {
  return guarded([&] { required(attend, "qjl_cuda_attend_run", "attend").attend.run(stream); });
}

}  // extern "C"
