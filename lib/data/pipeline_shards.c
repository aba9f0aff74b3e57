/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How an epoch is cut into steps and ranks: pure arithmetic, so that every rank knows
 * what all others get without a message.
 *
 * Where ranks own no records, a step is a stretch of the global order, and each rank
 * takes its part of the stretch: which records form a step does not depend on the
 * number of ranks. Where they own them, each walks through its own.
 */
#include "data/pipeline_internal.h"

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Floor of a * b / c for b <= c, without overflow: a is below 2^32, and so is c where
 * it matters; steps may be no more than records. */
static uint64_t part(uint64_t a, uint64_t b, uint64_t c)
{
    return a * b / c;
}

/* Rows of a rank in a full step, where each rank owns records. */
static uint64_t quota(const dml__shards *s, int rank)
{
    uint64_t nranks = (uint64_t)s->nranks, r = (uint64_t)rank;
    return part(s->batch, r + 1, nranks) - part(s->batch, r, nranks);
}

/* Steps that a number of records makes, by batches of so many. */
static uint64_t steps_of(uint64_t records, uint64_t batch, bool whole)
{
    return records / batch + (!whole && records % batch != 0);
}

static uint64_t count_steps(const dml__shards *s)
{
    bool drop = s->uneven == DML_UNEVEN_DROP;
    if (s->held == NULL || s->uneven == DML_UNEVEN_SHARE)
        return steps_of(s->count, s->batch, drop);
    uint64_t steps = steps_of(s->held[0], quota(s, 0), drop);
    for (int r = 1; r < s->nranks; r++) {
        uint64_t own = steps_of(s->held[r], quota(s, r), drop);
        if (drop ? own < steps : own > steps)
            steps = own;
    }
    return steps;
}

void dml__shards_cut(const dml__shards *s, int rank, uint64_t step, uint64_t *begin,
                     uint64_t *end)
{
    bool share = s->uneven == DML_UNEVEN_SHARE;
    if (s->held != NULL && share) {
        *begin = part(s->held[rank], step, s->steps);
        *end = part(s->held[rank], step + 1, s->steps);
    } else if (s->held != NULL) {
        uint64_t rows = quota(s, rank);
        *begin = smaller(step * rows, s->held[rank]);
        *end = smaller((step + 1) * rows, s->held[rank]);
    } else {
        uint64_t first = share ? part(s->count, step, s->steps) : step * s->batch;
        uint64_t last = share ? part(s->count, step + 1, s->steps)
                              : smaller(first + s->batch, s->count);
        uint64_t nranks = (uint64_t)s->nranks, r = (uint64_t)rank;
        *begin = first + part(last - first, r, nranks);
        *end = first + part(last - first, r + 1, nranks);
    }
}

uint64_t dml__shards_below(const dml__shards *s, int ranks, uint64_t step)
{
    uint64_t sum = 0, begin, end;
    for (int r = 0; r < ranks; r++) {
        dml__shards_cut(s, r, step, &begin, &end);
        sum += end - begin;
    }
    return sum;
}

/* The largest of a rank's parts, which differ by rounding, or in the last step. */
static uint64_t most_rows(const dml__shards *s)
{
    uint64_t nranks = (uint64_t)s->nranks;
    if (s->held == NULL)
        return (smaller(s->batch, s->count) + nranks - 1) / nranks;
    uint64_t held = s->held[s->rank];
    if (s->uneven == DML_UNEVEN_SHARE)
        return s->steps > 0 ? (held + s->steps - 1) / s->steps : 0;
    return quota(s, s->rank);
}

void dml__shards_plan(dml__shards *s)
{
    s->steps = count_steps(s);
    uint64_t rows = most_rows(s);
    s->rows = rows > 0 ? (size_t)rows : 1;
}
