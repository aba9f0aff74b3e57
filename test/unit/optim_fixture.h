/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The five tensors of test/gold/optim.py, and contexts in every kernel set.
 */
#ifndef OPTIM_FIXTURE_H
#define OPTIM_FIXTURE_H

#include "dml/optim.h"

#include "kernels/kernels.h"
#include "unit.h"

#include <string.h>

enum { FIVE = 5, FIVE_MOST = 33, ZERO_WEIGHT = 0, ZERO_GRADIENT = 1, EXEMPT = 2 };

static const dml_optim_rule rules[] = {DML_OPTIM_SGD,   DML_OPTIM_ADAM,
                                       DML_OPTIM_ADAMW, DML_OPTIM_LARS,
                                       DML_OPTIM_LAMB,  DML_OPTIM_ADAGRAD};
enum { NRULES = sizeof rules / sizeof *rules };

struct five {
    float w[FIVE][FIVE_MOST], g[FIVE][FIVE_MOST];
    dml_param params[FIVE];
};

static const size_t five_counts[FIVE] = {12, 10, 5, 7, FIVE_MOST};

/* In [-1, 1), a multiple of 2^-23; step 0 are the weights. */
static inline float five_value(size_t tensor, size_t element, size_t step)
{
    uint32_t mixed =
        (uint32_t)(tensor * 7919 + element * 104729 + step * 1299709 + 12345);
    mixed *= 2654435761u;
    mixed = (mixed ^ mixed >> 15) * 2246822519u;
    return (float)(mixed >> 8) / 0x1p23f - 1;
}

static inline void five_gradients(struct five *f, size_t step)
{
    for (size_t t = 0; t < FIVE; t++)
        for (size_t i = 0; i < five_counts[t]; i++)
            f->g[t][i] = t == ZERO_GRADIENT ? 0 : five_value(t, i, step);
}

static inline void five_start(struct five *f)
{
    static const char *const names[] = {"zero weight", "zero gradient", "bias", "scale",
                                        "matrix"};
    memset(f, 0, sizeof *f);
    for (size_t t = 0; t < FIVE; t++) {
        for (size_t i = 0; i < five_counts[t]; i++)
            f->w[t][i] = t == ZERO_WEIGHT ? 0 : five_value(t, i, 0);
        f->params[t] = (dml_param){
            .param = f->w[t],
            .grad = f->g[t],
            .count = five_counts[t],
            .flags = t == EXEMPT ? DML_PARAM_NO_DECAY | DML_PARAM_NO_ADAPT : 0,
            .name = names[t],
        };
    }
}

/* Warms up for 4 steps, and is halved after 10; step 1 is the first. */
static inline double five_rate(dml_optim_rule rule, int step)
{
    double base = rule == DML_OPTIM_SGD || rule == DML_OPTIM_LARS ? 0.1 : 0.02;
    return base * (step < 4 ? step : 4) / 4 * (step > 10 ? 0.5 : 1);
}

/* NULL past the last kernel set. */
static inline dml_ctx *context_of_set(size_t index)
{
    const struct dml__kernels *set = dml__kernels_usable(index);
    dml_ctx *ctx = NULL;
    dml_ctx_opts opts;
    dml_ctx_opts_init(&opts);
    if (set == NULL)
        return NULL;
    opts.isa = set->name;
    assert_int_equal(dml_ctx_create(&opts, &ctx), DML_OK);
    return ctx;
}

static inline dml_ctx *context(void)
{
    dml_ctx *ctx = NULL;
    assert_int_equal(dml_ctx_create(NULL, &ctx), DML_OK);
    return ctx;
}

static inline dml_optim *make_optim(dml_ctx *ctx, dml_optim_rule rule,
                                    const dml_param *params, size_t nparams,
                                    const dml_optim_opts *opts)
{
    dml_optim *optim = NULL;
    dml_status status = dml_optim_create(ctx, rule, params, nparams, opts, &optim);
    if (status != DML_OK) {
        dml_error error;
        dml_ctx_last_error(ctx, &error);
        fail_msg("%s", error.text);
    }
    return optim;
}

/* The last error of ctx has this status, and its text has the word in it. */
static inline void expect_error(dml_ctx *ctx, dml_status status, const char *where,
                                const char *word)
{
    dml_error error;
    dml_ctx_last_error(ctx, &error);
    assert_int_equal(error.status, status);
    assert_string_equal(error.where, where);
    if (strstr(error.text, word) == NULL)
        fail_msg("\"%s\" does not name %s", error.text, word);
}

#endif
