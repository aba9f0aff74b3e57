/* SPDX-License-Identifier: BSD-3-Clause */
/* The nets that dml-cnn knows: one table. */
#ifndef CNN_NETS_H
#define CNN_NETS_H

#include "net.h"

struct net_kind {
    const char *name, *text;
    double dropout;                          /* default of --dropout */
    struct value *(*build)(struct net *net); /* returns the logits, NULL on failure */
};

/* NULL when unknown. */
const struct net_kind *nets_find(const char *name);

/* The i-th kind, NULL past the end. */
const struct net_kind *nets_at(size_t i);

/* Create, build and finish. On failure *net is what was made so far, for net_error(),
 * and must be destroyed too. */
dml_status nets_make(const struct net_kind *kind, const struct net_shape *shape,
                     uint64_t seed, double dropout, struct net **net);
/* The same on a GPU; NULL: on the processor. */
dml_status nets_make_on(struct gpu *gpu, const struct net_kind *kind,
                        const struct net_shape *shape, uint64_t seed, double dropout,
                        struct net **net);

#endif
