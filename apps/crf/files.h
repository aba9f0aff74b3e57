/* SPDX-License-Identifier: BSD-3-Clause */
/* Which files a training reads; see files.c. */
#ifndef CRF_FILES_H
#define CRF_FILES_H

#include "commands.h"

#define FILES_PATH 1024

/* "" where there is none; only train must be there. */
struct files {
    char train[FILES_PATH], dev[FILES_PATH], test[FILES_PATH];
};

/* On failure the job holds one line. */
dml_status files_find(struct files *files, struct job *job,
                      const struct crf_options *options);

#endif
