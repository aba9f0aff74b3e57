/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared files of the ranks of a node (share.h).
 */
#include "comm/share.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where a peer can open a rank's file, and how it knows that it is the one. */
struct address {
    long pid;
    int fd; /* -1: the rank could not make it */
    unsigned long long device, inode;
    unsigned long long bytes;
};

static bool all_of(MPI_Comm node, bool mine)
{
    int local = mine, everywhere = 0;
    MPI_Allreduce(&local, &everywhere, 1, MPI_INT, MPI_MIN, node);
    return everywhere;
}

/*
 * Is there room for what all ranks of the node ask for? Reserving pages beyond that
 * would not fail: it would make the kernel kill processes.
 */
static bool has_room(MPI_Comm node, size_t bytes)
{
    double wanted = (double)bytes, sum = 0;
    MPI_Allreduce(&wanted, &sum, 1, MPI_DOUBLE, MPI_SUM, node);
    return sum <= 0.95 * dml__room_bytes("");
}

/*
 * Takes the pages of a file. A signal interrupts the system call, which then gives back
 * what it took: so it is asked for a little at a time, less than between two signals of
 * a profiler, and again.
 */
static bool take_pages(int fd, size_t bytes)
{
    const size_t step = (size_t)2 << 20;
    for (size_t at = 0; at < bytes; at += step) {
        size_t n = bytes - at < step ? bytes - at : step;
        while (fallocate(fd, 0, (off_t)at, (off_t)n) != 0)
            if (errno != EINTR)
                return false;
    }
    return true;
}

/* This rank's file; own->fd stays -1 when that is not possible. */
static void make_file(size_t bytes, bool reserve, struct address *own, const char **why)
{
    struct stat info;
    int fd = memfd_create("dml", MFD_CLOEXEC);
    if (fd < 0) {
        *why = "memfd_create was refused";
        return;
    }
    if (ftruncate(fd, (off_t)bytes) != 0 || (reserve && !take_pages(fd, bytes))) {
        *why = "there is not that much memory to share";
    } else if (fstat(fd, &info) == 0) {
        *own = (struct address){.pid = (long)getpid(),
                                .fd = fd,
                                .device = info.st_dev,
                                .inode = info.st_ino,
                                .bytes = bytes};
        return;
    }
    close(fd);
}

static bool map_file(int fd, const struct address *a, char **at)
{
    struct stat info;
    if (fstat(fd, &info) != 0 || info.st_dev != a->device || info.st_ino != a->inode)
        return false;
    if (a->bytes == 0)
        return true;
    void *memory = mmap(NULL, a->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return false;
    *at = memory;
    return true;
}

/* Maps the files of all ranks of the node. */
static bool map_all(struct dml__share *share, const struct address *all, int me)
{
    for (int i = 0; i < share->n; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%ld/fd/%d", all[i].pid, all[i].fd);
        int fd = i == me ? all[i].fd : open(path, O_RDWR | O_CLOEXEC);
        if (fd < 0)
            return false;
        bool mapped = map_file(fd, &all[i], &share->at[i]);
        if (i != me)
            close(fd);
        if (!mapped)
            return false;
        share->bytes[i] = all[i].bytes;
    }
    return true;
}

dml_status dml__share_open(dml_ctx *ctx, MPI_Comm node, size_t bytes, bool reserve,
                           struct dml__share *share, const char **why)
{
    int n = 0, me = 0;
    struct address own = {.fd = -1};
    *why = "";
    MPI_Comm_size(node, &n);
    MPI_Comm_rank(node, &me);
    *share = (struct dml__share){
        .n = n,
        .at = dml__alloc(ctx, (size_t)n * sizeof *share->at),
        .bytes = dml__alloc(ctx, (size_t)n * sizeof *share->bytes),
    };
    struct address *all = dml__alloc(ctx, (size_t)n * sizeof *all);
    dml_status status = DML_ENOMEM;
    if (!all_of(node, share->at != NULL && share->bytes != NULL && all != NULL))
        goto out;
    status = DML_EUNSUPPORTED;
    if (reserve && !has_room(node, bytes))
        *why = "there is not that much memory free";
    else
        make_file(bytes, reserve, &own, why);
    if (!all_of(node, own.fd >= 0))
        goto out;
    MPI_Allgather(&own, (int)sizeof own, MPI_BYTE, all, (int)sizeof own, MPI_BYTE,
                  node);
    bool mapped = map_all(share, all, me);
    if (!mapped)
        *why = "a peer's memory could not be mapped through /proc";
    if (all_of(node, mapped))
        status = DML_OK;
out:
    if (own.fd >= 0)
        close(own.fd);
    dml__free(all);
    if (status != DML_OK)
        dml__share_close(share);
    return status;
}

void dml__share_close(struct dml__share *share)
{
    for (int i = 0; share->at != NULL && share->bytes != NULL && i < share->n; i++)
        if (share->at[i] != NULL)
            munmap(share->at[i], share->bytes[i]);
    dml__free(share->at);
    dml__free(share->bytes);
    *share = (struct dml__share){0};
}
