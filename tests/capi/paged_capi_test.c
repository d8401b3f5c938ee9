/* The C API's pages in the caller's memory, from C: a step beside a cache of the same options gives the same numbers; every wrong call
 * gives a status and a text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "qjl/qjl.h"

enum { kHeads = 2, kGroup = 3, kDim = 64, kTokens = 300, kBlocks = 4, kLine = 64 };

static float* numbers(size_t count) {
  size_t i;
  float* all = malloc(count * sizeof(float));
  if (all == NULL) exit(1);
  for (i = 0; i < count; ++i) all[i] = noise();
  return all;
}
/* Rows of all tokens; those from `first` on. */
static qjl_tensor rows(const float* data, int64_t heads, int64_t first, int64_t count) {
  qjl_tensor t = {NULL, QJL_F32, heads, count, kDim, kTokens * kDim, kDim, QJL_CPU};
  t.data = data + first * kDim;
  return t;
}
static qjl_output outputs(float* data, int64_t count) {
  qjl_output o = {data, kHeads * kGroup, count, kDim, count * kDim, kDim, QJL_CPU};
  return o;
}
static void* aligned(void* at) { return (char*)at + (kLine - (uintptr_t)at % kLine) % kLine; }

/* What the test works with. */
struct scene {
  qjl_cache* cache;
  qjl_paged* paged;
  qjl_plan* plan;
  qjl_sequence sequence;
  qjl_queue queue;
  float *keys, *values, *queries, *found, *wanted, *lse;
  void *pages, *tails;
  int32_t blocks[3];
  qjl_paged_request request;
  qjl_paged_call call;
};

static void open_scene(struct scene* s) {
  const qjl_cache_options options = {1, kHeads, kDim, QJL_F16, 16, "k3v2:sinks=1", 0, NULL, 0, 0, NULL, NULL, QJL_CPU, NULL};
  qjl_paged_bytes bytes = {0};
  memset(s, 0, sizeof(*s));
  srand(2);
  s->keys = numbers(kHeads * kTokens * kDim);
  s->values = numbers(kHeads * kTokens * kDim);
  s->queries = numbers(kHeads * kGroup * kTokens * kDim);
  s->found = numbers(kHeads * kGroup * kTokens * kDim);
  s->wanted = numbers(kHeads * kGroup * kTokens * kDim);
  s->lse = numbers(kHeads * kGroup * kTokens);
  CHECK_OK(qjl_plan_create(&s->plan));
  CHECK_OK(qjl_cache_create(&options, &s->cache));
  CHECK_OK(qjl_sequence_create(s->cache, &s->sequence));
  CHECK_OK(qjl_paged_create(&options, &s->paged));
  CHECK_OK(qjl_paged_sizes(s->paged, 0, &bytes));
  CHECK(bytes.page == 5456 && bytes.sinks == 256 && bytes.part == 5712 && bytes.tail == 2 * kHeads * 128 * kDim * 2);
  s->pages = calloc(1, kBlocks * kHeads * 45 * 128 + kLine);
  s->tails = calloc(1, 2 * (size_t)bytes.tail + kLine);
  if (s->pages == NULL || s->tails == NULL) exit(1);
  s->call.pages.base = aligned(s->pages);
  s->call.pages.num_blocks = kBlocks;
  s->call.pages.head_stride = s->call.pages.page_bytes = 45 * 128;
  s->call.pages.block_stride = kHeads * 45 * 128;
  s->call.tails.base = aligned(s->tails);
  s->call.tails.num_tails = 2;
  s->call.tails.tail_stride = bytes.tail;
  s->blocks[0] = 2, s->blocks[1] = 0, s->blocks[2] = 3;
  s->request.block_ids = s->blocks;
  s->request.num_blocks = 3;
  s->request.tail_id = 1;
  s->call.requests = &s->request;
  s->call.num_requests = 1;
}

static void close_scene(struct scene* s) {
  void* const memory[] = {s->keys, s->values, s->queries, s->found, s->wanted, s->lse, s->pages, s->tails};
  size_t i;
  for (i = 0; i < sizeof(memory) / sizeof(memory[0]); ++i) free(memory[i]);
  qjl_paged_destroy(s->paged);
  qjl_paged_destroy(NULL);
  qjl_cache_destroy(s->cache);
  qjl_plan_destroy(s->plan);
}

/* Tokens [first, first + count) in both. */
static void step(struct scene* s, int64_t first, int64_t count) {
  const size_t written = (size_t)(kHeads * kGroup * count * kDim) * sizeof(float);
  qjl_attend_request request = {0};
  qjl_attend_call call = {0};
  s->request.num_tokens = first;
  s->request.keys = request.chunk_keys = rows(s->keys, kHeads, first, count);
  s->request.values = request.chunk_values = rows(s->values, kHeads, first, count);
  s->request.queries = request.queries = rows(s->queries, kHeads * kGroup, first, count);
  s->request.out = outputs(s->found, count);
  s->request.lse = s->lse;
  request.sequence = s->sequence;
  request.out = outputs(s->wanted, count);
  call.requests = &request;
  call.num_requests = 1;
  CHECK_OK(qjl_attend(s->cache, &call, s->plan, s->queue));
  CHECK_OK(qjl_append(s->cache, s->sequence, 0, &request.chunk_keys, &request.chunk_values, s->queue));
  CHECK_OK(qjl_paged_step(s->paged, &s->call, s->plan, s->queue));
  CHECK_OK(qjl_paged_wait(s->paged, s->queue));
  CHECK(memcmp(s->found, s->wanted, written) == 0);
}

static void check_through(struct scene* s) {
  qjl_attend_request request = {0};
  qjl_attend_call call = {0};
  qjl_tensor none = {0};
  request.sequence = s->sequence;
  request.queries = s->request.queries = rows(s->queries, kHeads * kGroup, 0, 7);
  request.out = outputs(s->wanted, 7);
  call.requests = &request;
  call.num_requests = 1;
  s->request.num_tokens = kTokens;
  s->request.keys = s->request.values = none;
  s->request.out = outputs(s->found, 7);
  CHECK_OK(qjl_attend(s->cache, &call, s->plan, s->queue));
  CHECK_OK(qjl_paged_attend(s->paged, &s->call, s->plan, s->queue));
  CHECK(memcmp(s->found, s->wanted, kHeads * kGroup * 7 * kDim * sizeof(float)) == 0);
}

static void refused(int status, const char* text, int line) {
  check(status == QJL_INVALID_ARGUMENT && strstr(qjl_last_error(), text) != NULL, text, line);
}
#define REFUSED(call, text) refused((call), (text), __LINE__)

static void check_errors(struct scene* s) {
  qjl_paged_call call = s->call;
  qjl_paged_request request = s->request;
  qjl_paged_bytes bytes;
  REFUSED(qjl_paged_create(NULL, &s->paged), "[qjl_paged_create] options is null");
  REFUSED(qjl_paged_sizes(s->paged, 1, &bytes), "layer is 1, wanted 0 to 0");
  REFUSED(qjl_paged_sizes(s->paged, 0, NULL), "bytes is null");
  REFUSED(qjl_paged_append(NULL, &call, s->queue), "paged is null");
  REFUSED(qjl_paged_attend(s->paged, &call, NULL, s->queue), "plan is null");
  REFUSED(qjl_paged_step(s->paged, NULL, s->plan, s->queue), "call is null");
  call.requests = NULL;
  REFUSED(qjl_paged_append(s->paged, &call, s->queue), "requests is null");
  call.requests = &request;
  request.block_ids = NULL;
  REFUSED(qjl_paged_append(s->paged, &call, s->queue), "block_ids is null");
  request = s->request;
  call.pages.device = -1;
  REFUSED(qjl_paged_append(s->paged, &call, s->queue), "device is -1");
  call.pages.device = QJL_CUDA;
  REFUSED(qjl_paged_append(s->paged, &call, s->queue), "pages lie in the memory of CUDA device 0, wanted that of the host");
  call.pages = s->call.pages;
  call.chunk_products = 9;
  REFUSED(qjl_paged_step(s->paged, &call, s->plan, s->queue), "[qjl_paged_step] chunk_products is 9");
  call.chunk_products = QJL_CHUNK_FP32;
  request.tail_id = 2;
  REFUSED(qjl_paged_attend(s->paged, &call, s->plan, s->queue), "tail id is 2, wanted 0 to 1");
}

int main(void) {
  struct scene s;
  open_scene(&s);
  step(&s, 0, 100);
  step(&s, 100, 1);
  step(&s, 101, 155);
  step(&s, 256, kTokens - 256);
  check_through(&s);
  check_errors(&s);
  close_scene(&s);
  if (failures == 0) printf("the C API of pages holds\n");
  return failures != 0;
}
