/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How many calls ran on libdml and how many passed through, for DML_MPI_STATS=1.
 */
#include "shim/shim.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of the process, as MPI is; any thread counts. [fn][passed, on libdml] */
static atomic_uint_fast64_t counters[DML__SHIM_NFNS][2];

void dml__shim_count(enum dml__shim_fn fn, bool on_libdml)
{
    atomic_fetch_add_explicit(&counters[fn][on_libdml], 1, memory_order_relaxed);
}

const char *dml__shim_name(enum dml__shim_fn fn)
{
    static const char *const names[] = {
#define NAME(NAME_, name, function) function,
        DML__SHIM_MAP(NAME)
#undef NAME
    };
    return names[fn];
}

void dml__shim_print(void)
{
    const char *wish = getenv("DML_MPI_STATS");
    int wanted = wish != NULL && strcmp(wish, "1") == 0, any = 0, rank = 0;
    if (PMPI_Allreduce(&wanted, &any, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD) !=
            MPI_SUCCESS ||
        !any)
        return;
    uint64_t own[DML__SHIM_NFNS][2], sum[DML__SHIM_NFNS][2];
    for (int fn = 0; fn < DML__SHIM_NFNS; fn++)
        for (int k = 0; k < 2; k++)
            own[fn][k] = atomic_load(&counters[fn][k]);
    PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
    int code = PMPI_Reduce(own, sum, 2 * DML__SHIM_NFNS, MPI_UINT64_T, MPI_SUM, 0,
                           MPI_COMM_WORLD);
    if (rank != 0 || code != MPI_SUCCESS)
        return;
    fprintf(stderr, "dml-mpi: %-26s %12s %14s   calls of all ranks\n", "function",
            "on libdml", "passed to MPI");
    for (int fn = 0; fn < DML__SHIM_NFNS; fn++)
        if (sum[fn][0] + sum[fn][1] > 0)
            fprintf(stderr, "dml-mpi: %-26s %12" PRIu64 " %14" PRIu64 "\n",
                    dml__shim_name((enum dml__shim_fn)fn), sum[fn][1], sum[fn][0]);
}
