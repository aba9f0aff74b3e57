/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes between processes of a node, through memory that they share: for a library
 * that does as NCCL, whose work moves on in threads of its own and ends when it is told
 * to, whatever the other ranks do.
 */
#ifndef FAKE_NCCL_WIRE_H
#define FAKE_NCCL_WIRE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct wire;

/* A message; those between two ranks arrive in the order in which they were moved. */
struct wire_move {
    char *data;
    size_t bytes;
    int peer; /* the own rank is possible */
    bool sends;
    size_t done; /* bytes so far, with those of a header; 0 at first */
};

/* name: as of shm_open, that of no other wire. NULL without memory. */
struct wire *wire_open(const char *name, int rank, int nranks);
void wire_close(struct wire *wire);

/* Moves them all; false when *stop was set meanwhile. A message that is not as long as
 * its receiver thinks ends the process. One thread at a time. */
bool wire_move(struct wire *wire, struct wire_move *moves, size_t n,
               const atomic_bool *stop);

#endif
