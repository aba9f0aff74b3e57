/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How vectors are cut: into one block per rank, and blocks into pipeline segments.
 */
#include "collectives/coll_internal.h"

struct dml__range dml__balanced(size_t count, int i, int n)
{
    size_t parts = (size_t)n, index = (size_t)i;
    size_t base = count / parts, longer = count % parts;
    return (struct dml__range){index * base + (index < longer ? index : longer),
                               base + (index < longer)};
}

struct dml__range dml__block(const struct dml__call *call, int i)
{
    if (call->counts != NULL)
        return (struct dml__range){call->offsets[i], call->counts[i]};
    if (dml__traits(call->coll)->blocks)
        return (struct dml__range){(size_t)i * call->count, call->count};
    return dml__balanced(call->count, i, dml_comm_size(call->comm));
}

size_t dml__block_max(const struct dml__call *call)
{
    if (call->counts == NULL)
        return dml__block(call, 0).count;
    size_t longest = 0;
    for (int i = 0; i < dml_comm_size(call->comm); i++)
        longest = call->counts[i] > longest ? call->counts[i] : longest;
    return longest;
}

struct dml__range dml__part(struct dml__range range, size_t offset, size_t count)
{
    if (offset >= range.count)
        return (struct dml__range){range.offset + range.count, 0};
    size_t left = range.count - offset;
    return (struct dml__range){range.offset + offset, left < count ? left : count};
}

static int nnodes_of(const struct dml__call *call)
{
    int nnodes = 0;
    dml__comm_nodes(call->comm, &nnodes);
    return nnodes;
}

size_t dml__segment_elems(const struct dml__call *call)
{
    size_t bytes = call->elem_bytes;
    if (dml__reduces(call->coll) && call->red.acc_bytes > bytes)
        bytes = call->red.acc_bytes;
    return (size_t)dml__segment_bytes(nnodes_of(call)) / bytes;
}

int dml__window_segments(const struct dml__call *call)
{
    return nnodes_of(call) > 1 ? DML__NET_WINDOW_SEGMENTS : DML__WINDOW_SEGMENTS;
}
