/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tensors into buckets, one at a time; see filling.h.
 */
#include "sync/filling.h"

size_t dml__filling_put(struct dml__filling *f, size_t kind, size_t bytes)
{
    if (!f->is_open[kind]) {
        f->is_open[kind] = true;
        f->open[kind] = f->n++;
        f->filled[kind] = 0;
    }
    const size_t bucket = f->open[kind];
    f->filled[kind] += bytes;
    if (f->filled[kind] >= (bucket == 0 ? f->first_bucket_bytes : f->bucket_bytes))
        f->is_open[kind] = false;
    return bucket;
}

bool dml__run_goes_on(struct dml__run *run, void *data, size_t bytes)
{
    if (bytes == 0)
        return true;
    if (run->start != NULL && run->end != data)
        return false;
    if (run->start == NULL)
        run->start = data;
    run->end = (char *)data + bytes;
    return true;
}
