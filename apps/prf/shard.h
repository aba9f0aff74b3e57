/* SPDX-License-Identifier: BSD-3-Clause */
/* Subtrees whose rows lie on several ranks; see shard.c. */
#ifndef PRF_SHARD_H
#define PRF_SHARD_H

#include "grower.h"

/* Bytes of a row that is moved. */
size_t shard_row_bytes(const struct table *table);

/* g->shard; false when memory is short. */
bool shard_make(struct grower *g);
void shard_free(struct shard *shard);

/* Grow the subtrees that were put off, each by its owner [nsubtrees], from rows that
 * all ranks send there. "grown" is called for each one of this rank, in their order,
 * and returns false to give up. */
bool shard_grow(struct grower *g, const int *owner, struct tree *tree,
                int64_t *importance,
                bool (*grown)(void *user, const struct tree *tree, uint32_t node),
                void *user);

#endif
