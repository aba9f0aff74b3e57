/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Prices of exchanges that several algorithms have (doc/collectives.md). The ranks of a
 * node share its link to the others, and messages that are under way together wait for
 * the link once.
 */
#include "collectives/coll_internal.h"
#include "collectives/tree.h"

/* The first message to each of the others costs its link's alpha, a further one a gap.
 */
static double messages_s(const struct dml__model *m)
{
    double p = m->nranks, here = p / m->nnodes - 1, there = p - 1 - here;
    if (m->nnodes == 1)
        return m->node.alpha_s + (here - 1) * m->node.gap_s;
    return m->net.alpha_s + (there - 1) * m->net.gap_s + here * m->node.gap_s;
}

double dml__exchange_s(const struct dml__model *m, double bytes)
{
    double h = m->nnodes, r = m->nranks / h;
    return messages_s(m) + r * (h - 1) / h * bytes * m->net.beta_s +
           (r - 1) / m->nranks * bytes * m->node.beta_s;
}

double dml__collect_s(const struct dml__model *m, double bytes)
{
    double h = m->nnodes, r = m->nranks / h;
    return messages_s(m) + (h - 1) / h * bytes * m->net.beta_s +
           (r - 1) / m->nranks * bytes * m->node.beta_s;
}

double dml__levels_s(const struct dml__model *m, double across_bytes,
                     double within_bytes)
{
    int across = dml__log2(m->nnodes), within = dml__log2(m->nranks) - across;
    return across * (m->net.alpha_s + across_bytes * m->net.beta_s) +
           within * (m->node.alpha_s + within_bytes * m->node.beta_s);
}
