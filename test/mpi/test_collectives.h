/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The cases of test_collectives that live in files of their own, and what they share.
 */
#ifndef DML_TEST_COLLECTIVES_H
#define DML_TEST_COLLECTIVES_H

#include "coll_case.h"

/* coll_misuse.c */
/* One for device memory leaves the choice free for the host's, unless GPUs are in use
 * and it takes both. */
bool coll_is_path(const char *name);
void test_bad_arguments(struct dml_test *t);
void test_algorithm_table(struct dml_test *t);
void test_algorithm_environment(struct dml_test *t);

/* coll_special.c */
void test_nan(struct dml_test *t);
void test_barrier(struct dml_test *t);
void test_op_handles(struct dml_test *t);
void test_stats(struct dml_test *t);

/* coll_overlap.c */
void test_many_in_flight(struct dml_test *t);
void test_mixed_with_p2p(struct dml_test *t);
void test_split(struct dml_test *t);
void test_two_communicators(struct dml_test *t);

#endif
