/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Channels between the ranks of one node: for each ordered pair a ring of bytes in
 * memory that both map. The sender copies in, the receiver reads in place; nobody waits
 * inside these calls, they move what can be moved now.
 *
 * Both sides know how long each message is, so bytes carry no header. A message starts
 * at a cache line. Beside the counter of bytes lie the signatures of the operations
 * that the bytes belong to: what was sent by another operation than the receiver's
 * counts as not there.
 */
#ifndef DML__SHM_H
#define DML__SHM_H

#include "comm/node.h"

struct dml__shm;

/* This process's ends of the channels; NULL when out of memory. node is borrowed;
 * nranks: size of the communicator. */
struct dml__shm *dml__shm_new(dml_ctx *ctx, struct dml__node *node, int nranks);
void dml__shm_free(struct dml__shm *shm);

/* Can this rank of the communicator be reached? shm may be NULL. */
bool dml__shm_reaches(const struct dml__shm *shm, int rank);

/* Copy the next bytes of a message of "bytes", of which "done" were moved before, into
 * the channel to a rank; returns how many were moved now. */
size_t dml__shm_put(struct dml__shm *shm, int rank, uint64_t signature,
                    const void *message, size_t bytes, size_t done);

/* The next bytes of a message from a rank, where they lie: at most bytes - done, a
 * multiple of the cache line unless they are the last. NULL when none are there. Give
 * them back with dml__shm_release. */
const void *dml__shm_peek(struct dml__shm *shm, int rank, uint64_t signature,
                          size_t bytes, size_t done, size_t *available);
void dml__shm_release(struct dml__shm *shm, int rank, size_t bytes);

#endif
