/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rules of the tuning table, which users write or dml-tune does (doc/tuning.md).
 */
#ifndef DML__TABLE_H
#define DML__TABLE_H

#include "collectives/coll_internal.h"

/* From the first to the last, both included. */
struct dml__span {
    uint64_t first, last;
};

struct dml__rule {
    int line;
    dml_coll coll;
    struct dml__span ranks, nodes, bytes;
    const struct dml__alg *alg; /* NULL: "auto" */
};

/* Makes rules[] of a table's text; *rules is freed by the caller. On failure the text
 * of the error names "name" and the line. */
dml_status dml__table_parse(dml_ctx *ctx, const char *name, const char *text,
                            struct dml__rule **rules, size_t *nrules);

/* The first rule from "from" on that speaks of this collective, here and at this size;
 * nrules when there is none. */
size_t dml__table_find(const struct dml__rule *rules, size_t nrules, size_t from,
                       dml_coll coll, const dml_comm *comm, double bytes);

#endif
