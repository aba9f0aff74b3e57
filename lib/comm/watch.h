/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a rank writes down for monitors while it waits (dml/watch.h): two words of its
 * ledger, after a millisecond of waiting and at a wait's end.
 */
#ifndef DML__WATCH_H
#define DML__WATCH_H

#include "comm/comm_internal.h"

/* This rank waits, and nothing has moved since then; 0: something has. */
void dml__watch_still(dml_comm *comm, double still_s);

/* A wait has ended, and is counted in the communicator's statistics. */
void dml__watch_waited(dml_comm *comm);

#endif
