/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reduction of small vectors in rank order: everybody sends its vector to the root,
 * which adds them, rank 0's first. Segments keep what the root holds in the cache.
 */
#include "collectives/coll_internal.h"

static size_t segment_elems(const struct dml__call *call)
{
    size_t n = dml__segment_elems(call) * 2 / (size_t)dml_comm_size(call->comm);
    return n > 1024 ? n : 1024;
}

static void send_terms(const struct dml__call *call, dml_request *request, char *scaled)
{
    const struct dml__reduction *red = &call->red;
    size_t segment = segment_elems(call), term_bytes = dml__term_bytes(call);
    for (size_t done = 0; done < call->count; done += segment) {
        size_t n = call->count - done < segment ? call->count - done : segment;
        const char *terms = dml__in(call, done);
        int ready = DML__NO_STEP;
        if (red->own_scale) {
            char *to = scaled + done * term_bytes;
            ready = dml__sched_local(request, red->load, to, terms, NULL, n, red->scale,
                                     DML__NO_STEP, DML__NO_STEP);
            terms = to;
        }
        dml__sched_send(request, terms, n * term_bytes, call->root, ready,
                        DML__NO_STEP);
    }
}

static void build(const struct dml__call *call, dml_request *request)
{
    const struct dml__reduction *red = &call->red;
    int nranks = dml_comm_size(call->comm), rank = dml_comm_rank(call->comm);
    size_t ranks = (size_t)nranks, term_bytes = dml__term_bytes(call);
    size_t segment = segment_elems(call), slot_bytes = segment * term_bytes;
    size_t own = red->own_scale ? dml__mul(call->count, term_bytes) : 0;
    char *scaled = dml__sched_scratch(request, own);
    if (scaled == NULL)
        return;
    if (rank != call->root) {
        send_terms(call, request, scaled);
        return;
    }
    char *slots = dml__sched_scratch(request, dml__mul(2 * ranks, slot_bytes));
    char *sum = dml__sched_scratch(request, dml__mul(segment, red->acc_bytes));
    const char **terms = dml__sched_scratch(request, dml__mul(ranks, sizeof *terms));
    int *after = dml__sched_scratch(request, dml__mul(ranks, sizeof *after));
    if (slots == NULL || sum == NULL || terms == NULL || after == NULL)
        return;
    int free_at[2] = {DML__NO_STEP, DML__NO_STEP}, parity = 0; /* of the slots */
    for (size_t done = 0; done < call->count; done += segment, parity = 1 - parity) {
        size_t n = call->count - done < segment ? call->count - done : segment;
        for (int i = 0; i < nranks; i++) {
            char *slot = slots + ((size_t)parity * ranks + (size_t)i) * slot_bytes;
            terms[i] = slot;
            if (i != rank) {
                after[i] = dml__sched_recv(request, slot, n * term_bytes, i,
                                           free_at[parity], DML__NO_STEP);
            } else if (red->own_scale) {
                terms[i] = scaled + done * term_bytes;
                after[i] = dml__sched_local(
                    request, red->load, scaled + done * term_bytes, dml__in(call, done),
                    NULL, n, red->scale, DML__NO_STEP, DML__NO_STEP);
            } else {
                terms[i] = dml__in(call, done);
                after[i] = DML__NO_STEP;
            }
        }
        free_at[parity] = dml__fold_in_order(call, request, terms, after, n, sum,
                                             dml__at(call, done));
    }
}

static double cost_s(const struct dml__model *m, double bytes)
{
    double p = m->nranks;
    return dml__collect_s(m, p * bytes) + (p - 1) * bytes * m->gamma_s;
}

const struct dml__alg dml__reduce_gather_fold = {
    .name = "gather_fold",
    .text = "the root receives all vectors and adds them in rank order",
    .rank_order = true,
    .cost_s = cost_s,
    .build = build,
};
