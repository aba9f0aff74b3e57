/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Notices the launcher of another MPI library. Such an mpirun starts N processes of
 * which each believes to be rank 0 of 1: N full-size jobs that overwrite each other's
 * files, without a word. The launchers leave their own number of ranks in the
 * environment.
 */
#include "comm/comm_internal.h"

#include <stdlib.h>

/* In the order in which they are believed: a variable of an inner launcher first. */
static const struct {
    const char *size, *rank, *launcher;
} launchers[] = {
    {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "Open MPI's mpirun"},
    {"PMI_SIZE", "PMI_RANK", "MPICH's mpiexec or a PMI launcher"},
    {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "srun"},
};

#ifdef OPEN_MPI
static const char linked_mpi[] = "Open MPI";
static const char remedy[] = "Open MPI's mpirun (mpirun.openmpi), or srun --mpi=pmix";
#else
static const char linked_mpi[] = "MPICH";
static const char remedy[] = "MPICH's mpiexec (mpiexec.mpich), or srun --mpi=pmi2";
#endif

dml_status dml__launch_check(dml_ctx *ctx, const char *where)
{
    int size = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (size > 1 || dml__ctx_env(ctx, "SINGLETON") != NULL)
        return DML_OK;
    for (size_t i = 0; i < sizeof launchers / sizeof launchers[0]; i++) {
        const char *started = getenv(launchers[i].size);
        if (started == NULL)
            continue;
        long n = strtol(started, NULL, 10);
        if (n <= 1)
            return DML_OK;
        const char *rank = getenv(launchers[i].rank);
        return dml__fail_values(
            ctx, DML_ELAUNCH, where, rank != NULL ? (int)strtol(rank, NULL, 10) : -1, 1,
            n,
            "%s started %ld processes, but this program is linked with %s, which sees "
            "1; "
            "start it with %s (or set DML_SINGLETON=1 if single ranks are meant)",
            launchers[i].launcher, n, linked_mpi, remedy);
    }
    return DML_OK;
}
