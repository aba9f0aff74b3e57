/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared-memory channels (shm.h).
 *
 * Each rank owns an inbox with one channel per node peer. It is a memfd: it has no name
 * that a killed job could leave behind, and does not count against /dev/shm. Peers map
 * it through /proc. A channel has one writer and one reader, so two counters of bytes,
 * each written by one side only, are all the synchronisation there is.
 *
 * Source: Lamport, Specifying concurrent program modules, TOPLAS 1983 (the queue).
 */
#include "comm/shm.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LINE = 64,
    CAPACITY = 256 * 1024, /* bytes in flight a pair: two fit the second-level cache */
    PIECE = 16 * 1024 /* copied before the other side is told: it reads meanwhile */
};

struct channel {
    _Alignas(LINE) atomic_ullong head; /* bytes ever written; the sender's */
    _Alignas(LINE) atomic_ullong tail; /* bytes ever read; the receiver's */
    _Alignas(LINE) char data[CAPACITY];
};

/* This process's end of the two channels with one peer. The copies of the counters
 * spare reading the shared ones, whose cache lines the peer is writing. */
struct link {
    struct channel *out, *in;
    unsigned long long head, tail_seen; /* of out */
    unsigned long long tail, head_seen; /* of in */
};

struct dml__shm {
    int node_size;
    size_t inbox_bytes;
    void **inboxes;     /* [node_size] as mapped here */
    struct link **link; /* [nranks] NULL for those on other nodes and for this rank */
    struct link *links; /* [node_size] */
};

void dml__shm_close(struct dml__shm *shm)
{
    if (shm == NULL)
        return;
    for (int i = 0; shm->inboxes != NULL && i < shm->node_size; i++)
        if (shm->inboxes[i] != NULL)
            munmap(shm->inboxes[i], shm->inbox_bytes);
    dml__free(shm->inboxes);
    dml__free(shm->link);
    dml__free(shm->links);
    dml__free(shm);
}

static void *map(int fd, size_t bytes)
{
    struct stat info;
    if (fstat(fd, &info) != 0 || info.st_size != (off_t)bytes)
        return NULL;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return memory != MAP_FAILED ? memory : NULL;
}

/* Where a peer can open this rank's inbox, and what it finds there if that path is the
 * same file for both: with containers it may not be. */
struct address {
    long pid;
    int fd;
    double token;
};

/* A rank's channel to itself carries no messages: it holds the token. */
static double *token_of(void *inbox, int node_rank)
{
    void *data = ((struct channel *)inbox)[node_rank].data;
    return data;
}

/* Maps the node's inboxes; false when this rank could not map them all. */
static bool map_inboxes(struct dml__shm *shm, int own_fd, MPI_Comm node)
{
    struct address own = {.pid = (long)getpid(), .fd = own_fd, .token = dml__now_s()};
    struct address *all = dml__alloc(NULL, (size_t)shm->node_size * sizeof *all);
    bool ok = all != NULL && own_fd >= 0;
    int local = all != NULL, everywhere = 0, me = 0;
    MPI_Comm_rank(node, &me);
    own.token += me; /* two ranks may read the clock at once */
    if (own_fd >= 0)
        shm->inboxes[me] = map(own_fd, shm->inbox_bytes);
    if (shm->inboxes[me] != NULL)
        *token_of(shm->inboxes[me], me) = own.token;
    ok = ok && shm->inboxes[me] != NULL;
    MPI_Allreduce(&local, &everywhere, 1, MPI_INT, MPI_MIN, node);
    if (everywhere)
        MPI_Allgather(&own, (int)sizeof own, MPI_BYTE, all, (int)sizeof own, MPI_BYTE,
                      node);
    for (int i = 0; everywhere && ok && i < shm->node_size; i++) {
        if (i == me)
            continue;
        char path[64];
        snprintf(path, sizeof path, "/proc/%ld/fd/%d", all[i].pid, all[i].fd);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd >= 0) {
            shm->inboxes[i] = map(fd, shm->inbox_bytes);
            close(fd);
        }
        ok = shm->inboxes[i] != NULL && *token_of(shm->inboxes[i], i) == all[i].token;
    }
    dml__free(all);
    local = ok && everywhere;
    MPI_Allreduce(&local, &everywhere, 1, MPI_INT, MPI_MIN, node);
    return everywhere;
}

static struct dml__shm *make(dml_ctx *ctx, int nranks, int node_size)
{
    struct dml__shm *shm = dml__alloc(ctx, sizeof *shm);
    if (shm == NULL)
        return NULL;
    shm->node_size = node_size;
    shm->inbox_bytes = (size_t)node_size * sizeof(struct channel);
    shm->inboxes = dml__alloc(ctx, (size_t)node_size * sizeof *shm->inboxes);
    shm->link = dml__alloc(ctx, (size_t)nranks * sizeof *shm->link);
    shm->links = dml__alloc(ctx, (size_t)node_size * sizeof *shm->links);
    if (shm->inboxes != NULL && shm->link != NULL && shm->links != NULL)
        return shm;
    dml__shm_close(shm);
    return NULL;
}

dml_status dml__shm_open(dml_ctx *ctx, MPI_Comm node, int nranks, const int *peers,
                         struct dml__shm **out)
{
    int node_size = 0, me = 0;
    MPI_Comm_size(node, &node_size);
    MPI_Comm_rank(node, &me);
    struct dml__shm *shm = make(ctx, nranks, node_size);
    int local = shm != NULL, everywhere = 0;
    MPI_Allreduce(&local, &everywhere, 1, MPI_INT, MPI_MIN, node);
    if (!everywhere) {
        dml__shm_close(shm);
        return dml__fail(ctx, DML_ENOMEM, "dml_comm",
                         "no memory for channels to %d ranks", node_size);
    }
    int fd = memfd_create("dml", MFD_CLOEXEC);
    if (fd >= 0 && ftruncate(fd, (off_t)shm->inbox_bytes) != 0) {
        close(fd);
        fd = -1;
    }
    bool mapped = map_inboxes(shm, fd, node);
    if (fd >= 0)
        close(fd);
    if (!mapped) {
        dml__log(ctx, DML_LOG_INFO,
                 "no shared memory between the ranks of this node "
                 "(memfd or /proc refused): messages go through MPI");
        dml__shm_close(shm);
        *out = NULL;
        return DML_OK;
    }
    for (int rank = 0; rank < nranks; rank++) {
        int peer = peers[rank];
        if (peer < 0 || peer == me)
            continue;
        shm->links[peer].out = (struct channel *)shm->inboxes[peer] + me;
        shm->links[peer].in = (struct channel *)shm->inboxes[me] + peer;
        shm->link[rank] = &shm->links[peer];
    }
    *out = shm;
    return DML_OK;
}

bool dml__shm_reaches(const struct dml__shm *shm, int rank)
{
    return shm != NULL && shm->link[rank] != NULL;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* A message's last piece takes whole cache lines, so that the next starts at one. */
static size_t lines(size_t bytes)
{
    return (bytes + LINE - 1) / LINE * LINE;
}

size_t dml__shm_put(struct dml__shm *shm, int rank, const void *message, size_t bytes,
                    size_t done)
{
    struct link *l = shm->link[rank];
    size_t before = done;
    while (done < bytes) {
        size_t room = CAPACITY - (size_t)(l->head - l->tail_seen);
        size_t wanted = least(bytes - done, PIECE);
        if (room < wanted) {
            l->tail_seen = atomic_load_explicit(&l->out->tail, memory_order_acquire);
            room = CAPACITY - (size_t)(l->head - l->tail_seen);
            if (room == 0)
                break;
        }
        size_t at = (size_t)(l->head % CAPACITY);
        size_t n = least(least(wanted, room), CAPACITY - at);
        memcpy(l->out->data + at, (const char *)message + done, n);
        done += n;
        l->head += lines(n);
        atomic_store_explicit(&l->out->head, l->head, memory_order_release);
    }
    return done - before;
}

const void *dml__shm_peek(struct dml__shm *shm, int rank, size_t bytes, size_t done,
                          size_t *available)
{
    struct link *l = shm->link[rank];
    if (l->head_seen == l->tail)
        l->head_seen = atomic_load_explicit(&l->in->head, memory_order_acquire);
    size_t there = (size_t)(l->head_seen - l->tail), at = (size_t)(l->tail % CAPACITY);
    if (there == 0)
        return NULL;
    *available = least(least(there, CAPACITY - at), bytes - done);
    return l->in->data + at;
}

void dml__shm_release(struct dml__shm *shm, int rank, size_t bytes)
{
    struct link *l = shm->link[rank];
    l->tail += lines(bytes);
    atomic_store_explicit(&l->in->tail, l->tail, memory_order_release);
}
