/* The C API from C: a cache is made, filled, forked, attended to and measured; every wrong call gives a status and a text. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "qjl/qjl.h"

enum { kLayers = 2, kHeads = 2, kGroup = 3, kDim = 64, kTokens = 300 };

static qjl_tensor tensor(const float* data, int64_t heads, int64_t tokens, int64_t dim) {
  qjl_tensor t = {data, QJL_F32, heads, tokens, dim, tokens * dim, dim, QJL_CPU};
  return t;
}

/* What one run of the test works with. */
struct session {
  qjl_cache* cache;
  qjl_threads* threads;
  qjl_queue queue;
  qjl_plan* plan;
  qjl_sequence sequence;
  float* numbers; /* keys, then values */
  qjl_tensor keys, values;
  float queries[kHeads * kGroup * kDim];
};

/* Attends with one query per head; the newest token is the query's own. */
static int attend_in(struct session* s, int64_t window, float* out, float* lse) {
  qjl_attend_request request = {0};
  qjl_attend_call call = {0};
  qjl_output output = {out, kHeads * kGroup, 1, kDim, kDim, kDim, QJL_CPU};
  request.sequence = s->sequence;
  request.queries = tensor(s->queries, kHeads * kGroup, 1, kDim);
  request.out = output;
  request.lse = lse;
  call.layer = 1;
  call.requests = &request;
  call.num_requests = 1;
  call.sliding_window = window;
  return qjl_attend(s->cache, &call, s->plan, s->queue);
}
static int attend(struct session* s, float* out, float* lse) { return attend_in(s, 0, out, lse); }

static const double kFrequencies[2] = {0.1, 0.001};

static void open_session(struct session* s) {
  const qjl_cache_options options = {kLayers, kHeads, kDim, QJL_F16, 16, "k4v4", 0, kFrequencies, 2, 1, NULL, NULL, QJL_CPU, NULL};
  const size_t count = (size_t)kHeads * kTokens * kDim;
  size_t i;
  memset(s, 0, sizeof(*s));
  s->numbers = malloc(2 * count * sizeof(float));
  if (s->numbers == NULL) exit(1);
  srand(1);
  for (i = 0; i < count; ++i) s->numbers[i] = noise(), s->numbers[count + i] = 2.0f + noise();
  for (i = 0; i < sizeof(s->queries) / sizeof(float); ++i) s->queries[i] = noise();
  s->keys = tensor(s->numbers, kHeads, kTokens, kDim);
  s->values = tensor(s->numbers + count, kHeads, kTokens, kDim);
  CHECK(strlen(qjl_version()) >= 5 && qjl_simd_target() != NULL);
  CHECK_OK(qjl_threads_create(2, &s->threads));
  s->queue.threads = s->threads;
  CHECK_OK(qjl_plan_create(&s->plan));
  CHECK_OK(qjl_cache_create(&options, &s->cache));
  CHECK_OK(qjl_sequence_create(s->cache, &s->sequence));
}

static void close_session(struct session* s) {
  qjl_cache_destroy(s->cache);
  qjl_plan_destroy(s->plan);
  qjl_threads_destroy(s->threads);
  qjl_cache_destroy(NULL);
  free(s->numbers);
}

static void check_attention(struct session* s) {
  float out[kHeads * kGroup * kDim], again[kHeads * kGroup * kDim], lse[kHeads * kGroup];
  qjl_sequence fork = 0;
  int64_t number = 0;
  size_t i;
  int layer;
  CHECK_OK(attend(s, out, lse));
  CHECK(out[0] == 0.0f && isinf(lse[0]) && lse[0] < 0);
  for (layer = 0; layer < kLayers; ++layer) CHECK_OK(qjl_append(s->cache, s->sequence, layer, &s->keys, &s->values, s->queue));
  CHECK_OK(qjl_sequence_num_tokens(s->cache, s->sequence, -1, &number));
  CHECK(number == kTokens);
  CHECK_OK(attend(s, out, lse));
  for (i = 0; i < sizeof(out) / sizeof(*out); ++i) CHECK(out[i] > 1.0f && out[i] < 3.0f); /* a mean of numbers in [1.5, 2.5] */
  for (i = 0; i < sizeof(lse) / sizeof(*lse); ++i) CHECK(fabsf(lse[i] - logf(kTokens)) < 2.0f); /* |logit| <= 64 / 4 / 8 */
  CHECK_OK(qjl_sequence_fork(s->cache, s->sequence, s->queue, &fork));
  CHECK_OK(qjl_sequence_truncate(s->cache, fork, 128, s->queue));
  CHECK_OK(qjl_sequence_num_tokens(s->cache, fork, 1, &number));
  CHECK(number == 128);
  CHECK_OK(qjl_sequence_drop(s->cache, fork));
  CHECK_OK(attend(s, again, NULL));
  CHECK(memcmp(out, again, sizeof(out)) == 0);
}

/* Layer 1 with its own RoPE and window, in a cache whose other layer has none. */
static void check_layers(struct session* s) {
  const double frequencies[2 * kLayers] = {0.5, 0.25, 0.1, 0.001};
  const int64_t windows[kLayers] = {0, 40};
  const qjl_cache_options options = {kLayers, kHeads, kDim, QJL_F16,     16,      "k4v4",  0,
                                     NULL,    2,      1,    frequencies, windows, QJL_CPU, NULL};
  float out[kHeads * kGroup * kDim], plain[kHeads * kGroup * kDim];
  struct session own = *s;
  CHECK_OK(qjl_cache_create(&options, &own.cache));
  CHECK_OK(qjl_sequence_create(own.cache, &own.sequence));
  CHECK_OK(qjl_append(own.cache, own.sequence, 1, &own.keys, &own.values, own.queue));
  CHECK_OK(attend(&own, out, NULL));
  CHECK_OK(attend_in(s, 40, plain, NULL));
  CHECK(memcmp(out, plain, sizeof(out)) == 0);
  CHECK_OK(attend_in(&own, QJL_NO_WINDOW, out, NULL));
  CHECK_OK(attend(s, plain, NULL));
  CHECK(memcmp(out, plain, sizeof(out)) == 0);
  qjl_cache_destroy(own.cache);
}

/* Results over parts of the tokens: the same twice leave the mean and double the sum; one of nothing leaves the other. */
static void check_merge(struct session* s) {
  float out[kHeads * kGroup * kDim] = {0}, lse[kHeads * kGroup], whole[kHeads * kGroup * kDim], sum[kHeads * kGroup],
                              none[kHeads * kGroup];
  qjl_attend_result part = {tensor(out, kHeads * kGroup, 1, kDim), lse}, nothing = {tensor(out, kHeads * kGroup, 1, kDim), none};
  qjl_output output = {whole, kHeads * kGroup, 1, kDim, kDim, kDim, QJL_CPU};
  size_t i;
  CHECK_OK(attend(s, out, lse));
  for (i = 0; i < sizeof(none) / sizeof(*none); ++i) none[i] = -INFINITY;
  CHECK_OK(qjl_merge(&part, &part, &output, sum));
  for (i = 0; i < sizeof(out) / sizeof(*out); ++i) CHECK(fabsf(whole[i] - out[i]) < 1e-6f);
  for (i = 0; i < sizeof(lse) / sizeof(*lse); ++i) CHECK(fabsf(sum[i] - lse[i] - logf(2.0f)) < 1e-5f);
  CHECK_OK(qjl_merge(&nothing, &part, &output, NULL));
  CHECK(memcmp(whole, out, sizeof(out)) == 0);
  CHECK(qjl_merge(NULL, &part, &output, sum) == QJL_INVALID_ARGUMENT && strstr(qjl_last_error(), "a is null") != NULL);
  none[1] = INFINITY;
  CHECK(qjl_merge(&part, &nothing, &output, sum) == QJL_INVALID_ARGUMENT && strstr(qjl_last_error(), "lse holds inf") != NULL);
  output.device = QJL_CUDA;
  CHECK(qjl_merge(&part, &part, &output, sum) == QJL_UNSUPPORTED);
}

/* Tokens that are not yet appended, in both kinds of products. */
static void check_chunk(struct session* s) {
  float out[2][kHeads * kGroup * kDim];
  qjl_attend_request request = {0};
  qjl_attend_call call = {0};
  size_t i;
  request.sequence = s->sequence;
  request.queries = tensor(s->queries, kHeads * kGroup, 1, kDim);
  request.chunk_keys = tensor(s->numbers, kHeads, 1, kDim);
  request.chunk_values = tensor(s->numbers + kHeads * kDim, kHeads, 1, kDim);
  call.requests = &request;
  call.num_requests = 1;
  for (call.chunk_products = QJL_CHUNK_FP32; call.chunk_products <= QJL_CHUNK_BF16; ++call.chunk_products) {
    qjl_output output = {out[call.chunk_products], kHeads * kGroup, 1, kDim, kDim, kDim, QJL_CPU};
    request.out = output;
    CHECK_OK(qjl_attend(s->cache, &call, s->plan, s->queue));
  }
  for (i = 0; i < kHeads * kGroup * kDim; ++i) CHECK(fabsf(out[0][i] - out[1][i]) < 0.01f);
  CHECK(qjl_attend(s->cache, &call, s->plan, s->queue) == QJL_INVALID_ARGUMENT);
  CHECK(strstr(qjl_last_error(), "chunk_products is 2") != NULL);
}

static void check_memory(const qjl_cache* cache) {
  qjl_memory_report r;
  int64_t number = 0;
  double bits = 0;
  CHECK_OK(qjl_cache_memory(cache, &r));
  CHECK(r.total == r.sealed_pages + r.free_pages + r.sinks + r.tails + r.page_tables + r.codec_tables + r.scratch + r.recurrent &&
        r.scratch == 0);
  CHECK(r.num_tokens == kTokens);
  CHECK_OK(qjl_cache_page_bytes(cache, 0, &number));
  CHECK(r.sealed_pages == 2 * kLayers * kHeads * number);
  CHECK_OK(qjl_cache_bits_sealed(cache, &bits));
  CHECK(bits > 4.0 && bits < 4.4);
  CHECK_OK(qjl_cache_free_pages(cache, &number));
  CHECK(number == 14);
}

static void check_errors(qjl_cache* cache, qjl_queue queue, const qjl_tensor* keys) {
  qjl_threads* threads = NULL;
  qjl_cache_options bad = {kLayers, kHeads, 65, QJL_F16, 4, "k3v2", 0, NULL, 0, 0, NULL, NULL, QJL_CPU, NULL};
  qjl_cache* none = NULL;
  qjl_tensor wrong = *keys;
  CHECK(qjl_cache_create(&bad, &none) == QJL_INVALID_ARGUMENT && none == NULL);
  CHECK(strstr(qjl_last_error(), "65") != NULL);
  bad.head_dim = kDim;
  bad.cache_type = "k9v9";
  CHECK(qjl_cache_create(&bad, &none) == QJL_INVALID_ARGUMENT && strstr(qjl_last_error(), "k9v9") != NULL);
  bad.cache_type = NULL;
  bad.tail_dtype = 9;
  CHECK(qjl_cache_create(&bad, &none) == QJL_INVALID_ARGUMENT && strstr(qjl_last_error(), "dtype is 9") != NULL);
  bad.tail_dtype = QJL_F16;
  bad.num_rope_frequencies = 1;
  CHECK(qjl_cache_create(&bad, &none) == QJL_INVALID_ARGUMENT && strstr(qjl_last_error(), "rope_frequencies is null") != NULL);
  bad.num_rope_frequencies = -1;
  CHECK(qjl_cache_create(&bad, &none) == QJL_INVALID_ARGUMENT);
  CHECK(qjl_cache_create(NULL, &none) == QJL_INVALID_ARGUMENT);
  CHECK(qjl_sequence_drop(cache, 99) == QJL_INVALID_ARGUMENT && strstr(qjl_last_error(), "sequence 99") != NULL);
  CHECK(qjl_sequence_drop(NULL, 1) == QJL_INVALID_ARGUMENT && strstr(qjl_last_error(), "cache is null") != NULL);
  CHECK(qjl_sequence_reserve(cache, 1, 1 << 20) == QJL_OUT_OF_PAGES);
  wrong.heads = 7;
  CHECK(qjl_append(cache, 1, 0, &wrong, keys, queue) == QJL_INVALID_ARGUMENT && strstr(qjl_last_error(), "7 heads") != NULL);
  CHECK(qjl_append(cache, 1, 0, NULL, keys, queue) == QJL_INVALID_ARGUMENT);
  CHECK(qjl_threads_create(-1, &threads) == QJL_INVALID_ARGUMENT);
  CHECK(qjl_attend(cache, NULL, NULL, queue) == QJL_INVALID_ARGUMENT && strstr(qjl_last_error(), "call is null") != NULL);
}

/* A device when there is one, else the reason; never device memory for a cache of the host, nor a stream. */
static void check_devices(struct session* s) {
  const qjl_cache_options options = {kLayers, kHeads, kDim, QJL_F16, 4, "k3v2", 0, NULL, 0, 0, NULL, NULL, QJL_CUDA, NULL};
  qjl_cache* cache = NULL;
  qjl_plan* plan = NULL;
  qjl_tensor wrong = s->keys;
  qjl_queue stream = {NULL, s}, both = {s->threads, s};
  const int status = qjl_cache_create(&options, &cache);
  CHECK(status == QJL_OK || status == QJL_UNSUPPORTED);
  CHECK((status == QJL_OK) == (cache != NULL));
  if (cache == NULL) CHECK(strstr(qjl_last_error(), ", wanted ") != NULL);
  qjl_cache_destroy(cache);
  CHECK_OK(qjl_plan_create(&plan));
  CHECK(qjl_attend_run(plan, s->queue) == QJL_INVALID_ARGUMENT && strstr(qjl_last_error(), "no plan") != NULL);
  qjl_plan_destroy(plan);
  CHECK(qjl_cache_wait(NULL, s->queue) == QJL_INVALID_ARGUMENT);
  CHECK_OK(qjl_cache_wait(s->cache, s->queue));
  CHECK(qjl_cache_wait(s->cache, stream) == QJL_INVALID_ARGUMENT && strstr(qjl_last_error(), "found a CUDA stream") != NULL);
  CHECK(qjl_cache_wait(s->cache, both) == QJL_INVALID_ARGUMENT && strstr(qjl_last_error(), "threads and a stream") != NULL);
  wrong.device = QJL_CUDA + 1;
  CHECK(qjl_append(s->cache, s->sequence, 0, &wrong, &wrong, s->queue) == QJL_INVALID_ARGUMENT);
  CHECK(strstr(qjl_last_error(), "CUDA device 1, wanted that of the host") != NULL);
  wrong.device = -1;
  CHECK(qjl_append(s->cache, s->sequence, 0, &wrong, &wrong, s->queue) == QJL_INVALID_ARGUMENT);
}

/* A plan is run until its sequence changes; a sequence goes to another cache and attends there to the same bits. */
static void check_plans_and_copies(struct session* s) {
  const qjl_cache_options options = {kLayers, kHeads, kDim, QJL_F16, 5, "k4v4", 0, kFrequencies, 2, 1, NULL, NULL, QJL_CPU, NULL};
  float out[2][kHeads * kGroup * kDim];
  qjl_attend_request request = {0};
  qjl_attend_call call = {0};
  qjl_output output = {out[0], kHeads * kGroup, 1, kDim, kDim, kDim, QJL_CPU};
  qjl_tensor key = tensor(s->numbers, kHeads, 1, kDim);
  qjl_cache* other = NULL;
  qjl_sequence fork = 0;
  CHECK_OK(qjl_sequence_fork(s->cache, s->sequence, s->queue, &fork));
  request.sequence = fork;
  request.queries = tensor(s->queries, kHeads * kGroup, 1, kDim);
  request.out = output;
  call.requests = &request;
  call.num_requests = 1;
  CHECK_OK(qjl_attend_plan(s->cache, &call, s->plan, s->queue));
  CHECK_OK(qjl_attend_run(s->plan, s->queue));
  memcpy(out[1], out[0], sizeof(out[0]));
  memset(out[0], 0, sizeof(out[0]));
  CHECK_OK(qjl_attend_run(s->plan, s->queue));
  CHECK(memcmp(out[0], out[1], sizeof(out[0])) == 0);

  CHECK_OK(qjl_cache_create(&options, &other));
  CHECK_OK(qjl_sequence_copy(s->cache, fork, other, s->queue, &request.sequence));
  memset(out[0], 0, sizeof(out[0]));
  CHECK_OK(qjl_attend(other, &call, s->plan, s->queue));
  CHECK(memcmp(out[0], out[1], sizeof(out[0])) == 0);
  CHECK_OK(qjl_append(other, request.sequence, 0, &key, &key, s->queue));
  CHECK(qjl_attend_run(s->plan, s->queue) == QJL_INVALID_ARGUMENT && strstr(qjl_last_error(), "has changed") != NULL);
  qjl_cache_destroy(other);
  CHECK_OK(qjl_sequence_drop(s->cache, fork));
}

int main(void) {
  struct session s;
  open_session(&s);
  check_attention(&s);
  check_layers(&s);
  check_merge(&s);
  check_chunk(&s);
  check_memory(s.cache);
  check_errors(s.cache, s.queue, &s.keys);
  check_plans_and_copies(&s);
  check_devices(&s);
  close_session(&s);
  if (failures == 0) printf("the C API holds\n");
  return failures != 0;
}
