/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the hierarchical algorithms do within a node, and who they are (hier.h).
 */
#include "collectives/hier.h"

const char *dml__hier_supports(const struct dml__call *call)
{
    int nnodes = 0;
    dml__comm_nodes(call->comm, &nnodes);
    if (nnodes == 1)
        return "all ranks are on one node";
    return nnodes == dml_comm_size(call->comm) ? "each rank is alone on its node"
                                               : NULL;
}

/* Sorts the ranks by node. */
static bool find_members(struct dml__hier *h)
{
    int nranks = dml_comm_size(h->call->comm), rank = dml_comm_rank(h->call->comm);
    const int *node_of = dml__comm_nodes(h->call->comm, &h->nnodes);
    size_t nodes = (size_t)h->nnodes;
    h->first = dml__sched_scratch(h->request, (nodes + 1) * sizeof(int));
    h->member = dml__sched_scratch(h->request, (size_t)nranks * sizeof(int));
    if (h->first == NULL || h->member == NULL)
        return false;
    int filled = 0;
    for (int node = 0; node < h->nnodes; node++) {
        h->first[node] = filled;
        for (int i = 0; i < nranks; i++)
            if (node_of[i] == node)
                h->member[filled++] = i;
        int size = filled - h->first[node];
        h->nchunks = size > h->nchunks ? size : h->nchunks;
    }
    h->first[h->nnodes] = filled;
    h->node = node_of[rank];
    h->nlocal = dml__hier_size(h, h->node);
    while (h->member[h->first[h->node] + h->local] != rank)
        h->local++;
    return true;
}

bool dml__hier_init(struct dml__hier *h, const struct dml__call *call,
                    dml_request *request)
{
    *h = (struct dml__hier){.call = call, .request = request};
    return find_members(h);
}

bool dml__hier_cut(struct dml__hier *h, size_t longest)
{
    const struct dml__call *call = h->call;
    /* A few segments a block, so that the phases overlap, but none so short that its
     * cost is that of a message. */
    size_t most = dml__segment_elems(call), least = most / 2 + 1, quarter = longest / 4;
    h->segment = quarter < least ? least : quarter > most ? most : quarter;
    h->segment = h->segment < longest ? h->segment : longest;
    if (!dml__reduces(call->coll))
        return true;
    size_t bytes = dml__mul(h->segment, call->red.acc_bytes);
    for (int i = 0; i < DML__HIER_STAGING; i++) {
        h->staging[i] = dml__sched_scratch(h->request, bytes);
        h->staged_by[i] = DML__NO_STEP;
        if (h->staging[i] == NULL)
            return false;
    }
    return true;
}

struct dml__range dml__hier_share(const struct dml__hier *h, int chunk)
{
    return dml__balanced(h->call->count, chunk, h->nchunks);
}

/* ---- within the node ---------------------------------------------------------------
 */

/* Sends the own terms to a chunk's owner: as they are, or scaled where each rank does
 * that by itself. */
static int send_terms(struct dml__hier *h, int owner, struct dml__range elems)
{
    const struct dml__call *call = h->call;
    const struct dml__reduction *red = &call->red;
    const char *input = dml__in(call, elems.offset);
    if (!red->own_scale)
        return dml__sched_send(h->request, input, elems.count * call->elem_bytes, owner,
                               DML__NO_STEP, DML__NO_STEP);
    unsigned i = dml__hier_stage(h);
    int loaded =
        dml__sched_local(h->request, red->load, h->staging[i], input, NULL, elems.count,
                         red->scale, h->staged_by[i], DML__NO_STEP);
    h->staged_by[i] =
        dml__sched_send(h->request, h->staging[i], elems.count * red->acc_bytes, owner,
                        loaded, DML__NO_STEP);
    return loaded;
}

/* Receives one rank's terms and adds them. */
static void add_terms(struct dml__hier *h, int from, size_t count,
                      struct dml__hier_sum *sum)
{
    const struct dml__reduction *red = &h->call->red;
    if (red->load == NULL || red->own_scale) { /* what travels are accumulators */
        dml__hier_add(h, from, count, sum, NULL);
        return;
    }
    unsigned i = dml__hier_stage(h);
    int got = dml__sched_recv(h->request, h->staging[i], count * h->call->elem_bytes,
                              from, h->staged_by[i], DML__NO_STEP);
    sum->ready = h->staged_by[i] =
        dml__sched_local(h->request, red->fold, sum->buf, sum->at, h->staging[i], count,
                         red->scale, got, sum->ready);
    sum->at = sum->buf;
}

int dml__hier_collect(struct dml__hier *h, int chunk, struct dml__range elems,
                      struct dml__hier_sum *sum)
{
    const struct dml__reduction *red = &h->call->red;
    int owner = dml__hier_owner(h, chunk, h->node);
    if (elems.count == 0)
        return DML__NO_STEP;
    if (!dml__hier_owns(h, chunk))
        return send_terms(h, owner, elems);
    sum->at = dml__in(h->call, elems.offset);
    sum->ready = sum->reader; /* of what "buf" held before */
    if (red->load != NULL) {
        sum->ready =
            dml__sched_local(h->request, red->load, sum->buf, sum->at, NULL,
                             elems.count, red->scale, sum->ready, DML__NO_STEP);
        sum->at = sum->buf;
    }
    for (int i = 0; i < h->nlocal; i++)
        if (i != h->local)
            add_terms(h, h->member[h->first[h->node] + i], elems.count, sum);
    return sum->ready;
}

void dml__hier_add(struct dml__hier *h, int from, size_t count,
                   struct dml__hier_sum *sum, char *to)
{
    const struct dml__reduction *red = &h->call->red;
    size_t acc = red->acc_bytes;
    if (count == 0)
        return;
    unsigned i = dml__hier_stage(h);
    to = to != NULL ? to : sum->buf;
    sum->ready = h->staged_by[i] =
        dml__sched_recv_fold(h->request, h->staging[i], count * acc, from, red->merge,
                             to, sum->at, acc, acc, 0, sum->ready, h->staged_by[i]);
    sum->at = to;
}

int dml__hier_deal(struct dml__hier *h, int chunk, struct dml__range elems,
                   const char *from, int ready, int free)
{
    size_t bytes = elems.count * h->call->elem_bytes;
    int owner = dml__hier_owner(h, chunk, h->node);
    if (!dml__hier_owns(h, chunk))
        return dml__sched_recv(h->request, dml__at(h->call, elems.offset), bytes, owner,
                               free, DML__NO_STEP);
    for (int i = 1; i < h->nlocal; i++) {
        int to = (h->local + i) % h->nlocal;
        dml__sched_send(h->request, from, bytes, h->member[h->first[h->node] + to],
                        ready, DML__NO_STEP);
    }
    return ready;
}
