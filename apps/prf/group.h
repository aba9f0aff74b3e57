/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ranks that share a table in memory: those of a node, or fewer. Also the queue from
 * which they take trees. See group.c.
 */
#ifndef PRF_GROUP_H
#define PRF_GROUP_H

#include "dml/mpi.h"

#include "../common/job.h"

#include <stdatomic.h>

struct group {
    struct job *job;
    MPI_Comm comm; /* the ranks of this group */
    MPI_Win window;
    int rank, nranks;  /* in the group; rank 0 leads */
    dml_comm *leaders; /* of leaders alone, else NULL */
    int number, ngroups;
    int first;    /* ranks of the groups before this one */
    int on_node;  /* ranks of the node, of this group and others */
    void *memory; /* what group_share() made */
};

/* At most "most" ranks in one group; 0: all of the node. Collective, agreed. */
dml_status group_open(struct group *group, struct job *job, int most);
void group_close(struct group *group);

/* Zeroed memory for all ranks of the group; "bytes" of its leader counts. Once.
 * Collective. */
dml_status group_share(struct group *group, size_t bytes);

/* The leader's bytes to all ranks of the group. Collective over the group. */
dml_status group_tell(struct group *group, void *bytes, size_t count);

/* Waits for all ranks of the group. */
void group_wait(const struct group *group);

#endif
