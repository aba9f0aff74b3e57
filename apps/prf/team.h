/* SPDX-License-Identifier: BSD-3-Clause */
/* The part of growing a tree in which ranks take whole subtrees; see team.c. */
#ifndef PRF_TEAM_H
#define PRF_TEAM_H

#include "grower.h"

/* Remember a node whose subtree one rank will grow. False when memory is short. */
bool team_put_off(struct grower *g, const struct task *task);

/* Grow the subtrees that were put off, each by one rank, and put them all into the
 * tree, which is the same on all ranks then. */
bool team_grow_subtrees(struct grower *g, struct tree *tree, int64_t *importance);

/* In grow.c: all of the tree below one task. */
bool grower_grow_part(struct grower *g, const struct task *task, struct tree *tree,
                      int64_t *importance);

#endif
