/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reduction up a binomial tree, in segments; the tree is that of bcast_binomial.c. A
 * rank adds its children's partial sums in the order of their numbers.
 *
 * Source: Thakur, Rabenseifner and Gropp, IJHPCA 2005, section 4.4.
 */
#include "collectives/coll_internal.h"
#include "collectives/tree.h"

struct state {
    const struct dml__call *call;
    dml_request *request;
    struct dml__binomial tree;
    size_t segment;
    char *sum[2];   /* [segment] partial sums, by parity of the segment */
    char *child[2]; /* [segment] a child's partial sum */
    int user[2];    /* step after which sum and child of that parity are free */
};

static void reduce_segment(struct state *s, size_t done)
{
    const struct dml__call *call = s->call;
    const struct dml__reduction *red = &call->red;
    int nranks = dml_comm_size(call->comm), parity = (int)(done / s->segment & 1);
    struct dml__range seg =
        dml__part((struct dml__range){0, call->count}, done, s->segment);
    size_t bytes = seg.count * red->acc_bytes;
    bool root = s->tree.number == 0, in_recv = red->acc_bytes == call->elem_bytes;
    char *sum = root && in_recv ? dml__at(call, done) : s->sum[parity];
    const void *now = dml__in(call, done);
    int ready = s->user[parity];
    if (red->load != NULL) {
        ready = dml__sched_local(s->request, red->load, sum, now, NULL, seg.count,
                                 red->scale, ready, DML__NO_STEP);
        now = sum;
    }
    for (int bit = 1; bit < s->tree.low && s->tree.number + bit < nranks; bit *= 2) {
        int child = (s->tree.number + bit + call->root) % nranks;
        int got = dml__sched_recv(s->request, s->child[parity], bytes, child, ready,
                                  DML__NO_STEP);
        ready = dml__sched_local(s->request, red->merge, sum, now, s->child[parity],
                                 seg.count, 0, got, ready);
        now = sum;
    }
    if (!root)
        ready = dml__sched_send(s->request, now, bytes,
                                (s->tree.parent + call->root) % nranks, ready,
                                DML__NO_STEP);
    else if (red->store != NULL)
        ready = dml__sched_local(s->request, red->store, dml__at(call, done), now, NULL,
                                 seg.count, red->divisor, ready, DML__NO_STEP);
    s->user[parity] = ready;
}

static void build(const struct dml__call *call, dml_request *request)
{
    int nranks = dml_comm_size(call->comm);
    struct state s = {
        .call = call,
        .request = request,
        .tree = dml__binomial(dml__mod(dml_comm_rank(call->comm) - call->root, nranks),
                              nranks),
        .segment = dml__segment_elems(call),
        .user = {DML__NO_STEP, DML__NO_STEP},
    };
    size_t longest = s.segment < call->count ? s.segment : call->count;
    for (int parity = 0; parity < 2; parity++) {
        s.sum[parity] = dml__sched_scratch(request, longest * call->red.acc_bytes);
        s.child[parity] = dml__sched_scratch(request, longest * call->red.acc_bytes);
        if (s.sum[parity] == NULL || s.child[parity] == NULL)
            return;
    }
    for (size_t done = 0; done < call->count; done += s.segment)
        reduce_segment(&s, done);
}

static double cost_s(const struct dml__model *m, double bytes)
{
    return dml__levels_s(m, bytes, bytes) + dml__log2(m->nranks) * bytes * m->gamma_s;
}

const struct dml__alg dml__reduce_binomial = {
    .name = "binomial",
    .text = "segmented binomial tree; Thakur, Rabenseifner, Gropp 2005",
    .cost_s = cost_s,
    .build = build,
};
