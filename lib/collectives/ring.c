/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The phases of a ring (ring.h). Rank r talks to r+1 and r-1 only. What follows is for
 * a ring to the right; one to the left is its mirror image.
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

/* This ring's part of a block: of two the first is the longer. */
static struct dml__range block_of(const struct dml__ring *ring, int block)
{
    struct dml__range whole = dml__block(ring->call, block);
    size_t nparts = (size_t)ring->nparts, longest = (whole.count + nparts - 1) / nparts;
    return dml__part(whole, (size_t)ring->part * longest, longest);
}

/* The block "steps" behind this rank. */
static int behind(const struct dml__ring *ring, int steps)
{
    return dml__mod(ring->rank - ring->direction * steps, ring->nranks);
}

static bool make_slots(struct dml__ring *ring, size_t longest)
{
    const struct dml__call *call = ring->call;
    size_t count = longest < ring->segment ? longest : ring->segment;
    size_t bytes = dml__mul(count, call->red.acc_bytes);
    char *slots =
        dml__sched_scratch(ring->request, 2 * (size_t)ring->nsegments * bytes);
    for (int parity = 0; parity < 2; parity++)
        for (int k = 0; k < ring->nsegments; k++) {
            ring->slot[parity][k] =
                slots + (size_t)(parity * ring->nsegments + k) * bytes;
            ring->slot_user[parity][k] = DML__NO_STEP;
        }
    return slots != NULL;
}

static bool init(struct dml__ring *ring, const struct dml__call *call,
                 dml_request *request, char *own)
{
    size_t longest =
        (dml__block_max(call) + (size_t)ring->nparts - 1) / (size_t)ring->nparts;
    ring->call = call;
    ring->request = request;
    ring->rank = dml_comm_rank(call->comm);
    ring->nranks = dml_comm_size(call->comm);
    ring->direction = ring->part == 0 ? 1 : -1;
    ring->from = behind(ring, 1);
    ring->to = behind(ring, -1);
    ring->segment = dml__segment_elems(call);
    size_t nsegments = (longest + ring->segment - 1) / ring->segment;
    size_t most = (size_t)dml__window_segments(call);
    nsegments = nsegments < most ? nsegments : most;
    ring->nsegments = (int)nsegments;
    ring->window = ring->segment * nsegments;
    ring->nwindows = ring->window > 0 ? (longest + ring->window - 1) / ring->window : 0;
    ring->skipped =
        block_of(ring, ring->rank).offset - dml__block(call, ring->rank).offset;
    ring->own = own;
    size_t nreaders = (size_t)ring->nranks * nsegments;
    ring->reader = dml__sched_scratch(request, nreaders * sizeof(int));
    if (ring->reader == NULL)
        return false;
    for (size_t i = 0; i < nreaders; i++)
        ring->reader[i] = DML__NO_STEP;
    return !dml__reduces(call->coll) || make_slots(ring, longest);
}

bool dml__ring_init(struct dml__ring *rings, int nrings, const struct dml__call *call,
                    dml_request *request, char *own)
{
    for (int i = 0; i < nrings; i++) {
        rings[i] = (struct dml__ring){.part = i, .nparts = nrings};
        if (!init(&rings[i], call, request, own))
            return false;
    }
    return true;
}

/* Segment k of window w of a block. */
static struct dml__range segment_of(const struct dml__ring *ring, int block, size_t w,
                                    int k)
{
    return dml__part(block_of(ring, block),
                     w * ring->window + (size_t)k * ring->segment, ring->segment);
}

/* Element of the own block at which segment k of window w starts. */
static size_t own_elem(const struct dml__ring *ring, size_t w, int k)
{
    return ring->skipped + w * ring->window + (size_t)k * ring->segment;
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
                                  ring->to, DML__NO_STEP, DML__NO_STEP);
        return;
    }
    *reader = dml__sched_local(ring->request, red->load, ring->slot[1][k], input, NULL,
                               seg.count, red->scale, *user, DML__NO_STEP);
    *user = dml__sched_send(ring->request, ring->slot[1][k], seg.count * red->acc_bytes,
                            ring->to, *reader, DML__NO_STEP);
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
    char *result = ring->own + own_elem(ring, w, k) * call->elem_bytes;
    char *sum = last && red->acc_bytes == call->elem_bytes ? result : slot;
    int folded = dml__sched_recv_fold(
        ring->request, slot, seg.count * red->acc_bytes, ring->from, red->fold, sum,
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

/* One step of phase 1. */
static void reduce_step(struct dml__ring *ring, size_t w, int step)
{
    int sent = behind(ring, step + 1), received = behind(ring, step + 2);
    int before = (step - 1) & 1; /* parity of the slots filled in the step before */
    for (int k = 0; k < ring->nsegments; k++) {
        struct dml__range out = segment_of(ring, sent, w, k);
        struct dml__range in = segment_of(ring, received, w, k);
        if (out.count > 0 && step == 0)
            send_input(ring, sent, k, out);
        else if (out.count > 0)
            ring->slot_user[before][k] =
                dml__sched_send(ring->request, ring->slot[before][k],
                                out.count * ring->call->red.acc_bytes, ring->to,
                                ring->partial[before][k], DML__NO_STEP);
        if (in.count > 0)
            receive_and_fold(ring, received, w, k, in, step);
    }
}

/* One step of phase 2. */
static void gather_step(struct dml__ring *ring, size_t w, int step, const char *first)
{
    const struct dml__call *call = ring->call;
    int sent = behind(ring, step), received = behind(ring, step + 1);
    for (int k = 0; k < ring->nsegments; k++) {
        struct dml__range out = segment_of(ring, sent, w, k);
        struct dml__range in = segment_of(ring, received, w, k);
        const char *from = dml__at(call, out.offset);
        if (step == 0)
            from = first + own_elem(ring, w, k) * call->elem_bytes;
        dml__sched_send(ring->request, from, out.count * call->elem_bytes, ring->to,
                        ring->result[k], DML__NO_STEP);
        ring->result[k] = dml__sched_recv(ring->request, dml__at(call, in.offset),
                                          in.count * call->elem_bytes, ring->from,
                                          *reader_of(ring, received, k), DML__NO_STEP);
    }
}

/* The rings take their steps in turn: their messages then travel side by side. */
void dml__ring_reduce(struct dml__ring *rings, int nrings, size_t w)
{
    for (int step = 0; step < rings[0].nranks - 1; step++)
        for (int i = 0; i < nrings; i++)
            reduce_step(&rings[i], w, step);
}

void dml__ring_gather(struct dml__ring *rings, int nrings, size_t w, const char *first)
{
    for (int i = 0; i < nrings && !dml__reduces(rings[0].call->coll); i++)
        for (int k = 0; k < rings[i].nsegments; k++)
            rings[i].result[k] = DML__NO_STEP;
    for (int step = 0; step < rings[0].nranks - 1; step++)
        for (int i = 0; i < nrings; i++)
            gather_step(&rings[i], w, step, first);
}

/* Two rings send twice the messages at the same time; a rank's link carries the same
 * bytes, and so does a node's, whose last rank sends to the next node. */
double dml__ring_phase_s(const struct dml__model *m, int nrings, double bytes)
{
    struct dml__link_cost link = dml__flat(m);
    double p = m->nranks;
    return (p - 1) *
           (link.alpha_s + (nrings - 1) * link.gap_s + bytes / p * link.beta_s);
}

double dml__ring_adding_s(const struct dml__model *m, double bytes)
{
    return (m->nranks - 1.0) / m->nranks * bytes * m->gamma_s;
}

const char *dml__ring_both_supports(const struct dml__call *call)
{
    return dml_comm_size(call->comm) == 2 ? "of two ranks each has one neighbour"
                                          : NULL;
}
