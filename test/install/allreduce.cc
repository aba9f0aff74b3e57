/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A C++ program outside the tree: the same sum as apps/examples/allreduce.c, in C++17
 * with errors turned into exceptions.
 */
#include <dml/dml.h>
#include <dml/mpi.h>

#include <iostream>
#include <stdexcept>
#include <vector>

static void check(dml_status status)
{
    if (status != DML_OK)
        throw std::runtime_error(dml_status_str(status));
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    dml_ctx *ctx = nullptr;
    dml_comm *comm = nullptr;
    check(dml_ctx_create(nullptr, &ctx));
    check(dml_comm_from_mpi(ctx, MPI_COMM_WORLD, &comm));

    std::vector<float> in{1.0f, static_cast<float>(dml_comm_rank(comm)), 0.5f}, out(3);
    check(dml_allreduce(in.data(), out.data(), in.size(), DML_F32, DML_SUM, comm));
    if (dml_comm_rank(comm) == 0)
        std::cout << dml_comm_size(comm) << " ranks: " << out[0] << ' ' << out[1] << ' '
                  << out[2] << std::endl;

    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
    return MPI_Finalize();
}
