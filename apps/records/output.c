/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Output files of conversions, and the record being put together.
 */
#include "../../lib/data/partial_name.h"
#include "convert.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* In the words of the library's own files. */
static int cannot(const struct output *out, const char *what, int error)
{
    return refuse("%.200s: cannot %s: %s; %s",
                  out->path ? out->path : "standard output", what, strerror(error),
                  error == ENOSPC || error == EDQUOT ? "free some space and run again"
                                                     : "check the folder and the disk");
}

/* The name that is written to, behind links: a link stays one. NULL, with errno. */
static char *target_of(const char *path)
{
    struct stat info;
    bool link = lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
    return link ? realpath(path, NULL) : strdup(path);
}

/* A device or a pipe keeps its place; one that nobody reads is refused, not waited
 * for. */
static int open_in_place(const struct output *out)
{
    int fd = open(out->path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0)
        (void)fcntl(fd, F_SETFL, 0);
    return fd;
}

/* A file beside the name, which nobody else writes to. */
static int open_beside(struct output *out)
{
    size_t room = strlen(out->path) + DML__PARTIAL_ROOM;
    out->partial = malloc(room);
    errno = ENOMEM;
    int fd = out->partial ? dml__partial_create(out->path, out->partial, room) : -1;
    if (fd < 0) { /* what has the name is another's */
        int error = errno;
        free(out->partial);
        out->partial = NULL;
        errno = error;
    }
    return fd;
}

int output_open(struct output *out, const char *path, bool sync)
{
    struct stat info;
    *out = (struct output){.sync = sync};
    if (strcmp(path, "-") == 0) {
        out->file = stdout;
        return EXIT_GOOD;
    }
    out->path = target_of(path);
    if (!out->path)
        return refuse("%.200s: cannot follow the link: %s", path, strerror(errno));
    bool there = stat(out->path, &info) == 0;
    if (there && S_ISDIR(info.st_mode))
        return cannot(out, "create it", EISDIR);
    int fd = there && !S_ISREG(info.st_mode) ? open_in_place(out) : open_beside(out);
    if (fd < 0)
        return cannot(out, "create it", errno);
    out->file = fdopen(fd, "w");
    if (out->file)
        return EXIT_GOOD;
    close(fd);
    return cannot(out, "create it", ENOMEM);
}

void output_write(struct output *out, const void *data, size_t bytes)
{
    if (out->error == 0 && is_stopped())
        out->error = EINTR;
    if (out->error == 0 && fwrite(data, 1, bytes, out->file) != bytes)
        out->error = errno;
}

void output_rewind(struct output *out)
{
    if (out->error == 0 && fseeko(out->file, 0, SEEK_SET) != 0)
        out->error = errno;
}

int output_finish(struct output *out)
{
    if (out->error == 0 && fflush(out->file) != 0)
        out->error = errno;
    if (out->error == 0 && out->partial && dml__partial_publish(fileno(out->file)) != 0)
        out->error = errno;
    if (out->error == 0 && out->partial && out->sync && fsync(fileno(out->file)) != 0)
        out->error = errno;
    if (out->file != stdout && fclose(out->file) != 0 && out->error == 0)
        out->error = errno;
    out->file = NULL;
    return out->error == 0 ? EXIT_GOOD : cannot(out, "write", out->error);
}

int output_name(struct output *out)
{
    struct stat info;
    if (!out->partial)
        return EXIT_GOOD;
    out->replaced = lstat(out->path, &info) == 0;
    if (rename(out->partial, out->path) != 0)
        return cannot(out, "give it its name", errno);
    out->named = true;
    return EXIT_GOOD;
}

void output_close(struct output *out, bool good)
{
    if (out->file && out->file != stdout)
        fclose(out->file);
    if (out->partial && !out->named)
        unlink(out->partial);
    if (out->named && !good && !out->replaced)
        unlink(out->path);
    free(out->partial);
    free(out->path);
    *out = (struct output){0};
}

bool add(struct conversion *c, const void *data, size_t bytes)
{
    if (bytes > c->room - c->bytes) {
        size_t room = 2 * (c->bytes + bytes) + 256;
        char *text = realloc(c->text, room);
        if (!text)
            return false;
        c->text = text;
        c->room = room;
    }
    if (bytes > 0)
        memcpy(c->text + c->bytes, data, bytes);
    c->bytes += bytes;
    return true;
}

dml_status append(struct conversion *c, uint64_t key, double weight)
{
    if (is_stopped())
        return DML_EIO;
    dml_status status =
        dml_record_writer_append(c->writer, c->text, c->bytes, key, weight);
    c->bytes = 0;
    return status;
}
