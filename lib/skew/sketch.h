/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A sketch from within.
 */
#ifndef DML__SKEW_SKETCH_H
#define DML__SKEW_SKETCH_H

#include "dml/sketch.h"

#include "skew/skew_internal.h"

enum { DML__MOST_COUNTERS = 1 << 24 };

struct dml_sketch {
    dml_ctx *ctx;
    dml_key_kind kind;
    size_t counters;
    bool fixed;   /* only keys that have a counter are counted */
    bool settled; /* at most "counters" entries, the heaviest first */
    double weight, slack;
    struct dml__map map;
};

/* Make it settled. False: out of memory, and nothing is changed. */
bool dml__sketch_settle(dml_sketch *sketch);

#endif
