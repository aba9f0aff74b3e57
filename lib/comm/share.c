/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared files of the ranks of a node (share.h).
 */
#include "comm/share.h"

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

/* A number from a file of the kernel, or -1: the one after "name", or the first. */
static long long kernel_number(const char *path, const char *name)
{
    char line[128];
    long long value = -1;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return -1;
    while (fgets(line, sizeof line, file) != NULL) {
        size_t skip = name != NULL ? strlen(name) : 0;
        if (skip > 0 && strncmp(line, name, skip) != 0)
            continue;
        if (sscanf(line + skip, "%lld", &value) != 1)
            value = -1; /* "max": no limit */
        break;
    }
    fclose(file);
    return value;
}

/*
 * Is there room for what all ranks of the node ask for? Reserving pages beyond that
 * would not fail: it would make the kernel kill processes.
 */
static bool has_room(MPI_Comm node, size_t bytes)
{
    double wanted = (double)bytes, sum = 0;
    MPI_Allreduce(&wanted, &sum, 1, MPI_DOUBLE, MPI_SUM, node);
    long long free_kb = kernel_number("/proc/meminfo", "MemAvailable:");
    long long limit = kernel_number("/sys/fs/cgroup/memory.max", NULL);
    long long used = kernel_number("/sys/fs/cgroup/memory.current", NULL);
    bool fits = free_kb < 0 || sum <= 0.95 * 1024 * (double)free_kb;
    return fits && (limit < 0 || used < 0 || sum <= 0.95 * (double)(limit - used));
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
    if (ftruncate(fd, (off_t)bytes) != 0 ||
        (reserve && bytes > 0 && fallocate(fd, 0, 0, (off_t)bytes) != 0)) {
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
