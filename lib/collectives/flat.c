/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Within a node: every rank puts its contribution into its slot and announces it; who
 * needs it reads it there. One hand-over, whatever the number of ranks, and none at the
 * end (comm/node.h); sums are in rank order. Contributions of 48 bytes and less travel
 * in the announcement's own cache line.
 *
 * "staged" spreads the work of an all-reduce: each rank reduces one part of the window
 * in place of its own contribution to it, and after a second announcement reads the
 * others' parts.
 */
#include "collectives/node_task.h"

#include <string.h>

/* Does a contribution hold a block for every rank? */
static bool to_every_rank(dml_coll coll)
{
    return dml__traits(coll)->blocks && !dml__traits(coll)->gives_block;
}

static char *slot_of(const struct dml__node_task *t, int rank)
{
    return t->slot_bytes <= DML__INLINE_BYTES
               ? dml__node_post(t->node, rank, t->n)->inlined
               : dml__node_slot(t->node, rank, t->n);
}

/* Elements of the window that a rank's block has. */
static struct dml__range part_of(const struct dml__node_task *t, int rank)
{
    return dml__part(dml__block(t->call, rank), t->range.offset, t->range.count);
}

/* n elements as they travel. */
static void load(struct dml__node_task *t, char *to, const char *from, size_t n)
{
    const struct dml__call *call = t->call;
    t->sent += n * t->item;
    if (dml__reduces(call->coll) && call->red.own_scale)
        call->red.load(to, from, NULL, n, call->red.scale);
    else if (n > 0)
        memcpy(to, from, n * t->item);
}

/* The window's n elements from "at" on. */
static void put(struct dml__node_task *t, char *to, size_t at, size_t n)
{
    if (t->call->pieces == NULL) {
        load(t, to, dml__in(t->call, at), n);
        return;
    }
    struct dml__cursor cursor = t->cursor;
    for (size_t done = 0, part = 0; done < n; done += part) {
        char *from = NULL;
        part = dml__together(t->call, &cursor, at + done, n - done, &from);
        load(t, to + done * t->item, from, part);
    }
}

/* Part i of the window, for "staged". */
static struct dml__range share_of(const struct dml__node_task *t, int i)
{
    size_t nranks = (size_t)t->node->size, count = t->range.count, index = (size_t)i;
    return (struct dml__range){count * index / nranks,
                               count * (index + 1) / nranks - count * index / nranks};
}

/* Its own part of the window a rank takes from its input, unless that must be scaled.
 */
static bool keeps_own_part(const struct dml__node_task *t)
{
    return t->staged && !t->call->red.own_scale;
}

static void contribute_parts(struct dml__node_task *t)
{
    char *slot = slot_of(t, t->node->rank);
    for (int i = 0; i < t->node->size; i++) {
        struct dml__range part = share_of(t, i);
        if (i != t->node->rank || !keeps_own_part(t))
            put(t, slot + part.offset * t->item, t->range.offset + part.offset,
                part.count);
    }
}

static void contribute(struct dml__node_task *t)
{
    const struct dml__call *call = t->call;
    int rank = t->node->rank, nranks = t->node->size;
    char *slot = slot_of(t, rank);
    switch (call->coll) {
    case DML_COLL_BARRIER:
        break;
    case DML_COLL_ALLREDUCE:
        if (t->staged) {
            contribute_parts(t);
            break;
        }
        /* fall through */
    case DML_COLL_REDUCE:
        put(t, slot, t->range.offset, t->range.count);
        break;
    case DML_COLL_BCAST:
        if (rank == call->root)
            put(t, slot, t->range.offset, t->range.count);
        break;
    case DML_COLL_ALLGATHER:
    case DML_COLL_GATHER: /* the input is this rank's block alone */
        put(t, slot, t->range.offset, part_of(t, rank).count);
        break;
    case DML_COLL_SCATTER:
        if (rank != call->root)
            break;
        /* fall through */
    case DML_COLL_REDUCE_SCATTER:
    case DML_COLL_ALLTOALL:
        for (int i = 0; i < nranks; i++) {
            struct dml__range part = part_of(t, i);
            put(t, slot + (size_t)i * t->range.count * t->item, part.offset,
                part.count);
        }
        break;
    }
}

/* Reduces what all ranks have at "offset" bytes of their slots; own: the same of this
 * rank where it lies elsewhere, or NULL. */
static void reduce_slots(struct dml__node_task *t, size_t offset, const char *own,
                         void *to, size_t n)
{
    const char *term[DML__NODE_RANKS_MAX];
    for (int i = 0; i < t->node->size; i++)
        term[i] = slot_of(t, i) + offset;
    if (own != NULL)
        term[t->node->rank] = own;
    t->received += n * t->item * (size_t)(t->node->size - 1);
    if (n > 0)
        dml__reduce_terms(t->call, term, to, n);
}

/* The same for a part of an all-reduce's window, whose result may be in pieces. */
static void reduce_part(struct dml__node_task *t, struct dml__range part)
{
    const struct dml__call *call = t->call;
    struct dml__cursor cursor = t->cursor;
    char *own = slot_of(t, t->node->rank) + part.offset * t->item, *to = NULL;
    size_t first = t->range.offset + part.offset;
    for (size_t done = 0, n = 0; done < part.count; done += n) {
        n = dml__together(call, &cursor, first + done, part.count - done, &to);
        const char *input = call->pieces != NULL ? to : dml__in(call, first + done);
        reduce_slots(t, (part.offset + done) * t->item,
                     keeps_own_part(t) ? input : NULL, to, n);
        if (t->staged)
            memcpy(own + done * call->elem_bytes, to, n * call->elem_bytes);
    }
}

static void copy_block(struct dml__node_task *t, int from, size_t offset, char *to,
                       size_t n)
{
    if (from != t->node->rank)
        t->received += n * t->item;
    if (n > 0)
        memcpy(to, slot_of(t, from) + offset, n * t->item);
}

static void take_result(struct dml__node_task *t)
{
    const struct dml__call *call = t->call;
    int rank = t->node->rank, nranks = t->node->size;
    size_t block_bytes = t->range.count * t->item, mine = (size_t)rank * block_bytes;
    struct dml__range part = {0, 0};
    if (dml__traits(call->coll)->blocks)
        part = part_of(t, rank);
    switch (call->coll) {
    case DML_COLL_BARRIER:
        break;
    case DML_COLL_ALLREDUCE:
        reduce_part(t, (struct dml__range){0, t->range.count});
        break;
    case DML_COLL_REDUCE:
        if (rank == call->root)
            reduce_slots(t, 0, NULL, dml__at(call, t->range.offset), t->range.count);
        break;
    case DML_COLL_BCAST:
        if (rank != call->root)
            copy_block(t, call->root, 0, dml__at(call, t->range.offset),
                       t->range.count);
        break;
    case DML_COLL_REDUCE_SCATTER:
        reduce_slots(t, mine, NULL, dml__at(call, t->range.offset), part.count);
        break;
    case DML_COLL_GATHER:
        if (rank != call->root)
            break;
        /* fall through */
    case DML_COLL_ALLGATHER:
        for (int i = 0; i < nranks; i++) {
            struct dml__range theirs = part_of(t, i);
            copy_block(t, i, 0, dml__at(call, theirs.offset), theirs.count);
        }
        break;
    case DML_COLL_SCATTER:
        if (!call->in_place || rank != call->root)
            copy_block(t, call->root, mine, dml__at(call, t->range.offset), part.count);
        break;
    case DML_COLL_ALLTOALL:
        for (int i = 0; i < nranks; i++)
            copy_block(t, i, mine, dml__at(call, part_of(t, i).offset),
                       part_of(t, i).count);
        break;
    }
}

/* Is what this rank reads there? A root that only gives, or a rank that only gives to a
 * root, waits for nobody. */
static bool others_are_there(struct dml__node_task *t)
{
    bool root = t->node->rank == t->call->root;
    switch (t->call->coll) {
    case DML_COLL_BCAST:
    case DML_COLL_SCATTER:
        return root || dml__node_reached(t->node, t->call->root, t->n, DML__ENTERED);
    case DML_COLL_REDUCE:
    case DML_COLL_GATHER:
        return !root || dml__node_all_reached(t->node, t->n, DML__ENTERED);
    default:
        return dml__node_all_reached(t->node, t->n, DML__ENTERED);
    }
}

static dml_status enter(struct dml__node_task *t);

/* The next window, or the end. */
static dml_status next_window(struct dml__node_task *t)
{
    size_t done = t->range.offset + t->range.count;
    dml__comm_count_bytes(t->call->comm, t->sent, t->received);
    t->sent = t->received = 0;
    if (done >= t->length) {
        t->stage = NULL;
        return DML_OK;
    }
    char *begin = NULL;
    if (t->call->pieces != NULL)
        dml__together(t->call, &t->cursor, done, 1, &begin);
    t->range.offset = done;
    t->range.count = t->length - done < t->width ? t->length - done : t->width;
    t->n = dml__node_begin(t->node);
    t->stage = enter;
    return DML_OK;
}

static dml_status read_flat(struct dml__node_task *t)
{
    if (!others_are_there(t))
        return DML_PENDING;
    take_result(t);
    return next_window(t);
}

static dml_status read_staged(struct dml__node_task *t)
{
    if (!dml__node_all_reached(t->node, t->n, DML__REDUCED))
        return DML_PENDING;
    const struct dml__call *call = t->call;
    struct dml__cursor cursor = t->cursor;
    for (int i = 0; i < t->node->size; i++) {
        struct dml__range part = share_of(t, i);
        size_t first = t->range.offset + part.offset;
        const char *from = slot_of(t, i) + part.offset * t->item;
        if (i == t->node->rank)
            continue;
        t->received += part.count * call->elem_bytes;
        for (size_t done = 0, n = 0; done < part.count; done += n) {
            char *to = NULL;
            n = dml__together(call, &cursor, first + done, part.count - done, &to);
            memcpy(to, from + done * call->elem_bytes, n * call->elem_bytes);
        }
    }
    return next_window(t);
}

static dml_status reduce_staged(struct dml__node_task *t)
{
    if (!dml__node_all_reached(t->node, t->n, DML__ENTERED))
        return DML_PENDING;
    reduce_part(t, share_of(t, t->node->rank));
    dml__node_reach(t->node, t->n, DML__REDUCED);
    t->stage = read_staged;
    return DML_OK;
}

static dml_status enter(struct dml__node_task *t)
{
    if (!dml__node_may_enter(t->node, t->n))
        return DML_PENDING;
    size_t blocks = to_every_rank(t->call->coll) ? (size_t)t->node->size : 1;
    t->slot_bytes = t->range.count * t->item * blocks;
    contribute(t);
    dml__node_reach(t->node, t->n, DML__ENTERED);
    t->stage = t->staged ? reduce_staged : read_flat;
    return DML_OK;
}

static dml_status begin(struct dml__node_task *t)
{
    const struct dml__call *call = t->call;
    bool scaled = dml__reduces(call->coll) && call->red.own_scale;
    t->item = scaled ? call->red.acc_bytes : call->elem_bytes;
    t->length = dml__traits(call->coll)->blocks ? dml__block_max(call) : call->count;
    size_t blocks = to_every_rank(call->coll) ? (size_t)t->node->size : 1;
    t->width = call->coll == DML_COLL_BARRIER ? 1 : DML__SLOT_BYTES / t->item / blocks;
    if (call->coll == DML_COLL_BARRIER)
        t->length = 1;
    t->range = (struct dml__range){0, 0};
    return next_window(t);
}

dml_status dml__flat_begin(struct dml__node_task *t)
{
    t->staged = false;
    return begin(t);
}

dml_status dml__staged_begin(struct dml__node_task *t)
{
    t->staged = true;
    return begin(t);
}

static double flat_cost_s(const struct dml__model *m, double bytes)
{
    double p = m->nranks;
    return m->node.alpha_s / 2 + bytes * m->node.beta_s / 2 +
           (p - 1) * bytes * m->gamma_s;
}

static double staged_cost_s(const struct dml__model *m, double bytes)
{
    double p = m->nranks;
    return m->node.alpha_s + bytes * m->node.beta_s + (p - 1) / p * bytes * m->gamma_s;
}

const struct dml__alg dml__alg_flat = {
    .name = "flat",
    .text = "within a node: every rank reads every contribution from shared memory",
    .rank_order = true,
    .takes_pieces = true,
    .supports = dml__node_supports,
    .cost_s = flat_cost_s,
    .task = dml__flat_begin,
};

const struct dml__alg dml__allreduce_staged = {
    .name = "staged",
    .text = "within a node: each rank reduces a part in shared memory, all read it",
    .rank_order = true,
    .takes_pieces = true,
    .supports = dml__node_supports,
    .cost_s = staged_cost_s,
    .task = dml__staged_begin,
};
