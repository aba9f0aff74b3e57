/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that all ranks of a node map: one file per rank, without a name.
 *
 * A memfd leaves nothing behind when a job is killed and does not count against the
 * size of /dev/shm. Peers open it through /proc, and look whether they got the file
 * that was meant: between containers a process number may mean another process.
 */
#ifndef DML__SHARE_H
#define DML__SHARE_H

#include "comm/comm_internal.h"

struct dml__share {
    int n;         /* ranks of the node */
    char **at;     /* [n] where each one's memory is mapped here */
    size_t *bytes; /* [n] how long it is; may differ, 0 is possible */
};

/*
 * Map memory of "bytes" (this rank's share) on all ranks of the node. Collective over
 * node. reserve: take the pages now, so that a shortage is an error here and not a bus
 * error at the first touch.
 * @return the same on all ranks: DML_OK, DML_EUNSUPPORTED where memory cannot be shared
 * (why then says what failed on this rank, or "" when it was another), or DML_ENOMEM.
 */
dml_status dml__share_open(dml_ctx *ctx, MPI_Comm node, size_t bytes, bool reserve,
                           struct dml__share *share, const char **why);
void dml__share_close(struct dml__share *share);

/* Bytes that may still be taken here, INFINITY when that is not known. root: "", or
 * where a test has put files in place of the kernel's. */
double dml__room_bytes(const char *root);

#endif
