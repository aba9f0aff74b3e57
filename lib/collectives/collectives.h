/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What lib/collectives offers lib/sync.
 */
#ifndef DML__COLLECTIVES_H
#define DML__COLLECTIVES_H

#include "comm/comm.h"

/* Measure the algorithms of a collective now, if that was not done yet, so that the
 * non-blocking calls to come (which must not wait) can choose well. Collective. */
dml_status dml__coll_measure(dml_comm *comm, dml_coll coll);
/* The same with device memory, for which the communicator is ready. */
dml_status dml__coll_measure_device(dml_comm *comm, dml_coll coll);

#endif
