/* A layer that keeps a page and forgets the rest, beside one that keeps all, through the C API. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "qjl/qjl.h"

enum { kLayers = 2, kHeads = 2, kDim = 64, kTokens = 300, kFirstKept = 128 };

static float numbers[kHeads * kTokens * kDim];

int main(void) {
  const int64_t kept[kLayers] = {0, 128};
  const qjl_cache_options options = {kLayers, kHeads, kDim, QJL_F16, 16, "k4v4", 0, NULL, 0, 0, NULL, NULL, QJL_CPU, kept};
  const qjl_tensor rows = {numbers, QJL_F32, kHeads, kTokens, kDim, kTokens * kDim, kDim, QJL_CPU};
  const qjl_queue queue = {NULL, NULL};
  qjl_memory_report r;
  qjl_cache* cache = NULL;
  qjl_sequence sequence = 0;
  int64_t token = -1;
  int32_t can = -1;
  int i;
  for (i = 0; i < kHeads * kTokens * kDim; ++i) numbers[i] = noise();
  CHECK_OK(qjl_cache_create(&options, &cache));
  CHECK_OK(qjl_sequence_create(cache, &sequence));
  for (i = 0; i < kLayers; ++i) CHECK_OK(qjl_append(cache, sequence, i, &rows, &rows, queue));
  CHECK_OK(qjl_sequence_first_kept(cache, sequence, 0, &token));
  CHECK(token == 0);
  CHECK_OK(qjl_sequence_first_kept(cache, sequence, 1, &token));
  CHECK(token == kFirstKept);
  CHECK_OK(qjl_cache_memory(cache, &r));
  CHECK(r.full.num_layers == 1 && r.windowed.num_layers == 1 && r.full.sealed_pages == 2 * r.windowed.sealed_pages);
  CHECK(r.full.kept_tokens == kTokens && r.windowed.kept_tokens == kTokens - kFirstKept);
  CHECK(r.full.sealed_pages + r.windowed.sealed_pages == r.sealed_pages);
  CHECK_OK(qjl_sequence_can_truncate(cache, sequence, kTokens, &can));
  CHECK(can == 1);
  CHECK_OK(qjl_sequence_can_truncate(cache, sequence, 130, &can));
  CHECK(can == 0);
  CHECK(qjl_sequence_truncate(cache, sequence, 130, queue) == QJL_INVALID_ARGUMENT);
  CHECK(strstr(qjl_last_error(), "has forgotten those before") != NULL);
  qjl_cache_destroy(cache);
  if (failures == 0) printf("the C API forgets\n");
  return failures != 0;
}
