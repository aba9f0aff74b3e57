/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The frame around histograms, sketches and plans that are written as bytes.
 */
#include "skew/wire.h"

#include "skew/hash.h"

enum { NAME_BYTES = 8, SUM_BYTES = 8 };

void dml__out_open(struct dml__out *out, void *bytes, const char name[8])
{
    *out = (struct dml__out){.bytes = bytes};
    put_bytes(out, name, NAME_BYTES);
}

void dml__out_close(struct dml__out *out)
{
    put_u64(out, hash_bytes(out->bytes, out->at, 0));
}

dml_status dml__in_open(const dml_ctx *ctx, const char *where, struct dml__in *in,
                        const void *bytes, size_t count, const char name[8])
{
    *in = (struct dml__in){.bytes = bytes, .count = count};
    if (bytes == NULL || count < NAME_BYTES + SUM_BYTES ||
        memcmp(bytes, name, NAME_BYTES) != 0)
        return dml__fail(ctx, DML_EFORMAT, where,
                         "offset 0 of %zu bytes: they do not begin with \"%.8s\"",
                         count, name);
    in->at = count - SUM_BYTES;
    uint64_t sum = get_u64(in);
    if (sum != hash_bytes(bytes, count - SUM_BYTES, 0))
        return dml__fail(ctx, DML_EFORMAT, where,
                         "offset %zu: the checksum is wrong, so the bytes are damaged "
                         "or cut short",
                         count - SUM_BYTES);
    in->at = NAME_BYTES;
    in->count = count - SUM_BYTES;
    return DML_OK;
}
