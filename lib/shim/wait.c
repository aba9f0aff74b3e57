/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The functions of MPI that complete requests, or ask about them. They tell MPI which
 * sums libdml has completed (async.c), and are MPI's own otherwise. While nothing is
 * under way on libdml that is all they do; else a wait becomes a loop of tests, since
 * what it waits for may be any request.
 */
#include "shim/shim.h"

/* Before each test of a wait: false when MPI's own wait will do. A test takes longer
 * than a look at libdml. */
static bool look_again(unsigned *looks)
{
    enum { LOOKS = 8 };
    if (*looks > 0)
        dml__shim_rest(looks);
    *looks += *looks == 0;
    int done = dml__shim_complete();
    for (int i = 1; done == 0 && i < LOOKS; i++)
        done = dml__shim_complete();
    return done >= 0;
}

DML__SHIM_API int MPI_Wait(MPI_Request *request, MPI_Status *status)
{
    unsigned looks = 0;
    while (look_again(&looks)) {
        int done = 0, code = PMPI_Test(request, &done, status);
        if (done || code != MPI_SUCCESS)
            return code;
    }
    return PMPI_Wait(request, status);
}

DML__SHIM_API int MPI_Waitall(int n, MPI_Request requests[], MPI_Status statuses[])
{
    unsigned looks = 0;
    while (look_again(&looks)) {
        int done = 0, code = PMPI_Testall(n, requests, &done, statuses);
        if (done || code != MPI_SUCCESS)
            return code;
    }
    return PMPI_Waitall(n, requests, statuses);
}

DML__SHIM_API int MPI_Waitany(int n, MPI_Request requests[], int *which,
                              MPI_Status *status)
{
    unsigned looks = 0;
    while (look_again(&looks)) {
        int done = 0, code = PMPI_Testany(n, requests, which, &done, status);
        if (done || code != MPI_SUCCESS)
            return code;
    }
    return PMPI_Waitany(n, requests, which, status);
}

DML__SHIM_API int MPI_Waitsome(int n, MPI_Request requests[], int *ndone, int which[],
                               MPI_Status statuses[])
{
    unsigned looks = 0;
    while (look_again(&looks)) {
        int code = PMPI_Testsome(n, requests, ndone, which, statuses);
        if (code != MPI_SUCCESS || *ndone != 0) /* MPI_UNDEFINED: there is none */
            return code;
    }
    return PMPI_Waitsome(n, requests, ndone, which, statuses);
}

DML__SHIM_API int MPI_Test(MPI_Request *request, int *done, MPI_Status *status)
{
    dml__shim_complete();
    return PMPI_Test(request, done, status);
}

DML__SHIM_API int MPI_Testall(int n, MPI_Request requests[], int *done,
                              MPI_Status statuses[])
{
    dml__shim_complete();
    return PMPI_Testall(n, requests, done, statuses);
}

DML__SHIM_API int MPI_Testany(int n, MPI_Request requests[], int *which, int *done,
                              MPI_Status *status)
{
    dml__shim_complete();
    return PMPI_Testany(n, requests, which, done, status);
}

DML__SHIM_API int MPI_Testsome(int n, MPI_Request requests[], int *ndone, int which[],
                               MPI_Status statuses[])
{
    dml__shim_complete();
    return PMPI_Testsome(n, requests, ndone, which, statuses);
}

DML__SHIM_API int MPI_Request_get_status(MPI_Request request, int *done,
                                         MPI_Status *status)
{
    dml__shim_complete();
    return PMPI_Request_get_status(request, done, status);
}
