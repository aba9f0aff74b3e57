/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which record of the stream is kept next. Every rule jumps straight there, so the
 * records between cost nothing. Step sampling as include/dml/skew.h says; the others:
 * gaps of a Bernoulli process are geometric; reservoir by Li's algorithm L (ACM TOMS
 * 20(4), 1994).
 */
#include "dml/rng.h"

#include "skew/sampler.h"

#include <math.h>

double dml__sampler_draw(dml_sampler *sampler)
{
    return dml_rng_uniform(sampler->opts.seed, sampler->opts.stream, sampler->draws++);
}

/* A draw in (0, 1), whose logarithm is finite and below 0. */
static double draw_open(dml_sampler *sampler)
{
    return dml__sampler_draw(sampler) * (1 - 0x1p-52) + 0x1p-54;
}

/* Adds a gap, which may be infinite, to the number of a record. */
static uint64_t add_gap(uint64_t number, double gap)
{
    return gap < 0x1p62 && number < (uint64_t)1 << 62 ? number + (uint64_t)gap
                                                      : UINT64_MAX;
}

static double geometric_gap(dml_sampler *sampler, double rate)
{
    return rate >= 1 ? 0 : floor(log(draw_open(sampler)) / log1p(-rate));
}

static uint64_t draw_in_step(dml_sampler *sampler)
{
    return (uint64_t)(dml__sampler_draw(sampler) * (double)sampler->step);
}

static void shrink_threshold(dml_sampler *sampler)
{
    sampler->threshold *=
        exp(log(draw_open(sampler)) / (double)sampler->opts.reservoir);
}

void dml__choose_first(dml_sampler *sampler)
{
    switch (sampler->opts.method) {
    case DML_SAMPLE_STEP:
        sampler->next = draw_in_step(sampler);
        break;
    case DML_SAMPLE_RANDOM:
        sampler->next = add_gap(0, geometric_gap(sampler, sampler->opts.rate));
        break;
    case DML_SAMPLE_RESERVOIR:
        sampler->threshold = 1;
        shrink_threshold(sampler);
        sampler->next = 0;
        break;
    case DML_SAMPLE_SORTED:
    default:
        sampler->next = UINT64_MAX;
        break;
    }
}

void dml__choose_next(dml_sampler *sampler)
{
    uint64_t kept = sampler->next;
    switch (sampler->opts.method) {
    case DML_SAMPLE_STEP:
        sampler->next =
            (kept / sampler->step + 1) * sampler->step + draw_in_step(sampler);
        break;
    case DML_SAMPLE_RANDOM:
        sampler->next = add_gap(kept + 1, geometric_gap(sampler, sampler->opts.rate));
        break;
    case DML_SAMPLE_RESERVOIR:
        if (kept + 1 < sampler->opts.reservoir) {
            sampler->next = kept + 1;
            break;
        }
        if (kept >= sampler->opts.reservoir)
            shrink_threshold(sampler);
        sampler->next = add_gap(kept + 1, geometric_gap(sampler, sampler->threshold));
        break;
    case DML_SAMPLE_SORTED:
    default:
        break;
    }
}
