/* SPDX-License-Identifier: BSD-3-Clause */
/* Lines of plain and gzip files by libdml, whose errors become the job's; lines.c. */
#ifndef CRF_LINES_H
#define CRF_LINES_H

#include "dml/text.h"

#include "../common/job.h"

struct lines {
    struct job *job;
    const char *path; /* borrowed, for messages; "-" is standard input */
    dml_lines *file;
    const char *text; /* the line, without its end, then a zero byte */
    size_t bytes;
    uint64_t number; /* of the line: 1, 2, ... */
};

/* On failure the job holds one line. Close in any case. */
dml_status lines_open(struct lines *lines, struct job *job, const char *path);

/* DML_OK | DML_EEND | an error, told to the job. */
dml_status lines_next(struct lines *lines);

void lines_close(struct lines *lines);

#endif
