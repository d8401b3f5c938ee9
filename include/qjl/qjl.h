/* The C API of qjl: a compressed key-value cache and attention over it. C11, also valid C++.
 *
 * Every function that can fail returns a qjl_status; qjl_last_error() then gives the text, per thread. A failed call changes
 * nothing. Handles belong to the caller and are given back with their destroy function, which accepts null. Numbers live in the
 * caller's memory. A cache may be read (qjl_attend, queries of its state) by several threads at once, each with its own workspace
 * and threads; whatever changes it needs it alone.
 */
#ifndef QJL_QJL_H
#define QJL_QJL_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define QJL_API __attribute__((visibility("default")))
#else
#define QJL_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum qjl_status {
  QJL_OK = 0,
  QJL_INVALID_ARGUMENT = 1, /* a wrong shape, number, name or identifier */
  QJL_OUT_OF_PAGES = 2,     /* the page pool is full */
  QJL_BAD_FILE = 3,
  QJL_IO = 4,
  QJL_UNSUPPORTED = 5,
  QJL_NO_MEMORY = 6,
  QJL_INTERNAL = 7 /* a defect of the library */
} qjl_status;

typedef enum qjl_dtype { QJL_F32 = 0, QJL_F16 = 1, QJL_BF16 = 2 } qjl_dtype;

typedef enum qjl_device { QJL_CPU = 0, QJL_CUDA = 1 } qjl_device; /* whose memory a tensor is in */

typedef struct qjl_cache qjl_cache;
typedef struct qjl_threads qjl_threads;     /* a pool of threads; one call at a time */
typedef struct qjl_workspace qjl_workspace; /* scratch memory of qjl_attend; one per concurrent caller */
typedef int64_t qjl_sequence;               /* never reused within a cache */

/* Text of the last error of the calling thread; empty when there was none. Valid until that thread's next failing call. */
QJL_API const char* qjl_last_error(void);

/* "major.minor.patch". */
QJL_API const char* qjl_version(void);

/* Name of the instruction set in use; null with an error when QJL_CPU_TARGET names one that this processor lacks. */
QJL_API const char* qjl_simd_target(void);

/* num_threads counts the calling thread; 0 means the processors that this process may use. */
QJL_API int qjl_threads_create(int num_threads, qjl_threads** threads);
QJL_API void qjl_threads_destroy(qjl_threads* threads);

QJL_API int qjl_workspace_create(qjl_workspace** workspace);
QJL_API void qjl_workspace_destroy(qjl_workspace* workspace);

typedef struct qjl_cache_options {
  int32_t num_layers;
  int32_t num_kv_heads;
  int32_t head_dim;       /* 64, 80, 96, 128 or 256 */
  int32_t tail_dtype;     /* qjl_dtype of exact tokens: QJL_F16 or QJL_BF16 */
  int64_t max_pages;      /* room: a page is 128 tokens of one sequence in all layers and heads */
  const char* cache_type; /* "k3v2", "k4v4", "f16", "paper:rows=256", ... ; null means "k3v2" */
  uint64_t seed;          /* of the random frames; 0 means the default */
  /* How the model turns its keys (RoPE): radians a token of each pair; the mean of a page is taken before it. Null: not at all. */
  const double* rope_frequencies;
  int32_t num_rope_frequencies; /* at most head_dim / 2; channels beyond twice as many do not turn */
  int32_t rope_interleaved;     /* 0: pairs (i, i + num_rope_frequencies); 1: pairs (2 i, 2 i + 1) */
  /* Of a model whose layers differ; null: they do not. [num_layers][num_rope_frequencies] in place of rope_frequencies, and
   * [num_layers] positions that a query sees unless a call says otherwise, its own included; 0: all. */
  const double* layer_rope_frequencies;
  const int64_t* layer_windows;
} qjl_cache_options;

/* Reserves address space for max_pages; memory is taken as pages are first used. */
QJL_API int qjl_cache_create(const qjl_cache_options* options, qjl_cache** cache);
QJL_API void qjl_cache_destroy(qjl_cache* cache);

QJL_API int qjl_sequence_create(qjl_cache* cache, qjl_sequence* sequence);
/* A sequence with the same tokens; sealed pages are shared, the open tail is copied on write. */
QJL_API int qjl_sequence_fork(qjl_cache* cache, qjl_sequence sequence, qjl_sequence* fork);
/* Keeps the first num_tokens tokens. A cut inside a sealed page keeps decoded numbers there. */
QJL_API int qjl_sequence_truncate(qjl_cache* cache, qjl_sequence sequence, int64_t num_tokens);
QJL_API int qjl_sequence_drop(qjl_cache* cache, qjl_sequence sequence);
/* Takes pages now for a total length of num_tokens. */
QJL_API int qjl_sequence_reserve(qjl_cache* cache, qjl_sequence sequence, int64_t num_tokens);
/* Tokens in one layer, or with layer -1 the least over all layers. */
QJL_API int qjl_sequence_num_tokens(const qjl_cache* cache, qjl_sequence sequence, int32_t layer, int64_t* num_tokens);

/* [heads, tokens, dim]; strides count elements, channels are contiguous. */
typedef struct qjl_tensor {
  const void* data;
  int32_t dtype; /* qjl_dtype */
  int64_t heads, tokens, dim;
  int64_t head_stride, token_stride;
  int32_t device; /* qjl_device */
} qjl_tensor;

/* The same, fp32, to be written. */
typedef struct qjl_output {
  float* data;
  int64_t heads, tokens, dim;
  int64_t head_stride, token_stride;
  int32_t device; /* qjl_device */
} qjl_output;

/* Adds tokens to one layer: keys, values [num_kv_heads, tokens, head_dim]. */
QJL_API int qjl_append(qjl_cache* cache, qjl_sequence sequence, int32_t layer, const qjl_tensor* keys, const qjl_tensor* values,
                       qjl_threads* threads);

/* Queries [query_heads, tokens, head_dim] of one sequence. Without a chunk they belong to its last tokens; with one,
 * chunk_keys and chunk_values [num_kv_heads, tokens, head_dim] are their own tokens, attended to exactly and not yet appended. */
typedef struct qjl_attend_request {
  qjl_sequence sequence;
  qjl_tensor queries;
  qjl_tensor chunk_keys; /* data null: no chunk */
  qjl_tensor chunk_values;
  qjl_output out; /* [query_heads, tokens, head_dim] */
  float* lse;     /* natural log-sum-exp [query_heads, tokens] contiguous, or null */
} qjl_attend_request;

#define QJL_NO_WINDOW ((int64_t)1 << 40)

/* How queries meet a chunk: in fp32, or, where the processor has the instruction, in products of bf16 with sums in fp32. */
typedef enum qjl_chunk_products { QJL_CHUNK_FP32 = 0, QJL_CHUNK_BF16 = 1 } qjl_chunk_products;

/* One call: all requests in one layer. Zero everywhere else means the default. */
typedef struct qjl_attend_call {
  int32_t layer;
  const qjl_attend_request* requests;
  size_t num_requests;
  float softmax_scale;    /* 0: 1 / sqrt(head_dim) */
  float logit_soft_cap;   /* 0: none */
  int64_t sliding_window; /* 0: the layer's; QJL_NO_WINDOW: none, whatever the layer's */
  int32_t chunk_products; /* qjl_chunk_products */
} qjl_attend_call;

/* Attends. An empty range gives out 0 and lse -infinity. */
QJL_API int qjl_attend(const qjl_cache* cache, const qjl_attend_call* call, qjl_workspace* workspace, qjl_threads* threads);

/* Bytes by kind. */
typedef struct qjl_memory_report {
  int64_t sealed_pages, free_pages, sinks, tails, page_tables, codec_tables;
  int64_t total;
  int64_t num_tokens; /* summed over sequences */
} qjl_memory_report;

QJL_API int qjl_cache_memory(const qjl_cache* cache, qjl_memory_report* report);
QJL_API int qjl_cache_free_pages(const qjl_cache* cache, int64_t* pages);
/* Bytes of a sealed page of one kv head of a layer; bits per stored number of sealed pages, mean over layers. */
QJL_API int qjl_cache_page_bytes(const qjl_cache* cache, int32_t layer, int64_t* bytes);
QJL_API int qjl_cache_bits_sealed(const qjl_cache* cache, double* bits);

/* ---- on a GPU ------------------------------------------------------------------------------------------------------------
 * The same cache in device memory (cuda_cache.hpp says more): tensors are device memory (QJL_CUDA), `stream` is a cudaStream_t,
 * null the default one, and work runs there after the call has returned. QJL_UNSUPPORTED says why there is no device. */
typedef struct qjl_cuda_cache qjl_cuda_cache;
typedef struct qjl_cuda_attend qjl_cuda_attend; /* a plan of one attend and its memory */

QJL_API int qjl_cuda_cache_create(const qjl_cache_options* options, int32_t device, qjl_cuda_cache** cache);
QJL_API void qjl_cuda_cache_destroy(qjl_cuda_cache* cache);
QJL_API int qjl_cuda_sequence_create(qjl_cuda_cache* cache, qjl_sequence* sequence);
QJL_API int qjl_cuda_sequence_drop(qjl_cuda_cache* cache, qjl_sequence sequence);
QJL_API int qjl_cuda_sequence_num_tokens(const qjl_cuda_cache* cache, qjl_sequence sequence, int32_t layer, int64_t* num_tokens);

/* Numbers are not looked at here; qjl_cuda_wait tells of a NaN or infinity that an append met. */
QJL_API int qjl_cuda_append(qjl_cuda_cache* cache, qjl_sequence sequence, int32_t layer, const qjl_tensor* keys,
                            const qjl_tensor* values, void* stream);
QJL_API int qjl_cuda_wait(qjl_cuda_cache* cache, void* stream);

/* A sequence of a cache on the host as a new one on the device, and back. The caches are of the same options but for max_pages. */
QJL_API int qjl_cuda_upload(qjl_cuda_cache* cache, const qjl_cache* from, qjl_sequence sequence, void* stream,
                            qjl_sequence* uploaded);
QJL_API int qjl_cuda_offload(const qjl_cuda_cache* cache, qjl_sequence sequence, qjl_cache* to, void* stream,
                             qjl_sequence* offloaded);

/* Plans on the host and copies the plan; a run is kernels alone, which a CUDA graph may hold while the plan stands. */
QJL_API int qjl_cuda_attend_create(qjl_cuda_attend** attend);
QJL_API void qjl_cuda_attend_destroy(qjl_cuda_attend* attend);
QJL_API int qjl_cuda_attend_plan(qjl_cuda_attend* attend, const qjl_cuda_cache* cache, const qjl_attend_call* call, void* stream);
QJL_API int qjl_cuda_attend_run(qjl_cuda_attend* attend, void* stream);

#ifdef __cplusplus
}
#endif

#endif /* QJL_QJL_H */
