/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Choosing Open MPI's algorithm (peers.h): a communicator reads the control variable
 * when it is made, so one process can hold one communicator for each algorithm.
 */
#include "peers.h"

#include <stdlib.h>

static const char *const variable = "coll_tuned_allreduce_algorithm";

void peers_prepare(void)
{
    setenv("OMPI_MCA_coll_tuned_use_dynamic_rules", "1", 0);
}

/* Sets the control variable; false where there is none. */
static bool set_algorithm(int number)
{
    int index;
    MPI_T_cvar_handle handle;
    if (MPI_T_cvar_get_index(variable, &index) != MPI_SUCCESS)
        return false;
    int count;
    if (MPI_T_cvar_handle_alloc(index, NULL, &handle, &count) != MPI_SUCCESS)
        return false;
    int code = MPI_T_cvar_write(handle, &number);
    MPI_T_cvar_handle_free(&handle);
    return code == MPI_SUCCESS;
}

bool peers_forced(MPI_Comm comm, int number, MPI_Comm *forced)
{
    int provided, ok, all;
    if (MPI_T_init_thread(MPI_THREAD_SINGLE, &provided) != MPI_SUCCESS)
        return false;
    ok = set_algorithm(number);
    MPI_Allreduce(&ok, &all, 1, MPI_INT, MPI_MIN, comm);
    if (all)
        MPI_Comm_dup(comm, forced);
    set_algorithm(0);
    MPI_T_finalize();
    return all != 0;
}
