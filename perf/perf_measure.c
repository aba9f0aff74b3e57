/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a size is timed. A block is a number of calls one after the other, each on
 * buffers of its own that were written just before the block; its time is that of the
 * slowest rank, from a common barrier on. Blocks of all contestants (libdml, the peers
 * and plain copies) alternate, and who goes first alternates too, so that a change of
 * the machine's speed meets all of them. The result is the median over the blocks.
 *
 * With a budget there are as many calls and blocks as fit it, but three blocks at
 * least.
 */
#include "perf_measure.h"

#include "median.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum who { LIBDML, ORDERED, MEMCPY, PEER }; /* peers are numbered from PEER on */

enum { CONTESTANTS = PEER + PERF_PEERS, FEWEST_BLOCKS = 3 };

/* Sets of send and receive buffers, one for each call of a block. */
struct sets {
    unsigned char *send, *recv;
    dml_comm *symmetric; /* whose dml_alloc they are from, or NULL */
};

struct run {
    const struct perf_coll *c;
    size_t blocks, per_block, done; /* done: blocks that were timed by the warm-up */
    size_t send_stride, recv_stride, copy_stride; /* bytes from one set to the next */
    struct sets plain, dml, ordered;              /* the last two are plain, or apart */
    unsigned char *from, *to;                     /* for MEMCPY, as many sets */
    size_t iteration; /* changes the values from block to block */
    dml_status status;
    size_t wrong;
    double times[CONTESTANTS][PERF_BLOCKS];
};

/* Fewer calls for larger sizes: about the same time for each. */
static size_t calls_per_block(const struct perf_coll *c)
{
    if (c->o->iters > 0)
        return (c->o->iters + PERF_BLOCKS - 1) / PERF_BLOCKS;
    return c->bytes <= 65536     ? 64
           : c->bytes <= 1 << 20 ? 16
           : c->bytes <= 1 << 24 ? 4
                                 : 2;
}

/* Sets of buffers start on cache lines, and not all on the same ones. */
static size_t stride_of(size_t bytes)
{
    return (bytes + 63) / 64 * 64 + 64 * 3;
}

static bool plain_sets(const struct run *r, struct sets *s)
{
    s->send = aligned_alloc(64, r->send_stride * r->per_block);
    s->recv = aligned_alloc(64, r->recv_stride * r->per_block);
    return s->send != NULL && s->recv != NULL;
}

static bool symmetric_sets(const struct run *r, struct sets *s, dml_comm *comm)
{
    /* Ranks may need different sizes; the largest is asked for everywhere. */
    unsigned long long bytes[2] = {r->send_stride * r->per_block,
                                   r->recv_stride * r->per_block};
    MPI_Allreduce(MPI_IN_PLACE, bytes, 2, MPI_UNSIGNED_LONG_LONG, MPI_MAX, r->c->mpi);
    void *send = NULL, *recv = NULL;
    s->symmetric = comm;
    if (dml_alloc(comm, (size_t)bytes[0], &send) == DML_OK)
        s->send = send;
    if (s->send != NULL && dml_alloc(comm, (size_t)bytes[1], &recv) == DML_OK)
        s->recv = recv;
    return s->recv != NULL;
}

static void free_sets(struct sets *s)
{
    if (s->symmetric != NULL) {
        dml_free(s->symmetric, s->recv);
        dml_free(s->symmetric, s->send);
    } else {
        free(s->recv);
        free(s->send);
    }
    *s = (struct sets){NULL, NULL, NULL};
}

static void run_close(struct run *r)
{
    if (r->dml.symmetric != NULL)
        free_sets(&r->dml);
    if (r->ordered.symmetric != NULL)
        free_sets(&r->ordered);
    free_sets(&r->plain);
    free(r->from);
    free(r->to);
}

static bool run_open(struct run *r, const struct perf_coll *c, size_t per_block)
{
    *r = (struct run){.c = c, .blocks = PERF_BLOCKS, .per_block = per_block};
    r->send_stride = stride_of(c->send_len * c->element);
    r->recv_stride = stride_of(c->recv_len * c->element);
    r->copy_stride = stride_of(c->bytes);
    r->from = aligned_alloc(64, r->copy_stride * r->per_block);
    r->to = aligned_alloc(64, r->copy_stride * r->per_block);
    int have = plain_sets(r, &r->plain) && r->from != NULL && r->to != NULL;
    r->dml = r->ordered = r->plain;
    if (c->o->symmetric) {
        r->dml = r->ordered = (struct sets){NULL, NULL, NULL};
        have = symmetric_sets(r, &r->dml, c->comm) && have;
        if (c->ordered != NULL)
            have = symmetric_sets(r, &r->ordered, c->ordered) && have;
    }
    int all;
    MPI_Allreduce(&have, &all, 1, MPI_INT, MPI_MIN, c->mpi);
    return all != 0;
}

static const struct sets *sets_of(const struct run *r, int who)
{
    return who == LIBDML ? &r->dml : who == ORDERED ? &r->ordered : &r->plain;
}

static bool takes_part(const struct run *r, int who)
{
    if (who == ORDERED)
        return r->c->ordered != NULL;
    return who < PEER || (size_t)(who - PEER) < r->c->npeers;
}

static void calls(struct run *r, int who)
{
    const struct sets *s = sets_of(r, who);
    for (size_t k = 0; k < r->per_block; k++) {
        const unsigned char *send = s->send + k * r->send_stride;
        unsigned char *recv = s->recv + k * r->recv_stride;
        dml_status status = DML_OK;
        if (who == LIBDML || who == ORDERED)
            status = perf_coll_dml(r->c, who == LIBDML ? r->c->comm : r->c->ordered,
                                   send, recv);
        else if (who == MEMCPY)
            memcpy(r->to + k * r->copy_stride, r->from + k * r->copy_stride,
                   r->c->bytes);
        else
            perf_coll_mpi(r->c, r->c->peer[who - PEER].mpi, send, recv);
        if (status != DML_OK && r->status == DML_OK)
            r->status = status;
    }
}

/* Seconds per call of one block, on the slowest rank. */
static double block(struct run *r, int who)
{
    const struct perf_coll *c = r->c;
    const struct sets *s = sets_of(r, who);
    r->iteration += r->per_block;
    if (who == MEMCPY) {
        memset(r->from, (int)r->iteration, r->copy_stride * r->per_block);
        memset(r->to, 0, r->copy_stride * r->per_block);
    }
    for (size_t k = 0; k < r->per_block && who != MEMCPY; k++)
        perf_coll_fill(c, s->send + k * r->send_stride, s->recv + k * r->recv_stride,
                       r->iteration + k);
    MPI_Barrier(c->mpi);
    double start = MPI_Wtime();
    calls(r, who);
    double own = (MPI_Wtime() - start) / (double)r->per_block, slowest;
    MPI_Allreduce(&own, &slowest, 1, MPI_DOUBLE, MPI_MAX, c->mpi);
    for (size_t k = 0; k < r->per_block && (who == LIBDML || who == ORDERED); k++)
        r->wrong += perf_coll_wrong(c, s->recv + k * r->recv_stride, r->iteration + k);
    return slowest;
}

static struct perf_time summary(struct run *r, int who)
{
    double *x = r->times[who];
    size_t n = r->blocks;
    if (!takes_part(r, who))
        return (struct perf_time){0, 0, 0};
    double median_s = perf_median(x, n); /* sorts them */
    return (struct perf_time){.median_s = median_s, .min_s = x[0], .max_s = x[n - 1]};
}

static dml_status agree(struct run *r, struct perf_result *result)
{
    int status = r->status, worst;
    unsigned long long wrong = r->wrong, total;
    MPI_Allreduce(&status, &worst, 1, MPI_INT, MPI_MIN, r->c->mpi);
    MPI_Allreduce(&wrong, &total, 1, MPI_UNSIGNED_LONG_LONG, MPI_SUM, r->c->mpi);
    result->wrong = (size_t)total;
    return (dml_status)worst;
}

static void summarise(struct run *r, struct perf_result *result)
{
    result->dml = summary(r, LIBDML);
    result->ordered = summary(r, ORDERED);
    result->memcpy = summary(r, MEMCPY);
    result->peer = summary(r, PEER);
    result->best_peer = result->peer;
    result->best_name = r->c->npeers > 0 ? r->c->peer[0].name : NULL;
    for (size_t i = 1; i < r->c->npeers; i++) {
        struct perf_time t = summary(r, PEER + (int)i);
        result->peer_s[i] = t.median_s;
        if (t.median_s >= result->best_peer.median_s)
            continue;
        result->best_peer = t;
        result->best_name = r->c->peer[i].name;
    }
    result->blocks = r->blocks;
    result->per_block = r->per_block;
}

static double largest(const struct perf_coll *c, double x)
{
    double most;
    MPI_Allreduce(&x, &most, 1, MPI_DOUBLE, MPI_MAX, c->mpi);
    return most;
}

/* Block number b of each contestant, in turn and every second time backwards; seconds
 * that all took, with the writing and checking of buffers. */
static double round_of(struct run *r, size_t b)
{
    double begin = MPI_Wtime();
    for (int i = 0; i < CONTESTANTS; i++) {
        int who = b % 2 == 0 ? i : CONTESTANTS - 1 - i;
        if (takes_part(r, who))
            r->times[who][b] = block(r, who);
    }
    return largest(r->c, MPI_Wtime() - begin);
}

/* Makes as many calls and blocks of an open run of single calls as fit the budget. A
 * round of it, after one that warms up, tells how long they take. */
static bool fit_budget(struct run *r, const struct perf_coll *c)
{
    double most = (double)calls_per_block(c), budget_s = c->o->budget_s;
    round_of(r, 0);
    double round_s = round_of(r, 0), fit = budget_s / PERF_BLOCKS / round_s;
    size_t per_block = fit < 1 ? 1 : (size_t)(fit < most ? fit : most);
    double blocks = budget_s / (round_s * (double)per_block);
    r->done = 1; /* the second one counts, unless blocks are longer */
    if (per_block > 1) {
        run_close(r);
        if (!run_open(r, c, per_block))
            return false;
        round_of(r, 0);
    }
    r->blocks = blocks < FEWEST_BLOCKS ? FEWEST_BLOCKS
                : blocks < PERF_BLOCKS ? (size_t)blocks
                                       : PERF_BLOCKS;
    return true;
}

/* Which algorithm it is, while the buffers are there; measures them if need be. */
static dml_status ask(const struct perf_coll *c, struct perf_result *result)
{
    dml_choice choice;
    dml_status status = dml_algorithm_query(c->o->coll, c->bytes / c->element,
                                            c->o->dtype, c->o->op, c->comm, &choice);
    if (status != DML_OK)
        return status;
    result->algorithm = choice.algorithm;
    return DML_OK;
}

dml_status perf_measure(const struct perf_coll *c, struct perf_result *result)
{
    struct run r;
    bool budget = c->o->budget_s > 0;
    *result = (struct perf_result){.wrong = 0};
    dml_status status =
        run_open(&r, c, budget ? 1 : calls_per_block(c)) ? DML_OK : DML_ENOMEM;
    if (status == DML_OK)
        status = ask(c, result);
    if (status == DML_OK && budget && !fit_budget(&r, c))
        status = DML_ENOMEM;
    if (status != DML_OK)
        goto out;
    if (!budget)
        round_of(&r, 0); /* warms up */
    for (size_t b = r.done; b < r.blocks; b++)
        round_of(&r, b);
    status = agree(&r, result);
    summarise(&r, result);
out:
    run_close(&r);
    return status;
}
