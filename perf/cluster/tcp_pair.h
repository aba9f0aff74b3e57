/* SPDX-License-Identifier: BSD-3-Clause */
/* The limit of a link: what two processes reach over a TCP connection of their own. */
#ifndef TCP_PAIR_H
#define TCP_PAIR_H

#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>

struct tcp_pair {
    MPI_Comm comm;
    int socket;   /* of the two ranks that have one, else -1 */
    int other;    /* the rank joined with rank 0 */
    char *buffer; /* one chunk to send from and one to receive to */
};

/* Joins rank 0 and the first rank on another host, or rank 1 where there is none, after
 * one of all ranks has looked up its host's address. Collective; false with a message
 * on standard error when that fails. */
bool tcp_pair_open(struct tcp_pair *pair, MPI_Comm comm);
void tcp_pair_close(struct tcp_pair *pair);

/* Bytes a second, the same on all ranks: both ends send and receive "bytes" at once,
 * after a start that fills the link's buffers and is not timed. The slower end counts.
 * The other ranks sleep. Collective. */
double tcp_pair_goodput(struct tcp_pair *pair, size_t bytes);

#endif
