/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Recursive halving and doubling over any number of ranks, from which Rabenseifner's
 * algorithms and the binomial gather and scatter are put together.
 *
 * Ranks are numbered from the root. All numbers are one group; a group is cut into a
 * lower and an upper half, and so on until each is alone. Number i of a lower half
 * works with number i of the upper one. Where the lower half has one more, that last
 * number has no partner: it works with the upper half's last, which has two. So no
 * number of ranks needs a phase before or after.
 */
#ifndef DML__HALVES_H
#define DML__HALVES_H

#include "collectives/coll_internal.h"

enum { DML__LEVELS_MAX = 32 };

/* One level, seen by one number: its group [lo, hi), cut at mid. Halving: send the
 * other half's blocks to "to", receive those of the own half from each "from";
 * doubling: the other way round. */
struct dml__level {
    int lo, mid, hi;
    int to, nfrom, from[2]; /* numbers */
    int sent;               /* step that read the other half's blocks, while halving */
};

struct dml__halves {
    const struct dml__call *call;
    dml_request *request;
    int number, nranks, root;
    int nlevels; /* level 0 is the whole */
    struct dml__level level[DML__LEVELS_MAX];
    size_t *start; /* [P+1] element at which a number's block starts, in the vector */
    int ready;     /* step that completes what this rank has so far */
};

/* False when out of memory. Blocks lie as in the call; packed: one after the other in
 * the order of the numbers. */
bool dml__halves_init(struct dml__halves *h, const struct dml__call *call,
                      dml_request *request, int root, bool packed);

/* Elements of the blocks of numbers [first, end). */
struct dml__range dml__halves_span(const struct dml__halves *h, int first, int end);

/* The rank of a number. */
static inline int dml__halves_rank(const struct dml__halves *h, int number)
{
    return (number + h->root) % h->nranks;
}

/* The end of the numbers [number, end) whose blocks pass through this rank in a gather
 * to the root or a scatter from it. */
int dml__halves_end(const struct dml__halves *h);

/* Recursive halving: the sum of the own block over all ranks, as accumulators. Where
 * accumulators are elements partial sums lie in "vector" [whole], which may be the
 * input; where it is NULL, or they are not, in scratch. Returns where the sum is. */
const char *dml__halves_reduce(struct dml__halves *h, char *vector);

/* That sum becomes the own block's result at "to". */
void dml__halves_store(struct dml__halves *h, char *to, const char *sum);

/* Recursive doubling: everybody's block to everybody's vector [whole], in which the own
 * block is. held: numbers at the lower end of a group have that group's blocks
 * already (after dml__halves_scatter). */
void dml__halves_allgather(struct dml__halves *h, char *vector, bool held);

/* For a gather or scatter of the call's blocks: packed, numbered from its root. Returns
 * room for the blocks that pass through this rank, or NULL when out of memory. */
char *dml__halves_tree(struct dml__halves *h, const struct dml__call *call,
                       dml_request *request);

/* Binomial gather to number 0: blocks [number, end) arrive in "vector", whose first
 * element is the first of the own block. */
void dml__halves_gather(struct dml__halves *h, char *vector);

/* Binomial scatter from number 0: the other way round. */
void dml__halves_scatter(struct dml__halves *h, char *vector);

/* Seconds of one phase, halving or doubling, for S bytes, without additions. */
double dml__halves_phase_s(const struct dml__model *m, double bytes);

#endif
