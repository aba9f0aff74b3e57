/* SPDX-License-Identifier: BSD-3-Clause */
/* Cases of test_reducer that provoke errors. */
#ifndef DML_TEST_REDUCER_MISUSE_H
#define DML_TEST_REDUCER_MISUSE_H

#include "dml_test.h"

void test_reducer_mismatch(struct dml_test *t);
void test_reducer_misuse(struct dml_test *t);
void test_sync_bcast_misuse(struct dml_test *t);

#endif
