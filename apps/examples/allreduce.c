/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The smallest useful program: every rank brings a vector, every rank gets the sum.
 * Compile with: cc allreduce.c $(pkg-config --cflags --libs dml), run with mpirun -n 2.
 */
#include <dml/dml.h>
#include <dml/mpi.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    dml_ctx_opts opts;
    dml_ctx *ctx;
    dml_comm *comm;
    MPI_Init(&argc, &argv);
    dml_ctx_opts_init(&opts);
    opts.errors = DML_ERRORS_ABORT; /* a call that fails says why and ends the job */
    if (dml_ctx_create(&opts, &ctx) != DML_OK)
        MPI_Abort(MPI_COMM_WORLD, 1);
    dml_comm_from_mpi(ctx, MPI_COMM_WORLD, &comm);

    float x[3] = {1.0f, (float)dml_comm_rank(comm), 0.5f};
    dml_allreduce(DML_IN_PLACE, x, 3, DML_F32, DML_SUM, comm);
    if (dml_comm_rank(comm) == 0)
        printf("%d ranks: %g %g %g\n", dml_comm_size(comm), x[0], x[1], x[2]);

    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
    return MPI_Finalize();
}
