/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared-memory channels (shm.h), in the desks of the ranks (node.h).
 *
 * A channel has one writer and one reader, so two counters of bytes, each written by
 * one side only, are all the synchronisation there is.
 *
 * Source: Lamport, Specifying concurrent program modules, TOPLAS 1983 (the queue).
 */
#include "comm/shm.h"

#include "core/core.h"

#include <string.h>

enum {
    LINE = DML__LINE,
    CAPACITY =
        DML__CHANNEL_BYTES, /* in flight a pair: two fit the second-level cache */
    PIECE = 16 * 1024 /* copied before the other side is told: it reads meanwhile */
};

/* This process's end of the two channels with one peer. The copies of the counters
 * spare reading the shared ones, whose cache lines the peer is writing. */
struct link {
    int node_rank; /* of the peer */
    struct dml__channel *out, *in;
    unsigned long long head, tail_seen;   /* of out */
    unsigned long long tail, head_seen;   /* of in */
    uint64_t out_signature, in_signature; /* of the operations that use them now; */
    unsigned long long out_ops, in_ops;   /* and how many there have been */
    unsigned long long begins[DML__CHANNEL_OPS]; /* head at the begin of the newest */
};

struct dml__shm {
    struct dml__node *node;
    struct link **link; /* [nranks] NULL for those on other nodes and for this rank */
    struct link *links; /* [node size] */
};

void dml__shm_free(struct dml__shm *shm)
{
    if (shm == NULL)
        return;
    dml__free(shm->link);
    dml__free(shm->links);
    dml__free(shm);
}

struct dml__shm *dml__shm_new(dml_ctx *ctx, struct dml__node *node, int nranks)
{
    struct dml__shm *shm = dml__alloc(ctx, sizeof *shm);
    if (shm == NULL)
        return NULL;
    shm->node = node;
    shm->link = dml__alloc(ctx, (size_t)nranks * sizeof *shm->link);
    shm->links = dml__alloc(ctx, (size_t)node->size * sizeof *shm->links);
    if (shm->link == NULL || shm->links == NULL) {
        dml__shm_free(shm);
        return NULL;
    }
    for (int i = 0; i < node->size; i++) {
        if (i == node->rank)
            continue;
        shm->links[i] = (struct link){
            .node_rank = i,
            .out = &node->desk[i]->inbox[node->rank],
            .in = &node->desk[node->rank]->inbox[i],
        };
        shm->link[node->rank_of[i]] = &shm->links[i];
    }
    return shm;
}

bool dml__shm_reaches(const struct dml__shm *shm, int rank)
{
    return shm != NULL && shm->link[rank] != NULL;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* A message's last piece takes whole cache lines, so that the next starts at one. */
static size_t lines(size_t bytes)
{
    return (bytes + LINE - 1) / LINE * LINE;
}

/* What comes next belongs to another operation. False when the peer has not yet looked
 * at the signature that would be replaced. */
static bool begin_operation(struct link *l, uint64_t signature)
{
    size_t slot = (size_t)(l->out_ops % DML__CHANNEL_OPS);
    if (l->out_ops >= DML__CHANNEL_OPS && l->tail_seen <= l->begins[slot]) {
        l->tail_seen = atomic_load_explicit(&l->out->tail, memory_order_acquire);
        if (l->tail_seen <= l->begins[slot])
            return false;
    }
    atomic_store_explicit(&l->out->signature[slot], (unsigned)signature,
                          memory_order_relaxed);
    l->begins[slot] = l->head;
    l->out_ops++;
    l->out_signature = signature;
    return true;
}

size_t dml__shm_put(struct dml__shm *shm, int rank, uint64_t signature,
                    const void *message, size_t bytes, size_t done)
{
    struct link *l = shm->link[rank];
    size_t before = done;
    if (l->out_signature != signature && !begin_operation(l, signature))
        return 0;
    while (done < bytes) {
        size_t room = CAPACITY - (size_t)(l->head - l->tail_seen);
        size_t wanted = least(bytes - done, PIECE);
        if (room < wanted) {
            l->tail_seen = atomic_load_explicit(&l->out->tail, memory_order_acquire);
            room = CAPACITY - (size_t)(l->head - l->tail_seen);
            if (room == 0)
                break;
        }
        size_t at = (size_t)(l->head % CAPACITY);
        size_t n = least(least(wanted, room), CAPACITY - at);
        memcpy(l->out->data + at, (const char *)message + done, n);
        done += n;
        l->head += lines(n);
        atomic_store(&l->out->head, l->head);
        dml__node_wake(shm->node, l->node_rank);
    }
    return done - before;
}

const void *dml__shm_peek(struct dml__shm *shm, int rank, uint64_t signature,
                          size_t bytes, size_t done, size_t *available)
{
    struct link *l = shm->link[rank];
    if (l->head_seen == l->tail)
        l->head_seen = atomic_load_explicit(&l->in->head, memory_order_acquire);
    size_t there = (size_t)(l->head_seen - l->tail), at = (size_t)(l->tail % CAPACITY);
    if (there == 0)
        return NULL;
    if (l->in_signature != signature) {
        size_t slot = (size_t)(l->in_ops % DML__CHANNEL_OPS);
        if (atomic_load_explicit(&l->in->signature[slot], memory_order_relaxed) !=
            (unsigned)signature)
            return NULL;
        l->in_ops++;
        l->in_signature = signature;
    }
    *available = least(least(there, CAPACITY - at), bytes - done);
    return l->in->data + at;
}

void dml__shm_release(struct dml__shm *shm, int rank, size_t bytes)
{
    struct link *l = shm->link[rank];
    l->tail += lines(bytes);
    atomic_store(&l->in->tail, l->tail);
    dml__node_wake(shm->node, l->node_rank);
}
