/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files that are whole or absent; see outfile.h.
 */
#include "outfile.h"

#include "../../lib/data/partial_name.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

dml_status stdout_commit(char *error, size_t error_bytes)
{
    bool kept = !ferror(stdout);
    if (fflush(stdout) == 0 && kept)
        return DML_OK;
    snprintf(error, error_bytes,
             "cannot write to standard output, so what was printed is not all there; "
             "see where it goes");
    return DML_EIO;
}

static void free_all(struct outfile *out)
{
    if (out->file)
        fclose(out->file);
    if (out->streamed && !out->in_place)
        unlink(out->partial);
    free(out->text);
    free(out->path);
    free(out->target);
    free(out->partial);
    *out = (struct outfile){0};
}

/* The standard stream that a path stands for, or -1. It is written through the
 * descriptor that is open: by its name it would be opened once more, at its start. */
static int standard_stream(const char *path)
{
    static const struct {
        const char *path;
        int fd;
    } streams[] = {
        {"-", STDOUT_FILENO},
        {"/dev/stdout", STDOUT_FILENO},
        {"/dev/fd/1", STDOUT_FILENO},
        {"/proc/self/fd/1", STDOUT_FILENO},
        {"/dev/stderr", STDERR_FILENO},
        {"/dev/fd/2", STDERR_FILENO},
        {"/proc/self/fd/2", STDERR_FILENO},
    };
    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++)
        if (strcmp(path, streams[i].path) == 0)
            return streams[i].fd;
    return -1;
}

/* The file to write into: beside the name, or the device or pipe of that name. Not
 * blocking: a pipe that nobody reads is refused, not waited for. */
static int open_target(const struct outfile *out)
{
    int stream = standard_stream(out->target);
    if (stream == STDOUT_FILENO && fflush(stdout) != 0)
        return -1;
    if (stream >= 0)
        return fcntl(stream, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (!out->in_place)
        return dml__partial_create(out->target, out->partial,
                                   strlen(out->target) + DML__PARTIAL_ROOM);
    int fd = open(out->target, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0)
        (void)fcntl(fd, F_SETFL, 0); /* from here on wait for the reader */
    return fd;
}

/* 0, or errno. A stream begins in the file that is opened; else that is only tried. */
static int try_target(struct outfile *out)
{
    struct stat info;
    bool exists = stat(out->target, &info) == 0;
    if (exists && S_ISDIR(info.st_mode))
        return EISDIR;
    out->in_place =
        standard_stream(out->target) >= 0 || (exists && !S_ISREG(info.st_mode));
    int fd = open_target(out);
    if (fd < 0)
        return errno;
    if (out->streamed) {
        out->file = fdopen(fd, "w");
        if (out->file)
            return 0;
    }
    close(fd);
    if (!out->in_place)
        unlink(out->partial);
    return 0;
}

/* The path that is renamed to: of a link, what it leads to, so that it stays a link.
 * NULL: see errno. */
static char *final_path(const char *path)
{
    struct stat info;
    bool link = lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
    return link && standard_stream(path) < 0 ? realpath(path, NULL) : strdup(path);
}

static dml_status begin(struct outfile *out, const char *path, bool streamed,
                        char *error, size_t error_bytes)
{
    *out = (struct outfile){.target = final_path(path), .streamed = streamed};
    int code = out->target ? ENOMEM : errno;
    size_t room = out->target ? strlen(out->target) + DML__PARTIAL_ROOM : 0;
    out->path = strdup(path);
    out->partial = out->target ? calloc(room, 1) : NULL;
    if (out->path && out->partial)
        code = try_target(out);
    if (code == 0 && !streamed)
        out->file = open_memstream(&out->text, &out->bytes);
    if (code == 0 && !out->file)
        code = ENOMEM;
    if (code == 0)
        return DML_OK;
    snprintf(error, error_bytes,
             "cannot write %.300s: %s; give a path in a folder that exists and may be "
             "written",
             path, strerror(code));
    free_all(out);
    return DML_EIO;
}

dml_status outfile_open(struct outfile *out, const char *path, char *error,
                        size_t error_bytes)
{
    return begin(out, path, false, error, error_bytes);
}

dml_status outfile_stream(struct outfile *out, const char *path, char *error,
                          size_t error_bytes)
{
    return begin(out, path, true, error, error_bytes);
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
    if (code == 0 && !out->in_place &&
        (dml__partial_publish(fd) != 0 || (!out->fleeting && fsync(fd) != 0)))
        code = errno;
    if (close(fd) != 0 && code == 0)
        code = errno;
    if (out->in_place)
        return code;
    if (code == 0 && rename(out->partial, out->target) != 0)
        code = errno;
    if (code != 0)
        unlink(out->partial);
    return code;
}

/* 0, or errno; of a write that failed before, it is still there. */
static int sync_stream(struct outfile *out)
{
    int before = ferror(out->file) ? errno : 0;
    if (fflush(out->file) != 0 ||
        (!out->in_place && (dml__partial_publish(fileno(out->file)) != 0 ||
                            fsync(fileno(out->file)) != 0)))
        return before ? before : errno;
    return ferror(out->file) && before == 0 ? EIO : before;
}

/* 0, or errno. */
static int name_stream(struct outfile *out)
{
    int code = sync_stream(out);
    if (fclose(out->file) != 0 && code == 0)
        code = errno;
    out->file = NULL;
    if (code == 0 && !out->in_place && rename(out->partial, out->target) != 0)
        code = errno;
    return code;
}

/* 0, or errno. */
static int write_kept(struct outfile *out)
{
    bool kept = !ferror(out->file);
    kept = fclose(out->file) == 0 && kept;
    out->file = NULL;
    return kept ? write_target(out) : ENOMEM;
}

static dml_status tell(const struct outfile *out, int code, char *error,
                       size_t error_bytes)
{
    if (code == 0)
        return DML_OK;
    snprintf(
        error, error_bytes, "writing %.300s failed: %s; %s", out->path, strerror(code),
        code == ENOSPC ? "make room there, or give another path" : "give another path");
    return DML_EIO;
}

dml_status outfile_sync(struct outfile *out, char *error, size_t error_bytes)
{
    dml_status status = tell(out, sync_stream(out), error, error_bytes);
    if (status != DML_OK)
        free_all(out);
    return status;
}

dml_status outfile_commit(struct outfile *out, char *error, size_t error_bytes)
{
    int code = out->streamed ? name_stream(out) : write_kept(out);
    dml_status status = tell(out, code, error, error_bytes);
    free_all(out);
    return status;
}

void outfile_cancel(struct outfile *out)
{
    free_all(out);
}
