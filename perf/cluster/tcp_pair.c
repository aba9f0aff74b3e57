/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A raw TCP connection between two ranks of an MPI job (tcp_pair.h), used in both
 * directions at once: no collective can send more than this between two hosts.
 */
#include "tcp_pair.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK_BYTES = 1 << 17, WARM_BYTES = 1 << 20, NAME_BYTES = 256 };

/* Rank joined with rank 0: the first whose host has another name, else 1. */
static int find_other(MPI_Comm comm)
{
    char own[NAME_BYTES] = "", first[NAME_BYTES];
    int rank, nranks, mine, other;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &nranks);
    gethostname(own, sizeof own - 1);
    memcpy(first, own, sizeof first);
    MPI_Bcast(first, NAME_BYTES, MPI_CHAR, 0, comm);
    mine = strcmp(own, first) != 0 ? rank : nranks;
    MPI_Allreduce(&mine, &other, 1, MPI_INT, MPI_MIN, comm);
    return other < nranks ? other : 1;
}

/* The IPv4 address of this host's name, port 0. */
static bool own_address(struct sockaddr_in *address)
{
    char name[NAME_BYTES] = "";
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    gethostname(name, sizeof name - 1);
    if (getaddrinfo(name, NULL, &hints, &found) != 0)
        return false;
    memcpy(address, found->ai_addr, sizeof *address);
    address->sin_port = 0;
    freeaddrinfo(found);
    return true;
}

/* Rank 0's end: tells the other where to connect to, and takes that connection. */
static int accept_one(MPI_Comm comm, int other)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), fd = -1;
    bool ok = listener >= 0 && own_address(&address) &&
              bind(listener, (struct sockaddr *)&address, length) == 0 &&
              listen(listener, 1) == 0 &&
              getsockname(listener, (struct sockaddr *)&address, &length) == 0;
    if (!ok)
        address.sin_port = 0;
    MPI_Send(&address, (int)sizeof address, MPI_BYTE, other, 0, comm);
    if (ok)
        fd = accept(listener, NULL, NULL);
    if (listener >= 0)
        close(listener);
    return fd;
}

static int connect_one(MPI_Comm comm)
{
    struct sockaddr_in address;
    MPI_Recv(&address, (int)sizeof address, MPI_BYTE, 0, 0, comm, MPI_STATUS_IGNORE);
    if (address.sin_port == 0)
        return -1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

bool tcp_pair_open(struct tcp_pair *pair, MPI_Comm comm)
{
    int rank, on = 1;
    *pair = (struct tcp_pair){.comm = comm, .socket = -1};
    MPI_Comm_rank(comm, &rank);
    pair->other = find_other(comm);
    if (rank == 0)
        pair->socket = accept_one(comm, pair->other);
    else if (rank == pair->other)
        pair->socket = connect_one(comm);
    bool joined = rank == 0 || rank == pair->other;
    pair->buffer = joined ? calloc(2, CHUNK_BYTES) : NULL;
    int failed = joined && (pair->socket < 0 || pair->buffer == NULL), any = 0;
    if (failed)
        fprintf(stderr, "tcp_pair: rank %d: no connection: %s\n", rank,
                strerror(errno));
    MPI_Allreduce(&failed, &any, 1, MPI_INT, MPI_MAX, comm);
    if (!any && joined) {
        setsockopt(pair->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        fcntl(pair->socket, F_SETFL, O_NONBLOCK);
    }
    return any == 0;
}

void tcp_pair_close(struct tcp_pair *pair)
{
    if (pair->socket >= 0)
        close(pair->socket);
    free(pair->buffer);
    *pair = (struct tcp_pair){.socket = -1};
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Bytes moved: 0 when the socket is not ready, and at its end. */
static size_t moved(ssize_t n)
{
    return n > 0 ? (size_t)n : 0;
}

/* Both directions; seconds a received byte, once a start has been received. */
static double exchange(const struct tcp_pair *pair, size_t bytes)
{
    size_t total = WARM_BYTES + bytes, sent = 0, received = 0, untimed = 0;
    double begin_s = 0;
    while (sent < total || received < total) {
        struct pollfd wait = {.fd = pair->socket,
                              .events = (short)((sent < total ? POLLOUT : 0) |
                                                (received < total ? POLLIN : 0))};
        if (poll(&wait, 1, -1) < 0 && errno != EINTR)
            break;
        if ((wait.revents & (POLLERR | POLLHUP)) != 0)
            break;
        if ((wait.revents & POLLOUT) != 0)
            sent += moved(send(pair->socket, pair->buffer,
                               least(total - sent, CHUNK_BYTES), MSG_NOSIGNAL));
        if ((wait.revents & POLLIN) == 0)
            continue;
        received += moved(recv(pair->socket, pair->buffer + CHUNK_BYTES,
                               least(total - received, CHUNK_BYTES), 0));
        if (begin_s <= 0 && received >= WARM_BYTES) {
            begin_s = MPI_Wtime();
            untimed = received;
        }
    }
    return (MPI_Wtime() - begin_s) / (double)(total - untimed);
}

double tcp_pair_goodput(struct tcp_pair *pair, size_t bytes)
{
    double own_s = 0, slowest_s = 0;
    MPI_Request request;
    MPI_Barrier(pair->comm);
    if (pair->socket >= 0)
        own_s = exchange(pair, bytes);
    /* The ranks that only wait leave the processors to the two. */
    MPI_Iallreduce(&own_s, &slowest_s, 1, MPI_DOUBLE, MPI_MAX, pair->comm, &request);
    for (int done = 0; !done;) {
        const struct timespec pause = {.tv_nsec = 200000};
        MPI_Test(&request, &done, MPI_STATUS_IGNORE);
        if (!done)
            nanosleep(&pause, NULL);
    }
    return 1 / slowest_s;
}
