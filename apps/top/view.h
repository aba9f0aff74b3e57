/* SPDX-License-Identifier: BSD-3-Clause */
/* One screen of dml-top; see view.c. */
#ifndef TOP_VIEW_H
#define TOP_VIEW_H

#include "jobs.h"

#include <stdio.h>

struct view {
    FILE *out;
    bool color;
    size_t width, height; /* of the terminal; 0: no limit */
};

/* All jobs. errors [nerrors]: lines about files that cannot be read. */
void view_show(const struct view *view, const struct top_jobs *jobs,
               const char *const *errors, size_t nerrors, double now_s);

#endif
