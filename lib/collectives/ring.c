/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The phases of a ring (ring.h). Rank r talks to r+1 and r-1 only.
 *
 * Reduce, step s of P-1: send the partial sum of block r-s-1, receive that of block
 * r-s-2 and add the own input. After P-1 steps the sum of block r is complete on rank
 * r. Gather, step s: send block r-s, receive block r-s-1.
 *
 * The input is only read, partial sums live in slots: the caller's vector is neither
 * copied nor written before the result. Slots alternate by the parity of the step, so
 * that one is filled while the other is sent on.
 */
#include "collectives/ring.h"

bool dml__ring_init(struct dml__ring *ring, const struct dml__call *call,
                    dml_request *request, char *own)
{
    int nranks = dml_comm_size(call->comm), rank = dml_comm_rank(call->comm);
    size_t segment = dml__segment_elems(call), longest = dml__block_max(call);
    size_t most = (size_t)dml__window_segments(call);
    size_t nsegments = (longest + segment - 1) / segment;
    nsegments = nsegments < most ? nsegments : most;
    *ring = (struct dml__ring){
        .call = call,
        .request = request,
        .rank = rank,
        .nranks = nranks,
        .left = dml__mod(rank - 1, nranks),
        .right = dml__mod(rank + 1, nranks),
        .segment = segment,
        .window = segment * nsegments,
        .nsegments = (int)nsegments,
        .own = own,
    };
    ring->nwindows = ring->window > 0 ? (longest + ring->window - 1) / ring->window : 0;
    size_t nreaders = (size_t)nranks * nsegments;
    ring->reader = dml__sched_scratch(request, nreaders * sizeof(int));
    if (ring->reader == NULL)
        return false;
    for (size_t i = 0; i < nreaders; i++)
        ring->reader[i] = DML__NO_STEP;
    if (!dml__reduces(call->coll))
        return true;
    size_t longest_segment = longest < segment ? longest : segment;
    size_t bytes = dml__mul(longest_segment, call->red.acc_bytes);
    char *slots = dml__sched_scratch(request, 2 * nsegments * bytes);
    for (int parity = 0; parity < 2; parity++)
        for (int k = 0; k < ring->nsegments; k++) {
            ring->slot[parity][k] =
                slots + (size_t)(parity * ring->nsegments + k) * bytes;
            ring->slot_user[parity][k] = DML__NO_STEP;
        }
    return slots != NULL;
}

/* Segment k of window w of a block. */
static struct dml__range segment_of(const struct dml__ring *ring, int block, size_t w,
                                    int k)
{
    struct dml__range whole = dml__block(ring->call, block);
    return dml__part(whole, w * ring->window + (size_t)k * ring->segment,
                     ring->segment);
}

static int *reader_of(struct dml__ring *ring, int block, int k)
{
    return &ring->reader[block * ring->nsegments + k];
}

/* Sends the first partial sum of a block: the own input, loaded where that is needed.
 */
static void send_input(struct dml__ring *ring, int block, int k, struct dml__range seg)
{
    const struct dml__call *call = ring->call;
    const struct dml__reduction *red = &call->red;
    const void *input = dml__in(call, seg.offset);
    int *reader = reader_of(ring, block, k), *user = &ring->slot_user[1][k];
    if (red->load == NULL) {
        *reader = dml__sched_send(ring->request, input, seg.count * red->acc_bytes,
                                  ring->right, DML__NO_STEP, DML__NO_STEP);
        return;
    }
    *reader = dml__sched_local(ring->request, red->load, ring->slot[1][k], input, NULL,
                               seg.count, red->scale, *user, DML__NO_STEP);
    *user = dml__sched_send(ring->request, ring->slot[1][k], seg.count * red->acc_bytes,
                            ring->right, *reader, DML__NO_STEP);
}

/* Receives a partial sum and adds the own input; the last step's is the result. */
static void receive_and_fold(struct dml__ring *ring, int block, size_t w, int k,
                             struct dml__range seg, int step)
{
    const struct dml__call *call = ring->call;
    const struct dml__reduction *red = &call->red;
    int parity = step & 1;
    char *slot = ring->slot[parity][k];
    int *user = &ring->slot_user[parity][k];
    bool last = step == ring->nranks - 2;
    char *result =
        ring->own + (w * ring->window + (size_t)k * ring->segment) * call->elem_bytes;
    char *sum = last && red->acc_bytes == call->elem_bytes ? result : slot;
    int folded = dml__sched_recv_fold(
        ring->request, slot, seg.count * red->acc_bytes, ring->left, red->fold, sum,
        dml__in(call, seg.offset), red->acc_bytes, call->elem_bytes, red->scale, *user,
        DML__NO_STEP);
    *reader_of(ring, block, k) = folded;
    if (last && red->store != NULL)
        folded = dml__sched_local(ring->request, red->store, result, sum, NULL,
                                  seg.count, red->divisor, folded, DML__NO_STEP);
    ring->partial[parity][k] = *user = folded;
    if (last)
        ring->result[k] = folded;
}

void dml__ring_reduce(struct dml__ring *ring, size_t w)
{
    for (int step = 0; step < ring->nranks - 1; step++) {
        int sent = dml__mod(ring->rank - step - 1, ring->nranks);
        int received = dml__mod(ring->rank - step - 2, ring->nranks);
        int before = (step - 1) & 1; /* parity of the slots filled in the step before */
        for (int k = 0; k < ring->nsegments; k++) {
            struct dml__range out = segment_of(ring, sent, w, k);
            struct dml__range in = segment_of(ring, received, w, k);
            if (out.count > 0 && step == 0)
                send_input(ring, sent, k, out);
            else if (out.count > 0)
                ring->slot_user[before][k] =
                    dml__sched_send(ring->request, ring->slot[before][k],
                                    out.count * ring->call->red.acc_bytes, ring->right,
                                    ring->partial[before][k], DML__NO_STEP);
            if (in.count > 0)
                receive_and_fold(ring, received, w, k, in, step);
        }
    }
}

void dml__ring_gather(struct dml__ring *ring, size_t w, const char *first)
{
    const struct dml__call *call = ring->call;
    int arrived[DML__NET_WINDOW_SEGMENTS];
    for (int k = 0; k < ring->nsegments; k++)
        arrived[k] = dml__reduces(call->coll) ? ring->result[k] : DML__NO_STEP;
    for (int step = 0; step < ring->nranks - 1; step++) {
        int sent = dml__mod(ring->rank - step, ring->nranks);
        int received = dml__mod(ring->rank - step - 1, ring->nranks);
        for (int k = 0; k < ring->nsegments; k++) {
            struct dml__range out = segment_of(ring, sent, w, k);
            struct dml__range in = segment_of(ring, received, w, k);
            const char *from = dml__at(call, out.offset);
            if (step == 0)
                from = first + (w * ring->window + (size_t)k * ring->segment) *
                                   call->elem_bytes;
            dml__sched_send(ring->request, from, out.count * call->elem_bytes,
                            ring->right, arrived[k], DML__NO_STEP);
            arrived[k] = dml__sched_recv(ring->request, dml__at(call, in.offset),
                                         in.count * call->elem_bytes, ring->left,
                                         *reader_of(ring, received, k), DML__NO_STEP);
        }
    }
}
