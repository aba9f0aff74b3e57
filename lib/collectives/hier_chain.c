/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hierarchical broadcast and reduction: a chain through the nodes, from or to the
 * root's, along which each chunk's owners pass segments on; every byte leaves a node
 * once.
 *
 * A node's place is its distance from the root's in the chain. Window w is segment w of
 * every chunk. It takes hop p, between places p and p+1, in time slot w + 1 + p * LAG
 * of a broadcast, and in slot w + 1 + (h-2-p) * LAG of a reduction. Each rank lists its
 * steps slot by slot, messages between nodes before those within, so all lists agree on
 * one order.
 */
#include "collectives/hier.h"

/* Slots from one hop of a window to its next: messages under way in each hop. */
enum { LAG = 16 };

struct hier_chain {
    struct dml__hier h;
    int place;                  /* of this node in the chain */
    bool root;                  /* this rank is it */
    int nslots;                 /* windows at work on this rank at the same time */
    struct dml__hier_sum *sums; /* [nchunks][nslots] of a reduction */
    int *ready;                 /* [nchunks][nslots] step that completes a segment */
};

/* Segment w of a chunk. */
static struct dml__range segment_of(const struct hier_chain *c, int chunk, size_t w)
{
    struct dml__range whole = dml__hier_share(&c->h, chunk);
    return dml__part(whole, w * c->h.segment, c->h.segment);
}

/* A chunk's owner on the node at a place of the chain. The root's node is place 0. */
static int owner_at(const struct hier_chain *c, int chunk, int place)
{
    int node = dml__mod(c->h.node + place - c->place, c->h.nnodes);
    return dml__hier_owner(&c->h, chunk, node);
}

static size_t slot_of(const struct hier_chain *c, int chunk, size_t w)
{
    return (size_t)chunk * (size_t)c->nslots + w % (size_t)c->nslots;
}

static bool init(struct hier_chain *c, const struct dml__call *call,
                 dml_request *request)
{
    const int *node_of = dml__comm_nodes(call->comm, NULL);
    *c = (struct hier_chain){.root = dml_comm_rank(call->comm) == call->root};
    struct dml__hier *h = &c->h;
    if (!dml__hier_init(h, call, request) ||
        !dml__hier_cut(h, dml__hier_share(h, 0).count))
        return false;
    c->place = dml__mod(h->node - node_of[call->root], h->nnodes);
    c->nslots = LAG + 2;
    size_t n = (size_t)h->nchunks * (size_t)c->nslots;
    c->ready = dml__sched_scratch(request, n * sizeof *c->ready);
    return c->ready != NULL;
}

static size_t windows(const struct hier_chain *c)
{
    size_t longest = dml__hier_share(&c->h, 0).count;
    return longest > 0 ? (longest + c->h.segment - 1) / c->h.segment : 0;
}

/* ---- broadcast ---------------------------------------------------------------------
 */

/* The root's node: every owner gets its chunk's segment. */
static void hand_out(struct hier_chain *c, size_t w)
{
    struct dml__hier *h = &c->h;
    for (int chunk = 0; c->place == 0 && chunk < h->nchunks; chunk++) {
        struct dml__range seg = segment_of(c, chunk, w);
        size_t bytes = seg.count * h->call->elem_bytes;
        int owner = owner_at(c, chunk, 0), *ready = &c->ready[slot_of(c, chunk, w)];
        *ready = DML__NO_STEP;
        if (owner == h->call->root)
            continue;
        if (c->root)
            dml__sched_send(h->request, dml__at(h->call, seg.offset), bytes, owner,
                            DML__NO_STEP, DML__NO_STEP);
        else if (dml__hier_owns(h, chunk))
            *ready = dml__sched_recv(h->request, dml__at(h->call, seg.offset), bytes,
                                     h->call->root, DML__NO_STEP, DML__NO_STEP);
    }
}

/* Hop "hop" of window w, on the two owners that it joins. */
static void pass_on(struct hier_chain *c, size_t w, int hop)
{
    struct dml__hier *h = &c->h;
    for (int chunk = h->local; chunk < h->nchunks; chunk += h->nlocal) {
        struct dml__range seg = segment_of(c, chunk, w);
        size_t bytes = seg.count * h->call->elem_bytes, slot = slot_of(c, chunk, w);
        char *at = dml__at(h->call, seg.offset);
        if (c->place == hop)
            dml__sched_send(h->request, at, bytes, owner_at(c, chunk, hop + 1),
                            c->ready[slot], DML__NO_STEP);
        else
            c->ready[slot] =
                dml__sched_recv(h->request, at, bytes, owner_at(c, chunk, hop),
                                DML__NO_STEP, DML__NO_STEP);
    }
}

/* The owners' segments to all other ranks of the node; the root has them. */
static void deal(struct hier_chain *c, size_t w)
{
    struct dml__hier *h = &c->h;
    for (int chunk = 0; chunk < h->nchunks; chunk++) {
        struct dml__range seg = segment_of(c, chunk, w);
        size_t bytes = seg.count * h->call->elem_bytes;
        char *at = dml__at(h->call, seg.offset);
        if (!dml__hier_owns(h, chunk)) {
            if (!c->root)
                dml__sched_recv(h->request, at, bytes, owner_at(c, chunk, c->place),
                                DML__NO_STEP, DML__NO_STEP);
            continue;
        }
        for (int i = 1; i < h->nlocal; i++) {
            int to = h->member[h->first[h->node] + (h->local + i) % h->nlocal];
            if (to != h->call->root)
                dml__sched_send(h->request, at, bytes, to,
                                c->ready[slot_of(c, chunk, w)], DML__NO_STEP);
        }
    }
}

static void build_bcast(const struct dml__call *call, dml_request *request)
{
    struct hier_chain c;
    if (!init(&c, call, request))
        return;
    size_t nwindows = windows(&c), hops = (size_t)c.h.nnodes - 1;
    size_t place = (size_t)c.place, last = nwindows + hops * LAG + 1;
    for (size_t t = 0; t < last; t++) {
        size_t in = 1 + (place - 1) * LAG, out = 1 + place * LAG; /* of window 0 */
        if (place > 0 && t >= in && t - in < nwindows)
            pass_on(&c, t - in, c.place - 1);
        if (place < hops && t >= out && t - out < nwindows)
            pass_on(&c, t - out, c.place);
        if (t < nwindows)
            hand_out(&c, t);
        if (t >= out && t - out < nwindows)
            deal(&c, t - out);
    }
}

/* ---- reduction ---------------------------------------------------------------------
 */

static bool make_sums(struct hier_chain *c)
{
    size_t n = (size_t)c->h.nchunks * (size_t)c->nslots;
    size_t bytes = dml__mul(c->h.segment, c->h.call->red.acc_bytes);
    char *memory = dml__sched_scratch(c->h.request, dml__mul(n, bytes));
    c->sums = dml__sched_scratch(c->h.request, dml__mul(n, sizeof *c->sums));
    if (memory == NULL || c->sums == NULL)
        return false;
    for (size_t i = 0; i < n; i++)
        c->sums[i] = (struct dml__hier_sum){
            .buf = memory + i * bytes, .ready = DML__NO_STEP, .reader = DML__NO_STEP};
    return true;
}

static void collect(struct hier_chain *c, size_t w)
{
    for (int chunk = 0; chunk < c->h.nchunks; chunk++)
        c->ready[slot_of(c, chunk, w)] = dml__hier_collect(
            &c->h, chunk, segment_of(c, chunk, w), &c->sums[slot_of(c, chunk, w)]);
}

/* Hop "hop" of window w: from place hop + 1 to place hop. */
static void pass_sum(struct hier_chain *c, size_t w, int hop)
{
    struct dml__hier *h = &c->h;
    for (int chunk = h->local; chunk < h->nchunks; chunk += h->nlocal) {
        size_t count = segment_of(c, chunk, w).count;
        struct dml__hier_sum *sum = &c->sums[slot_of(c, chunk, w)];
        if (c->place == hop)
            dml__hier_add(h, owner_at(c, chunk, hop + 1), count, sum, NULL);
        else
            sum->reader =
                dml__sched_send(h->request, sum->at, count * h->call->red.acc_bytes,
                                owner_at(c, chunk, hop), sum->ready, DML__NO_STEP);
    }
}

/* Place 0: the owners' sums to the root, as elements. */
static void hand_in(struct hier_chain *c, size_t w)
{
    struct dml__hier *h = &c->h;
    const struct dml__reduction *red = &h->call->red;
    for (int chunk = 0; chunk < h->nchunks; chunk++) {
        struct dml__range seg = segment_of(c, chunk, w);
        struct dml__hier_sum *sum = &c->sums[slot_of(c, chunk, w)];
        size_t bytes = seg.count * h->call->elem_bytes;
        char *result = dml__at(h->call, seg.offset);
        if (!dml__hier_owns(h, chunk)) {
            /* In place the root's terms must be on their way first. */
            if (c->root)
                dml__sched_recv(h->request, result, bytes, owner_at(c, chunk, 0),
                                c->ready[slot_of(c, chunk, w)], DML__NO_STEP);
            continue;
        }
        unsigned i = dml__hier_stage(h);
        char *to = c->root ? result : h->staging[i];
        if (red->store != NULL)
            sum->ready =
                dml__sched_local(h->request, red->store, to, sum->at, NULL, seg.count,
                                 red->divisor, sum->ready, h->staged_by[i]);
        else if (c->root)
            sum->ready = dml__sched_copy(h->request, to, sum->at, bytes, sum->ready,
                                         DML__NO_STEP);
        sum->reader = sum->ready;
        if (!c->root)
            sum->reader = h->staged_by[i] =
                dml__sched_send(h->request, red->store != NULL ? to : sum->at, bytes,
                                h->call->root, sum->ready, DML__NO_STEP);
    }
}

static void build_reduce(const struct dml__call *call, dml_request *request)
{
    struct hier_chain c;
    if (!init(&c, call, request) || !make_sums(&c))
        return;
    size_t nwindows = windows(&c), hops = (size_t)c.h.nnodes - 1;
    size_t place = (size_t)c.place, last = nwindows + hops * LAG + 1;
    size_t in = 1 + (hops - 1 - place) * LAG, out = 1 + (hops - place) * LAG;
    size_t own = place < hops ? in - 1 : 0; /* slots of window 0 */
    for (size_t t = 0; t < last; t++) {
        if (place > 0 && t >= out && t - out < nwindows)
            pass_sum(&c, t - out, c.place - 1);
        if (place < hops && t >= in && t - in < nwindows)
            pass_sum(&c, t - in, c.place);
        if (t >= own && t - own < nwindows)
            collect(&c, t - own);
        if (place == 0 && t >= in && t - in < nwindows)
            hand_in(&c, t - in);
    }
}

/* The whole vector passes through every node's link once; the node's own messages
 * travel meanwhile, and count where they take longer. */
static double chain_s(const struct dml__model *m, double bytes, double gamma_s)
{
    double h = m->nnodes, r = m->nranks / h, segment = bytes / r / 4;
    if (segment > DML__NET_SEGMENT_BYTES)
        segment = DML__NET_SEGMENT_BYTES;
    double fill_s = (h - 1) * (m->net.alpha_s + segment * r * m->net.beta_s);
    double net_s = bytes * (m->net.beta_s + gamma_s / r);
    double node_s = 2 * (r - 1) / r * bytes * (m->node.beta_s + gamma_s);
    return fill_s + 2 * m->node.alpha_s + (net_s > node_s ? net_s : node_s);
}

static double bcast_cost_s(const struct dml__model *m, double bytes)
{
    return chain_s(m, bytes, 0);
}

static double reduce_cost_s(const struct dml__model *m, double bytes)
{
    return chain_s(m, bytes, m->gamma_s);
}

const struct dml__alg dml__bcast_hierarchical = {
    .name = "hierarchical",
    .text = "a chain of nodes for each chunk: every byte leaves a node once",
    .supports = dml__hier_supports,
    .cost_s = bcast_cost_s,
    .build = build_bcast,
};

const struct dml__alg dml__reduce_hierarchical = {
    .name = "hierarchical",
    .text = "a chain of nodes for each chunk: every byte leaves a node once",
    .supports = dml__hier_supports,
    .cost_s = reduce_cost_s,
    .build = build_reduce,
};
