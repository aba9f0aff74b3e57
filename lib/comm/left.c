/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory on which MPI may still work after a failure: it can be neither cancelled nor
 * awaited, so it stays until the process ends.
 */
#include "comm/comm_internal.h"

#include <stdatomic.h>

/* Listed, so that a search for leaks finds it. */
struct left {
    struct left *next;
    void *memory;
};

static _Atomic(struct left *) left_to_mpi; /* of the process, until it ends */

void dml__left_to_mpi(void *memory)
{
    struct left *one = memory != NULL ? dml__alloc(NULL, sizeof *one) : NULL;
    if (one == NULL)
        return;
    *one = (struct left){.next = atomic_load(&left_to_mpi), .memory = memory};
    while (!atomic_compare_exchange_weak(&left_to_mpi, &one->next, one))
        ;
}

void dml__comm_release(const dml_comm *comm, void *memory)
{
    if (comm->broken == DML_OK)
        dml__free(memory);
    else
        dml__left_to_mpi(memory);
}
