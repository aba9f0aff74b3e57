/* SPDX-License-Identifier: BSD-3-Clause */
/* Cases of test_sharded that need no training run; see sharded_misuse.c. */
#ifndef DML_SHARDED_MISUSE_H
#define DML_SHARDED_MISUSE_H

#include "dml_test.h"

dml_test_fn test_sharded_bytes, test_sharded_calls, test_sharded_registration;

#endif
