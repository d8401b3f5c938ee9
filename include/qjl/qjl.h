/* The C API of qjl: a compressed key-value cache and attention over it. C11, also valid C++.
 *
 * Every function that can fail returns a qjl_status; qjl_last_error() then gives the text, per thread. A failed call changes
 * nothing. Handles belong to the caller and are given back with their destroy function, which accepts null. Numbers live in the
 * caller's memory, that of the cache's device. A cache may be read (qjl_attend, queries of its state) by several threads at once,
 * each with its own plan and queue; whatever changes it needs it alone. A child of fork() may exec or exit: the threads of a pool are
 * not in it, so that no other function may be called there on handles of the parent; it may make its own.
 *
 * A cache on a GPU: tensors are device memory and must live until the stream is past the work, which runs there after a call has
 * returned; numbers are not looked at when they come, qjl_cache_wait tells of a NaN or infinity; qjl_append and qjl_attend_run are
 * kernels alone, which a CUDA graph may hold. QJL_UNSUPPORTED says why there is no device, or that the device lacks a verb.
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

/* Where a cache or a tensor is: the host, or QJL_CUDA + i for GPU i. */
typedef enum qjl_device { QJL_CPU = 0, QJL_CUDA = 1 } qjl_device;

typedef struct qjl_cache qjl_cache;
typedef struct qjl_threads qjl_threads; /* a pool of threads; one call at a time */
typedef struct qjl_plan qjl_plan;       /* a plan of one attend and the memory that it works in; one per concurrent caller */
typedef int64_t qjl_sequence;           /* never reused within a cache */

/* What work is put on: threads, for a cache of the host, which end it before the call returns; a cudaStream_t, for one on a GPU.
 * Both null: the calling thread, or the device's default stream. */
typedef struct qjl_queue {
  qjl_threads* threads;
  void* stream;
} qjl_queue;

/* Text of the last error of the calling thread; empty when there was none. Valid until that thread's next failing call. */
QJL_API const char* qjl_last_error(void);

/* "major.minor.patch". */
QJL_API const char* qjl_version(void);

/* Name of the instruction set in use; null with an error when QJL_CPU_TARGET names one that this processor lacks. */
QJL_API const char* qjl_simd_target(void);

/* num_threads counts the calling thread; 0 means the processors that this process may use. */
QJL_API int qjl_threads_create(int num_threads, qjl_threads** threads);
QJL_API void qjl_threads_destroy(qjl_threads* threads);

QJL_API int qjl_plan_create(qjl_plan** plan);
QJL_API void qjl_plan_destroy(qjl_plan* plan);

typedef struct qjl_cache_options {
  int32_t num_layers;
  int32_t num_kv_heads;
  int32_t head_dim;       /* 64, 80, 96, 128 or 256; of "f16" a multiple of 16 from 32 to 512 */
  int32_t tail_dtype;     /* qjl_dtype of exact tokens: QJL_F16 or QJL_BF16 */
  int64_t max_pages;      /* room: a page is 128 tokens of one sequence in all layers and heads */
  const char* cache_type; /* "k3v2", "k4v4", "t3v2", "f16", "paper:rows=256", ... ; null means "k3v2" */
  uint64_t seed;          /* of the random frames; 0 means the default */
  /* How the model turns its keys (RoPE): radians a token of each pair; the mean of a page is taken before it. Null: not at all. */
  const double* rope_frequencies;
  int32_t num_rope_frequencies; /* at most head_dim / 2; channels beyond twice as many do not turn */
  int32_t rope_interleaved;     /* 0: pairs (i, i + num_rope_frequencies); 1: pairs (2 i, 2 i + 1) */
  /* Of a model whose layers differ; null: they do not. [num_layers][num_rope_frequencies] in place of rope_frequencies, and
   * [num_layers] positions that a query sees unless a call says otherwise, its own included; 0: all. */
  const double* layer_rope_frequencies;
  const int64_t* layer_windows;
  int32_t device; /* QJL_CPU, or QJL_CUDA + i */
  /* [num_layers] how many of its last tokens a layer keeps at least, its window at least; 0: all. Whole pages before them are free
   * again, and what would need them is an error. Null: all layers keep all. On the host alone. */
  const int64_t* layer_retention;
} qjl_cache_options;

/* On the host: reserves address space for max_pages; memory is taken as pages are first used. On a GPU all of it is taken. */
QJL_API int qjl_cache_create(const qjl_cache_options* options, qjl_cache** cache);
QJL_API void qjl_cache_destroy(qjl_cache* cache);

QJL_API int qjl_sequence_create(qjl_cache* cache, qjl_sequence* sequence);
/* A sequence with the same tokens; sealed pages are shared, the open tail is copied. */
QJL_API int qjl_sequence_fork(qjl_cache* cache, qjl_sequence sequence, qjl_queue queue, qjl_sequence* fork);
/* Keeps the first num_tokens tokens. A cut inside a sealed page keeps decoded numbers there. */
QJL_API int qjl_sequence_truncate(qjl_cache* cache, qjl_sequence sequence, int64_t num_tokens, qjl_queue queue);
/* *can is 1 when that cut is possible, 0 beyond the length, and where a layer has forgotten tokens that it would keep then. */
QJL_API int qjl_sequence_can_truncate(const qjl_cache* cache, qjl_sequence sequence, int64_t num_tokens, int32_t* can);
/* The first token from which on a layer has all of a sequence's; 0 unless it forgets. */
QJL_API int qjl_sequence_first_kept(const qjl_cache* cache, qjl_sequence sequence, int32_t layer, int64_t* token);
QJL_API int qjl_sequence_drop(qjl_cache* cache, qjl_sequence sequence);
/* Takes pages now for a total length of num_tokens. */
QJL_API int qjl_sequence_reserve(qjl_cache* cache, qjl_sequence sequence, int64_t num_tokens);
/* Tokens in one layer, or with layer -1 the least over all layers. */
QJL_API int qjl_sequence_num_tokens(const qjl_cache* cache, qjl_sequence sequence, int32_t layer, int64_t* num_tokens);
/* A sequence as a new one of another cache, on the same or another device; the caches are of the same options but for max_pages and
 * device. The queue is one of the GPU that takes part, of `to` where both do. Returns when the copy is there. */
QJL_API int qjl_sequence_copy(const qjl_cache* from, qjl_sequence sequence, qjl_cache* to, qjl_queue queue, qjl_sequence* copy);

/* [heads, tokens, dim]; strides count elements, channels are contiguous. */
typedef struct qjl_tensor {
  const void* data;
  int32_t dtype; /* qjl_dtype */
  int64_t heads, tokens, dim;
  int64_t head_stride, token_stride;
  int32_t device; /* QJL_CPU, or QJL_CUDA + i */
} qjl_tensor;

/* The same, fp32, to be written. */
typedef struct qjl_output {
  float* data;
  int64_t heads, tokens, dim;
  int64_t head_stride, token_stride;
  int32_t device; /* QJL_CPU, or QJL_CUDA + i */
} qjl_output;

/* Adds tokens to one layer: keys, values [num_kv_heads, tokens, head_dim]. */
QJL_API int qjl_append(qjl_cache* cache, qjl_sequence sequence, int32_t layer, const qjl_tensor* keys, const qjl_tensor* values,
                       qjl_queue queue);

/* Until all work on the queue is done. QJL_INVALID_ARGUMENT when an append since the last wait met a NaN, an infinity or a number
 * that the exact tokens' type cannot hold. */
QJL_API int qjl_cache_wait(qjl_cache* cache, qjl_queue queue);

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
QJL_API int qjl_attend(const qjl_cache* cache, const qjl_attend_call* call, qjl_plan* plan, qjl_queue queue);

/* The same in two steps: the plan cuts the work, and on a GPU copies the cuts there; the run may be made again while the plan stands:
 * until a sequence of it changes in that layer. */
QJL_API int qjl_attend_plan(const qjl_cache* cache, const qjl_attend_call* call, qjl_plan* plan, qjl_queue queue);
QJL_API int qjl_attend_run(qjl_plan* plan, qjl_queue queue);

/* What qjl_attend gave over some of the tokens, in memory of the host: out in fp32, lse [query_heads, tokens] contiguous. A query that
 * saw none of them has lse -infinity and counts for nothing. */
typedef struct qjl_attend_result {
  qjl_tensor out; /* [query_heads, tokens, head_dim] */
  const float* lse;
} qjl_attend_result;

/* Attention over two disjoint sets of tokens from the results over each, wherever they were made:
 *   lse = log(exp(lse_a) + exp(lse_b)),  out = exp(lse_a - lse) out_a + exp(lse_b - lse) out_b
 * out and lse (which may be null) may be those of a result. QJL_UNSUPPORTED on memory of a GPU; nothing is written after an error. */
QJL_API int qjl_merge(const qjl_attend_result* a, const qjl_attend_result* b, const qjl_output* out, float* lse);

/* What the layers of one kind have of a report: bytes, and the tokens that they keep, summed over sequences and layers. */
typedef struct qjl_layer_memory {
  int64_t num_layers;
  int64_t sealed_pages, free_pages, sinks, tails;
  int64_t kept_tokens;
} qjl_layer_memory;

/* Bytes by kind. */
typedef struct qjl_memory_report {
  int64_t sealed_pages, free_pages, sinks, tails, page_tables, codec_tables, scratch;
  int64_t recurrent; /* states of layers without keys, which only a file of the engine brings */
  int64_t total;
  int64_t num_tokens;              /* summed over sequences */
  qjl_layer_memory full, windowed; /* layers that keep all tokens, and those with a retention */
} qjl_memory_report;

QJL_API int qjl_cache_memory(const qjl_cache* cache, qjl_memory_report* report);
QJL_API int qjl_cache_free_pages(const qjl_cache* cache, int64_t* pages);
/* Bytes of a sealed page of one kv head of a layer; bits per stored number of sealed pages, mean over layers. */
QJL_API int qjl_cache_page_bytes(const qjl_cache* cache, int32_t layer, int64_t* bytes);
QJL_API int qjl_cache_bits_sealed(const qjl_cache* cache, double* bits);

/* Pages and tails in the caller's memory, as engines keep them that place blocks themselves: the same verbs over them. What lies where,
 * who writes what and what is refused is said in qjl/paged.hpp. */
typedef struct qjl_paged qjl_paged;

/* What kv head h has of block b begins at base + b * block_stride + h * head_stride and has page_bytes; multiples of 64 bytes. */
typedef struct qjl_page_memory {
  void* base;
  int64_t num_blocks;
  int64_t block_stride, head_stride; /* bytes */
  int64_t page_bytes;                /* the part of qjl_paged_bytes, or more */
  int32_t device;                    /* QJL_CPU, or QJL_CUDA + i */
} qjl_page_memory;

/* Exact rows of open pages: [2 (keys, values), num_kv_heads, 128, head_dim] of 16 bits from base + t * tail_stride on; multiples of 16. */
typedef struct qjl_tail_memory {
  void* base;
  int64_t num_tails;
  int64_t tail_stride; /* bytes */
  int32_t device;
} qjl_tail_memory;

#define QJL_NO_TAIL ((int64_t)-1)

typedef struct qjl_paged_request {
  const int32_t* block_ids; /* [num_blocks], one for each 128 tokens */
  size_t num_blocks;
  int64_t num_tokens; /* before the call */
  int64_t tail_id;    /* QJL_NO_TAIL where the last page is full before and after the call */
  qjl_tensor keys;    /* new tokens; data null: none, the queries are those of the last tokens */
  qjl_tensor values;
  qjl_tensor queries; /* not of qjl_paged_append */
  qjl_output out;
  float* lse; /* as of qjl_attend_request */
} qjl_paged_request;

/* One call: all requests in one layer. Zero everywhere else means the default. */
typedef struct qjl_paged_call {
  int32_t layer;
  qjl_page_memory pages;
  qjl_tail_memory tails;
  const qjl_paged_request* requests;
  size_t num_requests;
  float softmax_scale; /* as of qjl_attend_call, to the end */
  float logit_soft_cap;
  int64_t sliding_window;
  int32_t chunk_products;
} qjl_paged_call;

/* Of one layer: a sealed page of one kv head, the sinks behind it, both; and of a tail. */
typedef struct qjl_paged_bytes {
  int64_t page, sinks, part, tail;
} qjl_paged_bytes;

/* Holds codec tables alone; max_pages is not used. */
QJL_API int qjl_paged_create(const qjl_cache_options* options, qjl_paged** paged);
QJL_API void qjl_paged_destroy(qjl_paged* paged);
QJL_API int qjl_paged_sizes(const qjl_paged* paged, int32_t layer, qjl_paged_bytes* bytes);
/* Adds the new tokens; pages that they fill are sealed into their blocks. */
QJL_API int qjl_paged_append(qjl_paged* paged, const qjl_paged_call* call, qjl_queue queue);
/* Attends and stores nothing; plan: the memory that the call works in, which no other call uses meanwhile. */
QJL_API int qjl_paged_attend(const qjl_paged* paged, const qjl_paged_call* call, qjl_plan* plan, qjl_queue queue);
/* Attends with the new tokens and adds them; what fills is sealed before anyone attends. */
QJL_API int qjl_paged_step(qjl_paged* paged, const qjl_paged_call* call, qjl_plan* plan, qjl_queue queue);
/* As qjl_cache_wait. */
QJL_API int qjl_paged_wait(qjl_paged* paged, qjl_queue queue);

#ifdef __cplusplus
}
#endif

#endif /* QJL_QJL_H */
