/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file mpi.h
 * Communicators from MPI: the only public header that includes <mpi.h>.
 */
#ifndef DML_MPI_H
#define DML_MPI_H

#include "dml/comm.h"

#include <mpi.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Make a communicator over the processes of an MPI communicator, which is duplicated.
 * Collective over @p mpi_comm. MPI must be initialised.
 *
 * When every process believes to be rank 0 of 1 although a launcher started several
 * (an mpirun of another MPI library than the one linked), the call fails with
 * DML_ELAUNCH and says so; set DML_SINGLETON=1 where that is meant.
 *
 * @param[in]  ctx   borrowed until the communicator is destroyed.
 * @param[out] comm  returned; free with dml_comm_destroy() before MPI_Finalize.
 * @return DML_OK | DML_EINVAL (MPI not initialised, MPI_COMM_NULL, an
 *         inter-communicator) | DML_ELAUNCH | DML_ENOMEM | DML_ECOMM | DML_ETIMEOUT (a
 *         rank has not come within DML_TIMEOUT_S, 10 s at least; end the process then:
 *         MPI still waits for it).
 * Threads: any.  @since 0.1
 */
DML_API dml_status dml_comm_from_mpi(dml_ctx *ctx, MPI_Comm mpi_comm, dml_comm **comm);

#ifdef __cplusplus
}
#endif
#endif
