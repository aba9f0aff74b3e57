/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every environment variable that libdml and its programs read, so that a misspelt one
 * is told instead of ignored. README.md describes them; the check docs.py compares.
 */
#include "core/core.h"
#include "core/ctx_internal.h"

#include <stdio.h>
#include <string.h>

/* Without the prefix DML_. Those that start with TEST_ are the tests' own. */
static const char *const names[] = {
    "ALLGATHER",    "ALLREDUCE", "ALLTOALL", "BARRIER",  "BCAST",     "CMA",
    "DATA",         "GATHER",    "ISA",      "LOG",      "MEASURE",   "MPI_MULTIPLE",
    "MPI_SKIP",     "MPI_STATS", "NODES",    "PROGRESS", "REDUCE",    "REDUCE_SCATTER",
    "REPRODUCIBLE", "ROLL_CALL", "SCATTER",  "SHM",      "SINGLETON", "SUMMARY",
    "TIMEOUT_S",    "TRACE",     "TUNING",   "WAIT",
};

enum { NNAMES = sizeof names / sizeof names[0], LONGEST = 32 };

/* Letters to insert, remove or replace until one word is the other (Levenshtein). */
static size_t distance(const char *a, size_t a_length, const char *b)
{
    size_t row[LONGEST + 1], b_length = strlen(b);
    for (size_t j = 0; j <= b_length; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t corner = row[0]; /* of i-1, j-1 */
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t replaced = corner + (a[i - 1] != b[j - 1]);
            size_t other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            corner = row[j];
            row[j] = replaced < other ? replaced : other;
        }
    }
    return row[b_length];
}

bool dml__env_unknown(const char *entry, const char **nearest)
{
    const char *name = entry + strlen("DML_");
    size_t length = strcspn(name, "="), best = SIZE_MAX;
    if (strncmp(name, "TEST_", 5) == 0)
        return false;
    for (size_t i = 0; i < NNAMES && best > 0; i++) {
        size_t d = distance(name, length, names[i]);
        if (d >= best)
            continue;
        best = d;
        *nearest = names[i];
    }
    return best > 0;
}
