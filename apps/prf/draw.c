/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A shuffle (Fisher and Yates) that goes on only as far as features are asked for, on a
 * permutation that is put in order again afterwards: a node costs what it draws.
 */
#include "draw.h"

/* splitmix64 (Steele, Lea and Flood 2014), seeded per node by the library's generator.
 */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

bool draw_feature(struct grower *g, const struct node_rows *node, struct draw *draw,
                  uint32_t *feature)
{
    uint32_t *p = g->permutation;
    size_t nfeatures = g->table->nfeatures;
    while (draw->count < nfeatures) {
        size_t k = draw->count++;
        uint64_t bits = next_random(&draw->state) >> 32;
        size_t j = k + (size_t)(bits * (nfeatures - k) >> 32);
        uint32_t f = p[j];
        g->swaps[k] = (uint32_t)j;
        p[j] = p[k];
        p[k] = f;
        *feature = f;
        if (!node->constant || !(node->constant[f / 64] >> (f % 64) & 1))
            return true;
    }
    return false;
}

void undo_draws(struct grower *g, const struct draw *draw)
{
    uint32_t *p = g->permutation;
    for (size_t k = draw->count; k-- > 0;) {
        uint32_t j = g->swaps[k], f = p[k];
        p[k] = p[j];
        p[j] = f;
    }
}
