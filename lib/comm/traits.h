/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the collectives have and have not in common: asked for here alone.
 */
#ifndef DML__TRAITS_H
#define DML__TRAITS_H

#include "dml/coll.h"

#include <stdbool.h>

struct dml__traits {
    bool reduces;     /* it has an operation */
    bool rooted;      /* it has a root; */
    bool from_root;   /* which alone gives */
    bool blocks;      /* its vector is a block for each rank */
    bool gives_block; /* a rank's input is its block alone, */
    bool takes_block; /* its result is its block alone; else all blocks */
    bool has_counts;  /* it has a variant with blocks of different sizes */
};

/* [DML_NCOLLS] */
extern const struct dml__traits dml__traits_table[];

static inline const struct dml__traits *dml__traits(dml_coll coll)
{
    return &dml__traits_table[coll];
}

static inline bool dml__reduces(dml_coll coll)
{
    return dml__traits(coll)->reduces;
}

#endif
