/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the fuzzers of the applications' own states share. A job of one rank trains on
 * a few rows and takes a snapshot, which stays in memory: libdml's calls for snapshots
 * are replaced. Then each input is a list of changes to it, and a job goes on from what
 * they make of it; without any change it must reach its end. The files of snapshots are
 * the fuzzer snapshot's.
 *
 * An input: a byte that chooses the options, then changes. The first byte of a change
 * is a section (5 bits) and what happens to it (3 bits); see enum change.
 */
#ifndef GOING_ON_H
#define GOING_ON_H

#include "../../apps/common/job.h"
#include "fuzz.h"

struct going_on {
    const struct cli_command *command; /* train */
    void *options;                     /* the struct that its words fill */
    /* Words of the command line, [nvariants]; without those of snapshots. */
    const char *const *variants;
    size_t nvariants;
    dml_status (*train)(struct job *job);
};

/* Runs one input. */
void going_on_run(const struct going_on *app, const uint8_t *data, size_t size);

#endif
