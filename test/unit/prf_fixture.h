/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of dml-prf share: random tables, growers, and a search for the best
 * split that tries everything.
 */
#ifndef PRF_FIXTURE_H
#define PRF_FIXTURE_H

#include "dml/ctx.h"

#include "grow.h"
#include "unit.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ROWS     3000
#define MAX_FEATURES 40

static uint64_t test_state;

struct fixture {
    struct table table;
    uint8_t by_row[MAX_ROWS * MAX_FEATURES], by_column[MAX_ROWS * MAX_FEATURES];
    uint8_t flags[MAX_FEATURES];
    uint16_t label[MAX_ROWS];
    int32_t target[MAX_ROWS];
    uint32_t weight[MAX_ROWS];
};

static inline int fixture_seed(void **unused)
{
    (void)unused;
    const char *seed = getenv("DML_TEST_SEED");
    test_state = seed != NULL ? strtoull(seed, NULL, 10) : 20261121;
    printf("seed %" PRIu64 "\n", test_state);
    return 0;
}

static inline uint32_t random_below(uint32_t limit)
{
    test_state = test_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((test_state >> 33) % limit);
}

static inline bool has_isa(const char *name)
{
    dml_ctx *ctx = NULL;
    dml_ctx_opts opts;
    dml_ctx_opts_init(&opts);
    opts.isa = name;
    bool has = dml_ctx_create(&opts, &ctx) == DML_OK;
    dml_ctx_destroy(ctx);
    return has;
}

/* Rows of "bins" different bins; labels depend on them, with noise. K 0: regression. */
static inline void fixture_make(struct fixture *f, size_t n, size_t width,
                                size_t nclasses, uint32_t bins)
{
    f->table = (struct table){.nrows = n,
                              .all_rows = n,
                              .nfeatures = width,
                              .nclasses = nclasses,
                              .by_row = f->by_row,
                              .by_column = f->by_column,
                              .flags = f->flags};
    memset(f->flags, 0, sizeof f->flags);
    for (size_t r = 0; r < n; r++) {
        uint32_t sum = 0;
        for (size_t c = 0; c < width; c++) {
            uint8_t bin = (uint8_t)random_below(bins);
            f->by_row[r * width + c] = f->by_column[c * n + r] = bin;
            sum += c < 3 ? bin : 0u;
        }
        f->label[r] = (uint16_t)((sum / (bins / 2 + 1) + random_below(2)) %
                                 (nclasses ? nclasses : 1));
        f->target[r] = (int32_t)(sum * 1000 + random_below(500));
        f->weight[r] = random_below(4);
    }
    if (nclasses)
        f->table.label = f->label;
    else
        f->table.target = f->target;
}

static inline struct grow_params params_of(const struct table *table, size_t mtry)
{
    return (struct grow_params){.seed = 7,
                                .criterion = table->nclasses ? CRITERION_GINI
                                                             : CRITERION_SQUARES,
                                .mtry = mtry,
                                .min_leaf = 1,
                                .draws = table->nrows,
                                .impurity = 1,
                                .lanes = lanes_for("c"),
                                .bins = bins_for("c")};
}

#endif
