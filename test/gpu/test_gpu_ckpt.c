/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Snapshots of device memory: a vector of which every rank has a part, and bytes of
 * each rank, read back into device memory and into host memory.
 */
#include "dml/ckpt.h"
#include "dml/gpu.h"

#include "gpu_tensors.h"
#include "need_device.h"

#include <stdlib.h>
#include <string.h>

static char folder[] = "/tmp/dml-gpu-ckpt-XXXXXX";

static void make_folder(struct dml_test *t)
{
    if (t->rank == 0 && mkdtemp(folder) == NULL)
        abort();
    MPI_Bcast(folder, sizeof folder, MPI_CHAR, 0, t->mpi);
}

static void remove_folder(struct dml_test *t)
{
    char command[80];
    MPI_Barrier(t->mpi);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (t->rank == 0 && system(command) != 0)
        dml_test_fail(t, "%s failed", command);
}

static void save(struct dml_test *t, dml_comm *comm, const void *part, size_t n)
{
    dml_ckpt *ckpt = NULL;
    const size_t first = (size_t)t->rank * n;
    dml_test_status(t, "open", dml_ckpt_open(folder, NULL, comm, &ckpt), DML_OK);
    dml_test_status(t, "begin", dml_ckpt_begin(ckpt, 1), DML_OK);
    dml_test_status(
        t, "vector",
        dml_ckpt_add_vector(ckpt, "w", part, DML_F32, first, n, n * (size_t)t->nranks),
        DML_OK);
    dml_test_status(t, "own", dml_ckpt_add_own(ckpt, "own", part, n), DML_OK);
    dml_test_status(t, "commit", dml_ckpt_commit(ckpt), DML_OK);
    dml_test_status(t, "wait", dml_ckpt_wait(ckpt, NULL), DML_OK);
    dml_ckpt_close(ckpt);
}

static void run(struct dml_test *t, size_t n)
{
    dml_ctx *ctx = NULL;
    dml_comm *comm = NULL;
    dml_snapshot *snapshot = NULL;
    struct gpu_memory memory;
    const size_t total = n * (size_t)t->nranks, first = (size_t)t->rank * n;
    float *all = dml_test_alloc(total * sizeof *all + 1);
    float *host = dml_test_alloc(total * sizeof *all + 1);
    for (size_t k = 0; k < total; k++)
        all[k] = (float)(dml_test_hash(t->seed, n, k) >> 44);
    dml_test_step(t, "%zu elements on each rank", n);
    make_folder(t);
    gpu_open_comm(t, false, &ctx, &comm);
    gpu_memory_open(&memory, t, ctx, NULL, 3 * total * sizeof *all + 64);
    void *part = gpu_memory_take(&memory, n * sizeof *all, 8);
    void *whole = gpu_memory_take(&memory, total * sizeof *all, 8);
    gpu_memory_put(&memory, part, all + first, n * sizeof *all);
    save(t, comm, part, n);
    dml_test_status(t, "open", dml_snapshot_open(folder, comm, &snapshot), DML_OK);
    dml_test_status(
        t, "to the device",
        dml_snapshot_get_vector(snapshot, "w", whole, DML_F32, 0, total, total),
        DML_OK);
    dml_test_bytes(t, "on the device",
                   gpu_memory_get(&memory, whole, total * sizeof *all), all,
                   total * sizeof *all);
    dml_test_status(
        t, "to the host",
        dml_snapshot_get_vector(snapshot, "w", host, DML_F32, 0, total, total), DML_OK);
    dml_test_bytes(t, "on the host", host, all, total * sizeof *all);
    dml_test_status(t, "own", dml_snapshot_get_own(snapshot, "own", t->rank, whole, n),
                    DML_OK);
    dml_test_bytes(t, "own bytes", gpu_memory_get(&memory, whole, n), all + first, n);
    dml_snapshot_close(snapshot);
    gpu_memory_close(&memory);
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
    remove_folder(t);
    memcpy(folder, "/tmp/dml-gpu-ckpt-XXXXXX", sizeof folder);
    free(host);
    free(all);
}

static void test_counts(struct dml_test *t)
{
    static const size_t counts[] = {1, 33, 20001};
    for (size_t i = 0; i < DML_TEST_COUNT(counts); i++)
        run(t, counts[i]);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {{"device memory", test_counts}};
    if (device_missing())
        return TEST_SKIPPED;
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
