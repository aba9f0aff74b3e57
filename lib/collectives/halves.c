/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Recursive halving and doubling (halves.h).
 *
 * Source: Thakur, Rabenseifner and Gropp, IJHPCA 2005, sections 4.1 to 4.5; the
 * treatment of odd groups follows Träff, EuroPVM/MPI 2005.
 */
#include "collectives/halves.h"

/* A number's part in the level that cuts [lo, hi). */
static struct dml__level level_of(int number, int lo, int hi)
{
    int mid = lo + (hi - lo + 1) / 2, lower = mid - lo, upper = hi - mid;
    struct dml__level l = {
        .lo = lo, .mid = mid, .hi = hi, .nfrom = 1, .sent = DML__NO_STEP};
    if (number < mid && number - lo < upper) {
        l.to = l.from[0] = number + lower;
    } else if (number < mid) {
        l.to = hi - 1;
        l.nfrom = 0;
    } else {
        l.to = l.from[0] = number - lower;
        if (lower > upper && number == hi - 1)
            l.from[l.nfrom++] = mid - 1;
    }
    return l;
}

bool dml__halves_init(struct dml__halves *h, const struct dml__call *call,
                      dml_request *request, int root, bool packed)
{
    int nranks = dml_comm_size(call->comm);
    size_t n = (size_t)nranks, sum = 0;
    *h = (struct dml__halves){
        .call = call,
        .request = request,
        .number = dml__mod(dml_comm_rank(call->comm) - root, nranks),
        .nranks = nranks,
        .root = root,
        .start = dml__sched_scratch(request, (n + 1) * sizeof *h->start),
        .ready = DML__NO_STEP,
    };
    for (int lo = 0, hi = nranks; hi - lo > 1; h->nlevels++) {
        struct dml__level l = level_of(h->number, lo, hi);
        h->level[h->nlevels] = l;
        if (h->number < l.mid)
            hi = l.mid;
        else
            lo = l.mid;
    }
    for (int i = 0; h->start != NULL && i < nranks; i++) {
        /* Parts of a whole vector belong to numbers, blocks of the call to ranks. */
        int owner = packed ? dml__halves_rank(h, i) : i;
        struct dml__range block = dml__block(call, owner);
        h->start[i] = packed ? sum : block.offset;
        sum = h->start[i] + block.count;
    }
    if (h->start != NULL)
        h->start[nranks] = sum;
    return h->start != NULL;
}

struct dml__range dml__halves_span(const struct dml__halves *h, int first, int end)
{
    return (struct dml__range){h->start[first], h->start[end] - h->start[first]};
}

int dml__halves_end(const struct dml__halves *h)
{
    int end = h->number + 1;
    for (int i = h->nlevels - 1; i >= 0 && h->level[i].lo == h->number; i--)
        end = h->level[i].hi;
    return end;
}

char *dml__halves_tree(struct dml__halves *h, const struct dml__call *call,
                       dml_request *request)
{
    if (!dml__halves_init(h, call, request, call->root, true))
        return NULL;
    size_t held = dml__halves_span(h, h->number, dml__halves_end(h)).count;
    return dml__sched_scratch(request, held * call->elem_bytes);
}

/* The halves of a level as elements. */
static struct dml__range half(const struct dml__halves *h, const struct dml__level *l,
                              bool own)
{
    if ((h->number < l->mid) == own)
        return dml__halves_span(h, l->lo, l->mid);
    return dml__halves_span(h, l->mid, l->hi);
}

/* ---- reduction ---------------------------------------------------------------------
 */

const char *dml__halves_reduce(struct dml__halves *h, char *vector)
{
    const struct dml__call *call = h->call;
    const struct dml__reduction *red = &call->red;
    size_t whole = h->start[h->nranks], acc = red->acc_bytes;
    struct dml__range first = half(h, &h->level[0], true);
    const char *from = call->send; /* what is sent, and added to: element 0 */
    char *sum = vector;            /* partial sums: element 0 */
    if (red->load != NULL)
        from = sum = dml__sched_scratch(h->request, dml__mul(whole, acc));
    else if (vector == NULL) /* the own half is all that is ever written */
        sum = dml__sched_scratch(h->request, dml__mul(first.count, acc));
    char *staging = dml__sched_scratch(h->request, dml__mul(first.count, acc));
    if (sum == NULL || staging == NULL)
        return NULL;
    if (red->load != NULL)
        h->ready = dml__sched_local(h->request, red->load, sum, call->send, NULL, whole,
                                    red->scale, DML__NO_STEP, DML__NO_STEP);
    else if (vector == NULL)
        sum -= first.offset * acc;
    for (int i = 0; i < h->nlevels; i++) {
        struct dml__level *l = &h->level[i];
        struct dml__range own = half(h, l, true), other = half(h, l, false);
        l->sent =
            dml__sched_send(h->request, from + other.offset * acc, other.count * acc,
                            dml__halves_rank(h, l->to), h->ready, DML__NO_STEP);
        for (int k = 0; k < l->nfrom; k++) {
            h->ready = dml__sched_recv_fold(h->request, staging, own.count * acc,
                                            dml__halves_rank(h, l->from[k]), red->merge,
                                            sum + own.offset * acc,
                                            (k == 0 ? from : sum) + own.offset * acc,
                                            acc, acc, 0, h->ready, DML__NO_STEP);
        }
        if (l->nfrom > 0)
            from = sum;
    }
    return from + h->start[h->number] * acc;
}

void dml__halves_store(struct dml__halves *h, char *to, const char *sum)
{
    const struct dml__call *call = h->call;
    const struct dml__reduction *red = &call->red;
    size_t n = dml__halves_span(h, h->number, h->number + 1).count;
    int stored = DML__NO_STEP;
    if (red->store != NULL)
        stored = dml__sched_local(h->request, red->store, to, sum, NULL, n,
                                  red->divisor, h->ready, DML__NO_STEP);
    else
        stored = dml__sched_copy(h->request, to, sum, n * call->elem_bytes, h->ready,
                                 DML__NO_STEP);
    if (stored != DML__NO_STEP)
        h->ready = stored;
}

/* ---- movement ----------------------------------------------------------------------
 */

static char *at(const struct dml__halves *h, char *vector, size_t elem)
{
    return vector + elem * h->call->elem_bytes;
}

void dml__halves_allgather(struct dml__halves *h, char *vector, bool held)
{
    size_t bytes = h->call->elem_bytes;
    for (int i = h->nlevels - 1; i >= 0; i--) {
        const struct dml__level *l = &h->level[i];
        struct dml__range own = half(h, l, true), other = half(h, l, false);
        for (int k = 0; k < l->nfrom; k++)
            if (!held || l->from[k] != l->lo)
                dml__sched_send(h->request, at(h, vector, own.offset),
                                own.count * bytes, dml__halves_rank(h, l->from[k]),
                                h->ready, DML__NO_STEP);
        if (held && h->number == l->lo)
            continue;
        int got = dml__sched_recv(h->request, at(h, vector, other.offset),
                                  other.count * bytes, dml__halves_rank(h, l->to),
                                  h->ready, l->sent);
        h->ready = got != DML__NO_STEP ? got : h->ready;
    }
}

void dml__halves_gather(struct dml__halves *h, char *vector)
{
    size_t bytes = h->call->elem_bytes, first = h->start[h->number];
    for (int i = h->nlevels - 1; i >= 0; i--) {
        const struct dml__level *l = &h->level[i];
        struct dml__range upper = dml__halves_span(h, l->mid, l->hi);
        if (h->number == l->mid) {
            dml__sched_send(h->request, vector, upper.count * bytes,
                            dml__halves_rank(h, l->lo), h->ready, DML__NO_STEP);
            return;
        }
        if (h->number != l->lo)
            return;
        int got = dml__sched_recv(h->request, at(h, vector, upper.offset - first),
                                  upper.count * bytes, dml__halves_rank(h, l->mid),
                                  h->ready, l->sent);
        h->ready = got != DML__NO_STEP ? got : h->ready;
    }
}

void dml__halves_scatter(struct dml__halves *h, char *vector)
{
    size_t bytes = h->call->elem_bytes, first = h->start[h->number];
    for (int i = 0; i < h->nlevels; i++) {
        const struct dml__level *l = &h->level[i];
        struct dml__range upper = dml__halves_span(h, l->mid, l->hi);
        if (h->number == l->mid)
            h->ready =
                dml__sched_recv(h->request, vector, upper.count * bytes,
                                dml__halves_rank(h, l->lo), DML__NO_STEP, DML__NO_STEP);
        else if (h->number == l->lo)
            dml__sched_send(h->request, at(h, vector, upper.offset - first),
                            upper.count * bytes, dml__halves_rank(h, l->mid), h->ready,
                            DML__NO_STEP);
    }
}

/* Ranks are numbered node by node, so the first levels cross between nodes, where all
 * ranks of a node share its link. */
double dml__halves_phase_s(const struct dml__model *m, double bytes)
{
    double h = m->nnodes, r = m->nranks / h;
    return dml__levels_s(m, 0, 0) + (h - 1) / h * r * bytes * m->net.beta_s +
           (r - 1) / r * bytes / h * m->node.beta_s;
}
