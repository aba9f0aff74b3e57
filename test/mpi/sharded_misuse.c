/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sharded training: how even the shares of state are, calls in the wrong order, and
 * ranks that register different things: an error on all, and no hang.
 */
#include "sharded_misuse.h"

#include <math.h>
#include <stdlib.h>

/* ---- bytes -------------------------------------------------------------------------
 */

/* Pieces of a tensor end where a block of norms does, or with the tensor; and each rank
 * begins where the one before it ended. */
static void check_cuts(struct dml_test *t, dml_sharded *s, const size_t *shapes,
                       size_t n)
{
    uint64_t *counts = dml_test_alloc((size_t)t->nranks * sizeof *counts);
    for (size_t i = 0; i < n; i++) {
        dml_optim_slot slot;
        (void)dml_optim_get_slot(dml_sharded_optim(s), i, 0, &slot);
        uint64_t mine = slot.count, end = 0;
        (void)dml_allgather(&mine, counts, 1, DML_U64, t->comm);
        for (int r = 0; r < t->nranks; r++) {
            end += counts[r];
            DML_CHECK(t, end % DML_OPTIM_BLOCK == 0 || end == shapes[i],
                      "tensor %zu is cut at %llu", i, (unsigned long long)end);
        }
        DML_CHECK(t, end == shapes[i], "tensor %zu: %llu elements", i,
                  (unsigned long long)end);
    }
    free(counts);
}

/* A net of fully connected and convolutional layers with biases: 3.3 M parameters. */
void test_sharded_bytes(struct dml_test *t)
{
    static const size_t shapes[] = {864,    32,  18432,  64,  73728,   128, 147456, 128,
                                    294912, 256, 589824, 256, 2097152, 512, 5120,   10};
    enum { N = sizeof shapes / sizeof *shapes };
    for (size_t rule = 0; rule <= DML_OPTIM_ADAGRAD; rule++) {
        dml_param params[N];
        float *memory = dml_test_alloc(3300000 * sizeof *memory), *next = memory;
        for (size_t i = 0; i < N; i++) {
            params[i] = (dml_param){.param = next, .grad = next, .count = shapes[i]};
            next += shapes[i];
        }
        dml_sharded *s = NULL;
        dml_test_step(t, "rule %zu", rule);
        dml_test_status(t, "create",
                        dml_sharded_create((dml_optim_rule)rule, params, N, NULL, NULL,
                                           t->comm, &s),
                        DML_OK);
        if (s != NULL) {
            dml_sharded_stats stats;
            dml_sharded_get_stats(s, &stats);
            double share = (double)stats.whole_state_bytes / t->nranks;
            bool two = rule == DML_OPTIM_ADAM || rule == DML_OPTIM_ADAMW ||
                       rule == DML_OPTIM_LAMB;
            size_t slots = two ? 2 : 1;
            DML_CHECK(t, stats.whole_state_bytes == (size_t)(next - memory) * 4 * slots,
                      "the whole is %zu bytes", stats.whole_state_bytes);
            DML_CHECK(t, fabs((double)stats.state_bytes / share - 1) <= 0.01,
                      "%zu bytes of state, a share is %.0f", stats.state_bytes, share);
            if (rule == DML_OPTIM_LARS || rule == DML_OPTIM_LAMB)
                check_cuts(t, s, shapes, N);
            uint64_t bytes = stats.state_bytes, sum = bytes;
            (void)dml_allreduce(&bytes, &sum, 1, DML_U64, DML_SUM, t->comm);
            DML_CHECK(t, sum == stats.whole_state_bytes, "%llu bytes over all ranks",
                      (unsigned long long)sum);
        }
        dml_sharded_destroy(s);
        free(memory);
    }
}

/* ---- misuse ------------------------------------------------------------------------
 */

void test_sharded_calls(struct dml_test *t)
{
    float data[4] = {0}, grad[4] = {0}, out[4];
    dml_param p = {.param = data, .grad = grad, .count = 4, .name = "w"};
    dml_sharded *s = NULL;
    dml_test_status(t, "create",
                    dml_sharded_create(DML_OPTIM_SGD, &p, 1, NULL, NULL, t->comm, &s),
                    DML_OK);
    if (s == NULL)
        return;
    dml_test_error(t, "ready before begin", dml_sharded_ready(s, 0), DML_EINVAL);
    dml_test_error(t, "step before begin", dml_sharded_step(s, 1), DML_EINVAL);
    dml_test_error(t, "wait for 1", dml_sharded_wait(s, 1), DML_EINVAL);
    dml_test_error(t, "gather to rank P",
                   dml_sharded_slot_gather(s, 0, 0, out, t->nranks), DML_EINVAL);
    dml_test_error(t, "slot 5", dml_sharded_slot_scatter(s, 0, 5, out, 0), DML_EINVAL);
    dml_test_error(t, "tensor 1", dml_sharded_slot_gather(s, 1, 0, out, 0), DML_EINVAL);
    dml_test_status(t, "begin", dml_sharded_begin(s), DML_OK);
    dml_test_error(t, "begin twice", dml_sharded_begin(s), DML_EINVAL);
    dml_test_error(t, "ready 1", dml_sharded_ready(s, 1), DML_EINVAL);
    dml_test_status(t, "ready", dml_sharded_ready(s, 0), DML_OK);
    dml_test_error(t, "ready twice", dml_sharded_ready(s, 0), DML_EINVAL);
    dml_test_error(t, "gather in a step", dml_sharded_slot_gather(s, 0, 0, out, 0),
                   DML_EINVAL);
    dml_test_error(t, "lr -1", dml_sharded_step(s, -1), DML_EINVAL);
    dml_test_error(t, "lr NaN", dml_sharded_step(s, NAN), DML_EINVAL);
    dml_test_status(t, "step", dml_sharded_step(s, 1), DML_OK);
    dml_test_status(t, "NULL", dml_sharded_begin(NULL), DML_EINVAL);
    dml_sharded_destroy(s);
    dml_sharded_destroy(NULL);
}

/* The last rank differs, or passes what is refused: all get an error. */
void test_sharded_registration(struct dml_test *t)
{
    float data[8] = {0};
    bool last = t->rank == t->nranks - 1;
    dml_param good = {.param = data, .grad = data, .count = 4};
    dml_param wrong[] = {good, good, good, good, good};
    wrong[0].count = 5;
    wrong[1].flags = DML_PARAM_NO_DECAY;
    wrong[2].whole = 8;
    wrong[3].dtype = DML_I32;
    wrong[4].grad = NULL;
    for (size_t i = 0; i < DML_TEST_COUNT(wrong); i++) {
        dml_sharded *s = NULL;
        dml_test_step(t, "wrong %zu", i);
        dml_status status = dml_sharded_create(DML_OPTIM_SGD, last ? &wrong[i] : &good,
                                               1, NULL, NULL, t->comm, &s);
        if (t->nranks == 1 && i < 2)
            dml_test_status(t, "one rank", status, DML_OK);
        else
            DML_CHECK(t, status < 0 && s == NULL, "status %d", status);
        dml_sharded_destroy(s);
    }
    dml_optim_opts opts;
    dml_optim_opts_init(&opts, DML_OPTIM_SGD);
    opts.momentum = last ? 0.5 : 0.9;
    dml_sharded *s = NULL;
    dml_test_status(
        t, "momentum differs",
        dml_sharded_create(DML_OPTIM_SGD, &good, 1, &opts, NULL, t->comm, &s),
        t->nranks > 1 ? DML_EMISMATCH : DML_OK);
    dml_sharded_destroy(s);
    s = NULL;
    dml_test_status(
        t, "no tensors",
        dml_sharded_create(DML_OPTIM_LAMB, NULL, 0, NULL, NULL, t->comm, &s), DML_OK);
    if (s != NULL) {
        dml_test_status(t, "begin", dml_sharded_begin(s), DML_OK);
        dml_test_status(t, "step", dml_sharded_step(s, 1), DML_OK);
    }
    dml_sharded_destroy(s);
}
