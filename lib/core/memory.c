/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory: one way to get it, so that a test can make any allocation fail; and copies.
 */
#include "core/core.h"
#include "core/ctx_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Vectors of a few huge pages are swept at the memory's bandwidth, where 4 KiB pages
 * cost a third of it: most systems give huge pages only to those who ask. */
#define HUGE_PAGE ((size_t)2 << 20)

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
    bool huge = bytes >= 4 * HUGE_PAGE;
    size_t align = huge ? HUGE_PAGE : DML__ALIGN;
    if (bytes > SIZE_MAX - align)
        return NULL;
    size_t used = (bytes + DML__ALIGN) / DML__ALIGN * DML__ALIGN;
    size_t rounded = (bytes + align) / align * align; /* as the standard wants it */
    void *memory = aligned_alloc(align, rounded);
    if (memory == NULL)
        return NULL;
#ifdef MADV_HUGEPAGE
    if (huge)
        madvise(memory, rounded, MADV_HUGEPAGE); /* a wish */
#endif
    memset(memory, 0, used);
    return memory;
}

void dml__free(void *memory)
{
    free(memory);
}
