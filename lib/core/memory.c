/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory: one way to get it, so that a test can make any allocation fail; and copies.
 */
#include "core/core.h"
#include "core/ctx_internal.h"

#include <stdlib.h>
#include <string.h>

void dml__copy(void *dst, const void *src, size_t bytes)
{
    enum { PIECE = 128 * 1024 };
    char *to = dst;
    const char *from = src;
    for (; bytes > PIECE; bytes -= PIECE, to += PIECE, from += PIECE)
        memcpy(to, from, PIECE);
    if (bytes > 0)
        memcpy(to, from, bytes);
}

size_t dml__mul(size_t count, size_t bytes)
{
    return bytes != 0 && count > SIZE_MAX / bytes ? SIZE_MAX : count * bytes;
}

void *dml__alloc(dml_ctx *ctx, size_t bytes)
{
    if (ctx != NULL && dml__ctx_alloc_must_fail(ctx))
        return NULL;
    if (bytes > SIZE_MAX - DML__ALIGN)
        return NULL;
    size_t rounded = (bytes + DML__ALIGN) / DML__ALIGN * DML__ALIGN;
    void *memory = aligned_alloc(DML__ALIGN, rounded);
    if (memory != NULL)
        memset(memory, 0, rounded);
    return memory;
}

void dml__free(void *memory)
{
    free(memory);
}
