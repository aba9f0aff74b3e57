/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Data-parallel training is training: k ranks with n samples each follow the same path
 * as one rank with k n samples.
 *
 * A net of two layers (tanh, squared error) learns a fixed function by SGD. Its
 * gradients are computed in f64 and rounded to f32, so the two runs differ only by
 * roundings; how much those may do is measured by a third run in f64 throughout.
 */
#include "dml_test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IN = 5, HIDDEN = 7, OUT = 3, PER_RANK = 4, STEPS = 60 };
enum { W1 = IN * HIDDEN, B1 = HIDDEN, W2 = HIDDEN * OUT, B2 = OUT, NTENSORS = 4 };
enum { NPARAMS = W1 + B1 + W2 + B2 };

static const size_t tensor_counts[NTENSORS] = {W1, B1, W2, B2};
static const double eta = 0.05, momentum = 0.9, weight_decay = 1e-3;

static double uniform(uint64_t seed, uint64_t a, uint64_t b)
{
    return (double)(dml_test_hash(seed, a, b) >> 11) * 0x1p-52 - 1.0; /* [-1, 1) */
}

/* Sample number i of a step: x[IN], y[OUT]. */
static void sample(uint64_t seed, int step, int i, double *x, double *y)
{
    for (int k = 0; k < IN; k++)
        x[k] = uniform(seed, (uint64_t)(step * 1000 + i), (uint64_t)k);
    for (int k = 0; k < OUT; k++)
        y[k] = sin(x[k] + 2 * x[k + 1] * x[k + 2]);
}

/*
 * grad[NPARAMS] += gradient of sum_k (o_k - y_k)^2 / 2 of one sample, with
 * h = tanh(W1 x + b1), o = W2 h + b2; W1 [HIDDEN][IN], W2 [OUT][HIDDEN].
 */
static void add_gradient(const double *w, const double *x, const double *y,
                         double *grad)
{
    const double *w1 = w, *b1 = w1 + W1, *w2 = b1 + B1, *b2 = w2 + W2;
    double *g1 = grad, *gb1 = g1 + W1, *g2 = gb1 + B1, *gb2 = g2 + W2;
    double h[HIDDEN], dh[HIDDEN] = {0};
    for (int j = 0; j < HIDDEN; j++) {
        double a = b1[j];
        for (int k = 0; k < IN; k++)
            a += w1[j * IN + k] * x[k];
        h[j] = tanh(a);
    }
    for (int o = 0; o < OUT; o++) {
        double d = b2[o] - y[o];
        for (int j = 0; j < HIDDEN; j++)
            d += w2[o * HIDDEN + j] * h[j];
        gb2[o] += d;
        for (int j = 0; j < HIDDEN; j++) {
            g2[o * HIDDEN + j] += d * h[j];
            dh[j] += d * w2[o * HIDDEN + j];
        }
    }
    for (int j = 0; j < HIDDEN; j++) {
        double da = dh[j] * (1 - h[j] * h[j]);
        gb1[j] += da;
        for (int k = 0; k < IN; k++)
            g1[j * IN + k] += da * x[k];
    }
}

/* Mean gradient of samples first .. first+n-1 of a step. */
static void mean_gradient(uint64_t seed, int step, int first, int n, const double *w,
                          double *grad)
{
    memset(grad, 0, NPARAMS * sizeof *grad);
    for (int i = first; i < first + n; i++) {
        double x[IN], y[OUT];
        sample(seed, step, i, x, y);
        add_gradient(w, x, y, grad);
    }
    for (int i = 0; i < NPARAMS; i++)
        grad[i] /= n;
}

static void initial(uint64_t seed, double *w)
{
    for (int i = 0; i < NPARAMS; i++)
        w[i] = (double)(float)(0.5 * uniform(seed, 999, (uint64_t)i));
}

/* The path in f64 with SGD written out here; batch = samples per step. */
static void train_f64(uint64_t seed, int batch, double *w)
{
    double grad[NPARAMS], velocity[NPARAMS] = {0};
    initial(seed, w);
    for (int step = 0; step < STEPS; step++) {
        mean_gradient(seed, step, 0, batch, w, grad);
        for (int i = 0; i < NPARAMS; i++) {
            double g = grad[i] + weight_decay * w[i];
            velocity[i] = momentum * velocity[i] + g;
            w[i] -= eta * (g + momentum * velocity[i]);
        }
    }
}

/* The same in f32 with libdml's SGD; rank r of comm has samples r n .. r n + n-1. With
 * comm NULL one process has them all and no reducer. w is returned in f64. */
static void train_f32(struct dml_test *t, dml_comm *comm, int n, double *w)
{
    float weights[NPARAMS], grads[NPARAMS];
    double grad[NPARAMS];
    dml_param params[NTENSORS];
    dml_tensor tensors[NTENSORS], copies[NTENSORS];
    dml_reducer *reducer = NULL;
    dml_optim *optim = NULL;
    int rank = comm != NULL ? dml_comm_rank(comm) : 0;
    initial(t->seed, w);
    for (int i = 0; i < NPARAMS; i++)
        weights[i] = rank == 0 ? (float)w[i] : 0; /* the others get them below */
    for (size_t i = 0, at = 0; i < NTENSORS; at += tensor_counts[i++]) {
        params[i] = (dml_param){
            .param = weights + at, .grad = grads + at, .count = tensor_counts[i]};
        tensors[i] = (dml_tensor){grads + at, tensor_counts[i], DML_F32, NULL};
        copies[i] = (dml_tensor){weights + at, tensor_counts[i], DML_F32, NULL};
    }
    dml_optim_opts opts;
    dml_optim_opts_init(&opts, DML_OPTIM_SGD);
    opts.momentum = momentum;
    opts.nesterov = 1;
    opts.weight_decay = weight_decay;
    dml_test_status(
        t, "dml_optim_create",
        dml_optim_create(t->ctx, DML_OPTIM_SGD, params, NTENSORS, &opts, &optim),
        DML_OK);
    if (comm != NULL) {
        dml_test_status(t, "dml_reducer_create",
                        dml_reducer_create(tensors, NTENSORS, NULL, comm, &reducer),
                        DML_OK);
        dml_test_status(t, "dml_sync_bcast", dml_sync_bcast(copies, NTENSORS, 0, comm),
                        DML_OK);
    }
    for (int step = 0; step < STEPS; step++) {
        for (int i = 0; i < NPARAMS; i++)
            w[i] = weights[i];
        mean_gradient(t->seed, step, rank * n, n, w, grad);
        if (comm != NULL)
            dml_test_status(t, "begin", dml_reducer_begin(reducer, true), DML_OK);
        for (int i = 0; i < NPARAMS; i++)
            grads[i] = (float)grad[i];
        for (size_t i = NTENSORS; comm != NULL && i-- > 0;)
            dml_test_status(t, "ready", dml_reducer_ready(reducer, i), DML_OK);
        if (comm != NULL)
            dml_test_status(t, "finish", dml_reducer_finish(reducer), DML_OK);
        dml_test_status(t, "dml_optim_step", dml_optim_step(optim, eta), DML_OK);
    }
    for (int i = 0; i < NPARAMS; i++)
        w[i] = weights[i];
    dml_reducer_destroy(reducer);
    dml_optim_destroy(optim);
}

static double distance(const double *a, const double *b)
{
    double worst = 0;
    for (int i = 0; i < NPARAMS; i++)
        worst = fmax(worst, fabs(a[i] - b[i]));
    return worst;
}

/*
 * k ranks against one. The single f32 run leaves the exact path by e; averaging rounds
 * each gradient up to k+1 times more than the single run does, hence the factor.
 */
static void compare(struct dml_test *t, int k)
{
    dml_comm *comm = NULL;
    dml_test_step(t, "%d ranks of %d samples against one of %d", k, PER_RANK,
                  k * PER_RANK);
    dml_test_status(t, "dml_comm_split",
                    dml_comm_split(t->comm, t->rank < k ? 0 : -1, t->rank, &comm),
                    DML_OK);
    if (comm == NULL)
        return;
    double start[NPARAMS], exact[NPARAMS], one[NPARAMS], many[NPARAMS];
    initial(t->seed, start);
    train_f64(t->seed, k * PER_RANK, exact);
    train_f32(t, NULL, k * PER_RANK, one);
    train_f32(t, comm, PER_RANK, many);
    double e = distance(one, exact), got = distance(many, exact);
    double bound = (k + 2) * e + 1e-7;
    DML_CHECK(t, got <= bound, "%.3g away from the exact path, allowed %.3g", got,
              bound);
    DML_CHECK(t, distance(start, exact) > 1000 * bound,
              "the net hardly moved: %.3g, bound %.3g", distance(start, exact), bound);
    double root[NPARAMS];
    memcpy(root, many, sizeof root);
    dml_test_status(t, "dml_bcast", dml_bcast(root, NPARAMS, DML_F64, 0, comm), DML_OK);
    dml_test_bytes(t, "weights of rank 0", many, root, sizeof root);
    dml_comm_destroy(comm);
}

static void test_ranks_and_batch(struct dml_test *t)
{
    for (int k = 1; k <= t->nranks; k++)
        if (k <= 4 || k == t->nranks)
            compare(t, k);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"k ranks x n samples = k n", test_ranks_and_batch},
    };
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
