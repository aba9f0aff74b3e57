/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a reducer tells about itself: counters, and what was chosen for each bucket.
 */
#include "sync/compress.h"

void dml_reducer_get_stats(const dml_reducer *r, dml_reducer_stats *stats)
{
    *stats = r->stats;
}

dml_status dml_reducer_get_bucket(const dml_reducer *r, size_t index,
                                  dml_bucket_info *info)
{
    if (r == NULL || info == NULL)
        return DML_EINVAL;
    if (index >= r->nbuckets)
        return dml__fail(dml_comm_ctx(r->comm), DML_EINVAL, __func__,
                         "bucket %zu of %zu does not exist", index, r->nbuckets);
    const struct dml__bucket *b = &r->buckets[index];
    const struct dml__compression *c = r->compression;
    *info = (dml_bucket_info){
        .tensors = b->n,
        .count = b->count,
        .dtype = b->dtype,
        .compressed = b->compressed,
        .dense_bytes = b->count * dml_dtype_bytes(b->dtype),
        .code_bytes = b->count * dml_dtype_bytes(b->dtype),
        .why = c == NULL        ? "no codec"
               : b->why == NULL ? "the first step is dense"
                                : b->why,
    };
    if (b->exchange == NULL || b->kind != DML__CODED)
        return DML_OK;
    info->code_bytes = b->exchange->code_bytes;
    info->wire_bytes = b->exchange->wire_bytes;
    info->steps = b->exchange->steps;
    const struct dml__sample s = dml__compress_predict(c, b->count);
    info->dense_s = s.dense_s;
    info->encode_s = s.encode_s;
    info->decode_s = s.decode_s;
    info->transfer_s = s.total_s - s.encode_s - s.decode_s;
    return DML_OK;
}
