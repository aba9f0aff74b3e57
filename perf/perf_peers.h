/* SPDX-License-Identifier: BSD-3-Clause */
/* The MPI library's own algorithms as peers. */
#ifndef DML_PERF_PEERS_H
#define DML_PERF_PEERS_H

#include "perf_measure.h"

struct perf_peers {
    struct perf_peer list[PERF_PEERS];
    char names[PERF_PEERS][40];
    size_t n;
};

/* Collective. NULL, or what is wrong. */
const char *perf_peers_open(struct perf_peers *peers, const struct perf_options *o,
                            MPI_Comm mpi);

/* From 64 KiB on, forced algorithms that were twice as slow as the best are dropped:
 * they will not win at a larger size. The same on all ranks. */
void perf_peers_drop(struct perf_peers *peers, const struct perf_result *result,
                     size_t bytes);

void perf_peers_close(struct perf_peers *peers);

#endif
