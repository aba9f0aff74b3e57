/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MPI's collectives on world, halves of it in reversed order, a torus and this rank
 * alone, compared with the same calls made as PMPI_*.
 * Usage: test_shim [CASE]   runs the cases whose names contain CASE
 * SHIM_TEST_LEVEL=single initialises MPI for one thread; SHIM_TEST_SKIP=CASE leaves
 * that case out.
 */
#include "shim_test.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name;
    shim_case_fn *fn;
} cases[] = {
    {"allreduce", test_allreduce},
    {"reduce", test_reduce},
    {"reduce_scatter", test_reduce_scatter},
    {"not_ours", test_not_ours},
    {"bcast", test_bcast},
    {"allgather", test_allgather},
    {"allgatherv", test_allgatherv},
    {"bottom", test_bottom},
    {"errors", test_errors},
    {"attributes", test_attributes},
    {"inter", test_inter},
    {"threads", test_threads},
    {"progress", test_progress},
    {"barrier", test_barrier},
    {"nonblocking", test_nonblocking},
    {"many", test_many},
    {"outstanding", test_outstanding},
    {"freed", test_freed},
    {"mixed", test_mixed},
    {"elsewhere", test_elsewhere},
    {"siblings", test_siblings},
    {"async_threads", test_async_threads},
    {"faults", test_faults},
};

/* The case that runs, for messages. */
static struct {
    const char *name, *where;
    int rank, failures;
    unsigned seed, state;
} now;

void shim_check(bool condition, const char *format, ...)
{
    if (condition || ++now.failures > 4)
        return;
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "FAIL: case %s on %s, rank %d: %s (seed %u)\n", now.name, now.where,
            now.rank, text, now.seed);
}

unsigned shim_random(void)
{
    now.state = now.state * 1664525u + 1013904223u;
    return now.state >> 8;
}

void *shim_alloc(size_t bytes)
{
    void *memory = calloc(bytes + 1, 1);
    if (memory == NULL) {
        fprintf(stderr, "test: no memory for %zu bytes\n", bytes);
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    return memory;
}

/* True when the case passed on all ranks. */
static bool run(size_t which, const char *where, MPI_Comm comm)
{
    int failures = 0;
    now.name = cases[which].name;
    now.where = where;
    now.failures = 0;
    now.state = now.seed + (unsigned)which;
    alarm(60); /* ends the job: some rank waits for ever */
    cases[which].fn(comm);
    PMPI_Allreduce(&now.failures, &failures, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    if (failures > 0 && now.rank == 0)
        printf("FAIL %s on %s\n", now.name, where);
    return failures == 0;
}

int main(int argc, char **argv)
{
    int level = 0, size = 0, passed = 0, failed = 0, dims[2] = {0, 0};
    int periods[2] = {1, 0};
    const char *wish = getenv("SHIM_TEST_LEVEL");
    if (wish != NULL && strcmp(wish, "single") == 0)
        MPI_Init(&argc, &argv);
    else
        MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &level);
    PMPI_Comm_rank(MPI_COMM_WORLD, &now.rank);
    PMPI_Comm_size(MPI_COMM_WORLD, &size);
    const char *wanted = argc > 1 ? argv[1] : "", *skipped = getenv("SHIM_TEST_SKIP");
    const char *seed = getenv("DML_TEST_SEED");
    now.seed = seed != NULL ? (unsigned)strtoul(seed, NULL, 10) : (unsigned)getpid();
    PMPI_Bcast(&now.seed, 1, MPI_UNSIGNED, 0, MPI_COMM_WORLD);
    if (now.rank == 0)
        printf("seed %u\n", now.seed);
    MPI_Comm half = MPI_COMM_NULL, torus = MPI_COMM_NULL;
    MPI_Comm_split(MPI_COMM_WORLD, now.rank % 2, -now.rank, &half);
    MPI_Dims_create(size, 2, dims);
    MPI_Cart_create(MPI_COMM_WORLD, 2, dims, periods, 0, &torus);
    const struct {
        const char *name;
        MPI_Comm comm;
    } comms[] = {{"world", MPI_COMM_WORLD},
                 {"halves", half},
                 {"torus", torus},
                 {"self", MPI_COMM_SELF}};
    for (size_t c = 0; c < sizeof comms / sizeof comms[0]; c++)
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            if (strstr(cases[i].name, wanted) == NULL ||
                (skipped != NULL && strcmp(cases[i].name, skipped) == 0))
                continue;
            bool good = run(i, comms[c].name, comms[c].comm);
            passed += good;
            failed += !good;
        }
    MPI_Comm_free(&half); /* the torus is left to MPI_Finalize */
    if (now.rank == 0)
        printf("%d passed, %d failed\n", passed, failed);
    MPI_Finalize();
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
