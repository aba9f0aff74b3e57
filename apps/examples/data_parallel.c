/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How an MPI code that trains a model of its own becomes data-parallel.
 *
 * The model is a network with one hidden layer, y = sum_j v_j tanh(w_j x + b_j) + c,
 * fitted to sin(3x) on [-1, 1]. Each rank holds its own part of the samples. Four
 * places, marked 1 to 4, are all that libdml needs; the rest is the code that was
 * there. Compile and run, once libdml is installed:
 *
 *     mpicc data_parallel.c $(pkg-config --cflags --libs dml) -lm -o data_parallel
 *     mpirun -n 2 ./data_parallel
 */
#include <dml/dml.h>
#include <dml/mpi.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HIDDEN = 16, SAMPLES = 240, STEPS = 2000 };
enum { W, B, V, C, NPARAMS }; /* weights and bias of the hidden layer, of the output */

static const size_t counts[NPARAMS] = {HIDDEN, HIDDEN, HIDDEN, 1};

struct model {
    float param[NPARAMS][HIDDEN];
    float grad[NPARAMS][HIDDEN];
};

/* Every rank draws other numbers, as a code without libdml might: see place 2. */
static void init(struct model *m, int rank)
{
    memset(m, 0, sizeof *m);
    for (int j = 0; j < HIDDEN; j++) {
        uint64_t stream = (uint64_t)rank;
        m->param[W][j] = (float)(2.0 * dml_rng_normal(1, stream, (uint64_t)j));
        m->param[V][j] = (float)(0.3 * dml_rng_normal(2, stream, (uint64_t)j));
    }
}

/*
 * Gradient of the mean squared error over samples [first, end), and that error. A
 * gradient is announced as soon as it is final: the output layer's while the hidden
 * layer's are still to come, so that its averaging has begun by then.
 */
static double backward(struct model *m, int first, int end, dml_reducer *reducer)
{
    float error[SAMPLES], hidden[SAMPLES][HIDDEN]; /* of the samples of this rank */
    int n = end - first;
    double loss = 0.0;
    memset(m->grad, 0, sizeof m->grad);
    for (int i = 0; i < n; i++) {
        float x = -1.0f + 2.0f * (float)(first + i) / (SAMPLES - 1);
        float y = m->param[C][0];
        for (int j = 0; j < HIDDEN; j++) {
            hidden[i][j] = tanhf(m->param[W][j] * x + m->param[B][j]);
            y += m->param[V][j] * hidden[i][j];
        }
        error[i] = y - sinf(3.0f * x);
        loss += (double)error[i] * error[i] / n;
        m->grad[C][0] += 2.0f * error[i] / (float)n;
        for (int j = 0; j < HIDDEN; j++)
            m->grad[V][j] += 2.0f * error[i] * hidden[i][j] / (float)n;
    }
    /* 3. Say which gradients are final, as soon as they are. */
    dml_reducer_ready(reducer, C);
    dml_reducer_ready(reducer, V);
    for (int i = 0; i < n; i++) {
        float x = -1.0f + 2.0f * (float)(first + i) / (SAMPLES - 1);
        for (int j = 0; j < HIDDEN; j++) {
            float h = hidden[i][j];
            float g = 2.0f * error[i] * m->param[V][j] * (1.0f - h * h) / (float)n;
            m->grad[B][j] += g;
            m->grad[W][j] += g * x;
        }
    }
    dml_reducer_ready(reducer, B);
    dml_reducer_ready(reducer, W);
    return loss;
}

/* Whether all ranks hold the same parameters, bit for bit. */
static bool replicas_agree(struct model *m, dml_comm *comm)
{
    float low[NPARAMS][HIDDEN], high[NPARAMS][HIDDEN];
    size_t n = sizeof low / sizeof(float);
    dml_allreduce(m->param, low, n, DML_F32, DML_MIN, comm);
    dml_allreduce(m->param, high, n, DML_F32, DML_MAX, comm);
    return memcmp(low, high, sizeof low) == 0;
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);

    /* 1. A context whose failing calls end the job, and a communicator from MPI's. */
    dml_ctx_opts opts;
    dml_ctx *ctx;
    dml_comm *comm;
    dml_ctx_opts_init(&opts);
    opts.errors = DML_ERRORS_ABORT;
    if (dml_ctx_create(&opts, &ctx) != DML_OK)
        MPI_Abort(MPI_COMM_WORLD, 1);
    dml_comm_from_mpi(ctx, MPI_COMM_WORLD, &comm);
    int rank = dml_comm_rank(comm), nranks = dml_comm_size(comm);

    /* 2. Equal parameters everywhere; gradients and parameters registered once. */
    struct model m;
    dml_tensor params[NPARAMS], grads[NPARAMS];
    dml_param pairs[NPARAMS];
    init(&m, rank);
    for (int k = 0; k < NPARAMS; k++) {
        params[k] = (dml_tensor){m.param[k], counts[k], DML_F32, NULL};
        grads[k] = (dml_tensor){m.grad[k], counts[k], DML_F32, NULL};
        pairs[k] =
            (dml_param){.param = m.param[k], .grad = m.grad[k], .count = counts[k]};
    }
    dml_reducer *reducer;
    dml_optim *sgd;
    dml_sync_bcast(params, NPARAMS, 0, comm);
    dml_reducer_create(grads, NPARAMS, NULL, comm, &reducer);
    dml_optim_create(ctx, DML_OPTIM_SGD, pairs, NPARAMS, NULL, &sgd);

    double loss = 0.0;
    for (int step = 0; step < STEPS; step++) {
        /* 4. Open the step, and close it before the averages are used. */
        dml_reducer_begin(reducer, true);
        loss = backward(&m, SAMPLES * rank / nranks, SAMPLES * (rank + 1) / nranks,
                        reducer);
        dml_reducer_finish(reducer);
        dml_optim_step(sgd, 0.1);
    }

    dml_allreduce(DML_IN_PLACE, &loss, 1, DML_F64, DML_AVG, comm);
    bool converged = loss < 1e-3, agree = replicas_agree(&m, comm);
    if (rank == 0)
        printf("%d ranks: mean squared error %.2g (%s), replicas %s\n", nranks, loss,
               converged ? "converged" : "not converged", agree ? "equal" : "differ");
    dml_optim_destroy(sgd);
    dml_reducer_destroy(reducer);
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
    MPI_Finalize();
    return converged && agree ? EXIT_SUCCESS : EXIT_FAILURE;
}
