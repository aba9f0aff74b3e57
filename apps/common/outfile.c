/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files that are whole or absent; see outfile.h.
 */
#include "outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void free_all(struct outfile *out)
{
    if (out->file)
        fclose(out->file);
    free(out->text);
    free(out->path);
    free(out->partial);
    *out = (struct outfile){0};
}

/* The file to write into: beside the name, or the device or pipe of that name. Not
 * blocking: a pipe that nobody reads is refused, not waited for. */
static int open_target(const struct outfile *out)
{
    if (!out->in_place)
        return open(out->partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    int fd = open(out->path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0)
        (void)fcntl(fd, F_SETFL, 0); /* from here on wait for the reader */
    return fd;
}

/* 0, or errno. */
static int try_target(struct outfile *out)
{
    struct stat info;
    bool exists = stat(out->path, &info) == 0;
    if (exists && S_ISDIR(info.st_mode))
        return EISDIR;
    out->in_place = exists && !S_ISREG(info.st_mode);
    int fd = open_target(out);
    if (fd < 0)
        return errno;
    close(fd);
    if (!out->in_place)
        unlink(out->partial);
    return 0;
}

dml_status outfile_open(struct outfile *out, const char *path, char *error,
                        size_t error_bytes)
{
    size_t room = strlen(path) + 32;
    *out = (struct outfile){.path = strdup(path), .partial = malloc(room)};
    int code = ENOMEM;
    if (out->path && out->partial) {
        snprintf(out->partial, room, "%s.partial-%ld", path, (long)getpid());
        code = try_target(out);
    }
    if (code == 0) {
        out->file = open_memstream(&out->text, &out->bytes);
        code = out->file ? 0 : ENOMEM;
    }
    if (code == 0)
        return DML_OK;
    snprintf(error, error_bytes,
             "cannot write %.300s: %s; give a path in a folder that exists and may be "
             "written",
             path, strerror(code));
    free_all(out);
    return DML_EIO;
}

static int write_all(int fd, const char *text, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(fd, text, bytes);
        if (n < 0 && errno != EINTR)
            return errno;
        if (n > 0) {
            text += n;
            bytes -= (size_t)n;
        }
    }
    return 0;
}

/* 0, or errno. */
static int write_target(const struct outfile *out)
{
    int fd = open_target(out);
    if (fd < 0)
        return errno;
    int code = write_all(fd, out->text, out->bytes);
    if (code == 0 && !out->in_place && fsync(fd) != 0)
        code = errno;
    if (close(fd) != 0 && code == 0)
        code = errno;
    if (out->in_place)
        return code;
    if (code == 0 && rename(out->partial, out->path) != 0)
        code = errno;
    if (code != 0)
        unlink(out->partial);
    return code;
}

dml_status outfile_commit(struct outfile *out, char *error, size_t error_bytes)
{
    bool kept = !ferror(out->file);
    kept = fclose(out->file) == 0 && kept;
    out->file = NULL;
    int code = kept ? write_target(out) : ENOMEM;
    if (code != 0)
        snprintf(error, error_bytes, "writing %.300s failed: %s; %s", out->path,
                 strerror(code),
                 code == ENOSPC ? "make room there, or give another path"
                                : "give another path");
    free_all(out);
    return code == 0 ? DML_OK : DML_EIO;
}

void outfile_cancel(struct outfile *out)
{
    free_all(out);
}
