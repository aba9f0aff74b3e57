/* SPDX-License-Identifier: BSD-3-Clause */
/* What dml-perf does beside timing one collective: exit statuses. */
#ifndef DML_PERF_MODES_H
#define DML_PERF_MODES_H

#include "perf_coll.h"

/* --sweep: every algorithm on 2, 3, ... ranks (perf_sweep.c). */
int perf_sweep(const struct perf_coll *c);

/* --tensors: the reducer against a call for each tensor (perf_tensors.c). */
int perf_tensors(const struct perf_coll *c);

#endif
