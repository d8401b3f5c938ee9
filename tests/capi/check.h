/* What the programs in C are written with: checks that go on after a failure, and numbers. */
#ifndef QJL_TESTS_CAPI_CHECK_H
#define QJL_TESTS_CAPI_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#include "qjl/qjl.h"

static int failures = 0;

static void check(int holds, const char* what, int line) {
  if (holds) return;
  printf("line %d: %s does not hold; last error: %s\n", line, what, qjl_last_error());
  ++failures;
}
#define CHECK(condition) check((condition), #condition, __LINE__)
#define CHECK_OK(call) check((call) == QJL_OK, #call, __LINE__)

static inline float noise(void) { return (float)rand() / (float)RAND_MAX - 0.5f; }

#endif
