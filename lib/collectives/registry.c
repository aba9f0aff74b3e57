/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of algorithms. To add one: write its file, name it here, in coll_internal.h
 * and in meson.build (doc/collectives.md).
 */
#include "collectives/device.h"
#include "collectives/select.h"

#include <string.h>

static const struct dml__alg
    *const table[DML_NCOLLS][DML__NALGS + 1] =
        {
            [DML_COLL_ALLREDUCE] =
                {
                    &dml__allreduce_ring,
                    &dml__allreduce_bidirectional_ring,
                    &dml__allreduce_recursive_doubling,
                    &dml__allreduce_rabenseifner,
                    &dml__allreduce_double_binary_tree,
                    &dml__allreduce_hierarchical,
                    &dml__allreduce_direct,
                    &dml__allreduce_gather_fold,
                    &dml__allreduce_chain,
                    &dml__allreduce_staged,
                    &dml__alg_nccl,
                    &dml__alg_ipc,
                    &dml__alg_host_staged,
                    &dml__alg_flat,
                    &dml__alg_shared,
                    &dml__alg_cma,
                    &dml__alg_mpi,
                },
            [DML_COLL_REDUCE_SCATTER] =
                {
                    &dml__reduce_scatter_ring,
                    &dml__reduce_scatter_bidirectional_ring,
                    &dml__reduce_scatter_recursive_halving,
                    &dml__reduce_scatter_hierarchical,
                    &dml__reduce_scatter_direct,
                    &dml__alg_nccl,
                    &dml__alg_ipc,
                    &dml__alg_host_staged,
                    &dml__alg_flat,
                    &dml__alg_shared,
                    &dml__alg_cma,
                    &dml__alg_mpi,
                },
            [DML_COLL_ALLGATHER] =
                {
                    &dml__allgather_ring,
                    &dml__allgather_bidirectional_ring,
                    &dml__allgather_recursive_doubling,
                    &dml__allgather_bruck,
                    &dml__allgather_hierarchical,
                    &dml__allgather_direct,
                    &dml__alg_nccl,
                    &dml__alg_ipc,
                    &dml__alg_host_staged,
                    &dml__alg_flat,
                    &dml__alg_shared,
                    &dml__alg_cma,
                    &dml__alg_mpi,
                },
            [DML_COLL_BCAST] =
                {
                    &dml__bcast_binomial,
                    &dml__bcast_scatter_allgather,
                    &dml__bcast_double_binary_tree,
                    &dml__bcast_hierarchical,
                    &dml__alg_nccl,
                    &dml__alg_ipc,
                    &dml__alg_host_staged,
                    &dml__alg_flat,
                    &dml__alg_shared,
                    &dml__alg_cma,
                    &dml__alg_mpi,
                },
            [DML_COLL_REDUCE] =
                {
                    &dml__reduce_binomial,
                    &dml__reduce_rabenseifner,
                    &dml__reduce_double_binary_tree,
                    &dml__reduce_hierarchical,
                    &dml__reduce_direct,
                    &dml__reduce_gather_fold,
                    &dml__alg_nccl,
                    &dml__alg_ipc,
                    &dml__alg_host_staged,
                    &dml__alg_flat,
                    &dml__alg_shared,
                    &dml__alg_cma,
                    &dml__alg_mpi,
                },
            [DML_COLL_GATHER] =
                {
                    &dml__gather_direct,
                    &dml__gather_binomial,
                    &dml__alg_nccl,
                    &dml__alg_ipc,
                    &dml__alg_host_staged,
                    &dml__alg_flat,
                    &dml__alg_shared,
                    &dml__alg_cma,
                    &dml__alg_mpi,
                },
            [DML_COLL_SCATTER] =
                {
                    &dml__scatter_direct,
                    &dml__scatter_binomial,
                    &dml__alg_nccl,
                    &dml__alg_ipc,
                    &dml__alg_host_staged,
                    &dml__alg_flat,
                    &dml__alg_shared,
                    &dml__alg_cma,
                    &dml__alg_mpi,
                },
            [DML_COLL_ALLTOALL] =
                {
                    &dml__alltoall_pairwise,
                    &dml__alltoall_bruck,
                    &dml__alg_nccl,
                    &dml__alg_ipc,
                    &dml__alg_host_staged,
                    &dml__alg_flat,
                    &dml__alg_shared,
                    &dml__alg_cma,
                    &dml__alg_mpi,
                },
            [DML_COLL_BARRIER] =
                {
                    &dml__barrier_dissemination,
                    &dml__barrier_hierarchical,
                    &dml__alg_flat,
                    &dml__alg_mpi,
                },
};

static const char *const names[DML_NCOLLS] = {
#define NAME(NAME_, number, name) [number] = (name),
    DML_COLL_MAP(NAME)
#undef NAME
};

const char *dml_coll_name(dml_coll coll)
{
    return (int)coll >= 0 && (int)coll < DML_NCOLLS ? names[coll] : "?";
}

const struct dml__alg *const *dml__algs(dml_coll coll)
{
    return table[coll];
}

int dml__alg_number(dml_coll coll, const struct dml__alg *alg)
{
    int i = 0;
    while (table[coll][i] != alg)
        i++;
    return i + 1;
}

const struct dml__alg *dml__alg_find(dml_coll coll, const char *name)
{
    for (const struct dml__alg *const *a = table[coll]; *a != NULL; a++)
        if (strcmp((*a)->name, name) == 0)
            return *a;
    return NULL;
}

dml_status dml_algorithm_list(dml_coll coll, size_t index, const char **name,
                              const char **text)
{
    if ((int)coll < 0 || (int)coll >= DML_NCOLLS || name == NULL || text == NULL)
        return DML_EINVAL;
    for (size_t i = 0; table[coll][i] != NULL; i++) {
        if (i < index)
            continue;
        *name = table[coll][i]->name;
        *text = table[coll][i]->text;
        return DML_OK;
    }
    return DML_EEND;
}
