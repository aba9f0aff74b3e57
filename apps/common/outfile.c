/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files that are whole or absent; see outfile.h.
 */
#include "outfile.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void close_all(struct outfile *out)
{
    if (out->file)
        fclose(out->file);
    free(out->path);
    free(out->partial);
    *out = (struct outfile){0};
}

dml_status outfile_open(struct outfile *out, const char *path, char *error,
                        size_t error_bytes)
{
    struct stat info;
    size_t room = strlen(path) + 32;
    *out = (struct outfile){.path = strdup(path), .partial = malloc(room)};
    if (!out->path || !out->partial) {
        close_all(out);
        snprintf(error, error_bytes, "out of memory");
        return DML_ENOMEM;
    }
    snprintf(out->partial, room, "%s.partial-%ld", path, (long)getpid());
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        errno = EISDIR;
    else
        out->file = fopen(out->partial, "wb");
    if (!out->file) {
        snprintf(error, error_bytes,
                 "cannot write %s: %s; give a path in a folder that exists and may be "
                 "written",
                 path, strerror(errno));
        close_all(out);
        return DML_EIO;
    }
    return DML_OK;
}

dml_status outfile_commit(struct outfile *out, char *error, size_t error_bytes)
{
    bool good =
        fflush(out->file) == 0 && !ferror(out->file) && fsync(fileno(out->file)) == 0;
    good = fclose(out->file) == 0 && good;
    out->file = NULL;
    good = good && rename(out->partial, out->path) == 0;
    if (!good) {
        snprintf(error, error_bytes, "writing %s failed: %s; is the disk full?",
                 out->path, strerror(errno));
        unlink(out->partial);
    }
    close_all(out);
    return good ? DML_OK : DML_EIO;
}

void outfile_cancel(struct outfile *out)
{
    if (out->file)
        unlink(out->partial);
    close_all(out);
}
