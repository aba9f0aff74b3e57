/* SPDX-License-Identifier: BSD-3-Clause */
/* Timing of one size: libdml, the peer and the limit, block by block. */
#ifndef DML_PERF_MEASURE_H
#define DML_PERF_MEASURE_H

#include "perf_coll.h"

#define PERF_BLOCKS 15

struct perf_result {
    double time_s;      /* per call: median over blocks of the slowest rank */
    double peer_time_s; /* 0 without a peer */
    double memcpy_s;    /* all ranks copy c->bytes at once */
    size_t wrong;       /* elements, over all ranks and checked calls */
    size_t iterations;  /* timed calls of each */
    size_t buffers;     /* sets that the calls rotate through */
};

/* Same result on all ranks. On failure all ranks return the first failing status. */
dml_status perf_measure(const struct perf_coll *c, struct perf_result *result);

#endif
