/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The same training twice: with a reducer and an optimizer that holds all state, and
 * sharded. Gradients are pure functions of (seed, step, rank, tensor, index).
 */
#include "sharded_run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const size_t sharded_sizes[NTENSORS] = {5000, 1, 0, 1024, 70001, 33, 2049, 0, 4096};

static dml_optim_opts options(const struct sharded_variant *v)
{
    dml_optim_opts opts;
    dml_optim_opts_init(&opts, v->rule);
    opts.clip_norm = v->clip_norm;
    opts.clip_value = v->clip_value;
    opts.loss_scale = v->loss_scale;
    opts.nesterov = v->nesterov;
    if (v->rule == DML_OPTIM_SGD)
        opts.weight_decay = 1e-3;
    return opts;
}

/* In [-1, 1), never twice the same. */
static float noise(uint64_t seed, uint64_t a, uint64_t b)
{
    return (float)((double)(dml_test_hash(seed, a, b) >> 11) * 0x1p-52 - 1);
}

static void put(const struct sharded_run *r, void *to, dml_dtype dtype,
                const float *values, size_t n)
{
    if (dtype == DML_F32)
        memcpy(to, values, n * sizeof *values);
    else
        (void)dml_vec_convert(r->ctx, to, dtype, values, DML_F32, n);
}

/* The gradients of this rank in a step, for both. */
void sharded_gradients(struct sharded_run *r, int step)
{
    float *values = dml_test_alloc(70001 * sizeof *values);
    float scale = r->v->loss_scale > 0 ? (float)r->v->loss_scale : 1;
    for (size_t i = 0; i < NTENSORS; i++) {
        uint64_t key = (uint64_t)(step * 100 + r->t->rank) * 100 + i;
        for (size_t k = 0; k < sharded_sizes[i]; k++)
            values[k] = 0.1f * scale * noise(r->t->seed, key, k);
        if (step == r->v->fault_step && r->t->rank == r->t->nranks - 1 && i == 3)
            values[5] = INFINITY;
        put(r, (void *)(uintptr_t)r->whole[i].grad, r->v->grad_dtype, values,
            sharded_sizes[i]);
        put(r, (void *)(uintptr_t)r->cut[i].grad, r->v->grad_dtype, values,
            sharded_sizes[i]);
    }
    free(values);
}

static void place(struct sharded_run *r, int which, size_t i, size_t *at)
{
    const struct sharded_variant *v = r->v;
    dml_param *p = which < 2 ? &r->whole[i] : &r->cut[i];
    size_t bytes = dml_dtype_bytes(which % 2 == 0 ? v->dtype : v->grad_dtype);
    char *data = r->memory[which] + *at;
    *at += sharded_sizes[i] * bytes;
    if (!v->contiguous)
        *at += 64;
    if (which % 2 == 0)
        p->param = data;
    else
        p->grad = data;
}

static void place_tensors(struct sharded_run *r)
{
    static const char *const names[NTENSORS] = {"conv.weight", "scale",     "none",
                                                "block",       "fc.weight", "odd",
                                                "bias",        "empty",     "last"};
    for (int which = 0; which < 4; which++) {
        size_t at = 0;
        r->memory[which] = dml_test_alloc((size_t)90000 * 4 + NTENSORS * 64);
        for (size_t k = 0; k < NTENSORS; k++)
            place(r, which, r->v->forward_order ? k : NTENSORS - 1 - k, &at);
    }
    for (size_t i = 0; i < NTENSORS; i++) {
        float *values = dml_test_alloc(sharded_sizes[i] * sizeof *values + 1);
        dml_param *both[2] = {&r->whole[i], &r->cut[i]};
        for (size_t k = 0; k < sharded_sizes[i]; k++)
            values[k] = noise(r->t->seed, 7 + i, k);
        for (int k = 0; k < 2; k++) {
            both[k]->count = sharded_sizes[i];
            both[k]->dtype = r->v->dtype;
            both[k]->grad_dtype = r->v->grad_dtype;
            both[k]->flags = i == BIAS ? dml_param_flags(1) : 0;
            both[k]->name = names[i];
            put(r, both[k]->param, r->v->dtype, values, sharded_sizes[i]);
        }
        free(values);
    }
}

dml_sharded *sharded_make(struct sharded_run *r)
{
    dml_sharded *sharded = NULL;
    dml_sharded_opts opts;
    dml_optim_opts optim = options(r->v);
    dml_sharded_opts_init(&opts);
    opts.bucket_bytes = 20000;
    opts.first_bucket_bytes = 3000;
    dml_test_status(r->t, "dml_sharded_create",
                    dml_sharded_create(r->v->rule, r->cut, NTENSORS, &optim, &opts,
                                       r->comm, &sharded),
                    DML_OK);
    return sharded;
}

bool sharded_open(struct sharded_run *r, struct dml_test *t,
                  const struct sharded_variant *v, bool reproducible)
{
    *r = (struct sharded_run){.t = t, .v = v};
    dml_ctx_opts ctx_opts;
    dml_ctx_opts_init(&ctx_opts);
    ctx_opts.reproducible = reproducible;
    ctx_opts.log_level = DML_LOG_ERROR;
    dml_optim_opts optim = options(v);
    dml_tensor grads[NTENSORS];
    if (!dml_test_status(t, "dml_ctx_create", dml_ctx_create(&ctx_opts, &r->ctx),
                         DML_OK) ||
        !dml_test_status(t, "dml_comm_from_mpi",
                         dml_comm_from_mpi(r->ctx, t->mpi, &r->comm), DML_OK))
        return false;
    place_tensors(r);
    for (size_t i = 0; i < NTENSORS; i++)
        grads[i] = (dml_tensor){(void *)(uintptr_t)r->whole[i].grad, sharded_sizes[i],
                                v->grad_dtype, NULL};
    r->sharded = sharded_make(r);
    return r->sharded != NULL &&
           dml_test_status(
               t, "dml_reducer_create",
               dml_reducer_create(grads, NTENSORS, NULL, r->comm, &r->reducer),
               DML_OK) &&
           dml_test_status(
               t, "dml_optim_create",
               dml_optim_create(r->ctx, v->rule, r->whole, NTENSORS, &optim, &r->optim),
               DML_OK);
}

void sharded_close(struct sharded_run *r)
{
    dml_sharded_destroy(r->sharded);
    dml_reducer_destroy(r->reducer);
    dml_optim_destroy(r->optim);
    dml_comm_destroy(r->comm);
    dml_ctx_destroy(r->ctx);
    for (int i = 0; i < 4; i++)
        free(r->memory[i]);
}

double sharded_rate(int step)
{
    return 0.01 * (1 + step % 7);
}

void sharded_step_whole(struct sharded_run *r, int step)
{
    dml_test_status(r->t, "dml_reducer_begin", dml_reducer_begin(r->reducer, true),
                    DML_OK);
    for (size_t i = NTENSORS; i-- > 0;)
        dml_test_status(r->t, "dml_reducer_ready", dml_reducer_ready(r->reducer, i),
                        DML_OK);
    dml_test_status(r->t, "dml_reducer_finish", dml_reducer_finish(r->reducer), DML_OK);
    dml_test_status(r->t, "dml_optim_step",
                    dml_optim_step(r->optim, sharded_rate(step)), DML_OK);
}

/* Ready in another order on each rank and step; parameters are waited for one by one,
 * first to last, some of them twice. */
void sharded_step_cut(struct sharded_run *r, int step)
{
    size_t shift = (size_t)(step * 3 + r->t->rank);
    dml_test_status(r->t, "dml_sharded_begin", dml_sharded_begin(r->sharded), DML_OK);
    for (size_t k = NTENSORS; k-- > 0;)
        dml_test_status(r->t, "dml_sharded_ready",
                        dml_sharded_ready(r->sharded, (k + shift) % NTENSORS), DML_OK);
    dml_test_status(r->t, "dml_sharded_step",
                    dml_sharded_step(r->sharded, sharded_rate(step)), DML_OK);
    for (size_t i = 0; i < NTENSORS; i++)
        dml_test_status(r->t, "dml_sharded_wait",
                        dml_sharded_wait(r->sharded, step % 2 == 0 ? i : i / 2),
                        DML_OK);
    dml_test_status(r->t, "dml_sharded_wait_all", dml_sharded_wait_all(r->sharded),
                    DML_OK);
}

void sharded_compare(struct sharded_run *r, int step)
{
    for (size_t i = 0; i < NTENSORS; i++) {
        char what[64];
        snprintf(what, sizeof what, "tensor %zu after step %d", i, step);
        dml_test_bytes(r->t, what, r->cut[i].param, r->whole[i].param,
                       sharded_sizes[i] * dml_dtype_bytes(r->v->dtype));
    }
}
