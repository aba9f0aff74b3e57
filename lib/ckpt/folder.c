/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What snapshots do to folders and files. All of it is private to the user (modes 0700
 * and 0600); a file is created, never opened for writing where something is already,
 * so that nobody's link is followed.
 */
#include "ckpt/ckpt.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- names ------------------------------------------------------------------------
 */

char *dml__ckpt_path(dml_ctx *ctx, const char *dir, const char *name)
{
    size_t bytes = strlen(dir) + strlen(name) + 2;
    char *path = dml__alloc(ctx, bytes);
    if (path != NULL)
        snprintf(path, bytes, "%s/%s", dir, name);
    return path;
}

void dml__shard_name(int rank, char name[DML__NAME_ROOM])
{
    snprintf(name, DML__NAME_ROOM, "shard-%06d", rank);
}

void dml__snapshot_name(uint64_t serial, uint64_t step, char name[DML__NAME_ROOM])
{
    snprintf(name, DML__NAME_ROOM, "snapshot-%06llu-step-%llu",
             (unsigned long long)serial, (unsigned long long)step);
}

void dml__unnamed_name(uint64_t id, uint64_t serial, char name[DML__NAME_ROOM])
{
    snprintf(name, DML__NAME_ROOM, "unnamed-%016llx-%llu", (unsigned long long)id,
             (unsigned long long)serial);
}

/* Digits of a number to base 10 or 16, and how many; 0 where there are none. */
static size_t take_number(const char *text, int base, uint64_t *value)
{
    const char *digits = base == 10 ? "0123456789" : "0123456789abcdef";
    size_t n = strspn(text, digits);
    char *end = NULL;
    errno = 0;
    *value = n > 0 ? strtoull(text, &end, base) : 0;
    return errno == 0 && n < 24 ? n : 0;
}

bool dml__is_snapshot(const char *name, uint64_t *serial)
{
    static const char before[] = "snapshot-", between[] = "-step-";
    uint64_t step;
    if (strncmp(name, before, sizeof before - 1) != 0)
        return false;
    name += sizeof before - 1;
    size_t n = take_number(name, 10, serial);
    name += n;
    if (n == 0 || strncmp(name, between, sizeof between - 1) != 0)
        return false;
    name += sizeof between - 1;
    n = take_number(name, 10, &step);
    return n > 0 && name[n] == '\0';
}

bool dml__is_unnamed(const char *name)
{
    static const char before[] = "unnamed-";
    uint64_t id, serial;
    if (strncmp(name, before, sizeof before - 1) != 0)
        return false;
    name += sizeof before - 1;
    if (take_number(name, 16, &id) != 16 || name[16] != '-')
        return false;
    size_t n = take_number(name + 17, 10, &serial);
    return n > 0 && name[17 + n] == '\0';
}

/* ---- writing ----------------------------------------------------------------------
 */

static dml_status cannot(dml_ctx *ctx, const char *where, const char *path,
                         const char *what)
{
    int error = errno;
    const char *advice = "check the folder and the disk";
    if (error == ENOSPC || error == EDQUOT)
        advice = "make room there";
    else if (error == EROFS || error == EACCES || error == EPERM)
        advice = "give a folder that may be written";
    else if (error == ENOTDIR)
        advice = "give a folder";
    else if (error == ENOENT)
        advice = "is the folder above there, and do all nodes see it?";
    return dml__fail(ctx, DML_EIO, where, "%.220s: cannot %s: %s; %s", path, what,
                     strerror(error), advice);
}

/* 0, or errno. */
static int write_all(int fd, const uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(fd, data, bytes);
        if (n < 0 && errno != EINTR)
            return errno;
        if (n > 0) {
            data += n;
            bytes -= (size_t)n;
        }
    }
    return 0;
}

dml_status dml__ckpt_write(dml_ctx *ctx, const char *where, const char *path,
                           const void *head, size_t head_bytes, const void *data,
                           size_t bytes, bool sync)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return cannot(ctx, where, path, "create it");
    const char *what = "write";
    int error = write_all(fd, head, head_bytes);
    if (error == 0)
        error = write_all(fd, data, bytes);
    if (error == 0 && sync && fsync(fd) != 0) {
        error = errno;
        what = "bring it to the disk";
    }
    if (close(fd) != 0 && error == 0) {
        error = errno;
        what = "close it";
    }
    if (error == 0)
        return DML_OK;
    unlink(path);
    errno = error;
    return cannot(ctx, where, path, what);
}

dml_status dml__ckpt_mkdir(dml_ctx *ctx, const char *where, const char *path)
{
    struct stat info;
    if (mkdir(path, 0700) == 0)
        return DML_OK;
    int error = errno;
    if (error == EEXIST && stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        return DML_OK;
    errno = error == EEXIST ? ENOTDIR : error;
    return cannot(ctx, where, path, "make the folder");
}

dml_status dml__ckpt_sync_dir(dml_ctx *ctx, const char *where, const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return cannot(ctx, where, path, "open the folder");
    /* A file system that has no such thing says EINVAL. */
    int error = fsync(fd) != 0 && errno != EINVAL ? errno : 0;
    close(fd);
    errno = error;
    return error == 0 ? DML_OK
                      : cannot(ctx, where, path, "bring the folder to the disk");
}

dml_status dml__ckpt_rename(dml_ctx *ctx, const char *where, const char *from,
                            const char *to)
{
    return rename(from, to) == 0 ? DML_OK : cannot(ctx, where, to, "give it this name");
}

/* ---- listing and removing ---------------------------------------------------------
 */

void dml__ckpt_remove(dml_ctx *ctx, const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            (void)unlinkat(dirfd(dir), e->d_name, 0);
    if (dir != NULL)
        closedir(dir);
    if (rmdir(path) != 0 && errno != ENOENT)
        dml__log(ctx, DML_LOG_WARN, "%.200s: cannot remove the folder: %s", path,
                 strerror(errno));
}

static int newest_first(const void *a, const void *b)
{
    uint64_t x = ((const struct dml__found *)a)->serial;
    uint64_t y = ((const struct dml__found *)b)->serial;
    return (x < y) - (x > y);
}

/* One more; doubles its memory. */
static bool add(dml_ctx *ctx, struct dml__found **found, size_t count, size_t *room)
{
    if (count < *room)
        return true;
    size_t more = *room > 0 ? 2 * *room : 16;
    struct dml__found *next = dml__alloc(ctx, dml__mul(more, sizeof *next));
    if (next == NULL)
        return false;
    if (count > 0)
        memcpy(next, *found, count * sizeof *next);
    dml__free(*found);
    *found = next;
    *room = more;
    return true;
}

dml_status dml__ckpt_list(dml_ctx *ctx, const char *where, const char *path,
                          struct dml__found **found, size_t *count)
{
    DIR *dir = opendir(path);
    *found = NULL;
    *count = 0;
    if (dir == NULL)
        return errno == ENOENT ? dml__fail(ctx, DML_EEND, where,
                                           "%.200s: there is no such folder", path)
                               : cannot(ctx, where, path, "read the folder");
    size_t room = 0;
    dml_status status = DML_OK;
    for (struct dirent *e; status == DML_OK && (e = readdir(dir)) != NULL;) {
        uint64_t serial;
        if (!dml__is_snapshot(e->d_name, &serial) ||
            strlen(e->d_name) >= DML__NAME_ROOM)
            continue;
        if (!add(ctx, found, *count, &room)) {
            status =
                dml__fail(ctx, DML_ENOMEM, where, "no memory to list %.200s", path);
        } else {
            struct dml__found *f = &(*found)[(*count)++];
            f->serial = serial;
            strcpy(f->name, e->d_name);
        }
    }
    closedir(dir);
    if (status != DML_OK) {
        dml__free(*found);
        *found = NULL;
        *count = 0;
    } else if (*count > 1) {
        qsort(*found, *count, sizeof **found, newest_first);
    }
    return status;
}

void dml__ckpt_clean(dml_ctx *ctx, const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        if (!dml__is_unnamed(e->d_name))
            continue;
        char *left = dml__ckpt_path(ctx, path, e->d_name);
        if (left != NULL)
            dml__ckpt_remove(ctx, left);
        dml__free(left);
    }
    if (dir != NULL)
        closedir(dir);
}

/* ---- lock -------------------------------------------------------------------------
 */

static void name_owner(int fd)
{
    char text[128] = "", host[64] = "";
    (void)gethostname(host, sizeof host - 1);
    int n = snprintf(text, sizeof text, "%s, process %ld\n", host, (long)getpid());
    if (ftruncate(fd, 0) == 0)
        (void)!pwrite(fd, text, (size_t)n, 0);
}

static dml_status held(dml_ctx *ctx, const char *where, const char *dir, int fd)
{
    char owner[96] = "";
    ssize_t n = pread(fd, owner, sizeof owner - 1, 0);
    owner[n > 0 ? n : 0] = '\0';
    owner[strcspn(owner, "\n")] = '\0';
    return dml__fail(ctx, DML_EIO, where,
                     "%.200s: another job writes its snapshots there (%s); wait for "
                     "its end, or give another folder",
                     dir, owner);
}

dml_status dml__ckpt_lock(dml_ctx *ctx, const char *where, const char *dir,
                          double seconds, int *out)
{
    char *path = dml__ckpt_path(ctx, dir, DML__LOCK_NAME);
    if (path == NULL)
        return dml__fail(ctx, DML_ENOMEM, where, "no memory for a path");
    int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    dml_status status = fd < 0 ? cannot(ctx, where, path, "create it") : DML_OK;
    double end_s = dml__now_s() + seconds;
    while (status == DML_OK && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            dml__log(ctx, DML_LOG_WARN,
                     "%.200s: no locks on this file system (%s): see to it that no "
                     "other job writes there",
                     dir, strerror(errno));
            break;
        }
        if (dml__now_s() >= end_s)
            status = held(ctx, where, dir, fd);
        else
            nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    dml__free(path);
    if (status == DML_OK) {
        name_owner(fd);
        *out = fd;
    } else if (fd >= 0) {
        close(fd);
    }
    return status;
}

/* Has the file that is locked still its name? */
static bool has_name(const char *path, int fd)
{
    struct stat named, held;
    return lstat(path, &named) == 0 && fstat(fd, &held) == 0 &&
           named.st_dev == held.st_dev && named.st_ino == held.st_ino;
}

dml_status dml__ckpt_keep_lock(dml_ctx *ctx, const char *where, const char *dir,
                               int *fd)
{
    char *path = dml__ckpt_path(ctx, dir, DML__LOCK_NAME);
    if (path == NULL)
        return dml__fail(ctx, DML_ENOMEM, where, "no memory for a path");
    bool held = has_name(path, *fd);
    dml__free(path);
    if (held)
        return DML_OK;
    int anew = -1;
    DML_TRY(dml__ckpt_lock(ctx, where, dir, 0, &anew));
    close(*fd);
    *fd = anew;
    dml__log(ctx, DML_LOG_WARN,
             "%.200s: somebody removed or replaced this folder, or the lock in it, "
             "while the job writes there; it is locked anew, but snapshots may be lost",
             dir);
    return DML_OK;
}
