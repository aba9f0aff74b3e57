/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests of snapshots share: a folder, a state of any parts, and faults. */
#ifndef CKPT_HELP_H
#define CKPT_HELP_H

#include "dml_test.h"

#define PATH_ROOM 300
#define NTOTAL    10007 /* elements of the vector */

/* A new folder of all ranks, and its removal with all that is in it. Collective. */
void help_folder(struct dml_test *t, char path[PATH_ROOM]);
void help_remove(struct dml_test *t, const char *path);

/* A writer without waiting for disks, or the case fails. Collective. */
dml_ckpt *help_open(struct dml_test *t, const char *dir, int keep, dml_comm *comm);

/* Take a snapshot of the state of this step: "cuts" chooses how the vector is cut. */
void help_put(struct dml_test *t, dml_ckpt *ckpt, uint64_t step, uint64_t cuts,
              dml_comm *comm);
/* The same, waited for; the news must be that it is there. */
void help_save(struct dml_test *t, dml_ckpt *ckpt, uint64_t step, uint64_t cuts,
               dml_comm *comm);

/* The snapshot holds the state of that step, whoever wrote it; read in other parts. */
void help_check(struct dml_test *t, const dml_snapshot *snapshot, uint64_t step,
                uint64_t cuts, dml_comm *comm);

/* The newest snapshot of a folder is of this step, and right. Collective. */
void help_newest(struct dml_test *t, const char *dir, uint64_t step);

/* Names in a folder that begin so; their number, and the last one in order of names. */
int help_count(const char *dir, const char *begin, char last[PATH_ROOM]);

/* Which calls of the library fail on this rank from here on, and how. 0: none. */
enum { FAULT_FSYNC = 1, FAULT_MKDIR = 2, FAULT_RENAME = 4 };
void help_fault(int calls, int error);

/* Cases of ckpt_faults.c. */
void help_a_failing_disk_leaves_the_one_before(struct dml_test *t);
void help_a_file_that_may_not_grow(struct dml_test *t);
void help_a_full_disk(struct dml_test *t);
void help_folders_apart(struct dml_test *t);
void help_no_memory(struct dml_test *t);

#endif
