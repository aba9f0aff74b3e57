/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two binary trees, each of which carries half of the vector, in segments: an inner
 * rank of one is a leaf of the other, so that all ranks send and receive alike. A
 * reduction goes up the trees, a broadcast down, an all-reduce both ways at once; its
 * bytes are those of a ring, its latency a tree's.
 *
 * Ranks are numbered from the root, 0, which feeds both trees of the n = P-1 others.
 * The first is the in-order tree of places 1 ... n, whose odd places are leaves. In
 * the second, number v has place n+1-v if n is even, else v-1 (and 1 has n): odd
 * numbers then have even places.
 *
 * Segment k passes the edge above depth d in time slot k + lag * (H-d) on its way up, H
 * being the greatest depth, and in slot k + lag * (d-1), or that much after the way up
 * has ended, on its way down. Each rank lists its messages slot by slot, so all lists
 * agree on one order.
 *
 * Source: Sanders, Speck and Träff, Parallel Computing 2009.
 */
#include "collectives/coll_internal.h"
#include "collectives/tree.h"

/* Slots between two hops of a segment, see lag_of. */
enum { LEAST_LAG = 2, MOST_LAG = 16, SLOTS = MOST_LAG + 2 };

enum { LEAST_SEGMENT = 4096, SEGMENTS = 64 };

/* One tree, seen by one number. */
struct tree {
    int depth, parent, nchildren, child[2]; /* numbers; no parent: -1 */
    struct dml__range part;                 /* of the vector */
    char *sum[SLOTS];                       /* [segment] accumulators, by segment */
    char *staging[SLOTS];                   /* [segment] of the second child */
    int reader[SLOTS];                      /* last step that reads the sum */
    int *done; /* [nsegments] step that read the own input, then the one that completed
                  the result */
};

struct state {
    const struct dml__call *call;
    dml_request *request;
    int number, nranks, root;
    bool up, down;
    size_t segment, nsegments, lag, nslots;
    struct tree tree[2];
};

/* ---- the trees ---------------------------------------------------------------------
 */

static int place_of(int number, int n, int tree)
{
    if (tree == 0)
        return number;
    return n % 2 == 0 ? n + 1 - number : number > 1 ? number - 1 : n;
}

static int number_at(int place, int n, int tree)
{
    if (tree == 0)
        return place;
    return n % 2 == 0 ? n + 1 - place : place % n + 1;
}

static int parent_of(int place, int n)
{
    int low = place & -place, parent = (place ^ low) | 2 * low;
    return parent <= n ? parent : place ^ low;
}

static struct tree tree_of(int number, int n, int which)
{
    struct tree t = {.parent = -1};
    int top = 1; /* the place that hangs from the root */
    while (2 * top <= n)
        top *= 2;
    if (number == 0) {
        t.child[t.nchildren++] = number_at(top, n, which);
        return t;
    }
    int place = place_of(number, n, which), parent = parent_of(place, n);
    int below = (place & -place) / 2;
    t.parent = parent == 0 ? 0 : number_at(parent, n, which);
    for (int p = place; p != 0; p = parent_of(p, n))
        t.depth++;
    if (below > 0)
        t.child[t.nchildren++] = number_at(place - below, n, which);
    while (below > 0 && place + below > n)
        below /= 2;
    if (below > 0)
        t.child[t.nchildren++] = number_at(place + below, n, which);
    return t;
}

static int rank_of(const struct state *s, int number)
{
    return (number + s->root) % s->nranks;
}

static size_t segment_elems(const struct dml__call *call, size_t count)
{
    size_t bytes = call->elem_bytes, most = dml__segment_elems(call);
    size_t segment = count / SEGMENTS, least = LEAST_SEGMENT / bytes;
    segment = segment > least ? segment : least;
    return segment < most ? segment : most;
}

/* A slot is as long as two segments on a link, one of each tree. Between nodes a
 * segment is under way for longer: with fewer slots ranks would wait for it, with more
 * it would wait for its turn. The same on all ranks, as the model is. */
static size_t lag_of(const struct dml__call *call, size_t segment)
{
    struct dml__model m = dml__model_of(call->comm);
    if (m.nnodes == 1)
        return LEAST_LAG;
    double slot_s = 2 * (double)(segment * call->elem_bytes) * m.net.beta_s;
    double slots = LEAST_LAG + m.net.alpha_s / slot_s;
    return slots < MOST_LAG ? (size_t)slots : MOST_LAG;
}

/* False when out of memory. */
static bool init(struct state *s, const struct dml__call *call, dml_request *request)
{
    int nranks = dml_comm_size(call->comm);
    *s = (struct state){
        .call = call,
        .request = request,
        .nranks = nranks,
        .root = call->coll == DML_COLL_ALLREDUCE ? 0 : call->root,
        .up = call->coll != DML_COLL_BCAST,
        .down = call->coll != DML_COLL_REDUCE,
        .segment = segment_elems(call, call->count),
    };
    s->lag = lag_of(call, s->segment);
    s->nslots = s->lag + 2;
    s->number = dml__mod(dml_comm_rank(call->comm) - s->root, nranks);
    size_t longest = dml__balanced(call->count, 0, 2).count;
    s->nsegments = (longest + s->segment - 1) / s->segment;
    size_t bytes = s->segment < longest ? s->segment : longest;
    bytes = s->up ? dml__mul(bytes, call->red.acc_bytes) : 0;
    for (int i = 0; i < 2; i++) {
        struct tree *t = &s->tree[i];
        *t = tree_of(s->number, nranks - 1, i);
        t->part = dml__balanced(call->count, i, 2);
        t->done = dml__sched_scratch(request, dml__mul(s->nsegments, sizeof *t->done));
        char *slots = dml__sched_scratch(request, dml__mul(2 * s->nslots, bytes));
        if (t->done == NULL || slots == NULL)
            return false;
        for (size_t k = 0; k < s->nslots; k++) {
            t->sum[k] = slots + 2 * k * bytes;
            t->staging[k] = t->sum[k] + bytes;
            t->reader[k] = DML__NO_STEP;
        }
        for (size_t k = 0; k < s->nsegments; k++)
            t->done[k] = DML__NO_STEP;
    }
    return true;
}

/* ---- the messages ------------------------------------------------------------------
 */

static struct dml__range segment_of(const struct state *s, const struct tree *t,
                                    size_t k)
{
    return dml__part(t->part, k * s->segment, s->segment);
}

/* Segment k of the children, added to the own terms; on the root that is the result. */
static void from_children(struct state *s, struct tree *t, size_t k)
{
    const struct dml__call *call = s->call;
    const struct dml__reduction *red = &call->red;
    struct dml__range seg = segment_of(s, t, k);
    size_t slot = k % s->nslots, acc = red->acc_bytes, bytes = seg.count * acc;
    if (t->nchildren == 0 || seg.count == 0)
        return;
    bool root = s->number == 0;
    char *result = root ? dml__at(call, seg.offset) : NULL;
    char *sum = root && red->store == NULL ? result : t->sum[slot];
    int added = dml__sched_recv_fold(s->request, t->sum[slot], bytes,
                                     rank_of(s, t->child[0]), red->fold, sum,
                                     dml__in(call, seg.offset), acc, call->elem_bytes,
                                     red->scale, t->reader[slot], DML__NO_STEP);
    t->done[k] = added;
    if (t->nchildren == 2)
        added = dml__sched_recv_fold(s->request, t->staging[slot], bytes,
                                     rank_of(s, t->child[1]), red->merge, sum, sum, acc,
                                     acc, 0, added, DML__NO_STEP);
    if (root && red->store != NULL)
        added = dml__sched_local(s->request, red->store, result, sum, NULL, seg.count,
                                 red->divisor, added, DML__NO_STEP);
    t->reader[slot] = added; /* until it is sent */
    if (root)
        t->done[k] = added;
}

static void to_parent(struct state *s, struct tree *t, size_t k)
{
    const struct dml__call *call = s->call;
    const struct dml__reduction *red = &call->red;
    struct dml__range seg = segment_of(s, t, k);
    size_t slot = k % s->nslots;
    const char *input = dml__in(call, seg.offset), *from = t->sum[slot];
    int parent = rank_of(s, t->parent), ready = t->reader[slot];
    if (seg.count == 0)
        return;
    bool loads = t->nchildren == 0 && red->load != NULL;
    if (loads)
        ready = t->done[k] =
            dml__sched_local(s->request, red->load, t->sum[slot], input, NULL,
                             seg.count, red->scale, ready, DML__NO_STEP);
    else if (t->nchildren == 0)
        from = input;
    t->reader[slot] = dml__sched_send(s->request, from, seg.count * red->acc_bytes,
                                      parent, ready, DML__NO_STEP);
    if (from == input)
        t->done[k] = t->reader[slot];
}

static void from_parent(struct state *s, struct tree *t, size_t k)
{
    struct dml__range seg = segment_of(s, t, k);
    t->done[k] = dml__sched_recv(s->request, dml__at(s->call, seg.offset),
                                 seg.count * s->call->elem_bytes, rank_of(s, t->parent),
                                 t->done[k], DML__NO_STEP);
}

static void to_children(struct state *s, struct tree *t, size_t k)
{
    struct dml__range seg = segment_of(s, t, k);
    for (int i = 0; i < t->nchildren; i++)
        dml__sched_send(s->request, dml__at(s->call, seg.offset),
                        seg.count * s->call->elem_bytes, rank_of(s, t->child[i]),
                        t->done[k], DML__NO_STEP);
}

/* ---- the schedule ------------------------------------------------------------------
 */

/* What a tree does in time slot t with the segment that is then at an edge of a given
 * distance, in hops, from where the way starts. */
static void at_edge(struct state *s, struct tree *t, size_t slot, int hops,
                    void (*work)(struct state *, struct tree *, size_t))
{
    size_t first = s->lag * (size_t)hops;
    if (slot >= first && slot - first < s->nsegments)
        work(s, t, slot - first);
}

static void build(const struct dml__call *call, dml_request *request)
{
    struct state s;
    if (!init(&s, call, request))
        return;
    int height = dml__log2(s.nranks); /* of n = P-1 places: log2 n, rounded down, + 1 */
    size_t slots = s.nsegments + s.lag * 2 * (size_t)height;
    for (size_t slot = 0; slot < slots; slot++) {
        for (int i = 0; s.up && i < 2; i++) {
            struct tree *t = &s.tree[i];
            at_edge(&s, t, slot, height - t->depth - 1, from_children);
            if (s.number != 0)
                at_edge(&s, t, slot, height - t->depth, to_parent);
        }
        for (int i = 0; s.down && i < 2; i++) {
            struct tree *t = &s.tree[i];
            int down = s.up ? height : 0; /* hops before this way starts */
            if (s.number != 0)
                at_edge(&s, t, slot, down + t->depth - 1, from_parent);
            at_edge(&s, t, slot, down + t->depth, to_children);
        }
    }
}

/* Elements are of one byte here: the model knows no types. */
static double segment_bytes(const struct dml__model *m, double bytes)
{
    double segment = bytes / SEGMENTS, most = dml__segment_bytes(m->nnodes);
    segment = segment > LEAST_SEGMENT ? segment : LEAST_SEGMENT;
    segment = segment < most ? segment : most;
    return segment < bytes / 2 ? segment : bytes / 2;
}

/* Neighbours in rank lie close to each other in the trees: of a node's edges those of
 * its highest place cross to others. */
static double sharing(const struct dml__model *m)
{
    return m->nranks > m->nnodes ? 1.5 : 1;
}

/* A segment's way through a tree, past a segment of the other one on each link. */
static double way_s(const struct dml__model *m, double bytes)
{
    double both = 2 * segment_bytes(m, bytes);
    return dml__levels_s(m, sharing(m) * both, both);
}

/* What follows the first segments of both trees on the busiest rank's link. */
static double rest_s(const struct dml__model *m, double bytes)
{
    double share = m->nnodes > 1 ? sharing(m) : 1;
    return share * (bytes - 2 * segment_bytes(m, bytes)) * dml__flat(m).beta_s;
}

/* An inner rank with two children sends a vector up and one down; with two ranks there
 * is none, with three it has one child. */
static double allreduce_cost_s(const struct dml__model *m, double bytes)
{
    double vectors = m->nranks < 4 ? m->nranks / 2.0 : 2;
    return 2 * way_s(m, bytes) + vectors * rest_s(m, bytes) + bytes * m->gamma_s;
}

static double bcast_cost_s(const struct dml__model *m, double bytes)
{
    return way_s(m, bytes) + rest_s(m, bytes);
}

static double reduce_cost_s(const struct dml__model *m, double bytes)
{
    return way_s(m, bytes) + rest_s(m, bytes) + bytes * m->gamma_s;
}

const struct dml__alg dml__allreduce_double_binary_tree = {
    .name = "double_binary_tree",
    .text = "two pipelined trees, half the vector each; Sanders, Speck, Traeff 2009",
    .cost_s = allreduce_cost_s,
    .build = build,
};

const struct dml__alg dml__bcast_double_binary_tree = {
    .name = "double_binary_tree",
    .text = "two pipelined trees, half the vector each; Sanders, Speck, Traeff 2009",
    .cost_s = bcast_cost_s,
    .build = build,
};

const struct dml__alg dml__reduce_double_binary_tree = {
    .name = "double_binary_tree",
    .text = "two pipelined trees, half the vector each; Sanders, Speck, Traeff 2009",
    .cost_s = reduce_cost_s,
    .build = build,
};
