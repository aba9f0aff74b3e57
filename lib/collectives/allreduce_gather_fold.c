/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All-reduce of small vectors in rank order: every rank gathers all vectors in log2 P
 * messages and adds them itself, rank 0's first. All ranks compute the same bits, at
 * the latency of recursive doubling, for P times its bytes.
 *
 * The gather is Bruck's: after step k a rank holds the vectors of the 2^(k+1) ranks
 * that follow it, and sends all of them 2^(k+1) ranks down.
 *
 * Source: Bruck, Ho, Kipnis, Upfal and Weathersby, IEEE TPDS 1997 (the gather).
 */
#include "collectives/coll_internal.h"
#include "collectives/halves.h"

static void build(const struct dml__call *call, dml_request *request)
{
    const struct dml__reduction *red = &call->red;
    int nranks = dml_comm_size(call->comm), rank = dml_comm_rank(call->comm);
    size_t ranks = (size_t)nranks, bytes = call->count * dml__term_bytes(call);
    char *slots = dml__sched_scratch(request, dml__mul(ranks, bytes));
    char *sum = dml__sched_scratch(request, dml__mul(call->count, red->acc_bytes));
    const char **terms = dml__sched_scratch(request, dml__mul(ranks, sizeof *terms));
    int *after = dml__sched_scratch(request, dml__mul(ranks, sizeof *after));
    if (slots == NULL || sum == NULL || terms == NULL || after == NULL)
        return;
    /* Slot j is the vector of rank + j; what is in the first slots has arrived by
     * "ready". */
    int ready;
    if (red->own_scale)
        ready = dml__sched_local(request, red->load, slots, call->send, NULL,
                                 call->count, red->scale, DML__NO_STEP, DML__NO_STEP);
    else
        ready = dml__sched_copy(request, slots, call->send, bytes, DML__NO_STEP,
                                DML__NO_STEP);
    for (int held = 1; held < nranks; held *= 2) {
        size_t n = (size_t)(held < nranks - held ? held : nranks - held) * bytes;
        dml__sched_send(request, slots, n, dml__mod(rank - held, nranks), ready,
                        DML__NO_STEP);
        /* Sent are only slots that were full before this step: the next waits for
         * both. Receives complete in list order, so the newest stands for all. */
        ready = dml__sched_recv(request, slots + (size_t)held * bytes, n,
                                (rank + held) % nranks, ready, DML__NO_STEP);
    }
    for (int i = 0; i < nranks; i++) {
        terms[i] = slots + (size_t)dml__mod(i - rank, nranks) * bytes;
        after[i] = ready;
    }
    dml__fold_in_order(call, request, terms, after, call->count, sum, call->recv);
}

static double cost_s(const struct dml__model *m, double bytes)
{
    double p = m->nranks;
    return dml__halves_phase_s(m, p * bytes) + (p - 1) * bytes * m->gamma_s;
}

const struct dml__alg dml__allreduce_gather_fold = {
    .name = "gather_fold",
    .text = "gathers all vectors, each rank adds them in rank order; Bruck et al. 1997",
    .rank_order = true,
    .cost_s = cost_s,
    .build = build,
};
