/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lines of plain and gzip files.
 */
#include "lines.h"

dml_status lines_open(struct lines *lines, struct job *job, const char *path)
{
    *lines = (struct lines){.job = job, .path = path};
    return job_note(job, dml_lines_open(job->ctx, path, NULL, &lines->file));
}

dml_status lines_next(struct lines *lines)
{
    dml_line line;
    dml_status status = dml_lines_next(lines->file, &line);
    if (status == DML_EEND)
        return status;
    if (status != DML_OK)
        return job_note(lines->job, status);
    lines->text = line.text.data;
    lines->bytes = line.text.bytes;
    lines->number = line.number;
    return DML_OK;
}

void lines_close(struct lines *lines)
{
    dml_lines_close(lines->file);
    *lines = (struct lines){0};
}
