/* SPDX-License-Identifier: BSD-3-Clause */
/* Snapshots in memory: what a job has put into one, and what an input makes of it; see
 * going_on.h. */
#ifndef HELD_SNAPSHOT_H
#define HELD_SNAPSHOT_H

#include "dml/ckpt.h"

#include "fuzz.h"

enum { HELD_SECTIONS = 64, HELD_CHANGES = 32 };

struct section {
    char name[DML_CKPT_NAME_MAX];
    dml_section_kind kind;
    dml_dtype dtype;
    uint64_t count; /* elements */
    size_t bytes;   /* of data; what is asked for behind them is 0 */
    uint8_t *data;
};

/* Other bytes than a section's own. */
struct patch {
    const struct section *section;
    uint64_t at; /* of "bytes" bytes; else they fill all of it, again and again */
    size_t bytes;
    bool fill;
    uint8_t data[8];
};

/* A snapshot as a job has taken it. */
struct dml_ckpt {
    struct section sections[HELD_SECTIONS];
    size_t nsections;
    uint64_t step;
    bool taken;
};

/* And as an input has changed it. */
struct dml_snapshot {
    struct section sections[HELD_SECTIONS]; /* data are the snapshot's own */
    size_t nsections;
    uint64_t step;
    int ranks;
    struct patch patches[HELD_CHANGES];
    size_t npatches, nchanges;
};

/* What the next job writes to, and what it reads; the other is NULL. */
extern dml_ckpt *held_taking;
extern dml_snapshot *held_input;

#endif
