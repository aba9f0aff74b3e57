/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DML__CTX_INTERNAL_H
#define DML__CTX_INTERNAL_H

#include "core/core.h"
#include "core/trace_file.h"

/* Counts allocations; true for the one that DML_TEST_ALLOC_FAIL names. */
bool dml__ctx_alloc_must_fail(dml_ctx *ctx);

/* Is "DML_NAME=value" no variable of libdml? Then *nearest is the name, without DML_,
 * that is most like it. */
bool dml__env_unknown(const char *entry, const char **nearest);

/* What "DML_NAME=value" takes instead, if the variable is one of few values and this is
 * none of them; else NULL. An empty value is none at all. */
const char *dml__env_refused(const char *entry);

/* The context's trace file; NULL as long as there is none. If there is none "made"
 * becomes it, and the context closes it at its end. */
struct dml__trace_file *dml__ctx_trace(dml_ctx *ctx, struct dml__trace_file *made);

#endif
