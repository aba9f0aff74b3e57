/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Numbers as bytes, little endian, and back. A reader never goes past its end: it
 * returns zeros from there on, and "bad" is the offset at which the bytes ran out.
 */
#ifndef DML__SKEW_WIRE_H
#define DML__SKEW_WIRE_H

#include "core/core.h"
#include "core/wire.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

struct dml__out {
    unsigned char *bytes;
    size_t at;
};

struct dml__in {
    const unsigned char *bytes;
    size_t at, count;
    bool ran_out;
};

static inline void put_u64(struct dml__out *out, uint64_t value)
{
    dml__put_u64(out->bytes + out->at, value);
    out->at += 8;
}

static inline void put_f64(struct dml__out *out, double value)
{
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof bits);
    put_u64(out, bits);
}

static inline void put_bytes(struct dml__out *out, const void *data, size_t count)
{
    if (count > 0)
        memcpy(out->bytes + out->at, data, count);
    out->at += count;
}

static inline size_t bytes_left(const struct dml__in *in)
{
    return in->count - in->at;
}

/* count bytes at the reader's place, or NULL. */
static inline const unsigned char *get_bytes(struct dml__in *in, size_t count)
{
    if (in->ran_out || count > bytes_left(in)) {
        in->ran_out = true;
        return NULL;
    }
    in->at += count;
    return in->bytes + (in->at - count);
}

static inline uint64_t get_u64(struct dml__in *in)
{
    const unsigned char *bytes = get_bytes(in, 8);
    return bytes != NULL ? dml__get_u64(bytes) : 0;
}

static inline double get_f64(struct dml__in *in)
{
    uint64_t bits = get_u64(in);
    double value = 0;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* A finite number from 0 on; not negative zero, whose bits sort above all others. */
static inline bool is_weight(double value)
{
    return value >= 0 && value <= DBL_MAX && !signbit(value);
}

/*
 * Frames: 8 bytes that name what follows, and a checksum (XXH3) of all before it at the
 * end. in_open() checks both, and leaves the reader between them; what is not in order
 * is DML_EFORMAT.
 */
void dml__out_open(struct dml__out *out, void *bytes, const char name[8]);
void dml__out_close(struct dml__out *out);
dml_status dml__in_open(const dml_ctx *ctx, const char *where, struct dml__in *in,
                        const void *bytes, size_t count, const char name[8]);

#endif
