/* SPDX-License-Identifier: BSD-3-Clause */
/* The MPI library's all-reduce: as it chooses, and by each of its own algorithms. */
#ifndef PEERS_H
#define PEERS_H

#include <mpi.h>
#include <stdbool.h>

/* To be called before MPI_Init: makes Open MPI heed what peers_forced asks for. Its own
 * choice stays what it is without. */
void peers_prepare(void);

/* A communicator on which MPI_Allreduce uses Open MPI's algorithm "number" (3 recursive
 * doubling, 4 ring, 5 segmented ring); false where the library is another one, or does
 * not let it be chosen. Collective. */
bool peers_forced(MPI_Comm comm, int number, MPI_Comm *forced);

#endif
