/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What all ranks must know alike: the histogram of all their keys, the plan that
 * follows from it, and the times of a step, from which work is moved.
 *
 * Nothing is decided by one rank for the others. All gather the same bytes and compute
 * the same from them, which costs less than a rank that computes while all wait.
 */
#include "dml/coll.h"

#include "exchange/exchange.h"

#include <string.h>

/* ---- histograms --------------------------------------------------------------------
 */

/* The ranks' histograms as bytes. */
struct gathered {
    size_t *counts;     /* [P] bytes of each */
    unsigned char *all; /* [total] in the order of the ranks */
    size_t total;
};

static void free_gathered(struct gathered *g)
{
    dml__free(g->counts);
    dml__free(g->all);
}

/* Room for the bytes of all ranks, with the own ones in their place. */
static dml_status prepare(struct gathered *g, const dml_histogram *own, size_t bytes,
                          dml_comm *comm)
{
    size_t rank = (size_t)dml_comm_rank(comm), n = (size_t)dml_comm_size(comm), at = 0;
    for (size_t p = 0; p < n; p++) {
        at = p < rank ? at + g->counts[p] : at;
        g->total += g->counts[p];
    }
    g->all = dml__alloc(dml_comm_ctx(comm), g->total);
    if (g->all == NULL)
        return dml__fail(dml_comm_ctx(comm), DML_ENOMEM, "dml_histogram_gather",
                         "no memory for %zu bytes of histograms; give fewer entries",
                         g->total);
    return dml_histogram_pack(own, g->all + at, bytes);
}

/* Every rank's bytes on every rank. */
static dml_status gather(struct gathered *g, const dml_histogram *own, dml_comm *comm)
{
    size_t n = (size_t)dml_comm_size(comm);
    dml_ctx *ctx = dml_comm_ctx(comm);
    dml_histogram_info info;
    dml_histogram_get_info(own, &info);
    uint64_t bytes = info.pack_bytes;
    g->counts = dml__alloc(ctx, dml__mul(n, sizeof *g->counts));
    dml_status status = DML_OK;
    if (g->counts == NULL)
        status = dml__fail(ctx, DML_ENOMEM, "dml_histogram_gather",
                           "no memory for the sizes of %zu ranks", n);
    DML_TRY(dml__share_last_error(comm, status, "dml_histogram_gather"));
    DML_TRY(dml_allgather(&bytes, g->counts, 1, DML_U64, comm));
    status = prepare(g, own, bytes, comm);
    DML_TRY(dml__share_last_error(comm, status, "dml_histogram_gather"));
    return dml_allgatherv(DML_IN_PLACE, g->all, g->counts, NULL, DML_U8, comm);
}

/* Not collective: what all ranks gathered, as one histogram. */
static dml_status merge(const struct gathered *g, size_t n, dml_ctx *ctx,
                        dml_histogram **merged)
{
    dml_histogram **parts = dml__alloc(ctx, dml__mul(n, sizeof(dml_histogram *)));
    const unsigned char *at = g->all;
    dml_status status = DML_OK;
    if (parts == NULL)
        return dml__fail(ctx, DML_ENOMEM, "dml_histogram_gather",
                         "no memory to merge the histograms of %zu ranks", n);
    for (size_t p = 0; p < n && status == DML_OK; p++) {
        status = dml_histogram_unpack(ctx, at, g->counts[p], &parts[p]);
        at += g->counts[p];
    }
    if (status == DML_OK)
        status =
            dml_histogram_merge(ctx, (const dml_histogram *const *)parts, n, merged);
    for (size_t p = 0; p < n; p++)
        dml_histogram_destroy(parts[p]);
    dml__free(parts);
    return status;
}

dml_status dml_histogram_gather(dml_histogram *own, size_t entries, dml_comm *comm,
                                dml_histogram **merged)
{
    if (comm == NULL)
        return DML_EINVAL;
    if (own == NULL || merged == NULL)
        return dml__fail(dml_comm_ctx(comm), DML_EINVAL, __func__,
                         "own or merged is NULL");
    dml_histogram *result = NULL;
    struct gathered g = {.total = 0};
    dml_status status = DML_OK;
    if (entries > 0)
        status = dml_histogram_shorten(own, entries);
    DML_TRY(dml__share_last_error(comm, status, __func__));
    status = gather(&g, own, comm);
    if (status == DML_OK) {
        status = merge(&g, (size_t)dml_comm_size(comm), dml_comm_ctx(comm), &result);
        status = dml__share_last_error(comm, status, __func__);
    }
    free_gathered(&g);
    if (status == DML_OK)
        *merged = result;
    else
        dml_histogram_destroy(result);
    return status;
}

/* ---- plans -------------------------------------------------------------------------
 */

/* The hash of a plan's bytes as two numbers that doubles hold exactly. */
static dml_status fingerprint(const dml_plan *plan, dml_ctx *ctx, double halves[2])
{
    dml_plan_info info;
    dml_plan_get_info(plan, &info);
    unsigned char *bytes = dml__alloc(ctx, info.pack_bytes);
    if (bytes == NULL)
        return dml__fail(ctx, DML_ENOMEM, "dml_partition_plan",
                         "no memory for the %zu bytes of a plan", info.pack_bytes);
    dml_status status = dml_plan_pack(plan, bytes, info.pack_bytes);
    uint64_t hash = dml_hash_bytes(bytes, info.pack_bytes, 0);
    halves[0] = (double)(hash >> 32);
    halves[1] = (double)(hash & UINT32_MAX);
    dml__free(bytes);
    return status;
}

static dml_status same_everywhere(const double halves[2], dml_comm *comm)
{
    double most[4] = {halves[0], -halves[0], halves[1], -halves[1]};
    DML_TRY(dml__comm_max(comm, most, 4));
    if (most[0] + most[1] == 0 && most[2] + most[3] == 0)
        return DML_OK;
    return dml__fail(dml_comm_ctx(comm), DML_EMISMATCH, "dml_partition_plan",
                     "the ranks' plans differ; give all ranks the same planner and "
                     "options");
}

dml_status dml_partition_plan(dml_planner planner, dml_histogram *own, size_t entries,
                              const dml_plan_opts *opts, dml_comm *comm,
                              dml_plan **plan)
{
    if (comm == NULL || plan == NULL)
        return DML_EINVAL;
    dml_ctx *ctx = dml_comm_ctx(comm);
    dml_histogram *merged = NULL;
    dml_plan *result = NULL;
    double halves[2] = {0, 0};
    DML_TRY(dml_histogram_gather(own, entries, comm, &merged));
    dml_status status = dml_plan_create(ctx, planner, (size_t)dml_comm_size(comm),
                                        merged, opts, &result);
    if (status == DML_OK)
        status = fingerprint(result, ctx, halves);
    status = dml__share_last_error(comm, status, __func__);
    if (status == DML_OK)
        status = same_everywhere(halves, comm);
    dml_histogram_destroy(merged);
    if (status == DML_OK)
        *plan = result;
    else
        dml_plan_destroy(result);
    return status;
}
