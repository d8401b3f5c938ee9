/* The C API from C: a cache is made, filled, forked, attended to and measured; every wrong call gives a status and a text. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qjl/qjl.h"

enum { kLayers = 2, kHeads = 2, kGroup = 3, kDim = 64, kTokens = 300 };

static int failures = 0;

static void check(int holds, const char* what, int line) {
  if (holds) return;
  printf("line %d: %s does not hold; last error: %s\n", line, what, qjl_last_error());
  ++failures;
}
#define CHECK(condition) check((condition), #condition, __LINE__)
#define CHECK_OK(call) check((call) == QJL_OK, #call, __LINE__)

static float noise(void) { return (float)rand() / (float)RAND_MAX - 0.5f; }

static qjl_tensor tensor(const float* data, int64_t heads, int64_t tokens, int64_t dim) {
  qjl_tensor t = {data, QJL_F32, heads, tokens, dim, tokens * dim, dim};
  return t;
}

/* Attends with one query per head; the newest token is the query's own. */
static int attend(const qjl_cache* cache, qjl_sequence sequence, const float* queries, float* out, float* lse, qjl_workspace* workspace,
                  qjl_threads* threads) {
  qjl_attend_request request = {0};
  qjl_output output = {out, kHeads * kGroup, 1, kDim, kDim, kDim};
  request.sequence = sequence;
  request.queries = tensor(queries, kHeads * kGroup, 1, kDim);
  request.out = output;
  request.lse = lse;
  return qjl_attend(cache, 1, &request, 1, NULL, workspace, threads);
}

static void check_errors(qjl_cache* cache, qjl_threads* threads, const qjl_tensor* keys) {
  qjl_cache_options bad = {kLayers, kHeads, 65, QJL_F16, 4, "k3v2", 0};
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
  CHECK(qjl_cache_create(NULL, &none) == QJL_INVALID_ARGUMENT);
  CHECK(qjl_sequence_drop(cache, 99) == QJL_INVALID_ARGUMENT && strstr(qjl_last_error(), "sequence 99") != NULL);
  CHECK(qjl_sequence_drop(NULL, 1) == QJL_INVALID_ARGUMENT && strstr(qjl_last_error(), "cache is null") != NULL);
  CHECK(qjl_sequence_reserve(cache, 1, 1 << 20) == QJL_OUT_OF_PAGES);
  wrong.heads = 7;
  CHECK(qjl_append(cache, 1, 0, &wrong, keys, threads) == QJL_INVALID_ARGUMENT && strstr(qjl_last_error(), "7 heads") != NULL);
  CHECK(qjl_append(cache, 1, 0, NULL, keys, threads) == QJL_INVALID_ARGUMENT);
  CHECK(qjl_threads_create(-1, &threads) == QJL_INVALID_ARGUMENT);
}

int main(void) {
  const qjl_cache_options options = {kLayers, kHeads, kDim, QJL_F16, 16, "k4v4", 0};
  const size_t numbers = (size_t)kHeads * kTokens * kDim;
  float *keys = malloc(numbers * sizeof(float)), *values = malloc(numbers * sizeof(float));
  float queries[kHeads * kGroup * kDim], out[kHeads * kGroup * kDim], again[kHeads * kGroup * kDim], lse[kHeads * kGroup];
  qjl_cache* cache = NULL;
  qjl_threads* threads = NULL;
  qjl_workspace* workspace = NULL;
  qjl_sequence sequence = 0, fork = 0;
  qjl_memory_report report;
  qjl_tensor k, v;
  int64_t number = 0;
  double bits = 0;
  size_t i;
  int layer;

  if (keys == NULL || values == NULL) return 1;
  srand(1);
  for (i = 0; i < numbers; ++i) keys[i] = noise(), values[i] = 2.0f + noise();
  for (i = 0; i < sizeof(queries) / sizeof(*queries); ++i) queries[i] = noise();
  k = tensor(keys, kHeads, kTokens, kDim);
  v = tensor(values, kHeads, kTokens, kDim);

  CHECK(strlen(qjl_version()) >= 5 && qjl_simd_target() != NULL);
  CHECK_OK(qjl_threads_create(2, &threads));
  CHECK_OK(qjl_workspace_create(&workspace));
  CHECK_OK(qjl_cache_create(&options, &cache));
  CHECK_OK(qjl_sequence_create(cache, &sequence));
  CHECK_OK(attend(cache, sequence, queries, out, lse, workspace, threads));
  CHECK(out[0] == 0.0f && isinf(lse[0]) && lse[0] < 0);
  for (layer = 0; layer < kLayers; ++layer) CHECK_OK(qjl_append(cache, sequence, layer, &k, &v, threads));
  CHECK_OK(qjl_sequence_num_tokens(cache, sequence, -1, &number));
  CHECK(number == kTokens);
  CHECK_OK(attend(cache, sequence, queries, out, lse, workspace, threads));
  for (i = 0; i < sizeof(out) / sizeof(*out); ++i) CHECK(out[i] > 1.0f && out[i] < 3.0f); /* a mean of numbers in [1.5, 2.5] */
  for (i = 0; i < sizeof(lse) / sizeof(*lse); ++i) CHECK(fabsf(lse[i] - logf(kTokens)) < 2.0f); /* |logit| <= 64 / 4 / 8 */

  CHECK_OK(qjl_sequence_fork(cache, sequence, &fork));
  CHECK_OK(qjl_sequence_truncate(cache, fork, 128));
  CHECK_OK(qjl_sequence_num_tokens(cache, fork, 1, &number));
  CHECK(number == 128);
  CHECK_OK(qjl_sequence_drop(cache, fork));
  CHECK_OK(attend(cache, sequence, queries, again, NULL, workspace, threads));
  CHECK(memcmp(out, again, sizeof(out)) == 0);

  CHECK_OK(qjl_cache_memory(cache, &report));
  CHECK(report.num_tokens == kTokens && report.total == report.sealed_pages + report.free_pages + report.sinks + report.tails +
                                                            report.page_tables + report.codec_tables);
  CHECK_OK(qjl_cache_page_bytes(cache, 0, &number));
  CHECK(report.sealed_pages == 2 * kLayers * kHeads * number);
  CHECK_OK(qjl_cache_bits_sealed(cache, &bits));
  CHECK(bits > 4.0 && bits < 4.4);
  CHECK_OK(qjl_cache_free_pages(cache, &number));
  CHECK(number == 14);
  check_errors(cache, threads, &k);

  qjl_cache_destroy(cache);
  qjl_workspace_destroy(workspace);
  qjl_threads_destroy(threads);
  qjl_cache_destroy(NULL);
  free(keys);
  free(values);
  if (failures == 0) printf("the C API holds\n");
  return failures != 0;
}
