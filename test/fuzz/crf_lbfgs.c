/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What dml-crf reads of L-BFGS at --resume: numbers and vectors of any bits, from which
 * a search goes on over a small valley. The files of a snapshot are the fuzzer
 * snapshot's; here its sections are cut from the input, and this process is the second
 * of two ranks that find the same, so that nothing is printed.
 */
#include "fuzz.h"
#include "lbfgs.h"

#include <math.h>
#include <string.h>

enum { N = 6, MOST_ITERATIONS = 40, MOST_EVALUATIONS = 10000, RANKS = 2 };

struct dml_snapshot {
    const uint8_t *data;
    size_t size;
};

static dml_snapshot input;
static size_t evaluations;

/* ---- in the library's place -------------------------------------------------------
 */

static dml_status next_bytes(void *data, size_t bytes)
{
    if (bytes > input.size)
        return DML_EFORMAT; /* of another length, or damaged */
    memcpy(data, input.data, bytes);
    input.data += bytes;
    input.size -= bytes;
    return DML_OK;
}

dml_status dml_snapshot_get_shared(const dml_snapshot *snapshot, const char *name,
                                   void *data, size_t bytes)
{
    (void)snapshot;
    (void)name;
    return next_bytes(data, bytes);
}

dml_status dml_snapshot_get_vector(const dml_snapshot *snapshot, const char *name,
                                   void *data, dml_dtype dtype, uint64_t first,
                                   uint64_t count, uint64_t total)
{
    (void)snapshot;
    (void)name;
    fuzz_require(dtype == DML_F64 && first + count <= total);
    return next_bytes(data, count * sizeof(double));
}

void dml_snapshot_get_info(const dml_snapshot *snapshot, dml_snapshot_info *info)
{
    (void)snapshot;
    *info = (dml_snapshot_info){.ranks = RANKS, .path = "fuzz"};
}

/* The lowest rank that fails: rank 0, if any. */
dml_status dml_allreduce(const void *send, void *recv, size_t count, dml_dtype dtype,
                         dml_op op, dml_comm *comm)
{
    int32_t *lowest = recv;
    (void)comm;
    fuzz_require(send == DML_IN_PLACE && count == 2 && dtype == DML_I32 &&
                 op == DML_MIN);
    lowest[0] = lowest[0] == RANKS ? RANKS : 0;
    return DML_OK;
}

dml_status dml_bcast(void *data, size_t count, dml_dtype dtype, int root,
                     dml_comm *comm)
{
    (void)data;
    (void)comm;
    fuzz_require(count == 1 && dtype == DML_I32 && root == 0);
    return DML_OK;
}

/* ---- the search -------------------------------------------------------------------
 */

/* Rosenbrock's valley in pairs. */
static dml_status valley(void *user, const double *x, double *value, double *gradient)
{
    (void)user;
    fuzz_require(++evaluations < MOST_EVALUATIONS);
    *value = 0;
    for (int i = 0; i < N; i += 2) {
        double a = 1 - x[i], b = x[i + 1] - x[i] * x[i];
        *value += a * a + 100 * b * b;
        gradient[i] = -2 * a - 400 * x[i] * b;
        gradient[i + 1] = 200 * b;
    }
    return DML_OK;
}

static dml_status alone(void *user, double *values, size_t n)
{
    (void)user;
    (void)values;
    (void)n;
    return DML_OK;
}

static dml_status go_on(void *user, const struct lbfgs_state *state, const double *x,
                        bool *stop)
{
    (void)user;
    (void)x;
    (void)stop;
    fuzz_require(state->iteration <= MOST_ITERATIONS);
    return DML_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t choice = fuzz_take(&data, &size);
    const struct lbfgs_opts opts = {
        .memory = (choice & 1) != 0 ? 3 : 1,
        .max_iterations = MOST_ITERATIONS,
        .epsilon = 1e-5,
        .period = (choice & 2) != 0 ? 10 : 0,
        .delta = (choice & 2) != 0 ? 1e-5 : 0,
        .l1 = (choice & 4) != 0 ? 0.5 : 0,
    };
    const struct lbfgs_problem problem = {.count = N,
                                          .total = N,
                                          .snapshot = &input,
                                          .evaluate = valley,
                                          .sum = alone,
                                          .progress = go_on};
    struct job job = {
        .app = "fuzz", .ctx = fuzz_ctx(), .rank = RANKS - 1, .nranks = RANKS};
    struct lbfgs_state state;
    double x[N] = {0};
    evaluations = 0;
    input = (dml_snapshot){data, size};
    dml_status status =
        lbfgs_minimise(&problem, &opts, kernels_find("c", 8), &job, x, &state);
    fuzz_require(status == DML_OK || status == DML_EFORMAT);
    fuzz_require(status != DML_OK || state.iteration >= MOST_ITERATIONS ||
                 state.end != LBFGS_LIMIT);
    return 0;
}
