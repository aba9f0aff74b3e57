/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Measures what the cost model needs: alpha and beta of messages within a node and
 * between nodes, and gamma of additions.
 *
 * In a round of a probe each rank sends to the next of a ring and receives from the one
 * before, and so begins the next round: a round lasts as long as a message. Within
 * nodes all ranks do so at once, as collectives do. Between nodes the lowest rank of
 * each does, because beta between nodes is that of a node's link with one message on
 * it.
 */
#include "collectives/select.h"

#include <math.h>
#include <string.h>

enum { LINE_BYTES = 8, NODE_BYTES = 128 * 1024, MOST_BYTES = 1 << 20, TOGETHER = 4 };

struct probe {
    dml_comm *comm;
    int next, before; /* ring neighbours, or -1: this rank only takes part */
    char *out, *in;   /* [MOST_BYTES] */
    double end_s;     /* no new probe after this time */
    bool over;        /* some rank's time is up: the same on all */
};

/* Seconds of a round of so many messages at once, of the slowest rank; negative when a
 * message failed. */
static double rounds_s(struct probe *p, size_t bytes, int messages, int rounds)
{
    dml_request *r = dml__sched_new(p->comm); /* there is one: see below */
    double told[2];
    if (r == NULL)
        return -1;
    int came = DML__NO_STEP, before = DML__NO_STEP;
    for (int i = 0; i < rounds * messages && p->next >= 0; i++) {
        if (i % messages == 0)
            before = came; /* the newest: receives complete in their order */
        dml__sched_send(r, p->out, bytes, p->next, before, DML__NO_STEP);
        came = dml__sched_recv(r, p->in, bytes, p->before, before, DML__NO_STEP);
    }
    double begin_s = dml__now_s();
    if (dml__sched_start(r, NULL) < 0 || dml__sched_finish(r) < 0)
        return -1;
    double now_s = dml__now_s();
    told[0] = (now_s - begin_s) / rounds;
    told[1] = now_s > p->end_s;
    if (dml__comm_max(p->comm, told, 2) < 0)
        return -1;
    p->over = told[1] > 0;
    return told[0];
}

/* Neighbours among the ranks of this node, or among the nodes' lowest ranks. */
static void set_ring(struct probe *p, bool between_nodes)
{
    int nnodes, nranks = dml_comm_size(p->comm), rank = dml_comm_rank(p->comm);
    const int *node_of = dml__comm_nodes(p->comm, &nnodes);
    int mine = node_of[rank], first = -1, last = -1, lowest = nranks;
    p->next = p->before = -1;
    for (int i = nranks - 1; i >= 0; i--)
        lowest = node_of[i] == mine ? i : lowest;
    for (int i = 0; i < nranks; i++) {
        int wanted = (mine + 1) % nnodes, previous = (mine + nnodes - 1) % nnodes;
        if (!between_nodes && node_of[i] == mine) {
            first = first < 0 ? i : first;
            last = i;
            p->before = i < rank ? i : p->before;
            p->next = i > rank && p->next < 0 ? i : p->next;
        } else if (between_nodes && rank == lowest) {
            p->next = node_of[i] == wanted && p->next < 0 ? i : p->next;
            p->before = node_of[i] == previous && p->before < 0 ? i : p->before;
        }
    }
    if (between_nodes)
        return;
    p->next = p->next < 0 ? first : p->next;
    p->before = p->before < 0 ? last : p->before;
    if (first == last) /* alone on its node */
        p->next = p->before = -1;
}

/* alpha from small messages, the gap from a few at once; beta from ones so large that
 * alpha hardly counts, or as large as there is time for. Each size as long as it
 * becomes faster: windows of TCP open with use. False when messages failed. */
static bool probe_link(struct probe *p, size_t first_bytes, struct dml__link_cost *cost)
{
    if (rounds_s(p, LINE_BYTES, 1, 1) < 0)
        return false;
    double alpha_s = rounds_s(p, LINE_BYTES, 1, 3), beta_s = 0;
    for (int i = 0; i < 3 && !p->over && alpha_s > 0 && alpha_s < 4e-3; i++) {
        double s = rounds_s(p, LINE_BYTES, 1, alpha_s < 1e-3 ? 10 : 3);
        if (s < 0)
            return false;
        alpha_s = fmin(alpha_s, s); /* a processor taken away is not the link's */
    }
    double together_s = rounds_s(p, LINE_BYTES, TOGETHER, alpha_s < 1e-3 ? 10 : 1);
    if (together_s < 0)
        return false;
    double gap_s = fmin(fmax(together_s - alpha_s, 0) / (TOGETHER - 1), alpha_s);
    double smaller_s = alpha_s, smaller = 0; /* the size before */
    for (size_t bytes = first_bytes; bytes <= MOST_BYTES && alpha_s >= 0; bytes *= 4) {
        double s = rounds_s(p, bytes, 1, 1), before_s = INFINITY;
        for (int i = 0; i < 5 && s >= 0 && s < 0.9 * before_s && !p->over; i++) {
            before_s = s;
            double again_s = rounds_s(p, bytes, 1, alpha_s < 1e-4 ? 3 : 1);
            s = again_s >= 0 ? fmin(s, again_s) : -1;
        }
        if (s < 0)
            return false;
        /* Large messages have a constant price of their own, which a slope leaves out.
         */
        beta_s = fmax(s - smaller_s, s / 4) / ((double)bytes - smaller);
        if (p->over || (smaller > 0 && s > 4 * alpha_s))
            break;
        smaller_s = s;
        smaller = (double)bytes;
    }
    *cost =
        (struct dml__link_cost){.alpha_s = alpha_s, .gap_s = gap_s, .beta_s = beta_s};
    return alpha_s > 0 && beta_s > 0;
}

/* Seconds for a byte of f32 added to another, on the slowest rank; negative: failed. */
static double probe_gamma(struct probe *p)
{
    const struct dml__kernels *k = dml__ctx_kernels(dml_comm_ctx(p->comm));
    enum { REPEATS = 4 };
    double begin_s = 0;
    for (int i = 0; i <= REPEATS; i++) {
        if (i == 1) /* the first one warms up */
            begin_s = dml__now_s();
        k->merge[DML_F32][DML_SUM](p->in, p->in, p->out, NODE_BYTES / sizeof(float), 0);
    }
    double s = (dml__now_s() - begin_s) / REPEATS / NODE_BYTES;
    return dml__comm_max(p->comm, &s, 1) < 0 ? -1 : fmax(s, 1e-12);
}

dml_status dml__model_measure(dml_comm *comm, double limit_s, struct dml__model *model)
{
    dml_ctx *ctx = dml_comm_ctx(comm);
    int nnodes;
    dml__comm_nodes(comm, &nnodes);
    *model = (struct dml__model){.nranks = dml_comm_size(comm), .nnodes = nnodes};
    double begin_s = dml__now_s();
    struct probe p = {.comm = comm, .end_s = begin_s + limit_s};
    p.out = dml__alloc(ctx, MOST_BYTES);
    p.in = dml__alloc(ctx, MOST_BYTES);
    /* Requests come from a pool: one that was made now will be there. */
    dml_request *request = dml__sched_new(comm);
    if (request != NULL)
        dml__sched_discard(request);
    double missing = p.out == NULL || p.in == NULL || request == NULL;
    dml_status status = dml__comm_max(comm, &missing, 1);
    if (status == DML_OK && missing > 0)
        status = dml__fail(ctx, DML_ENOMEM, "dml_comm", "no memory to measure with");
    if (status != DML_OK)
        goto out;
    status = DML_ECOMM;
    model->gamma_s = probe_gamma(&p);
    if (model->gamma_s < 0)
        goto out;
    if (nnodes > 1) {
        set_ring(&p, true);
        if (!probe_link(&p, 64 * 1024, &model->net))
            goto out;
    }
    /* With a rank a node there is no link within one; any price will do. */
    model->node =
        (struct dml__link_cost){.alpha_s = 1e-6, .gap_s = 5e-7, .beta_s = 1 / 5e9};
    if (nnodes < dml_comm_size(comm)) {
        set_ring(&p, false);
        p.end_s = dml__now_s() + limit_s / 3;
        if (!probe_link(&p, NODE_BYTES, &model->node))
            goto out;
    }
    status = DML_OK;
out:
    if (status == DML_ECOMM)
        status = dml__comm_failure(comm);
    dml__comm_release(p.comm, p.out);
    dml__comm_release(p.comm, p.in);
    return status;
}
