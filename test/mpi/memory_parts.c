/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Scenarios of what is built on collectives: reducers, dense and with a codec, sharded
 * optimizers, exchanges, plans and rebalancing.
 */
#include "memory.h"

#include <stdlib.h>
#include <string.h>

enum { NTENSORS = 4 };

static const size_t counts[NTENSORS] = {3000, 40, 5000, 20000};
static const size_t rows[NTENSORS] = {30, 1, 50, 100};
static float weights[NTENSORS][20000], gradients[NTENSORS][20000];

static void fill(const struct dml_test *t, dml_tensor tensors[NTENSORS])
{
    for (size_t i = 0; i < NTENSORS; i++) {
        for (size_t k = 0; k < counts[i]; k++)
            gradients[i][k] = (float)((k * 7 + (size_t)t->rank) % 11);
        tensors[i] = (dml_tensor){
            .data = gradients[i], .count = counts[i], .dtype = DML_F32, .name = "w"};
    }
}

static dml_status reduce_steps(const struct dml_test *t, const char *codec,
                               dml_comm *comm)
{
    dml_tensor tensors[NTENSORS];
    dml_status status;
    dml_reducer *reducer = NULL;
    dml_reducer_opts opts;
    void *state = NULL;
    dml_reducer_opts_init(&opts);
    opts.bucket_bytes = opts.first_bucket_bytes = 16000;
    opts.codec = codec;
    opts.rows = rows;
    fill(t, tensors);
    MEMORY_TRY(dml_reducer_create(tensors, NTENSORS, &opts, comm, &reducer));
    for (int step = 0; step < 3; step++) {
        MEMORY_TRY(dml_reducer_begin(reducer, true));
        for (size_t i = NTENSORS; i-- > 0;)
            MEMORY_TRY(dml_reducer_ready(reducer, i));
        MEMORY_TRY(dml_reducer_finish(reducer));
    }
    size_t bytes = dml_reducer_state_bytes(reducer);
    state = dml_test_alloc(bytes);
    MEMORY_TRY(dml_reducer_get_state(reducer, state, bytes));
    MEMORY_TRY(dml_reducer_set_state(reducer, state, bytes));
out:
    free(state);
    dml_reducer_destroy(reducer);
    return status;
}

dml_status memory_reducer(const struct dml_test *t, dml_comm *comm)
{
    return reduce_steps(t, NULL, comm);
}

#define MEMORY_CODEC(name, codec)                                      \
    dml_status memory_##name(const struct dml_test *t, dml_comm *comm) \
    {                                                                  \
        return reduce_steps(t, codec ",force", comm);                  \
    }
MEMORY_CODEC(onebit, "onebit")
MEMORY_CODEC(topk, "topk:0.1")
MEMORY_CODEC(dgc, "dgc:0.1")
MEMORY_CODEC(randomk, "randomk:0.1")
MEMORY_CODEC(powersgd, "powersgd:2")

dml_status memory_sharded(const struct dml_test *t, dml_comm *comm)
{
    dml_param params[NTENSORS];
    dml_tensor tensors[NTENSORS];
    dml_status status;
    dml_sharded *sharded = NULL;
    dml_sharded_opts opts;
    static float whole[20000];
    dml_sharded_opts_init(&opts);
    opts.bucket_bytes = opts.first_bucket_bytes = 16000;
    fill(t, tensors);
    memset(weights, 0, sizeof weights);
    for (size_t i = 0; i < NTENSORS; i++)
        params[i] = (dml_param){.param = weights[i],
                                .grad = gradients[i],
                                .count = counts[i],
                                .dtype = DML_F32,
                                .grad_dtype = DML_F32};
    MEMORY_TRY(dml_sharded_create(DML_OPTIM_LAMB, params, NTENSORS, NULL, &opts, comm,
                                  &sharded));
    for (int step = 0; step < 2; step++) {
        MEMORY_TRY(dml_sharded_begin(sharded));
        for (size_t i = NTENSORS; i-- > 0;)
            MEMORY_TRY(dml_sharded_ready(sharded, i));
        MEMORY_TRY(dml_sharded_step(sharded, 0.1));
        MEMORY_TRY(dml_sharded_wait_all(sharded));
    }
    MEMORY_TRY(dml_sharded_slot_gather(sharded, 3, 0, whole, 0));
    MEMORY_TRY(dml_sharded_slot_scatter(sharded, 3, 0, whole, 0));
out:
    dml_sharded_destroy(sharded);
    return status;
}

dml_status memory_bcast(const struct dml_test *t, dml_comm *comm)
{
    dml_tensor tensors[NTENSORS];
    fill(t, tensors);
    return dml_sync_bcast(tensors, NTENSORS, 0, comm);
}

/* ---- records and keys --------------------------------------------------------------
 */

static dml_status store(void *user, int source, const void *record, size_t bytes)
{
    (void)source;
    (void)record;
    *(size_t *)user += bytes;
    return DML_OK;
}

dml_status memory_exchange(const struct dml_test *t, dml_comm *comm)
{
    enum { RECORDS = 300, LONGEST = 40000 };
    static char record[LONGEST];
    static int dest[RECORDS];
    static size_t offsets[RECORDS + 1];
    size_t bytes = 0;
    dml_status status, end;
    dml_exchange *x = NULL;
    dml_exchange_opts opts;
    dml_exchange_opts_init(&opts);
    opts.budget_bytes = (size_t)4096 * (size_t)(2 * t->nranks);
    MEMORY_TRY(dml_exchange_create(&opts, store, &bytes, comm, &x));
    for (size_t i = 0; i < RECORDS && status == DML_OK; i++)
        status = dml_exchange_push(x, (int)(i % (size_t)t->nranks), record,
                                   i % 100 == 7 ? LONGEST : i);
    end = dml_exchange_finish(x);
    status = status != DML_OK ? status : end;
    if (status != DML_OK)
        goto out;
    for (size_t i = 0; i < RECORDS; i++) {
        dest[i] = (int)(i % (size_t)t->nranks);
        offsets[i + 1] = offsets[i] + i % 50;
    }
    const dml_packed sent = {record, offsets, RECORDS};
    dml_packed got = {0};
    MEMORY_TRY(dml_exchange_packed(&sent, dest, NULL, comm, &got));
    dml_packed_free(&got);
out:
    dml_exchange_destroy(x);
    return status;
}

/* Records' keys are seen by this rank alone; every rank then goes on, or none does. */
static dml_status sample(const struct dml_test *t, dml_ctx *ctx, dml_histogram **own)
{
    uint64_t keys[500];
    dml_sampler *sampler = NULL;
    dml_sampler_opts opts;
    dml_sampler_opts_init(&opts);
    opts.rate = 1;
    opts.buckets = 16;
    for (size_t i = 0; i < 500; i++)
        keys[i] = i % (7 + (size_t)t->rank);
    dml_status status = dml_sampler_create(ctx, &opts, &sampler);
    if (status == DML_OK)
        status = dml_sampler_add(
            sampler, &(dml_keys){.kind = DML_KEY_U64, .count = 500, .u64 = keys}, NULL);
    if (status == DML_OK)
        status = dml_sampler_finish(sampler, own);
    dml_sampler_destroy(sampler);
    return memory_together(t, status);
}

dml_status memory_plan(const struct dml_test *t, dml_comm *comm)
{
    dml_status status;
    dml_histogram *own = NULL, *merged = NULL;
    dml_plan *plan = NULL;
    MEMORY_TRY(sample(t, dml_comm_ctx(comm), &own));
    MEMORY_TRY(dml_histogram_gather(own, 5, comm, &merged));
    MEMORY_TRY(dml_partition_plan(DML_PLAN_KRHP, own, 0, NULL, comm, &plan));
out:
    dml_plan_destroy(plan);
    dml_histogram_destroy(merged);
    dml_histogram_destroy(own);
    return status;
}

dml_status memory_rebalance(const struct dml_test *t, dml_comm *comm)
{
    uint64_t units[DML_TEST_MAX_RANKS];
    dml_move moves[DML_TEST_MAX_RANKS];
    size_t nmoves;
    dml_rebalance *rebalance = NULL;
    for (int r = 0; r < t->nranks; r++)
        units[r] = 100;
    dml_status status = dml_rebalance_create(dml_comm_ctx(comm), (size_t)t->nranks,
                                             units, NULL, &rebalance);
    status = memory_together(t, status);
    for (int step = 0; step < 6 && status == DML_OK; step++)
        status = dml_rebalance_agree(rebalance, 1.0 + t->rank, comm, moves, &nmoves);
    dml_rebalance_destroy(rebalance);
    return status;
}
