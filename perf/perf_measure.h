/* SPDX-License-Identifier: BSD-3-Clause */
/* Timing of one size: libdml, the peers and the limit, block by block. */
#ifndef DML_PERF_MEASURE_H
#define DML_PERF_MEASURE_H

#include "perf_coll.h"

enum { PERF_BLOCKS = 15, PERF_PEERS = 12 };

/* Seconds per call, of the slowest rank, over the blocks; all 0 when not measured. */
struct perf_time {
    double median_s, min_s, max_s;
};

struct perf_result {
    struct perf_time dml;
    struct perf_time ordered;   /* libdml in reproducible mode */
    struct perf_time peer;      /* MPI as it is */
    double peer_s[PERF_PEERS];  /* medians of all of them, from the second on */
    struct perf_time best_peer; /* its fastest algorithm, forced */
    const char *best_name;      /* of that one */
    struct perf_time memcpy;    /* all ranks copy c->bytes at once */
    const char *algorithm;      /* of libdml: forced, or chosen for these buffers */
    size_t wrong;               /* elements, over all ranks and checked calls */
    size_t blocks, per_block;   /* timed of each; calls of one */
};

/* Same result on all ranks. On failure all ranks return the first failing status. */
dml_status perf_measure(const struct perf_coll *c, struct perf_result *result);

#endif
