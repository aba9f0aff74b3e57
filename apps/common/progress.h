/* SPDX-License-Identifier: BSD-3-Clause */
/* Progress for people: a bar on a terminal, plain lines elsewhere; see progress.c. */
#ifndef APPS_PROGRESS_H
#define APPS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool shown; /* this process prints */
    bool bar;   /* standard output is a terminal */
    bool drawn; /* a bar stands on the current line */
    double last_s;
};

/* Prints when "shown" (rank 0 without --quiet). */
void progress_init(struct progress *progress, bool shown);

/* Redraw the bar, at most some times a second; nothing without a terminal. */
void progress_bar(struct progress *progress, uint64_t done, uint64_t total,
                  const char *text);

/* A whole line, in place of the bar. */
void progress_line(struct progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
