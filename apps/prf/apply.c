/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From rows to leaves, a walk at a time in turns.
 */
#include "apply.h"

#include <string.h>

#define WALKS 96 /* at once, because each waits for memory at every step */

struct walk {
    const uint8_t *row;
    uint32_t at; /* node */
    size_t i;    /* of rows */
};

/* Walks that have come to a leaf end; the others' next cells are fetched. */
static size_t end_walks(const struct tree *tree, struct walk *walks, size_t active,
                        uint32_t *leaves)
{
    for (size_t w = 0; w < active;) {
        struct walk *walk = &walks[w];
        const struct node *node = &tree->nodes[walk->at];
        if (node->kind == NODE_LEAF) {
            leaves[walk->i] = walk->at;
            *walk = walks[--active];
        } else {
            __builtin_prefetch(walk->row + node->feature);
            w++;
        }
    }
    return active;
}

static void apply_walks(const struct tree *tree, const uint8_t *bins, size_t nfeatures,
                        const uint32_t *rows, size_t n, uint32_t *leaves)
{
    struct walk walks[WALKS];
    size_t begun = 0, active = 0;
    while (begun < n || active > 0) {
        for (; active < WALKS && begun < n; begun++, active++)
            walks[active] = (struct walk){bins + rows[begun] * nfeatures, 0, begun};
        active = end_walks(tree, walks, active, leaves);
        for (size_t w = 0; w < active; w++) {
            struct walk *walk = &walks[w];
            const struct node *node = &tree->nodes[walk->at];
            walk->at = tree_child(tree, node) +
                       !tree_goes_left(node, tree->sets, walk->row[node->feature]);
            __builtin_prefetch(&tree->nodes[walk->at]);
        }
    }
}

#ifdef PRF_LANES_X86

static void apply_avx512(const struct tree *tree, const uint8_t *bins, size_t nfeatures,
                         const uint32_t *rows, size_t n, uint32_t *leaves)
{
    if (nfeatures <= APPLY_NARROW)
        apply_vectors(tree, bins, nfeatures, rows, n, leaves);
    else
        apply_walks(tree, bins, nfeatures, rows, n, leaves);
}

#endif

apply_fn *apply_for(const char *isa)
{
#ifdef PRF_LANES_X86
    if (strcmp(isa, "avx512") == 0)
        return apply_avx512;
#endif
    (void)isa;
    return apply_walks;
}
