/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The files that a job writes: each rank's part, PREFIX.RANK, and the report. Parts
 * have their names only when all of them are written and verified, so that what is
 * there is whole.
 */
#include "../common/paths.h"
#include "shuffle.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_ROOM = 4096 };

/* Refuse to write "path" when it is the file of another option; NULL is no file. */
static dml_status check_apart(struct job *job, const char *path, const char *option,
                              const char *other)
{
    if (!paths_same(path, other))
        return DML_OK;
    return job_fail(job, DML_EINVAL,
                    "%.200s would be overwritten: it is --%s, too; give another path",
                    path, option);
}

static dml_status part_path(struct shuffle *s, int rank, char path[PATH_ROOM])
{
    if (snprintf(path, PATH_ROOM, "%s.%d", s->options->out, rank) < PATH_ROOM)
        return DML_OK;
    return job_fail(s->job, DML_EINVAL, "--out is longer than %d characters",
                    PATH_ROOM - 16);
}

/* The number of a part from its name's ending; -1: it is none. */
static long part_number(const char *ending)
{
    char *end;
    if (ending[0] < '0' || ending[0] > '9')
        return -1;
    long number = strtol(ending, &end, 10);
    return *end == '\0' ? number : -1;
}

/* Parts of more ranks would be taken for parts of this job. */
static dml_status check_older(struct shuffle *s)
{
    const char *out = s->options->out, *slash = strrchr(out, '/');
    const char *name = slash ? slash + 1 : out;
    size_t bytes = strlen(name);
    char folder[PATH_ROOM];
    snprintf(folder, sizeof folder, "%.*s", (int)(name - out), out);
    DIR *all = opendir(folder[0] ? folder : ".");
    dml_status status = DML_OK;
    for (struct dirent *one; all && status == DML_OK && (one = readdir(all));)
        if (strncmp(one->d_name, name, bytes) == 0 && one->d_name[bytes] == '.' &&
            part_number(one->d_name + bytes + 1) >= s->job->nranks)
            status = job_fail(s->job, DML_EINVAL,
                              "%.200s%.200s is there, of a job of more ranks than %d: "
                              "remove it, or give another --out",
                              folder, one->d_name, s->job->nranks);
    if (all)
        closedir(all);
    return status;
}

/* No part is a file of another option. */
static dml_status check_names(struct shuffle *s)
{
    const struct skew_options *o = s->options;
    char path[PATH_ROOM];
    for (int r = 0; o->out && r < s->job->nranks; r++) {
        SKEW_TRY(part_path(s, r, path));
        SKEW_TRY(check_apart(s->job, path, "data", o->data));
        SKEW_TRY(check_apart(s->job, path, "report", o->report));
    }
    return o->out ? check_older(s) : DML_OK;
}

dml_status outputs_open(struct shuffle *s)
{
    struct job *job = s->job;
    char path[PATH_ROOM];
    if (job->rank == 0)
        SKEW_TRY(check_names(s));
    if (s->options->report && job->rank == 0)
        SKEW_TRY(outfile_open(&s->report, s->options->report, job->error,
                              sizeof job->error));
    if (!s->options->out)
        return DML_OK;
    SKEW_TRY(part_path(s, job->rank, path));
    return outfile_stream(&s->part, path, job->error, sizeof job->error);
}

dml_status part_sync(struct shuffle *s)
{
    if (!s->part.file)
        return DML_OK;
    return outfile_sync(&s->part, s->job->error, sizeof s->job->error);
}

dml_status part_commit(struct shuffle *s)
{
    dml_status status = DML_OK;
    if (s->part.file)
        status = outfile_commit(&s->part, s->job->error, sizeof s->job->error);
    return job_agree(s->job, status);
}
