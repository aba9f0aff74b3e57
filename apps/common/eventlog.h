/* SPDX-License-Identifier: BSD-3-Clause */
/* Events of a job as JSON, one object a line; see eventlog.c. */
#ifndef APPS_EVENTLOG_H
#define APPS_EVENTLOG_H

#include "dml/dml.h"

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct eventlog {
    char *path; /* NULL: not open */
    int fd;
    atomic_bool failing; /* the newest line could not be written */
    pthread_mutex_t lock;
};

/* Appends to the file; "-" is standard output. On failure "error" holds one line. */
dml_status eventlog_open(struct eventlog *log, const char *path, char *error,
                         size_t error_bytes);

/* A string that may not be UTF-8, such as a path. */
json_t *eventlog_text(const char *text);

/* Appends {"time":...,"event":event, and what "more" holds}, whole or not at all.
 * "more" is taken, and may be NULL. Threads: any. Returns 0 or errno; a log that is not
 * open takes all. */
int eventlog_write(struct eventlog *log, const char *event, json_t *more);

void eventlog_close(struct eventlog *log);

#endif
