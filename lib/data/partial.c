/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files that are whole or absent; see partial.h. Output is gathered here and not by
 * stdio, so that each failed write is seen where it happens, with the bytes written.
 */
#include "data/partial.h"

#include "data/partial_name.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER ((size_t)1 << 20)

static char *joined(dml_ctx *ctx, const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b);
    char *text = dml__alloc(ctx, na + nb + 1);
    if (text != NULL) {
        memcpy(text, a, na);
        memcpy(text + na, b, nb);
    }
    return text;
}

static dml_status cannot(dml__partial *p, const char *what)
{
    int error = errno;
    p->failed = dml__fail(
        p->ctx, DML_EIO, p->where, "%.200s: cannot %s after %llu bytes: %s; %s",
        p->path, what, (unsigned long long)(p->bytes - p->used), strerror(error),
        error == ENOSPC || error == EDQUOT ? "free some space and run again"
                                           : "check the folder and the disk");
    return p->failed;
}

/* A link stays one: the file that it leads to is replaced. */
static dml_status follow(dml__partial *p)
{
    struct stat info;
    if (lstat(p->path, &info) != 0 || !S_ISLNK(info.st_mode))
        return DML_OK;
    char *target = realpath(p->path, NULL);
    if (target == NULL)
        return cannot(p, "follow the link");
    char *path = joined(p->ctx, target, "");
    free(target);
    if (path == NULL)
        return dml__fail(p->ctx, DML_ENOMEM, p->where, "no memory to write a file");
    dml__free(p->path);
    p->path = path;
    return DML_OK;
}

/* What has the name now must be a file or nothing: a rename would take the place of a
 * device or a pipe, and fails on a folder when all work is done. */
static dml_status check_name(dml__partial *p)
{
    struct stat info;
    DML_TRY(follow(p));
    if (stat(p->path, &info) != 0 || S_ISREG(info.st_mode))
        return DML_OK;
    return dml__fail(p->ctx, DML_EIO, p->where,
                     "%.200s: cannot create it: %s of that name is there; give the "
                     "name of a file",
                     p->path,
                     S_ISDIR(info.st_mode) ? "a folder" : "a device or a pipe");
}

static dml_status create(dml__partial *p)
{
    size_t room = strlen(p->path) + DML__PARTIAL_ROOM;
    char *name = dml__alloc(p->ctx, room);
    if (name == NULL)
        return dml__fail(p->ctx, DML_ENOMEM, p->where, "no memory to write a file");
    p->fd = dml__partial_create(p->path, name, room);
    if (p->fd >= 0) {
        p->partial = name;
        return DML_OK;
    }
    int error = errno;
    dml__free(name); /* what has the name is another's */
    errno = error;
    return cannot(p, "create it");
}

dml_status dml__partial_open(dml__partial *p, dml_ctx *ctx, const char *where,
                             const char *path, const char *suffix)
{
    *p = (dml__partial){.ctx = ctx, .where = where, .fd = -1};
    if (path[0] == '\0')
        return dml__fail(ctx, DML_EINVAL, where, "the path is empty; name a file");
    p->path = joined(ctx, path, suffix);
    p->buffer = dml__alloc(ctx, BUFFER);
    if (p->path == NULL || p->buffer == NULL)
        return dml__fail(ctx, DML_ENOMEM, where, "no memory to write a file");
    DML_TRY(check_name(p));
    return create(p);
}

static dml_status write_out(dml__partial *p, const uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(p->fd, data, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cannot(p, "write");
        data += n;
        bytes -= (size_t)n;
    }
    return DML_OK;
}

static dml_status flush(dml__partial *p)
{
    DML_TRY(write_out(p, p->buffer, p->used));
    p->used = 0;
    return DML_OK;
}

dml_status dml__partial_write(dml__partial *p, const void *data, size_t bytes)
{
    if (p->failed != DML_OK)
        return p->failed;
    if (bytes > BUFFER - p->used)
        DML_TRY(flush(p));
    if (bytes >= BUFFER) {
        DML_TRY(write_out(p, data, bytes));
    } else if (bytes > 0) {
        memcpy(p->buffer + p->used, data, bytes);
        p->used += bytes;
    }
    p->bytes += bytes;
    return DML_OK;
}

dml_status dml__partial_finish(dml__partial *p, bool sync, int64_t *mtime_ns)
{
    struct stat info;
    if (p->failed != DML_OK)
        return p->failed;
    DML_TRY(flush(p));
    if (dml__partial_publish(p->fd) != 0)
        return cannot(p, "set its permissions");
    if (sync && fsync(p->fd) != 0)
        return cannot(p, "bring it to the disk");
    if (fstat(p->fd, &info) != 0)
        return cannot(p, "ask for its time");
    *mtime_ns = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
    int fd = p->fd;
    p->fd = -1;
    return close(fd) != 0 ? cannot(p, "close it") : DML_OK;
}

/* A rename is on the disk when its folder is. Not all file systems can say so. */
static void sync_folder(const char *path)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    size_t length = slash != NULL ? (size_t)(slash - path) + 1 : 0;
    if (length >= sizeof folder)
        return;
    snprintf(folder, sizeof folder, "%.*s", length > 0 ? (int)length : 1,
             length > 0 ? path : ".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

dml_status dml__partial_rename(dml__partial *p, bool sync)
{
    struct stat info;
    p->replaced = lstat(p->path, &info) == 0;
    if (rename(p->partial, p->path) != 0)
        return cannot(p, "give it its name");
    dml__free(p->partial);
    p->partial = NULL;
    if (sync)
        sync_folder(p->path);
    return DML_OK;
}

void dml__partial_undo(dml__partial *p)
{
    if (!p->replaced)
        unlink(p->path);
}

void dml__partial_close(dml__partial *p)
{
    if (p->fd >= 0)
        close(p->fd);
    if (p->partial != NULL)
        unlink(p->partial);
    dml__free(p->buffer);
    dml__free(p->partial);
    dml__free(p->path);
    *p = (dml__partial){.fd = -1};
}
