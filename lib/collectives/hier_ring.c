/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hierarchical all-reduce, reduce-scatter and all-gather: within the node, then one
 * ring a chunk between the nodes, then within the node.
 *
 * With h nodes an all-reduce of S bytes sends 2(h-1)/h S out of each node, the least
 * possible, whatever the number of its ranks.
 *
 * A chunk has a block for each node; blocks are cut in segments, and segment w of all
 * blocks is window w. A window takes N steps of the ring: in the reduce phase (steps 0
 * to h-2) a node's owner sends block k-1-s and receives k-2-s, in the gather phase k-s
 * and k-1-s, k being the node's number. Just before a block's partial sum enters the
 * ring its node adds its own terms up; once its result is there the node deals it out.
 *
 * Window w takes step n in time slot w + n * lag + 1. Each rank lists its steps slot by
 * slot, messages between nodes before those within: so all lists agree on one order,
 * the network is never without a message, and a node's own work fills the time between.
 *
 * Source: after Thakur and Gropp's hierarchical all-reduce; the chunks' rings are those
 * of Patarasuk and Yuan, JPDC 2009.
 */
#include "collectives/hier.h"

/* Messages that a rank should have under way between nodes: as in a ring's window. */
enum { UNDER_WAY = DML__NET_WINDOW_SEGMENTS };

struct hier_ring {
    struct dml__hier h;
    bool reduces, gathers;
    int nsteps;                 /* of the ring: h-1 a phase */
    int lag;                    /* slots from one step of a window to its next */
    int nslots;                 /* windows at work at the same time */
    int nown;                   /* chunks that this rank owns */
    struct dml__hier_sum *sums; /* [nown][nslots][nnodes] */
    int *arrived; /* [nown][nslots][nnodes] step that completes a block's result */
    int *free;    /* [nchunks][nslots][nnodes] step that read the own input */
    char *own;    /* reduce_scatter: where the own block goes */
};

/* The block of a chunk that belongs to a node. */
static struct dml__range block_of(const struct hier_ring *r, int chunk, int node)
{
    const struct dml__hier *h = &r->h;
    const struct dml__call *call = h->call;
    if (call->coll != DML_COLL_ALLREDUCE) {
        if (chunk >= dml__hier_size(h, node))
            return (struct dml__range){0, 0};
        return dml__block(call, h->member[h->first[node] + chunk]);
    }
    return dml__balanced(call->count, chunk * h->nnodes + node, h->nchunks * h->nnodes);
}

static struct dml__range segment_of(const struct hier_ring *r, int chunk, int node,
                                    size_t w)
{
    return dml__part(block_of(r, chunk, node), w * r->h.segment, r->h.segment);
}

/* The node "steps" behind this one in the ring. */
static int behind(const struct hier_ring *r, int steps)
{
    return dml__mod(r->h.node - steps, r->h.nnodes);
}

static size_t slot_of(const struct hier_ring *r, int chunk, size_t w, int node)
{
    size_t i = (size_t)chunk * (size_t)r->nslots + w % (size_t)r->nslots;
    return i * (size_t)r->h.nnodes + (size_t)node;
}

static size_t own_slot(const struct hier_ring *r, int chunk, size_t w, int node)
{
    return slot_of(r, chunk / r->h.nlocal, w, node);
}

/* Where the own block's result goes. */
static char *result_at(const struct hier_ring *r, struct dml__range seg, size_t w)
{
    if (r->own != NULL)
        return r->own + w * r->h.segment * r->h.call->elem_bytes;
    return dml__at(r->h.call, seg.offset);
}

/* ---- between nodes -----------------------------------------------------------------
 */

static void reduce_step(struct hier_ring *r, int chunk, size_t w, int step)
{
    struct dml__hier *h = &r->h;
    const struct dml__reduction *red = &h->call->red;
    int sent = behind(r, step + 1), received = behind(r, step + 2);
    struct dml__range out = segment_of(r, chunk, sent, w);
    struct dml__range in = segment_of(r, chunk, received, w);
    struct dml__hier_sum *from = &r->sums[own_slot(r, chunk, w, sent)];
    struct dml__hier_sum *to = &r->sums[own_slot(r, chunk, w, received)];
    if (out.count > 0)
        from->reader = dml__sched_send(h->request, from->at, out.count * red->acc_bytes,
                                       dml__hier_owner(h, chunk, behind(r, -1)),
                                       from->ready, DML__NO_STEP);
    if (in.count == 0)
        return;
    bool last = received == h->node;
    char *result = last ? result_at(r, in, w) : NULL;
    dml__hier_add(h, dml__hier_owner(h, chunk, behind(r, 1)), in.count, to,
                  last && red->store == NULL ? result : NULL);
    if (last && red->store != NULL)
        to->ready = dml__sched_local(h->request, red->store, result, to->at, NULL,
                                     in.count, red->divisor, to->ready, DML__NO_STEP);
    if (last) {
        to->reader = to->ready;
        r->arrived[own_slot(r, chunk, w, received)] = to->ready;
    }
}

/* Where a block's result is sent from. */
static const char *result_of(const struct hier_ring *r, int node, size_t w,
                             struct dml__range seg)
{
    const struct dml__call *call = r->h.call;
    if (call->coll == DML_COLL_ALLGATHER && node == r->h.node)
        return dml__in(call, w * r->h.segment);
    return dml__at(call, seg.offset);
}

static void gather_step(struct hier_ring *r, int chunk, size_t w, int step)
{
    struct dml__hier *h = &r->h;
    int sent = behind(r, step), received = behind(r, step + 1);
    struct dml__range out = segment_of(r, chunk, sent, w);
    struct dml__range in = segment_of(r, chunk, received, w);
    size_t to = own_slot(r, chunk, w, received), bytes = h->call->elem_bytes;
    dml__sched_send(h->request, result_of(r, sent, w, out), out.count * bytes,
                    dml__hier_owner(h, chunk, behind(r, -1)),
                    r->arrived[own_slot(r, chunk, w, sent)], DML__NO_STEP);
    r->arrived[to] = dml__sched_recv(
        h->request, dml__at(h->call, in.offset), in.count * bytes,
        dml__hier_owner(h, chunk, behind(r, 1)),
        r->sums != NULL ? r->sums[to].reader : DML__NO_STEP, DML__NO_STEP);
}

/* Step n of window w, for the chunks that this rank owns. */
static void between(struct hier_ring *r, size_t w, int n)
{
    int phase = r->h.nnodes - 1, gathered = r->reduces ? n - phase : n;
    for (int chunk = r->h.local; chunk < r->h.nchunks; chunk += r->h.nlocal)
        if (r->reduces && n < phase)
            reduce_step(r, chunk, w, n);
        else if (r->gathers && gathered < phase)
            gather_step(r, chunk, w, gathered);
}

/* ---- within the node ---------------------------------------------------------------
 */

/* The node's terms of one block, of every chunk. */
static void collect(struct hier_ring *r, size_t w, int node)
{
    for (int chunk = 0; chunk < r->h.nchunks; chunk++) {
        bool own = dml__hier_owns(&r->h, chunk);
        r->free[slot_of(r, chunk, w, node)] =
            dml__hier_collect(&r->h, chunk, segment_of(r, chunk, node, w),
                              own ? &r->sums[own_slot(r, chunk, w, node)] : NULL);
    }
}

static void deal(struct hier_ring *r, size_t w, int node)
{
    for (int chunk = 0; chunk < r->h.nchunks; chunk++) {
        struct dml__range seg = segment_of(r, chunk, node, w);
        bool own = dml__hier_owns(&r->h, chunk);
        int ready = own ? r->arrived[own_slot(r, chunk, w, node)] : DML__NO_STEP;
        int free = r->reduces ? r->free[slot_of(r, chunk, w, node)] : DML__NO_STEP;
        dml__hier_deal(&r->h, chunk, seg, result_of(r, node, w, seg), ready, free);
    }
}

/* What belongs to the time just before step n of window w: the terms for the block that
 * step n receives, and before the first step also those for the block it sends. */
static void before(struct hier_ring *r, size_t w, int n)
{
    if (r->reduces && n == 0)
        collect(r, w, behind(r, 1));
    if (r->reduces && n < r->h.nnodes - 1)
        collect(r, w, behind(r, n + 2));
}

/* And to the time of step n: the block that it sends in the gather phase; after the
 * last step the block that was received in it. */
static void beside(struct hier_ring *r, size_t w, int n)
{
    int step = r->reduces ? n - (r->h.nnodes - 1) : n;
    if (r->gathers && step >= 0)
        deal(r, w, behind(r, step));
}

/* ---- the schedule ------------------------------------------------------------------
 */

static bool make_sums(struct hier_ring *r, size_t n)
{
    struct dml__hier *h = &r->h;
    size_t bytes = dml__mul(h->segment, h->call->red.acc_bytes);
    char *memory = dml__sched_scratch(h->request, dml__mul(n, bytes));
    size_t readers = (size_t)r->nslots * (size_t)h->nnodes * (size_t)h->nchunks;
    r->sums = dml__sched_scratch(h->request, dml__mul(n, sizeof *r->sums));
    r->free = dml__sched_scratch(h->request, dml__mul(readers, sizeof *r->free));
    if (memory == NULL || r->sums == NULL || r->free == NULL)
        return false;
    for (size_t i = 0; i < n; i++)
        r->sums[i] = (struct dml__hier_sum){
            .buf = memory + i * bytes, .ready = DML__NO_STEP, .reader = DML__NO_STEP};
    return true;
}

static size_t longest_block(const struct hier_ring *r)
{
    if (r->h.call->coll != DML_COLL_ALLREDUCE)
        return dml__block_max(r->h.call);
    return block_of(r, 0, 0).count;
}

/* own: for reduce_scatter, where the own block goes, else NULL. */
static void build_phases(const struct dml__call *call, dml_request *request,
                         bool reduces, bool gathers, char *own)
{
    struct hier_ring r = {.reduces = reduces, .gathers = gathers, .own = own};
    struct dml__hier *h = &r.h;
    if (!dml__hier_init(h, call, request))
        return;
    size_t longest = longest_block(&r);
    if (longest == 0 || !dml__hier_cut(h, longest))
        return;
    size_t nwindows = (longest + h->segment - 1) / h->segment;
    r.nsteps = (reduces + gathers) * (h->nnodes - 1);
    r.lag = (UNDER_WAY + r.nsteps - 1) / r.nsteps;
    int last = r.nsteps * r.lag + 1; /* the slot in which window 0 is done */
    r.nslots = nwindows < (size_t)last + 1 ? (int)nwindows : last + 1;
    r.nown = (h->nchunks - h->local + h->nlocal - 1) / h->nlocal;
    size_t n = (size_t)r.nown * (size_t)r.nslots * (size_t)h->nnodes;
    r.arrived = dml__sched_scratch(request, dml__mul(n, sizeof *r.arrived));
    if (r.arrived == NULL || (reduces && !make_sums(&r, n)))
        return;
    for (size_t i = 0; i < n; i++)
        r.arrived[i] = DML__NO_STEP;
    for (size_t t = 0; t < nwindows + (size_t)last; t++) {
        size_t oldest = t > (size_t)last ? t - (size_t)last : 0;
        for (size_t w = oldest; w <= t && w < nwindows; w++)
            if (t > w && (int)(t - w - 1) % r.lag == 0)
                between(&r, w, (int)(t - w - 1) / r.lag);
        for (size_t w = oldest; w <= t && w < nwindows; w++) {
            if ((int)(t - w) % r.lag == 0)
                before(&r, w, (int)(t - w) / r.lag);
            if (t > w && (int)(t - w - 1) % r.lag == 0)
                beside(&r, w, (int)(t - w - 1) / r.lag);
        }
    }
}

static void build_allreduce(const struct dml__call *call, dml_request *request)
{
    build_phases(call, request, true, true, NULL);
}

static void build_reduce_scatter(const struct dml__call *call, dml_request *request)
{
    size_t bytes = dml__block(call, dml_comm_rank(call->comm)).count * call->elem_bytes;
    char *own = call->recv;
    if (call->in_place) { /* the result's place still holds other ranks' input */
        own = dml__sched_scratch(request, bytes);
        if (own == NULL)
            return;
    }
    build_phases(call, request, true, false, own);
    dml__sched_copy_after_all(request, call->recv, own, bytes);
}

static void build_allgather(const struct dml__call *call, dml_request *request)
{
    struct dml__range own = dml__block(call, dml_comm_rank(call->comm));
    build_phases(call, request, false, true, NULL);
    dml__sched_copy(request, dml__at(call, own.offset), call->send,
                    own.count * call->elem_bytes, DML__NO_STEP, DML__NO_STEP);
}

/* A phase: h-1 messages of each owner, which share their node's link; the node's own
 * messages travel meanwhile, and count where they take longer. */
static double phase_s(const struct dml__model *m, double bytes, double gamma_s)
{
    double h = m->nnodes, r = m->nranks / h;
    double latency_s = (h - 1) * m->net.alpha_s + 2 * m->node.alpha_s;
    double net_s = (h - 1) / h * bytes * (m->net.beta_s + gamma_s / r);
    double node_s = (r - 1) / r * bytes * (m->node.beta_s + gamma_s);
    return latency_s + (net_s > node_s ? net_s : node_s);
}

static double allreduce_cost_s(const struct dml__model *m, double bytes)
{
    return phase_s(m, bytes, m->gamma_s) + phase_s(m, bytes, 0);
}

static double reduce_scatter_cost_s(const struct dml__model *m, double bytes)
{
    return phase_s(m, bytes, m->gamma_s);
}

static double allgather_cost_s(const struct dml__model *m, double bytes)
{
    return phase_s(m, bytes, 0);
}

const struct dml__alg dml__allreduce_hierarchical = {
    .name = "hierarchical",
    .text = "within nodes, then one ring a chunk between them: least bytes off a node",
    .supports = dml__hier_supports,
    .cost_s = allreduce_cost_s,
    .build = build_allreduce,
};

const struct dml__alg dml__reduce_scatter_hierarchical = {
    .name = "hierarchical",
    .text = "within nodes, then one ring a chunk between them: least bytes off a node",
    .supports = dml__hier_supports,
    .cost_s = reduce_scatter_cost_s,
    .build = build_reduce_scatter,
};

const struct dml__alg dml__allgather_hierarchical = {
    .name = "hierarchical",
    .text = "one ring a chunk between nodes, then within them: least bytes off a node",
    .supports = dml__hier_supports,
    .cost_s = allgather_cost_s,
    .build = build_allgather,
};
