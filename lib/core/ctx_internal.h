/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DML__CTX_INTERNAL_H
#define DML__CTX_INTERNAL_H

#include "core/core.h"

/* Counts allocations; true for the one that DML_TEST_ALLOC_FAIL names. */
bool dml__ctx_alloc_must_fail(dml_ctx *ctx);

#endif
