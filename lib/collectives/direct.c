/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The phases of the direct algorithms (direct.h): every pair of ranks talks.
 *
 * Reduce: rank r receives everybody's block r and sums in rank order 0 .. P-1. It moves
 * as many bytes as a ring, but each element is summed in one place, in an order that
 * does not depend on the owner, and 16-bit floats travel as they are and are rounded
 * once. Gather: rank r sends block r to everybody.
 */
#include "collectives/direct.h"

bool dml__direct_init(struct dml__direct *d, const struct dml__call *call,
                      dml_request *request, char *own)
{
    int nranks = dml_comm_size(call->comm);
    size_t longest = dml__block_max(call);
    /* The terms of all ranks share the cache. */
    size_t window = dml__segment_elems(call) * 2 / (size_t)nranks;
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
    };
    if (d->sent == NULL)
        return false;
    for (int i = 0; i < nranks; i++)
        d->sent[i] = DML__NO_STEP;
    if (!dml__reduces(call->coll))
        return true;
    for (int parity = 0; parity < 2; parity++) {
        d->sum[parity] =
            dml__sched_scratch(request, dml__mul(window, call->red.acc_bytes));
        d->terms[parity] = dml__sched_scratch(
            request, dml__mul((size_t)nranks, dml__mul(window, call->elem_bytes)));
        if (d->sum[parity] == NULL || d->terms[parity] == NULL)
            return false;
    }
    return true;
}

const char *dml__direct_supports(const struct dml__call *call)
{
    /* The terms travel as they are, and the receiver does not know the sender's scale.
     */
    return call->red.own_scale ? "each rank scales its own terms before they travel"
                               : NULL;
}

/* Window w of a block. */
static struct dml__range window_of(const struct dml__direct *d, int block, size_t w)
{
    return dml__part(dml__block(d->call, block), w * d->window, d->window);
}

void dml__direct_reduce(struct dml__direct *d, size_t w)
{
    const struct dml__call *call = d->call;
    const struct dml__reduction *red = &call->red;
    int parity = (int)(w & 1), first_received = DML__NO_STEP;
    struct dml__range mine = window_of(d, d->rank, w);
    char *result = d->own + w * d->window * call->elem_bytes;
    const void *sum = NULL;

    for (int i = 1; i < d->nranks; i++) {
        int peer = dml__mod(d->rank + i, d->nranks);
        struct dml__range theirs = window_of(d, peer, w);
        d->sent[peer] = dml__sched_send(d->request, dml__in(call, theirs.offset),
                                        theirs.count * call->elem_bytes, peer,
                                        DML__NO_STEP, DML__NO_STEP);
    }
    for (int from = 0; from < d->nranks; from++) {
        char *slot = d->terms[parity] + (size_t)from * d->window * call->elem_bytes;
        const char *term = from == d->rank ? dml__in(call, mine.offset) : slot;
        int received = DML__NO_STEP;
        if (from != d->rank)
            received = dml__sched_recv(d->request, slot, mine.count * call->elem_bytes,
                                       from, d->free_at[parity], DML__NO_STEP);
        bool last = from == d->nranks - 1;
        void *to = last && red->store == NULL ? result : d->sum[parity];
        if (sum == NULL && red->load == NULL) { /* added with the next term */
            sum = term;
            first_received = received;
            continue;
        }
        d->result =
            dml__sched_local(d->request, sum == NULL ? red->load : red->fold, to,
                             sum == NULL ? term : sum, sum == NULL ? NULL : term,
                             mine.count, red->scale, received, first_received);
        sum = to;
    }
    if (red->store != NULL)
        d->result = dml__sched_local(d->request, red->store, result, sum, NULL,
                                     mine.count, red->divisor, d->result, DML__NO_STEP);
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
