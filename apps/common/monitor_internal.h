/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the monitor share: monitor.c, and monitor_file.c, which rewrites
 * the file of metrics. */
#ifndef APPS_MONITOR_INTERNAL_H
#define APPS_MONITOR_INTERNAL_H

#include "eventlog.h"
#include "metrics.h"
#include "monitor.h"

#include <stdatomic.h>

/* What a rank leaves for the one that writes (dml_comm_set_note). Words of 64 bits. */
struct monitor_note {
    struct monitor_values values;
    uint64_t first_step; /* of this run, and values.train_s then */
    double first_train_s, first_progress;
    double begin_s; /* clock when it began; the clock is the node's */
    uint64_t sent, received, resident, peak;
    uint64_t snapshots, failed_snapshots;
    double snapshot_s; /* clock at the newest; 0: none */
};
_Static_assert(sizeof(struct monitor_note) <= DML_NOTE_WORDS * sizeof(uint64_t),
               "a note has room");

/* What is remembered of a rank from one rewrite to the next. */
struct monitor_past {
    double clock_s, wait_s; /* of the rewrite before, and waits until then */
    uint64_t step;
    double train_s;
    double step_s, wait_ratio;
};

struct monitor_file {
    char *path; /* NULL: this rank writes none */
    double every_s;
    int *of; /* [nranks] ranks that it is about, increasing */
    size_t nranks;
    struct metrics_rank *ranks; /* [nranks] */
    struct monitor_past *past;  /* [nranks] */
    bool whole;                 /* it tells of the job, too */
    bool failing;               /* the newest rewrite failed */
    bool running;               /* the thread */
    bool stop;
    pthread_t thread;
    pthread_mutex_t lock; /* one rewrite at a time; guards stop */
    pthread_cond_t wake;
};

struct monitor {
    struct job *job;
    struct monitor_note note; /* of this rank */
    bool begun;               /* note has values */
    double memory_s;          /* when its memory was looked at */
    double every_s;
    struct metrics_job about; /* app, run, version, state */
    bool failed;              /* told already */
    struct monitor_file file;
    struct eventlog log; /* on rank 0 */
};

double monitor_now_s(void);

/* Make out whose figures this rank writes, and into which file, write it once, and
 * start the thread. Not collective; on failure the job's error holds the line. */
dml_status monitor_file_open(struct monitor *monitor, const char *path, double every_s);

/* Write it once more, now. */
void monitor_file_rewrite(struct monitor *monitor);

/* Around changes of what the thread reads. */
void monitor_file_lock(struct monitor *monitor, bool lock);

/* End the thread, and write the file a last time, or remove it. */
void monitor_file_close(struct monitor *monitor, bool remove);

#endif
