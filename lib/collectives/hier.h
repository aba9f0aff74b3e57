/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hierarchical algorithms: ranks of one node work together first, so that every byte
 * crosses between nodes as seldom as possible.
 *
 * The vector is cut into as many chunks as the largest node has ranks, and on each node
 * every chunk has an owner: chunk j's owners, one a node, form a ring. Where a node has
 * fewer ranks than there are chunks, its ranks own several. Nodes may have any number
 * of ranks, in any order.
 */
#ifndef DML__HIER_H
#define DML__HIER_H

#include "collectives/coll_internal.h"

enum { DML__HIER_STAGING = 8 };

struct dml__hier {
    const struct dml__call *call;
    dml_request *request;
    int nnodes, node;  /* number of nodes, and which is this rank's */
    int nlocal, local; /* ranks of this node, and this one's place among them */
    int nchunks;       /* ranks of the largest node */
    int *first;        /* [nnodes + 1] where a node's ranks start in "member" */
    int *member;       /* [P] the ranks, node by node */
    size_t segment;    /* elements of a block that go through all phases together */
    char *staging[DML__HIER_STAGING]; /* [segment] accumulators, for messages */
    int staged_by[DML__HIER_STAGING]; /* last step that uses it */
    unsigned next_staging;
};

/* Who owns what. False when out of memory. */
bool dml__hier_init(struct dml__hier *h, const struct dml__call *call,
                    dml_request *request);

/* Sets "segment" for blocks of at most "longest" elements, and makes staging for
 * reductions. False when out of memory. */
bool dml__hier_cut(struct dml__hier *h, size_t longest);

const char *dml__hier_supports(const struct dml__call *call);

static inline int dml__hier_size(const struct dml__hier *h, int node)
{
    return h->first[node + 1] - h->first[node];
}

/* The rank that owns a chunk on a node. */
static inline int dml__hier_owner(const struct dml__hier *h, int chunk, int node)
{
    return h->member[h->first[node] + chunk % dml__hier_size(h, node)];
}

static inline bool dml__hier_owns(const struct dml__hier *h, int chunk)
{
    return chunk % h->nlocal == h->local;
}

/* A chunk of a whole vector: the balanced part of it. */
struct dml__range dml__hier_share(const struct dml__hier *h, int chunk);

/* A partial sum, as accumulators. */
struct dml__hier_sum {
    const char *at; /* where it is: "buf", or the input itself */
    char *buf;      /* [segment] accumulators */
    int ready;      /* step that completed it */
    int reader;     /* last step that reads "at" */
};

/* Within the node: elements of a chunk from all its ranks to the owner, who adds them
 * to "sum" (NULL on the others). Returns the step after which the own input of these
 * elements is free. */
int dml__hier_collect(struct dml__hier *h, int chunk, struct dml__range elems,
                      struct dml__hier_sum *sum);

/* A free place for a message; its next user waits for staged_by[i]. */
static inline unsigned dml__hier_stage(struct dml__hier *h)
{
    return h->next_staging++ % DML__HIER_STAGING;
}

/* Adds another node's partial sum, sent by rank "from", to the own one; the result goes
 * to sum->buf, or to "to" where that is not NULL. */
void dml__hier_add(struct dml__hier *h, int from, size_t count,
                   struct dml__hier_sum *sum, char *to);

/* Within the node: the owner's elements at "from", complete after step "ready", to its
 * other ranks' recv, where they may be written after step "free". Returns the step that
 * received them. */
int dml__hier_deal(struct dml__hier *h, int chunk, struct dml__range elems,
                   const char *from, int ready, int free);

#endif
