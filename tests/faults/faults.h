/* The n-th call of one kind fails, as a system without memory, disk or threads would make it fail.
 *
 * Linked into a test, or loaded before a program (LD_PRELOAD) with QJL_FAULT=KIND:N or KIND:N+ (that call and all after it). */
#ifndef QJL_TESTS_FAULTS_H
#define QJL_TESTS_FAULTS_H

#ifdef __cplusplus
extern "C" {
#endif

enum fault_kind { FAULT_NONE, FAULT_MALLOC, FAULT_MMAP, FAULT_WRITE, FAULT_FSYNC, FAULT_RENAME, FAULT_PTHREAD_CREATE };

/* Call number n from now on, counted from 1, fails; with `on` those after it too. */
void fault_arm(enum fault_kind kind, long n, int on);
/* No call fails any more; those counted stay. */
void fault_disarm(void);
/* Calls of that kind from fault_arm to fault_disarm. */
long fault_calls(void);

#ifdef __cplusplus
}
#endif

#endif
