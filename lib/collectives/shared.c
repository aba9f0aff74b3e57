/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Within a node, with one copy: ranks tell each other where their buffers lie, and each
 * takes its part of the work straight from them.
 *
 * Memory of dml_alloc is mapped by all ranks: of an all-reduce each reduces its block
 * of all inputs and writes it into all results. Other memory is read with
 * process_vm_readv where the system permits that, which fetches but cannot write: each
 * reduces its block, then fetches the others'. What the buffers are is known when all
 * have announced them, so ranks need not pass the same kind. Where neither is possible,
 * the task goes on as "staged" or "flat".
 */
#include "collectives/node_task.h"

#include <string.h>

enum {
    PIECE_BYTES = 8 * 1024
}; /* worked on at a time: stays in the first-level cache */

static uint64_t place_of(const struct dml__node_task *t, int rank, int which)
{
    return dml__node_post(t->node, rank, t->n)->place[which];
}

enum { INPUT, RESULT }; /* which of a post's places */

/* Where a rank's buffer is mapped here, from element "at" of it on; this rank's own is
 * where the caller has it. */
static char *mapped(const struct dml__node_task *t, int rank, int which, size_t at)
{
    const struct dml__call *call = t->call;
    char *base = NULL;
    if (rank != t->node->rank)
        base = dml__place_here(call->comm, rank, place_of(t, rank, which));
    else
        base = which == INPUT ? (char *)(uintptr_t)call->send : call->recv;
    return base + at * call->elem_bytes;
}

/* Fetch from a rank's buffer, mapped or not; false when the system refuses. */
static bool fetch(struct dml__node_task *t, int rank, int which, size_t at, void *to,
                  size_t n)
{
    size_t bytes = n * t->call->elem_bytes;
    if (bytes == 0)
        return true;
    uint64_t place = place_of(t, rank, which);
    t->received += rank != t->node->rank ? bytes : 0;
    if (rank == t->node->rank || dml__place_shared(place)) {
        const char *from = mapped(t, rank, which, at);
        if (from != to)
            dml__copy(to, from, bytes);
        return true;
    }
    return dml__node_read(t->node, rank, place + at * t->call->elem_bytes, to, bytes);
}

static dml_status unreachable(const struct dml__node_task *t, int rank)
{
    char name[128];
    dml__comm_peer_name(t->call->comm, t->node->rank_of[rank], name, sizeof name);
    return dml__fail(dml_comm_ctx(t->call->comm), DML_EPEER, t->call->where,
                     "the memory of %s can no longer be read: it has ended", name);
}

/* ---- reductions --------------------------------------------------------------------
 */

/* Reduces a range of mapped inputs; the result goes to element "at" of the buffers in
 * to[0 .. nto-1]. */
static void reduce_mapped(struct dml__node_task *t, struct dml__range range,
                          char *const *to, int nto)
{
    const struct dml__call *call = t->call;
    int nranks = t->node->size;
    const char *input[DML__NODE_RANKS_MAX], *term[DML__NODE_RANKS_MAX];
    size_t bytes = call->elem_bytes, piece = PIECE_BYTES / bytes;
    for (int i = 0; i < nranks; i++)
        input[i] = mapped(t, i, INPUT, range.offset);
    for (size_t at = 0; at < range.count; at += piece) {
        size_t n = range.count - at < piece ? range.count - at : piece;
        for (int i = 0; i < nranks; i++)
            term[i] = input[i] + at * bytes;
        dml__reduce_terms(call, term, to[0] + at * bytes, n);
        for (int i = 1; i < nto; i++)
            memcpy(to[i] + at * bytes, to[0] + at * bytes, n * bytes);
    }
    t->received += range.count * bytes * (size_t)(nranks - 1);
}

/* Reduces a range of inputs fetched into this rank's slot; the result goes to "to".
 * Returns the rank that could not be read, or -1. */
static int reduce_fetched(struct dml__node_task *t, struct dml__range range, char *to)
{
    const struct dml__call *call = t->call;
    int nranks = t->node->size;
    const char *term[DML__NODE_RANKS_MAX];
    char *slot = dml__node_slot(t->node, t->node->rank, t->n);
    size_t bytes = call->elem_bytes, room = DML__SLOT_BYTES / (size_t)nranks;
    size_t piece = room / DML__LINE * DML__LINE / bytes;
    for (size_t at = 0; at < range.count; at += piece) {
        size_t n = range.count - at < piece ? range.count - at : piece;
        for (int i = 0; i < nranks; i++) {
            char *here = slot + (size_t)i * piece * bytes;
            if (!fetch(t, i, INPUT, range.offset + at, here, n))
                return i;
            term[i] = here;
        }
        dml__reduce_terms(call, term, to + at * bytes, n);
    }
    return -1;
}

/* ---- the stages --------------------------------------------------------------------
 */

static dml_status end(struct dml__node_task *t)
{
    if (!dml__node_all_reached(t->node, t->n, DML__DONE))
        return DML_PENDING;
    dml__comm_count_bytes(t->call->comm, t->sent, t->received);
    t->stage = NULL;
    return DML_OK;
}

/* Says that this rank needs its peers' buffers no more, and waits until they say so. */
static dml_status done(struct dml__node_task *t)
{
    dml__node_reach(t->node, t->n, DML__DONE);
    t->stage = end;
    return DML_OK;
}

static dml_status fetch_blocks(struct dml__node_task *t, int which)
{
    for (int step = 0; step < t->node->size; step++) { /* all begin with another peer */
        int i = dml__mod(t->node->rank + step, t->node->size);
        struct dml__range block = dml__block(t->call, i);
        size_t at = which == RESULT ? block.offset : 0;
        if (!fetch(t, i, which, at, dml__at(t->call, block.offset), block.count))
            return unreachable(t, i);
    }
    return DML_OK;
}

/* All blocks of an all-reduce are reduced; gets the others'. */
static dml_status fetch_results(struct dml__node_task *t)
{
    if (!dml__node_all_reached(t->node, t->n, DML__REDUCED))
        return DML_PENDING;
    DML_TRY(fetch_blocks(t, RESULT));
    return done(t);
}

static dml_status allreduce(struct dml__node_task *t, bool all_mapped)
{
    struct dml__range own = dml__block(t->call, t->node->rank);
    char *to[DML__NODE_RANKS_MAX];
    to[0] = dml__at(t->call, own.offset);
    if (all_mapped) {
        for (int i = 0, n = 1; i < t->node->size; i++)
            if (i != t->node->rank)
                to[n++] = mapped(t, i, RESULT, own.offset);
        reduce_mapped(t, own, to, t->node->size);
        return done(t);
    }
    int lost = reduce_fetched(t, own, to[0]);
    if (lost >= 0)
        return unreachable(t, lost);
    dml__node_reach(t->node, t->n, DML__REDUCED);
    t->stage = fetch_results;
    return DML_OK;
}

static dml_status reduce_scatter(struct dml__node_task *t, bool all_mapped)
{
    struct dml__range own = dml__block(t->call, t->node->rank);
    char *to = t->call->recv;
    int lost = -1;
    if (all_mapped)
        reduce_mapped(t, own, &to, 1);
    else
        lost = reduce_fetched(t, own, to);
    return lost < 0 ? done(t) : unreachable(t, lost);
}

/* Mapped, all ranks reduce a part of the root's result; otherwise the root does it. */
static dml_status reduce(struct dml__node_task *t, bool all_mapped)
{
    const struct dml__call *call = t->call;
    size_t count = call->count, n = (size_t)t->node->size, i = (size_t)t->node->rank;
    struct dml__range part = {count / n * i, i + 1 < n ? count / n : 0};
    int lost = -1;
    if (i + 1 == n)
        part.count = count - part.offset;
    if (all_mapped) {
        char *to = mapped(t, call->root, RESULT, part.offset);
        reduce_mapped(t, part, &to, 1);
    } else if (t->node->rank == call->root) {
        lost = reduce_fetched(t, (struct dml__range){0, count}, call->recv);
    }
    return lost < 0 ? done(t) : unreachable(t, lost);
}

static dml_status copy(struct dml__node_task *t)
{
    const struct dml__call *call = t->call;
    int rank = t->node->rank, root = call->root;
    struct dml__range own = {0, call->count};
    if (call->coll != DML_COLL_BCAST)
        own = dml__block(call, rank);
    bool ok = true;
    switch (call->coll) {
    case DML_COLL_ALLGATHER:
        DML_TRY(fetch_blocks(t, INPUT));
        break;
    case DML_COLL_GATHER:
        if (rank == root)
            DML_TRY(fetch_blocks(t, INPUT));
        break;
    case DML_COLL_BCAST:
        ok = rank == root || fetch(t, root, INPUT, 0, call->recv, call->count);
        break;
    case DML_COLL_SCATTER:
        ok = (rank == root && call->in_place) ||
             fetch(t, root, INPUT, own.offset, call->recv, own.count);
        break;
    default: /* alltoall */
        for (int step = 0; step < t->node->size; step++) {
            int i = dml__mod(rank + step, t->node->size);
            struct dml__range theirs = dml__block(call, i);
            if (!fetch(t, i, INPUT, own.offset, dml__at(call, theirs.offset),
                       theirs.count))
                return unreachable(t, i);
        }
    }
    return ok ? done(t) : unreachable(t, root);
}

/* Are a rank's buffers shared, as far as its peers use them? */
static bool is_mapped(const struct dml__node_task *t, int rank)
{
    const struct dml__call *call = t->call;
    bool input = dml__place_shared(place_of(t, rank, INPUT));
    bool result = dml__place_shared(place_of(t, rank, RESULT));
    if (call->coll == DML_COLL_ALLREDUCE)
        return input && result;
    if (call->coll == DML_COLL_REDUCE)
        return input && (rank != call->root || result);
    return input;
}

/* The same collective by copies into slots. */
static dml_status go_on_with_copies(struct dml__node_task *t)
{
    t->sent = 0; /* the copies count */
    t->stage =
        t->call->coll == DML_COLL_ALLREDUCE ? dml__staged_begin : dml__flat_begin;
    return DML_OK;
}

/* All have announced their buffers: what can be done with them? */
static dml_status work(struct dml__node_task *t)
{
    if (!dml__node_all_reached(t->node, t->n, DML__ENTERED))
        return DML_PENDING;
    const struct dml__call *call = t->call;
    bool all_mapped = true;
    for (int i = 0; i < t->node->size; i++)
        all_mapped = all_mapped && is_mapped(t, i);
    if (!all_mapped && !t->by_system)
        return go_on_with_copies(t);
    switch (call->coll) {
    case DML_COLL_ALLREDUCE:
        return allreduce(t, all_mapped);
    case DML_COLL_REDUCE_SCATTER:
        return reduce_scatter(t, all_mapped);
    case DML_COLL_REDUCE:
        return reduce(t, all_mapped);
    default:
        return copy(t);
    }
}

static dml_status announce(struct dml__node_task *t)
{
    if (!dml__node_may_enter(t->node, t->n))
        return DML_PENDING;
    const struct dml__call *call = t->call;
    struct dml__post *post = dml__node_post(t->node, t->node->rank, t->n);
    size_t sent = t->length * call->elem_bytes, received = t->width * call->elem_bytes;
    post->place[INPUT] = (uintptr_t)call->send;
    post->place[RESULT] = (uintptr_t)call->recv;
    if (!t->by_system) {
        post->place[INPUT] = dml__place(call->comm, call->send, sent);
        post->place[RESULT] = dml__place(call->comm, call->recv, received);
    }
    /* What peers fetch is sent by nobody; it is counted where it is offered. */
    if (!dml__traits(call->coll)->from_root || t->node->rank == call->root)
        t->sent = sent;
    dml__node_reach(t->node, t->n, DML__ENTERED);
    t->stage = work;
    return DML_OK;
}

/* Inputs that peers may not read once this rank has results, or that only this rank can
 * scale. The same on all ranks. */
static bool needs_copies(const struct dml__call *call)
{
    bool replaced =
        call->coll == DML_COLL_REDUCE_SCATTER || call->coll == DML_COLL_ALLTOALL;
    return call->pieces != NULL || (call->in_place && replaced) ||
           (dml__reduces(call->coll) && call->red.own_scale);
}

/* length and width: elements of this rank's input and result. */
static dml_status begin(struct dml__node_task *t)
{
    const struct dml__call *call = t->call;
    if (needs_copies(call))
        return go_on_with_copies(t);
    const struct dml__traits *traits = dml__traits(call->coll);
    bool whole = !traits->blocks;
    size_t own = whole ? call->count : dml__block(call, t->node->rank).count;
    size_t all = 0; /* where the last block ends: there may be gaps */
    for (int i = 0; !whole && i < t->node->size; i++) {
        struct dml__range block = dml__block(call, i);
        size_t block_end = block.offset + block.count;
        all = block_end > all ? block_end : all;
    }
    t->length = whole || traits->gives_block ? own : all;
    t->width = whole || traits->takes_block ? own : all;
    t->n = dml__node_begin(t->node);
    t->stage = announce;
    return DML_OK;
}

static dml_status begin_by_system(struct dml__node_task *t)
{
    t->by_system = true;
    return begin(t);
}

static const char *shared_supports(const struct dml__call *call)
{
    if (dml_comm_size(call->comm) > 1 && !dml__comm_has_symmetric(call->comm))
        return "there is no memory of dml_alloc on this communicator";
    return dml__node_supports(call);
}

static const char *cma_supports(const struct dml__call *call)
{
    const char *why = dml__node_supports(call);
    const struct dml__node *node = dml__comm_node(call->comm);
    if (why == NULL && node != NULL && !node->can_read)
        why = "the system does not permit process_vm_readv, or DML_CMA=0";
    return why;
}

static double shared_cost_s(const struct dml__model *m, double bytes)
{
    return m->node.alpha_s + bytes * (m->node.beta_s + m->gamma_s / m->nranks);
}

/* The system copies at a fraction of the speed of memory. */
static double cma_cost_s(const struct dml__model *m, double bytes)
{
    return 5e-6 + bytes * (3 * m->node.beta_s + m->gamma_s / m->nranks);
}

const struct dml__alg dml__alg_shared = {
    .name = "shared",
    .text = "within a node: no copy, straight from and to memory of dml_alloc",
    .rank_order = true,
    .supports = shared_supports,
    .cost_s = shared_cost_s,
    .task = begin,
};

const struct dml__alg dml__alg_cma = {
    .name = "cma",
    .text = "within a node: one copy, the system reads the memory of other ranks",
    .rank_order = true,
    .supports = cma_supports,
    .cost_s = cma_cost_s,
    .task = begin_by_system,
};
