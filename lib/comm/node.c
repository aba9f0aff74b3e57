/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The desks of a node's ranks (node.h): mapped, announced on, slept at.
 *
 * Memory orders: an announcement is a sequentially consistent store, after which the
 * announcer reads its peers' "asleep"; a sleeper writes "asleep", then looks once more
 * for what it waits for, with a fence in between. One of the two therefore sees the
 * other (doc/memory-model.md).
 */
#include "comm/node.h"

#include "comm/share.h"

#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

bool dml__node_read(const struct dml__node *node, int rank, uint64_t address, void *to,
                    size_t bytes)
{
    char *here = to;
    while (bytes > 0) { /* at most 2 GiB are moved at a time */
        struct iovec local = {here, bytes};
        struct iovec remote = {(void *)(uintptr_t)address, bytes};
        ssize_t n =
            process_vm_readv((pid_t)node->desk[rank]->pid, &local, 1, &remote, 1, 0);
        if (n <= 0)
            return false;
        here += n;
        address += (uint64_t)n;
        bytes -= (size_t)n;
    }
    return true;
}

/* May this process read its peers' memory without a copy in between? Containers and
 * hardened kernels refuse. */
static bool can_read_peers(const struct dml__node *node)
{
    for (int i = 0; i < node->size; i++) {
        const struct dml__desk *desk = node->desk[i];
        long seen = 0;
        if (i != node->rank &&
            (!dml__node_read(node, i, (uintptr_t)desk->pid_at, &seen, sizeof seen) ||
             seen != desk->pid))
            return false;
    }
    return true;
}

static bool all_of(MPI_Comm comm, bool mine)
{
    int local = mine, everywhere = 0;
    MPI_Allreduce(&local, &everywhere, 1, MPI_INT, MPI_MIN, comm);
    return everywhere;
}

void dml__node_close(struct dml__node *node)
{
    if (node == NULL)
        return;
    if (node->share != NULL)
        dml__share_close(node->share);
    dml__free(node->share);
    dml__free(node->rank_of);
    dml__free(node->desk);
    dml__free(node->seen);
    dml__free(node);
}

static struct dml__node *make(dml_ctx *ctx, int size)
{
    size_t n = (size_t)size;
    struct dml__node *node = dml__alloc(ctx, sizeof *node);
    if (node == NULL)
        return NULL;
    node->size = size;
    node->share = dml__alloc(ctx, sizeof *node->share);
    node->rank_of = dml__alloc(ctx, n * sizeof *node->rank_of);
    node->desk = dml__alloc(ctx, n * sizeof(struct dml__desk *));
    node->seen = dml__alloc(ctx, n * sizeof *node->seen);
    if (node->share != NULL && node->rank_of != NULL && node->desk != NULL &&
        node->seen != NULL)
        return node;
    dml__node_close(node);
    return NULL;
}

dml_status dml__node_open(dml_ctx *ctx, MPI_Comm mpi, const int *rank_of,
                          struct dml__node **out)
{
    int size = 0;
    MPI_Comm_size(mpi, &size);
    struct dml__node *node = make(ctx, size);
    if (!all_of(mpi, node != NULL)) {
        dml__node_close(node);
        return dml__fail(ctx, DML_ENOMEM, "dml_comm",
                         "no memory for the table of %d ranks", size);
    }
    MPI_Comm_rank(mpi, &node->rank);
    size_t bytes =
        sizeof(struct dml__desk) + (size_t)size * sizeof(struct dml__channel);
    const char *why = NULL;
    dml_status status = dml__share_open(ctx, mpi, bytes, false, node->share, &why);
    if (status != DML_OK) {
        dml__node_close(node);
        if (status == DML_ENOMEM)
            return dml__fail(ctx, status, "dml_comm", "no memory for %d peers", size);
        dml__log(ctx, DML_LOG_INFO,
                 "no shared memory between the ranks of this node (%s): messages go "
                 "through MPI",
                 why);
        return DML_OK;
    }
    for (int i = 0; i < size; i++) {
        node->rank_of[i] = rank_of[i];
        node->desk[i] = (struct dml__desk *)(void *)node->share->at[i];
    }
    node->pid = (long)getpid();
    node->desk[node->rank]->pid = node->pid;
    node->desk[node->rank]->pid_at = &node->pid;
    MPI_Barrier(mpi);
    const char *wish =
        dml__ctx_env(ctx, "CMA"); /* cross-memory attach, 0: do without */
    bool may = wish == NULL || strcmp(wish, "0") != 0;
    node->can_read = all_of(mpi, may && can_read_peers(node));
    *out = node;
    return DML_OK;
}

bool dml__node_all_reached(struct dml__node *node, unsigned long long n,
                           enum dml__phase phase)
{
    unsigned long long wanted = DML__NPHASES * n + phase;
    if (node->passed >= wanted)
        return true;
    for (int i = 0; i < node->size; i++)
        if (!dml__node_reached(node, i, n, phase))
            return false;
    node->passed = wanted;
    return true;
}

void dml__node_reach(struct dml__node *node, unsigned long long n,
                     enum dml__phase phase)
{
    unsigned long long stamp = DML__NPHASES * n + phase;
    node->seen[node->rank] = stamp;
    struct dml__post *post = dml__node_post(node, node->rank, n);
    if (phase == DML__ENTERED) /* later, peers may be reading it */
        post->signature = node->signature;
    atomic_store(&post->stamp, stamp);
    for (int i = 0; i < node->size; i++)
        if (i != node->rank)
            dml__node_wake(node, i);
}

void dml__node_wake(struct dml__node *node, int rank)
{
    struct dml__desk *desk = node->desk[rank];
    if (atomic_load(&desk->asleep) == 0)
        return;
    atomic_fetch_add(&desk->bell, 1);
    syscall(SYS_futex, &desk->bell, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

unsigned dml__node_drowsy(struct dml__node *node)
{
    struct dml__desk *desk = node->desk[node->rank];
    unsigned heard = atomic_load(&desk->bell);
    atomic_fetch_add(&desk->asleep, 1);
    atomic_thread_fence(memory_order_seq_cst); /* before the poll that follows */
    return heard;
}

void dml__node_sleep(struct dml__node *node, unsigned heard,
                     const struct timespec *limit)
{
    struct dml__desk *desk = node->desk[node->rank];
    syscall(SYS_futex, &desk->bell, FUTEX_WAIT, heard, limit, NULL, 0);
}

void dml__node_awake(struct dml__node *node)
{
    atomic_fetch_sub_explicit(&node->desk[node->rank]->asleep, 1, memory_order_relaxed);
}
