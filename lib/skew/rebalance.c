/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Work moved by measured speed. Of each rank the seconds per unit are followed: the
 * median of the last three steps, smoothed exponentially. Shares in proportion to the
 * speeds let all ranks finish together; they are taken up when the step would get
 * enough shorter to stand out of the noise and to pay for the move.
 */
#include "dml/rebalance.h"

#include "core/core.h"
#include "skew/rebalance.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { HISTORY = 6 }; /* steps remembered, for medians of 3 and of 5 differences */

struct pace {
    double recent[HISTORY]; /* seconds per unit, the newest first */
    uint32_t known;         /* of recent */
    double smoothed;        /* 0: not measured yet */
};

struct dml_rebalance {
    dml_ctx *ctx;
    size_t nranks;
    dml_rebalance_opts opts;
    uint64_t *units;    /* [nranks] */
    uint64_t *targets;  /* [nranks] scratch */
    double *speeds;     /* [nranks] units per second */
    struct pace *paces; /* [nranks] */
    uint64_t total;     /* units of all ranks */
    uint32_t hold;      /* steps in which nothing may move yet */
    dml_rebalance_info info;
};

void dml_rebalance_opts_init(dml_rebalance_opts *opts)
{
    *opts = (dml_rebalance_opts){
        .size = sizeof *opts,
        .smoothing = 0.5,
        .min_gain = 0.05,
        .horizon_steps = 100,
        .hold_steps = 2,
        .min_units = 1,
    };
}

static dml_status check(dml_ctx *ctx, const char *where, size_t nranks,
                        const uint64_t *units, const dml_rebalance_opts *opts)
{
    DML_TRY(dml__check_size(ctx, where, opts->size, sizeof *opts,
                            "dml_rebalance_opts_init"));
    if (nranks == 0 || nranks > UINT32_MAX || units == NULL)
        return dml__fail(ctx, DML_EINVAL, where, "nranks is %zu, units %s", nranks,
                         units == NULL ? "NULL" : "given");
    if (!(opts->smoothing > 0 && opts->smoothing <= 1))
        return dml__fail(ctx, DML_EINVAL, where,
                         "smoothing is %g; use a number above 0 up to 1",
                         opts->smoothing);
    const struct {
        const char *name;
        double value;
    } numbers[] = {
        {"min_gain", opts->min_gain},
        {"unit_cost_s", opts->unit_cost_s},
        {"horizon_steps", opts->horizon_steps},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!(numbers[i].value >= 0 && numbers[i].value <= DBL_MAX))
            return dml__fail(ctx, DML_EINVAL, where,
                             "%s is %g; use a finite number from 0 on", numbers[i].name,
                             numbers[i].value);
    uint64_t total = 0;
    for (size_t i = 0; i < nranks; i++) {
        /* Below 2^53 a double holds every number of units. */
        if (units[i] > ((uint64_t)1 << 53) - total)
            return dml__fail(ctx, DML_EINVAL, where,
                             "units of all ranks are more than 2^53");
        total += units[i];
    }
    return DML_OK;
}

dml_status dml_rebalance_create(dml_ctx *ctx, size_t nranks, const uint64_t *units,
                                const dml_rebalance_opts *opts,
                                dml_rebalance **rebalance)
{
    if (rebalance == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "the result is NULL");
    dml_rebalance_opts defaults;
    dml_rebalance_opts_init(&defaults);
    if (opts == NULL)
        opts = &defaults;
    DML_TRY(check(ctx, __func__, nranks, units, opts));
    dml_rebalance *r = dml__alloc(ctx, sizeof *r);
    if (r != NULL) {
        r->ctx = ctx;
        r->nranks = nranks;
        r->opts = *opts;
        r->units = dml__alloc(ctx, dml__mul(nranks, sizeof *r->units));
        r->targets = dml__alloc(ctx, dml__mul(nranks, sizeof *r->targets));
        r->speeds = dml__alloc(ctx, dml__mul(nranks, sizeof *r->speeds));
        r->paces = dml__alloc(ctx, dml__mul(nranks, sizeof *r->paces));
    }
    if (r == NULL || r->units == NULL || r->targets == NULL || r->speeds == NULL ||
        r->paces == NULL) {
        dml_rebalance_destroy(r);
        return dml__fail(ctx, DML_ENOMEM, __func__, "no memory for %zu ranks", nranks);
    }
    for (size_t i = 0; i < nranks; i++)
        r->total += r->units[i] = units[i];
    r->info.ideal_ratio = 1;
    *rebalance = r;
    return DML_OK;
}

void dml_rebalance_destroy(dml_rebalance *rebalance)
{
    if (rebalance == NULL)
        return;
    dml__free(rebalance->paces);
    dml__free(rebalance->speeds);
    dml__free(rebalance->targets);
    dml__free(rebalance->units);
    dml__free(rebalance);
}

/* Median of count values, of which there are at most HISTORY; the lower of two. */
static double median(const double *values, uint32_t count)
{
    double sorted[HISTORY];
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = i;
        for (; at > 0 && sorted[at - 1] > values[i]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = values[i];
    }
    return sorted[(count - 1) / 2];
}

static void follow(struct pace *pace, double seconds_per_unit, double smoothing)
{
    memmove(pace->recent + 1, pace->recent, (HISTORY - 1) * sizeof *pace->recent);
    pace->recent[0] = seconds_per_unit;
    pace->known += pace->known < HISTORY;
    double now = median(pace->recent, pace->known < 3 ? pace->known : 3);
    pace->smoothed =
        pace->smoothed > 0 ? pace->smoothed + smoothing * (now - pace->smoothed) : now;
}

/* Standard deviation of one step's time, relative to it: steps differ by about as much
 * in the median. One change of pace among them makes no difference. */
static double noise_of(const struct pace *pace)
{
    double off[HISTORY];
    if (pace->known < 3)
        return 0;
    for (uint32_t i = 0; i + 1 < pace->known; i++)
        off[i] = fabs(pace->recent[i] - pace->recent[i + 1]) / pace->smoothed;
    return median(off, pace->known - 1);
}

/* Sets speeds; those not measured yet are taken as the mean of the others. Returns
 * their sum, 0 if none is known. */
static double set_speeds(dml_rebalance *r)
{
    double sum = 0;
    size_t known = 0;
    for (size_t i = 0; i < r->nranks; i++) {
        double pace = r->paces[i].smoothed;
        r->speeds[i] = pace > 0 ? 1 / pace : 0;
        sum += r->speeds[i];
        known += pace > 0;
    }
    return known > 0 ? sum / (double)known * (double)r->nranks : 0;
}

static double speed_of(const dml_rebalance *r, size_t rank, double sum)
{
    return r->speeds[rank] > 0 ? r->speeds[rank] : sum / (double)r->nranks;
}

/* Shares by speed in whole units, of the sum that is there: cumulated shares are
 * rounded to whole units, so each is off by less than one. Every rank keeps "floor" of
 * them. */
static void set_targets(dml_rebalance *r, double sum)
{
    uint64_t least = r->total / r->nranks;
    least = least < r->opts.min_units ? least : r->opts.min_units;
    double free_units = (double)(r->total - least * r->nranks), before = 0, spread = 0;
    /* A rank above its floor gets what its share exceeds it by. */
    for (size_t i = 0; i < r->nranks; i++) {
        double share = (double)r->total * speed_of(r, i, sum) / sum - (double)least;
        spread += share > 0 ? share : 0;
    }
    uint64_t given = 0;
    for (size_t i = 0; i < r->nranks; i++) {
        double share = (double)r->total * speed_of(r, i, sum) / sum - (double)least;
        before += share > 0 ? share : 0;
        uint64_t until =
            spread > 0 ? (uint64_t)(free_units * (before / spread) + 0.5) : 0;
        if (i + 1 == r->nranks)
            until = r->total - least * r->nranks;
        r->targets[i] = least + until - given;
        given = until;
    }
}

/* The longest of all ranks' steps with these units. */
static double longest(const dml_rebalance *r, const uint64_t *units, double sum)
{
    double seconds = 0;
    for (size_t i = 0; i < r->nranks; i++)
        seconds = fmax(seconds, (double)units[i] / speed_of(r, i, sum));
    return seconds;
}

/* Does it pay to go to the targets? */
static bool pays(const dml_rebalance *r)
{
    double noise = 0, smoothing = r->opts.smoothing;
    uint64_t moved = 0;
    for (size_t i = 0; i < r->nranks; i++) {
        noise += noise_of(&r->paces[i]) / (double)r->nranks;
        moved += r->targets[i] > r->units[i] ? r->targets[i] - r->units[i] : 0;
    }
    /* What remains of the noise of independent steps after smoothing, and how far it
     * lifts the largest of so many normal numbers. */
    noise *= sqrt(smoothing / (2 - smoothing)) * sqrt(2 * log((double)r->nranks));
    double saved = r->info.now_s - r->info.balanced_s;
    return moved > 0 && saved > r->info.now_s * fmax(r->opts.min_gain, 1.5 * noise) &&
           saved * r->opts.horizon_steps > (double)moved * r->opts.unit_cost_s;
}

/* From those that have too much to those that have too little, both in order. */
static size_t list_moves(dml_rebalance *r, dml_move *moves)
{
    size_t count = 0, to = 0;
    for (size_t from = 0; from < r->nranks; from++) {
        while (r->units[from] > r->targets[from]) {
            while (r->units[to] >= r->targets[to])
                to++;
            uint64_t give = r->units[from] - r->targets[from];
            uint64_t take = r->targets[to] - r->units[to];
            uint64_t units = give < take ? give : take;
            moves[count++] =
                (dml_move){.from = (uint32_t)from, .to = (uint32_t)to, .units = units};
            r->units[from] -= units;
            r->units[to] += units;
            r->info.units += units;
        }
    }
    return count;
}

dml_status dml_rebalance_step(dml_rebalance *rebalance, const double *seconds,
                              dml_move *moves, size_t *nmoves)
{
    dml_rebalance *r = rebalance;
    if (r == NULL || seconds == NULL || moves == NULL || nmoves == NULL)
        return dml__fail(r != NULL ? r->ctx : NULL, DML_EINVAL, __func__,
                         "rebalance, seconds, moves or nmoves is NULL");
    for (size_t i = 0; i < r->nranks; i++)
        if (!(seconds[i] >= 0 && seconds[i] <= DBL_MAX))
            return dml__fail(r->ctx, DML_EINVAL, __func__,
                             "seconds[%zu] is %g; times are finite and not negative", i,
                             seconds[i]);
    for (size_t i = 0; i < r->nranks; i++)
        if (seconds[i] > 0 && r->units[i] > 0)
            follow(&r->paces[i], seconds[i] / (double)r->units[i], r->opts.smoothing);
    r->info.steps++;
    *nmoves = 0;
    double sum = set_speeds(r);
    if (!(sum > 0) || r->total == 0)
        return DML_OK;
    set_targets(r, sum);
    r->info.now_s = longest(r, r->units, sum);
    r->info.balanced_s = longest(r, r->targets, sum);
    r->info.ideal_ratio = (double)r->total / sum / r->info.now_s;
    if (r->hold > 0) {
        r->hold--;
    } else if (pays(r)) {
        *nmoves = list_moves(r, moves);
        r->info.moves++;
        r->hold = r->opts.hold_steps;
    }
    return DML_OK;
}

size_t dml__rebalance_ranks(const dml_rebalance *rebalance)
{
    return rebalance->nranks;
}

const uint64_t *dml_rebalance_units(const dml_rebalance *rebalance)
{
    return rebalance != NULL ? rebalance->units : NULL;
}

const double *dml_rebalance_speeds(const dml_rebalance *rebalance)
{
    return rebalance != NULL ? rebalance->speeds : NULL;
}

void dml_rebalance_get_info(const dml_rebalance *rebalance, dml_rebalance_info *info)
{
    if (info != NULL)
        *info = rebalance != NULL ? rebalance->info : (dml_rebalance_info){0};
}
