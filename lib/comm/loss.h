/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ranks that end, as the MPI library sees it: with ULFM (mpi-ext.h) it goes on without
 * them, says who they are, and can be told to end the calls of all on a communicator.
 * With other MPI libraries all of this answers no, and costs nothing (doc/adr/0012).
 */
#ifndef DML__LOSS_H
#define DML__LOSS_H

#include "comm/comm_internal.h"

/* Does this MPI library go on when a rank has ended, and was it started so? */
bool dml__mpi_goes_on(void);

/* Is this error of MPI one of a rank that has ended, or of a communicator that another
 * rank has given up for that reason? */
bool dml__mpi_lost_peer(int code);

/* The lowest rank of the communicator that MPI knows to have ended, or -1. */
int dml__mpi_lost_rank(const dml_comm *comm);

/* Has any rank given the communicator up? */
bool dml__mpi_given_up(const dml_comm *comm);

/* Gives it up: MPI ends all calls on it, on all ranks, with an error. */
void dml__mpi_give_up(const dml_comm *comm);

#endif
