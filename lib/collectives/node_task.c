/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the node's algorithms have in common (node_task.h).
 */
#include "collectives/node_task.h"

#include <string.h>

const char *dml__node_supports(const struct dml__call *call)
{
    const struct dml__node *node = dml__comm_node(call->comm);
    if (dml_comm_size(call->comm) == 1)
        return NULL; /* nothing is shared, nor needs to be */
    return node != NULL && node->size <= DML__NODE_RANKS_MAX
               ? NULL
               : "the ranks are not on one node, or share no memory";
}

dml_status dml__node_advance(void *state)
{
    struct dml__node_task *task = state;
    dml_status status = DML_OK;
    while (status == DML_OK && task->stage != NULL)
        status = task->stage(task);
    return status;
}

/* Elements whose running sum stays in the first-level cache. */
enum { PIECE = 1024 };

/* A piece of dml__reduce_terms where elements are accumulators. Only the last addition
 * writes dst, which may be one of the terms. */
static void reduce_as_is(const struct dml__call *call, const char *const *term,
                         size_t at, char *dst, size_t n)
{
    const struct dml__reduction *red = &call->red;
    int last = dml_comm_size(call->comm) - 1;
    size_t offset = at * red->acc_bytes;
    double sum[PIECE];
    const void *so_far = term[0] + offset;
    for (int i = 1; i <= last; i++) {
        void *to = i < last ? (void *)sum : dst;
        red->merge(to, so_far, term[i] + offset, n, 0);
        so_far = to;
    }
    if (red->store != NULL)
        red->store(dst, dst, NULL, n, red->divisor);
}

/* A piece of it where a running sum has another type. */
static void reduce_widened(const struct dml__call *call, const char *const *term,
                           size_t at, char *dst, size_t n)
{
    const struct dml__reduction *red = &call->red;
    int nranks = dml_comm_size(call->comm);
    double sum[PIECE]; /* as large as any accumulator type */
    if (red->own_scale) {
        size_t offset = at * red->acc_bytes;
        red->merge(sum, term[0] + offset, term[1] + offset, n, 0);
        for (int i = 2; i < nranks; i++)
            red->merge(sum, sum, term[i] + offset, n, 0);
    } else {
        size_t offset = at * call->elem_bytes;
        red->load(sum, term[0] + offset, NULL, n, red->scale);
        for (int i = 1; i < nranks; i++)
            red->fold(sum, sum, term[i] + offset, n, red->scale);
    }
    red->store(dst, sum, NULL, n, red->divisor);
}

void dml__reduce_terms(const struct dml__call *call, const char *const *term, void *dst,
                       size_t n)
{
    bool as_is = call->red.acc_bytes == call->elem_bytes;
    for (size_t at = 0; at < n; at += PIECE) {
        size_t count = n - at < PIECE ? n - at : PIECE;
        char *to = (char *)dst + at * call->elem_bytes;
        if (as_is)
            reduce_as_is(call, term, at, to, count);
        else
            reduce_widened(call, term, at, to, count);
    }
}
