/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The text of the tuning table (DML_TUNING): rank 0 reads the file and tells the
 * others, so that it need not be visible on every host. A part of a communicator takes
 * its parent's. lib/collectives makes rules of it.
 */
#include "comm/comm_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_BYTES = 1 << 20 };

/* Opens it, unless it is a folder, or a pipe for whose writer this would wait; else
 * NULL, and errno says why. */
static FILE *open_file(const char *path)
{
    struct stat about = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return NULL;
    bool regular = fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
    FILE *file = regular ? fdopen(fd, "r") : NULL;
    int error = regular ? errno : S_ISDIR(about.st_mode) ? EISDIR : EINVAL;
    if (file == NULL)
        close(fd);
    errno = error;
    return file;
}

/* The file's name and text, each ended by a zero; NULL: errno says why. */
static char *read_file(const char *path, long long *bytes)
{
    size_t name_bytes = strlen(path) + 1, n = 0;
    FILE *file = open_file(path);
    if (file == NULL)
        return NULL;
    char *both = calloc(1, name_bytes + MOST_BYTES + 1);
    if (both != NULL) {
        memcpy(both, path, name_bytes);
        n = fread(both + name_bytes, 1, MOST_BYTES, file);
        if (ferror(file) || n == MOST_BYTES || strlen(both + name_bytes) != n) {
            errno = n == MOST_BYTES ? EFBIG : ferror(file) ? EIO : EILSEQ;
            free(both);
            both = NULL;
        }
    }
    fclose(file);
    *bytes = (long long)(name_bytes + n + 1);
    return both;
}

static dml_status copy_tuning(dml_comm *comm, const char *from, size_t bytes)
{
    comm->tuning = dml__alloc(comm->ctx, bytes);
    comm->tuning_bytes = bytes;
    if (comm->tuning == NULL)
        return dml__fail(comm->ctx, DML_ENOMEM, "dml_comm",
                         "no memory for a tuning table of %zu bytes", bytes);
    if (from != NULL)
        memcpy(comm->tuning, from, bytes);
    return DML_OK;
}

dml_status dml__comm_take_tuning(dml_comm *comm, const dml_comm *parent)
{
    if (parent->tuning == NULL)
        return DML_OK;
    return copy_tuning(comm, parent->tuning, parent->tuning_bytes);
}

dml_status dml__comm_read_tuning(dml_comm *comm)
{
    const char *path = dml__ctx_env(comm->ctx, "TUNING");
    char *both = NULL;
    long long told = 0; /* bytes, or minus the error */
    if (comm->rank == 0 && path != NULL) {
        errno = 0;
        both = read_file(path, &told);
        if (both == NULL)
            told = -(errno != 0 ? errno : ENOMEM);
    }
    MPI_Bcast(&told, 1, MPI_LONG_LONG, 0, comm->coll);
    if (told == 0)
        return DML_OK;
    if (told < 0)
        return dml__fail(comm->ctx, DML_EIO, "dml_comm_from_mpi",
                         "DML_TUNING=%s: rank 0 cannot read the tuning table: %s; a "
                         "text file of up to 1 MiB is expected",
                         path != NULL ? path : "", strerror((int)-told));
    dml_status status = copy_tuning(comm, both, (size_t)told);
    free(both);
    int ok = status == DML_OK, all_ok = 0;
    MPI_Allreduce(&ok, &all_ok, 1, MPI_INT, MPI_MIN, comm->coll);
    if (!all_ok)
        return status != DML_OK ? status
                                : dml__fail(comm->ctx, DML_ENOMEM, "dml_comm_from_mpi",
                                            "another rank has no memory for the "
                                            "tuning table");
    MPI_Bcast(comm->tuning, (int)told, MPI_CHAR, 0, comm->coll);
    return DML_OK;
}

const char *dml__comm_tuning(const dml_comm *comm, const char **name)
{
    *name = comm->tuning;
    return comm->tuning != NULL ? comm->tuning + strlen(comm->tuning) + 1 : NULL;
}
