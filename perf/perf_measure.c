/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a size is timed. A block is a number of calls one after the other, each on
 * buffers of its own that were written just before the block; its time is that of the
 * slowest rank, from a common barrier on. Blocks of libdml, of the peer and of plain
 * copies alternate, and who goes first alternates too, so that a change of the
 * machine's speed meets all of them. The result is the median over the blocks.
 */
#include "perf_measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Who makes the calls of a block. */
enum who { LIBDML, PEER, MEMCPY, NWHO };

struct run {
    const struct perf_coll *c;
    size_t per_block; /* calls of a block, and sets of buffers */
    unsigned char *send, *recv;
    size_t send_stride, recv_stride; /* bytes from one set to the next */
    unsigned char *from, *to;        /* for MEMCPY, as many sets */
    size_t copy_stride;
    size_t iteration; /* changes the values from block to block */
    dml_status status;
    size_t wrong;
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

static bool run_open(struct run *r, const struct perf_coll *c)
{
    *r = (struct run){.c = c, .per_block = calls_per_block(c)};
    r->send_stride = stride_of(c->send_len * c->element);
    r->recv_stride = stride_of(c->recv_len * c->element);
    r->send = aligned_alloc(64, r->send_stride * r->per_block);
    r->recv = aligned_alloc(64, r->recv_stride * r->per_block);
    r->copy_stride = stride_of(c->bytes);
    r->from = aligned_alloc(64, r->copy_stride * r->per_block);
    r->to = aligned_alloc(64, r->copy_stride * r->per_block);
    int have = r->send != NULL && r->recv != NULL && r->from != NULL && r->to != NULL;
    int all;
    MPI_Allreduce(&have, &all, 1, MPI_INT, MPI_MIN, c->mpi);
    return all != 0;
}

static void run_close(struct run *r)
{
    free(r->send);
    free(r->recv);
    free(r->from);
    free(r->to);
}

static void calls(struct run *r, enum who who)
{
    for (size_t k = 0; k < r->per_block; k++) {
        const unsigned char *send = r->send + k * r->send_stride;
        unsigned char *recv = r->recv + k * r->recv_stride;
        dml_status status = DML_OK;
        if (who == LIBDML)
            status = perf_coll_dml(r->c, send, recv);
        else if (who == PEER)
            perf_coll_mpi(r->c, send, recv);
        else
            memcpy(r->to + k * r->copy_stride, r->from + k * r->copy_stride,
                   r->c->bytes);
        if (status != DML_OK && r->status == DML_OK)
            r->status = status;
    }
}

static void check(struct run *r)
{
    for (size_t k = 0; k < r->per_block; k++)
        r->wrong +=
            perf_coll_wrong(r->c, r->recv + k * r->recv_stride, r->iteration + k);
}

/* Seconds per call of one block, on the slowest rank. */
static double block(struct run *r, enum who who)
{
    const struct perf_coll *c = r->c;
    r->iteration += r->per_block;
    if (who == MEMCPY) {
        memset(r->from, (int)r->iteration, r->copy_stride * r->per_block);
        memset(r->to, 0, r->copy_stride * r->per_block);
    }
    for (size_t k = 0; k < r->per_block && who != MEMCPY; k++)
        perf_coll_fill(c, r->send + k * r->send_stride, r->recv + k * r->recv_stride,
                       r->iteration + k);
    MPI_Barrier(c->mpi);
    double start = MPI_Wtime();
    calls(r, who);
    double own = (MPI_Wtime() - start) / (double)r->per_block, slowest;
    MPI_Allreduce(&own, &slowest, 1, MPI_DOUBLE, MPI_MAX, c->mpi);
    if (who == LIBDML)
        check(r);
    return slowest;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, size_t n)
{
    qsort(x, n, sizeof *x, compare_doubles);
    return n % 2 != 0 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
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

dml_status perf_measure(const struct perf_coll *c, struct perf_result *result)
{
    struct run r;
    double times[NWHO][PERF_BLOCKS];
    bool peer = c->o->peer && perf_coll_mpi_can(c);
    dml_status status = DML_ENOMEM;
    *result = (struct perf_result){0};
    if (!run_open(&r, c))
        goto out;
    for (int who = LIBDML; who < NWHO; who++) /* warm-up */
        if (who != PEER || peer)
            block(&r, (enum who)who);
    for (size_t b = 0; b < PERF_BLOCKS; b++)
        for (int i = 0; i < NWHO; i++) {
            enum who who = (enum who)(b % 2 == 0 ? i : NWHO - 1 - i);
            if (who != PEER || peer)
                times[who][b] = block(&r, who);
        }
    status = agree(&r, result);
    result->time_s = median(times[LIBDML], PERF_BLOCKS);
    result->peer_time_s = peer ? median(times[PEER], PERF_BLOCKS) : 0;
    result->memcpy_s = median(times[MEMCPY], PERF_BLOCKS);
    result->iterations = PERF_BLOCKS * r.per_block;
    result->buffers = r.per_block;
out:
    run_close(&r);
    return status;
}
