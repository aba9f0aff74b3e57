/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * More than 2^31 elements in one call, where an int count, or a product of ints, would
 * wrap: u8 vectors of 2^31 + 7 bytes. Skipped by name where memory is short.
 *
 * Values are a function of the index that does not repeat after 2^31 or 2^32 elements,
 * so that a block at a wrapped offset is seen.
 */
#include "dml_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LARGE     (((size_t)1 << 31) + 7)
#define NEEDED_KB ((size_t)12 << 20)

/* Kilobytes that programs may still have on this machine; 0 when that is not known. */
static size_t available_kb(void)
{
    size_t kb = 0;
    char line[128];
    FILE *f = fopen("/proc/meminfo", "r");
    if (f == NULL)
        return 0;
    while (kb == 0 && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "MemAvailable:", 13) == 0)
            kb = strtoull(line + 13, NULL, 10);
    fclose(f);
    return kb;
}

static bool too_small(struct dml_test *t)
{
    /* One rank looks, so that all decide alike. */
    int enough = available_kb() >= NEEDED_KB;
    MPI_Bcast(&enough, 1, MPI_INT, 0, t->mpi);
    if (!enough)
        dml_test_skip(t, "needs 12 GiB of free memory");
    else if (t->nranks > 2)
        dml_test_skip(t, "needs 1 or 2 ranks");
    return !enough || t->nranks > 2;
}

static unsigned char value(size_t i, int rank)
{
    return (unsigned char)((i * 2654435761u >> 13) + (i >> 31) * 101 +
                           (size_t)rank * 7);
}

static unsigned char *filled(size_t count, int rank)
{
    unsigned char *x = dml_test_alloc(count);
    for (size_t i = 0; i < count; i++)
        x[i] = value(i, rank);
    return x;
}

static void check_values(struct dml_test *t, const unsigned char *x, size_t count,
                         int rank)
{
    for (size_t i = 0; i < count; i++)
        if (x[i] != value(i, rank)) {
            dml_test_fail(t, "index %zu: got %u, wanted %u", i, x[i], value(i, rank));
            return;
        }
}

static void test_allreduce(struct dml_test *t)
{
    if (too_small(t))
        return;
    unsigned char *x = filled(LARGE, t->rank);
    dml_test_step(t, "dml_allreduce of %zu elements", LARGE);
    dml_test_status(t, "dml_allreduce",
                    dml_allreduce(DML_IN_PLACE, x, LARGE, DML_U8, DML_SUM, t->comm),
                    DML_OK);
    for (size_t i = 0; i < LARGE; i++) {
        unsigned sum = 0;
        for (int r = 0; r < t->nranks; r++)
            sum += value(i, r);
        if (x[i] != (unsigned char)sum) {
            dml_test_fail(t, "index %zu: got %u, wanted %u", i, x[i], sum & 255);
            break;
        }
    }
    free(x);
}

static void test_bcast(struct dml_test *t)
{
    if (too_small(t))
        return;
    int root = t->nranks - 1;
    unsigned char *x = filled(LARGE, t->rank);
    dml_test_step(t, "dml_bcast of %zu elements", LARGE);
    dml_test_status(t, "dml_bcast", dml_bcast(x, LARGE, DML_U8, root, t->comm), DML_OK);
    check_values(t, x, LARGE, root);
    free(x);
}

/* Blocks of half the size, so that the second one lies beyond 2^31. */
static void test_allgather(struct dml_test *t)
{
    if (too_small(t))
        return;
    size_t block = LARGE / (size_t)t->nranks + 3;
    unsigned char *x = dml_test_alloc(block * (size_t)t->nranks);
    unsigned char *own = filled(block, t->rank);
    memcpy(x + (size_t)t->rank * block, own, block);
    free(own);
    dml_test_step(t, "dml_allgather of blocks of %zu elements", block);
    dml_test_status(t, "dml_allgather",
                    dml_allgather(DML_IN_PLACE, x, block, DML_U8, t->comm), DML_OK);
    for (int r = 0; r < t->nranks; r++)
        check_values(t, x + (size_t)r * block, block, r);
    free(x);
}

static void test_messages(struct dml_test *t)
{
    if (too_small(t))
        return;
    if (t->nranks == 1) {
        dml_test_skip(t, "needs a second rank");
        return;
    }
    unsigned char *x = filled(LARGE, t->rank);
    dml_test_step(t, "message of %zu elements", LARGE);
    if (t->rank == 0)
        dml_test_status(t, "dml_send", dml_send(x, LARGE, DML_U8, 1, 3, t->comm),
                        DML_OK);
    else
        dml_test_status(t, "dml_recv", dml_recv(x, LARGE, DML_U8, 0, 3, t->comm),
                        DML_OK);
    check_values(t, x, LARGE, 0);
    free(x);
}

static dml_status check_record(void *user, int source, const void *record, size_t bytes)
{
    struct dml_test *t = user;
    DML_CHECK(t, bytes == LARGE, "%zu bytes, wanted %zu", bytes, LARGE);
    check_values(t, record, bytes, source);
    return DML_OK;
}

static void test_exchange(struct dml_test *t)
{
    if (too_small(t))
        return;
    dml_exchange *x = NULL;
    unsigned char *record = t->rank == 0 ? filled(LARGE, 0) : NULL;
    dml_test_step(t, "a record of %zu bytes", LARGE);
    dml_test_status(t, "dml_exchange_create",
                    dml_exchange_create(NULL, check_record, t, t->comm, &x), DML_OK);
    if (t->rank == 0)
        dml_test_status(t, "dml_exchange_push",
                        dml_exchange_push(x, t->nranks - 1, record, LARGE), DML_OK);
    dml_test_status(t, "dml_exchange_finish", dml_exchange_finish(x), DML_OK);
    dml_exchange_stats stats;
    dml_exchange_get_stats(x, &stats);
    DML_CHECK(t, stats.records_received == (t->rank == t->nranks - 1),
              "%llu records came", (unsigned long long)stats.records_received);
    dml_exchange_destroy(x);
    free(record);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"allreduce past 2^31", test_allreduce}, {"bcast past 2^31", test_bcast},
        {"allgather past 2^31", test_allgather}, {"message past 2^31", test_messages},
        {"record past 2^31", test_exchange},
    };
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
