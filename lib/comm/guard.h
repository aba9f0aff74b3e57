/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocking calls of the MPI library cannot be ended by an error, so a thread watches
 * over them: it calls the roll when they take too long, and when it finds a verdict it
 * prints it and ends the process, because the call will never return.
 */
#ifndef DML__GUARD_H
#define DML__GUARD_H

#include "comm/comm_internal.h"

/* Around each blocking call. The thread starts with the first; without it (no memory)
 * calls are not watched. */
void dml__guard_begin(dml_comm *comm);
void dml__guard_end(dml_comm *comm);

void dml__guard_free(struct dml__roll *roll);

/*
 * After the call of operation seq, which returned "code": did the ranks call the same?
 * Within the node by a look at the next rank's ledger, elsewhere by a note to the next
 * rank after large vectors and after every 16th small one. Returns DML_OK or the
 * verdict; a failed call becomes DML_ECOMM when no disagreement explains it.
 */
dml_status dml__guard_verify(const struct dml__call *call, int code);

#endif
