/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The phases of the direct algorithms (direct.h): every pair of ranks talks.
 *
 * Reduce: rank r receives everybody's block r and sums in rank order 0 .. P-1. It moves
 * as many bytes as a ring, but each element is summed in one place, in an order that
 * does not depend on the owner, and 16-bit floats travel as they are and are rounded
 * once. (Terms that each rank scales by its own factor travel as accumulators.) Gather:
 * rank r sends block r to everybody.
 */
#include "collectives/direct.h"

bool dml__direct_init(struct dml__direct *d, const struct dml__call *call,
                      dml_request *request, char *own)
{
    int nranks = dml_comm_size(call->comm);
    size_t longest = dml__block_max(call);
    /* The terms of all ranks share the cache; across nodes two windows of 2 MiB keep a
     * link busy while answers are on their way. */
    size_t most = (size_t)dml__window_segments(call);
    size_t segments = most == DML__WINDOW_SEGMENTS ? most / 2 : most * 2;
    size_t window = dml__segment_elems(call) * segments / (size_t)nranks;
    window = window > 1024 ? window : 1024;
    window = window < longest ? window : longest;
    *d = (struct dml__direct){
        .call = call,
        .request = request,
        .rank = dml_comm_rank(call->comm),
        .nranks = nranks,
        .window = window,
        .nwindows = window > 0 ? (longest + window - 1) / window : 0,
        .own = own,
        .free_at = {DML__NO_STEP, DML__NO_STEP},
        .result = DML__NO_STEP,
        .sent = dml__sched_scratch(request, (size_t)nranks * sizeof(int)),
        .received = dml__sched_scratch(request, (size_t)nranks * sizeof(int)),
        .slots = dml__sched_scratch(request, (size_t)nranks * sizeof(char *)),
    };
    if (d->sent == NULL || d->received == NULL || d->slots == NULL)
        return false;
    for (int i = 0; i < nranks; i++)
        d->sent[i] = DML__NO_STEP;
    if (!dml__reduces(call->coll))
        return true;
    for (int parity = 0; parity < 2; parity++) {
        d->sum[parity] =
            dml__sched_scratch(request, dml__mul(window, call->red.acc_bytes));
        d->terms[parity] = dml__sched_scratch(
            request, dml__mul((size_t)nranks, dml__mul(window, dml__term_bytes(call))));
        if (d->sum[parity] == NULL || d->terms[parity] == NULL)
            return false;
    }
    if (!call->red.own_scale)
        return true;
    d->scaled = dml__sched_scratch(request, dml__mul(call->total, call->red.acc_bytes));
    return d->scaled != NULL;
}

/* Window w of a block. */
static struct dml__range window_of(const struct dml__direct *d, int block, size_t w)
{
    return dml__part(dml__block(d->call, block), w * d->window, d->window);
}

/* Where window "range" of this rank's terms is as it travels, and in *ready the step
 * after which it is. */
static const char *own_terms(struct dml__direct *d, struct dml__range range, int *ready)
{
    const struct dml__call *call = d->call;
    *ready = DML__NO_STEP;
    if (d->scaled == NULL)
        return dml__in(call, range.offset);
    char *to = d->scaled + range.offset * call->red.acc_bytes;
    *ready = dml__sched_local(d->request, call->red.load, to,
                              dml__in(call, range.offset), NULL, range.count,
                              call->red.scale, DML__NO_STEP, DML__NO_STEP);
    return to;
}

void dml__direct_reduce(struct dml__direct *d, size_t w)
{
    const struct dml__call *call = d->call;
    int parity = (int)(w & 1), ready;
    size_t term_bytes = dml__term_bytes(call);
    struct dml__range mine = window_of(d, d->rank, w);

    for (int i = 1; i < d->nranks; i++) {
        int peer = dml__mod(d->rank + i, d->nranks);
        struct dml__range theirs = window_of(d, peer, w);
        const char *terms = own_terms(d, theirs, &ready);
        d->sent[peer] = dml__sched_send(d->request, terms, theirs.count * term_bytes,
                                        peer, ready, DML__NO_STEP);
    }
    d->slots[d->rank] = own_terms(d, mine, &d->received[d->rank]);
    for (int from = 0; from < d->nranks; from++) {
        if (from == d->rank)
            continue;
        char *slot = d->terms[parity] + (size_t)from * d->window * term_bytes;
        d->slots[from] = slot;
        d->received[from] = dml__sched_recv(d->request, slot, mine.count * term_bytes,
                                            from, d->free_at[parity], DML__NO_STEP);
    }
    d->result =
        dml__fold_in_order(call, d->request, d->slots, d->received, mine.count,
                           d->sum[parity], d->own + w * d->window * call->elem_bytes);
    d->free_at[parity] = d->result;
}

void dml__direct_gather(struct dml__direct *d, size_t w, const char *first)
{
    const struct dml__call *call = d->call;
    struct dml__range mine = window_of(d, d->rank, w);
    const char *from = first + w * d->window * call->elem_bytes;
    for (int i = 1; i < d->nranks; i++) {
        int to = dml__mod(d->rank + i, d->nranks);
        int source = dml__mod(d->rank - i, d->nranks);
        struct dml__range in = window_of(d, source, w);
        dml__sched_send(d->request, from, mine.count * call->elem_bytes, to, d->result,
                        DML__NO_STEP);
        dml__sched_recv(d->request, dml__at(call, in.offset),
                        in.count * call->elem_bytes, source, d->sent[source],
                        DML__NO_STEP);
    }
}

void dml__direct_collect(struct dml__direct *d, size_t w, int root)
{
    const struct dml__call *call = d->call;
    struct dml__range mine = window_of(d, d->rank, w);
    if (d->rank != root) {
        dml__sched_send(d->request, d->own + w * d->window * call->elem_bytes,
                        mine.count * call->elem_bytes, root, d->result, DML__NO_STEP);
        return;
    }
    for (int i = 1; i < d->nranks; i++) {
        int source = dml__mod(root + i, d->nranks);
        struct dml__range in = window_of(d, source, w);
        dml__sched_recv(d->request, dml__at(call, in.offset),
                        in.count * call->elem_bytes, source, d->sent[source],
                        DML__NO_STEP);
    }
}
