/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loops over bytes, for files (lib/data): a checksum and a search, one table per
 * instruction set, all of which give the same values.
 */
#ifndef DML__BYTES_H
#define DML__BYTES_H

#include <stddef.h>
#include <stdint.h>

struct dml__byte_kernels {
    /* CRC32C of n bytes, continued from the checksum of those before (0 at first). */
    uint32_t (*crc32c)(uint32_t crc, const void *data, size_t n);

    /* Lists where text has the delimiter, a newline, a double quote or a zero: at [n]
     * in ascending order; returns how many. n is below 2^32. */
    size_t (*find_marks)(const char *text, size_t n, char delimiter, uint32_t *at);
};

/* The table that belongs to the set of kernels of this name. */
const struct dml__byte_kernels *dml__byte_kernels(const char *set);

#endif
