/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Collectives where the general comparison does not reach: NaN, the barrier's meaning,
 * handles of pre-multiplied sums, and the counters.
 */
#include "test_collectives.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* A quiet NaN and 1.0 of each float type, as bytes on this machine. */
struct float_bits {
    dml_dtype dtype;
    uint64_t nan, one;
};

static void put_low_bytes(void *dst, uint64_t bits, size_t bytes)
{
    uint16_t b2 = (uint16_t)bits;
    uint32_t b4 = (uint32_t)bits;
    const void *from = bytes == 2 ? (void *)&b2 : bytes == 4 ? (void *)&b4 : &bits;
    memcpy(dst, from, bytes);
}

/* Every rank in turn has a NaN at its own index; no rank may lose it. */
static void nan_in_type(struct dml_test *t, const struct float_bits *f, dml_op op)
{
    enum { COUNT = 37 };
    unsigned char send[COUNT * 8], recv[COUNT * 8];
    size_t bytes = dml_dtype_bytes(f->dtype);
    for (size_t i = 0; i < COUNT; i++)
        put_low_bytes(send + i * bytes, (int)i == t->rank ? f->nan : f->one, bytes);
    dml_test_status(t, "dml_allreduce",
                    dml_allreduce(send, recv, COUNT, f->dtype, op, t->comm), DML_OK);
    for (size_t i = 0; i < COUNT; i++) {
        bool got = isnan(numbers_value(f->dtype, recv + i * bytes)) != 0;
        bool want = i < (size_t)t->nranks;
        DML_CHECK(t, got == want, "index %zu: %s", i,
                  want ? "the NaN was lost" : "a NaN from nowhere");
    }
    dml_test_same_on_all(t, "result with NaN", recv, COUNT * bytes);
}

void test_nan(struct dml_test *t)
{
    static const struct float_bits floats[] = {
        {DML_F32, 0x7fc00001, 0x3f800000},
        {DML_F64, 0x7ff8000000000001, 0x3ff0000000000000},
        {DML_F16, 0x7e01, 0x3c00},
        {DML_BF16, 0x7fc1, 0x3f80},
    };
    const char *name, *text;
    for (size_t a = 0;
         dml_algorithm_list(DML_COLL_ALLREDUCE, a, &name, &text) == DML_OK; a++)
        for (size_t i = 0; i < DML_TEST_COUNT(floats); i++)
            for (int op = 0; op < DML_NOPS; op++) {
                dml_test_step(t, "NaN through %s by %s in %s", dml_op_name((dml_op)op),
                              name, dml_dtype_name(floats[i].dtype));
                dml_comm_set_algorithm(t->comm, DML_COLL_ALLREDUCE, name);
                dml_choice choice;
                if (dml_algorithm_query(DML_COLL_ALLREDUCE, 37, floats[i].dtype,
                                        (dml_op)op, t->comm, &choice) == DML_OK)
                    nan_in_type(t, &floats[i], (dml_op)op);
            }
    dml_comm_set_algorithm(t->comm, DML_COLL_ALLREDUCE, "auto");
}

/* ---- barrier -----------------------------------------------------------------------
 */

static double monotonic_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* The last rank in is late; nobody may be out before it is in. The clock is the same
 * for all processes of a machine. */
static void late_rank(struct dml_test *t, int late, bool async)
{
    dml_request *request = NULL;
    if (t->rank == late)
        nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL);
    double in = monotonic_s(), last_in, out;
    if (async) {
        dml_test_status(t, "dml_ibarrier", dml_ibarrier(t->comm, &request), DML_OK);
        dml_test_status(t, "dml_wait", dml_wait(&request), DML_OK);
    } else {
        dml_test_status(t, "dml_barrier", dml_barrier(t->comm), DML_OK);
    }
    out = monotonic_s();
    MPI_Allreduce(&in, &last_in, 1, MPI_DOUBLE, MPI_MAX, t->mpi);
    DML_CHECK(t, out >= last_in, "left %.6f s before rank %d entered", last_in - out,
              late);
}

void test_barrier(struct dml_test *t)
{
    int node_ranks;
    dml_comm_node(t->comm, NULL, &node_ranks);
    if (node_ranks != t->nranks) {
        dml_test_skip(t, "the ranks are on several machines, whose clocks differ");
        return;
    }
    const char *name, *text;
    for (size_t a = 0; dml_algorithm_list(DML_COLL_BARRIER, a, &name, &text) == DML_OK;
         a++)
        for (int late = 0; late < t->nranks; late++) {
            dml_test_step(t, "barrier by %s, rank %d late", name, late);
            dml_test_status(t, "dml_comm_set_algorithm",
                            dml_comm_set_algorithm(t->comm, DML_COLL_BARRIER, name),
                            DML_OK);
            dml_choice choice;
            if (dml_algorithm_query(DML_COLL_BARRIER, 0, DML_U8, DML_SUM, t->comm,
                                    &choice) == DML_EUNSUPPORTED)
                continue;
            late_rank(t, late, false);
            late_rank(t, late, true);
        }
    dml_comm_set_algorithm(t->comm, DML_COLL_BARRIER, "auto");
}

/* ---- handles and counters ----------------------------------------------------------
 */

void test_op_handles(struct dml_test *t)
{
    dml_op ops[20];
    for (int i = 0; i < 20; i++)
        dml_test_status(t, "dml_op_create_premul_sum",
                        dml_op_create_premul_sum(i - 3, t->comm, &ops[i]), DML_OK);
    for (int i = 19; i >= 0; i--) {
        double x = t->rank + 1, sum = 0;
        dml_test_step(t, "handle %d", i);
        dml_test_status(t, "dml_allreduce",
                        dml_allreduce(&x, &sum, 1, DML_F64, ops[i], t->comm), DML_OK);
        double want = (i - 3) * 0.5 * t->nranks * (t->nranks + 1);
        DML_CHECK(t, sum == want, "got %g, wanted %g", sum, want);
        dml_test_status(t, "dml_op_destroy", dml_op_destroy(ops[i], t->comm), DML_OK);
    }
    double x = 1, sum;
    dml_test_step(t, "handle used after its end");
    dml_test_error(t, "dml_allreduce",
                   dml_allreduce(&x, &sum, 1, DML_F64, ops[4], t->comm), DML_EINVAL);
    dml_test_error(t, "dml_op_destroy", dml_op_destroy(ops[4], t->comm), DML_EINVAL);
    dml_op op = DML_SUM;
    dml_test_error(t, "scale NaN", dml_op_create_premul_sum((double)NAN, t->comm, &op),
                   DML_EINVAL);
    dml_test_error(t, "scale infinite",
                   dml_op_create_premul_sum((double)INFINITY, t->comm, &op),
                   DML_EINVAL);
    DML_CHECK(t, op == DML_SUM, "the output was written on failure");
}

void test_stats(struct dml_test *t)
{
    dml_comm_stats before, after;
    float x[1000] = {0}, y[1000];
    dml_comm_get_stats(t->comm, &before);
    for (int i = 0; i < 3; i++)
        dml_test_status(t, "dml_allreduce",
                        dml_allreduce(x, y, 1000, DML_F32, DML_SUM, t->comm), DML_OK);
    dml_comm_get_stats(t->comm, &after);
    DML_CHECK(t, after.collectives == before.collectives + 3,
              "3 collectives were counted as %llu",
              (unsigned long long)(after.collectives - before.collectives));
    if (t->nranks > 1) {
        DML_CHECK(t, after.bytes_sent > before.bytes_sent, "no bytes sent");
        DML_CHECK(t, after.bytes_received > before.bytes_received, "no bytes received");
    }
    DML_CHECK(t, after.wait_s >= before.wait_s, "the time waited went back");
}
