/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A trace file without a server: every process appends with one write() a flush, which
 * the system does not mix with another's. Nobody needs to know who comes first: each
 * holds a shared lock as long as it may write, so whoever gets the exclusive one at its
 * start finds a file of an earlier run, and empties it. "[" begins the JSON array,
 * whose end readers do not ask for.
 */
#include "core/trace_file.h"

#include "core/ctx_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

struct dml__trace_file {
    dml_ctx *ctx;
    const char *path; /* the context's */
    int fd;           /* -1: could not be opened */
    bool speaks;
    atomic_bool failed;
    atomic_uint lanes;
};

static void fail(struct dml__trace_file *file, const char *what, int error)
{
    if (atomic_exchange(&file->failed, true) || !file->speaks)
        return;
    dml__log(file->ctx, DML_LOG_WARN,
             "trace: %s %s failed: %s; the program goes on without a trace, set "
             "DML_TRACE to a file on a disk with room",
             what, file->path, strerror(error));
}

void dml__trace_append(struct dml__trace_file *file, const char *lines, size_t bytes)
{
    if (atomic_load_explicit(&file->failed, memory_order_relaxed))
        return;
    ssize_t written = 0;
    do
        written = write(file->fd, lines, bytes);
    while (written < 0 && errno == EINTR);
    if (written != (ssize_t)bytes)
        fail(file, "writing", written < 0 ? errno : ENOSPC);
}

unsigned dml__trace_lane(struct dml__trace_file *file)
{
    return atomic_fetch_add(&file->lanes, 1) + 1;
}

static void begin(struct dml__trace_file *file)
{
    /* Not to wait for a pipe's reader: without one this fails. */
    file->fd =
        open(file->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0666);
    if (file->fd < 0) {
        fail(file, "opening", errno);
        return;
    }
    fcntl(file->fd, F_SETFL, O_APPEND);
    if (flock(file->fd, LOCK_EX | LOCK_NB) == 0) {
        int code = ftruncate(file->fd, 0);
        (void)code; /* a pipe or a device has no length */
        dml__trace_append(file, "[\n", 2);
    }
    flock(file->fd, LOCK_SH);
}

struct dml__trace_file *dml__trace_file(dml_ctx *ctx, bool speaks)
{
    const char *path = dml__ctx_env(ctx, "TRACE");
    if (path == NULL)
        return NULL;
    struct dml__trace_file *file = dml__ctx_trace(ctx, NULL);
    if (file == NULL) {
        struct dml__trace_file *made = dml__alloc(ctx, sizeof *made);
        if (made == NULL)
            return NULL;
        *made = (struct dml__trace_file){
            .ctx = ctx, .path = path, .fd = -1, .speaks = speaks};
        begin(made);
        file = dml__ctx_trace(ctx, made);
        if (file != made) /* another thread was faster */
            dml__trace_file_close(made);
    }
    return atomic_load(&file->failed) ? NULL : file;
}

void dml__trace_file_close(struct dml__trace_file *file)
{
    if (file == NULL)
        return;
    if (file->fd >= 0)
        close(file->fd);
    dml__free(file);
}
