/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the jobs (sort, count) have in common: records are read, sampled, planned for
 * and sent to the ranks of the plan; phases are timed; the end is reported.
 */
#ifndef SKEW_SHUFFLE_H
#define SKEW_SHUFFLE_H

#include "../common/outfile.h"
#include "input.h"

enum phase { READ, SAMPLE, PLAN, EXCHANGE, WORK, NPHASES };

/* Texts one behind the other, each followed by a zero. */
struct store {
    char *text;
    size_t bytes, text_room;
    size_t *begins; /* [count] */
    size_t count, room;
};

struct shuffle {
    struct job *job;
    const struct skew_options *options;
    const char *work; /* name of the last phase */
    long column;      /* of the key, from 1 on; -1 is the last; 0: the whole line */
    bool by_number;   /* keys are numbers */
    bool ordered;     /* the plan is by range */
    struct outfile report;
    struct outfile part; /* of this rank, if --out is given */

    struct store in; /* this rank's share of the file */
    dml_text
        *items; /* [nitems] what is sent: lines, or words in them; with their keys: */
    dml_bytes *texts;
    uint64_t *numbers; /* of items whose keys are numbers; else NULL */
    size_t nitems, items_room, texts_room, numbers_room;
    dml_plan *plan;
    dml_plan_info info;
    struct store out; /* what came to this rank */

    double wall_s[NPHASES], cpu_s[NPHASES]; /* of this rank */
    double phase_wall_s, phase_cpu_s;       /* begin of the one that runs */
    double job_s;                           /* of the slowest rank */
    dml_exchange_stats exchange;
    uint64_t checksum; /* of the items of all ranks: sum of hashes */
    uint64_t total;    /* items of all ranks */
};

bool store_add(struct store *store, const void *text, size_t bytes);
void store_free(struct store *store);

/* Times of a phase. */
void phase_begin(struct shuffle *s);
void phase_end(struct shuffle *s, enum phase phase);

/*
 * Add an item with its key; the texts must live until the items have been sent. The
 * caller's function that finds the items of one line.
 */
dml_status shuffle_item(struct shuffle *s, dml_text item, dml_text key);
typedef dml_status find_items_fn(struct shuffle *s, dml_text line);

/* All phases but the last; ends with the same status on all ranks, its line printed. */
dml_status shuffle_run(struct shuffle *s, find_items_fn *find);

/* Print and report what was done; after the last phase. */
dml_status shuffle_report(struct shuffle *s);

/* Refuse files that would destroy each other or go with other jobs' parts, and open
 * this rank's. On failure the line is noted. */
dml_status outputs_open(struct shuffle *s);

/* s->part.file is written, and on the disk under another name; nothing without --out.
 */
dml_status part_sync(struct shuffle *s);

/* Collective, its line printed: all parts get their names, now that they are right. */
dml_status part_commit(struct shuffle *s);

/* Sum over the ranks, modulo 2^64. */
dml_status sum_u64(struct shuffle *s, uint64_t *values, size_t count);

void shuffle_free(struct shuffle *s);

#endif
