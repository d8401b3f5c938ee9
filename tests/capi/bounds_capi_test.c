/* Counts and strides that no memory holds are refused before any arithmetic with them, and what the system refuses is QJL_NO_MEMORY. */
#define _GNU_SOURCE
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>

#include "check.h"
#include "qjl/qjl.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

enum { kDim = 64, kTokens = 3 };

static float numbers[64 * kDim], out[64 * kDim];
static qjl_cache* cache;
static qjl_plan* plan;
static qjl_sequence sequence;
static const qjl_queue alone = {NULL, NULL};

static qjl_tensor rows(int64_t tokens) {
  qjl_tensor t = {numbers, QJL_F32, 1, tokens, kDim, kDim * kTokens, kDim, QJL_CPU};
  return t;
}

static int refused(int status) { return status == QJL_INVALID_ARGUMENT && strstr(qjl_last_error(), "wanted") != NULL; }

static void check_appends(void) {
  const int64_t counts[] = {INT64_MAX, INT64_MAX - 200, INT64_C(1) << 62, (INT64_C(1) << 36) + 1};
  const int64_t strides[] = {INT64_MAX, INT64_MIN, INT64_C(1) << 62, -(INT64_C(1) << 60)};
  int64_t before = 0, after = 0, length = 0;
  size_t i;
  CHECK_OK(qjl_cache_free_pages(cache, &before));
  for (i = 0; i < 4; ++i) {
    qjl_tensor t = rows(counts[i]);
    CHECK(refused(qjl_append(cache, sequence, 0, &t, &t, alone)));
    t = rows(kTokens);
    t.token_stride = strides[i];
    CHECK(refused(qjl_append(cache, sequence, 0, &t, &t, alone)));
  }
  CHECK_OK(qjl_cache_free_pages(cache, &after));
  CHECK_OK(qjl_sequence_num_tokens(cache, sequence, 0, &length));
  CHECK(before == after && length == kTokens);
}

static int attend(int64_t heads, int64_t tokens, int64_t head_stride, int64_t token_stride, size_t requests) {
  qjl_attend_request request = {0};
  qjl_attend_call call = {0};
  const qjl_tensor queries = {numbers, QJL_F32, heads, tokens, kDim, 2 * kDim, kDim, QJL_CPU}; /* of counts that are taken */
  const qjl_output output = {out, heads, tokens, kDim, head_stride, token_stride, QJL_CPU};
  request.sequence = sequence;
  request.queries = queries;
  request.out = output;
  call.requests = &request;
  call.num_requests = requests;
  return qjl_attend(cache, &call, plan, alone);
}

static void check_attends(void) {
  CHECK_OK(attend(4, 2, 2 * kDim, kDim, 1));
  CHECK_OK(attend(4, 2, kDim, 4 * kDim, 1)); /* heads beside each other */
  CHECK_OK(attend(4, 1, kDim, 0, 1));        /* a stride that is never taken */
  CHECK_OK(attend(1, 2, 0, kDim, 1));
  CHECK_OK(attend(1, 2, INT64_MIN, kDim, 1)); /* nor this one */
  CHECK_OK(attend(4, 1, kDim, INT64_MIN, 1));
  CHECK(refused(attend(4, 2, 0, kDim, 1)));
  CHECK(refused(attend(4, 1, 0, kDim, 1)));
  CHECK(refused(attend(1, 2, kDim, 0, 1)));
  CHECK(refused(attend(4, 2, 2 * kDim, 0, 1)));
  CHECK(refused(attend(4, 2, kDim, kDim, 1)));
  CHECK(refused(attend(4, 2, 2 * kDim - 1, kDim, 1)));
  CHECK(refused(attend(4, 2, kDim - 1, 4 * kDim, 1)));
  CHECK(refused(attend(4, 2, INT64_MIN, kDim, 1)));
  CHECK(refused(attend((INT64_C(1) << 32) + 2, 1, kDim, kDim, 1)));
  CHECK(refused(attend(4, INT64_MAX, kDim, kDim, 1)));
  CHECK(refused(attend(4, 2, 2 * kDim, kDim, SIZE_MAX)));
  CHECK(refused(attend(4, 2, 2 * kDim, kDim, ((size_t)1 << 24) + 1)));
}

/* Within an address space of 1 GB. */
static void check_refused_memory(void) {
#ifndef SANITIZED
  const qjl_cache_options large = {2, 8, 256, QJL_F16, 1 << 22, "k3v2", 0, NULL, 0, 0, NULL, NULL, QJL_CPU, NULL};
  struct rlimit limit, before;
  pthread_attr_t stacks; /* the default follows the limit that the process was started with, which may be small */
  qjl_cache* refused_cache = NULL;
  qjl_threads* threads = NULL;
  CHECK(pthread_attr_init(&stacks) == 0);
  CHECK(pthread_attr_setstacksize(&stacks, (size_t)8 << 20) == 0);
  CHECK(pthread_setattr_default_np(&stacks) == 0);
  CHECK(pthread_attr_destroy(&stacks) == 0);
  CHECK(getrlimit(RLIMIT_AS, &before) == 0);
  limit = before;
  limit.rlim_cur = (rlim_t)1 << 30;
  CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
  CHECK(qjl_cache_create(&large, &refused_cache) == QJL_NO_MEMORY && refused_cache == NULL);
  CHECK(strstr(qjl_last_error(), "memory") != NULL);
  CHECK(qjl_threads_create(1000, &threads) == QJL_NO_MEMORY && threads == NULL); /* 8 MB of stack each */
  CHECK(setrlimit(RLIMIT_AS, &before) == 0);
  CHECK_OK(qjl_threads_create(4, &threads));
  qjl_threads_destroy(threads);
#endif
}

int main(void) {
  const qjl_cache_options options = {1, 1, kDim, QJL_F16, 8, "k3v2", 0, NULL, 0, 0, NULL, NULL, QJL_CPU, NULL};
  const qjl_tensor few = rows(kTokens);
  CHECK_OK(qjl_cache_create(&options, &cache));
  CHECK_OK(qjl_plan_create(&plan));
  CHECK_OK(qjl_sequence_create(cache, &sequence));
  CHECK_OK(qjl_append(cache, sequence, 0, &few, &few, alone));
  check_appends();
  check_attends();
  check_refused_memory();
  qjl_plan_destroy(plan);
  qjl_cache_destroy(cache);
  if (failures == 0) printf("the bounds hold\n");
  return failures != 0;
}
