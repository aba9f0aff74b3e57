/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file watch.h
 * What the ranks of a node do at this moment, for monitors: read without their help, so
 * that it is there when they hang, compute or are stopped (doc/monitoring.md).
 *
 * A rank may leave a note beside it: numbers of the program's own, such as the step it
 * is at.
 */
#ifndef DML_WATCH_H
#define DML_WATCH_H

#include "dml/status.h"
#include "dml/types.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Numbers in a note. */
#define DML_NOTE_WORDS 32

/** What a rank does. */
typedef struct dml_rank_state {
    char host[64];
    long pid;
    char process;       /**< as the system tells it: 'R' runs, 'S' sleeps, 'T' is
                             stopped, 'X' has ended, ...; '?' where it cannot be seen */
    uint64_t operation; /**< number of its newest collective on the communicator; 0:
                             none yet */
    bool inside;        /**< it has not completed that one */
    char what[160];     /**< that one: "allreduce of 1000 f32 (sum), by ring" */
    double waits_s;    /**< so long it has waited, and nothing has moved; 0: it does not
                            wait, or not yet for a millisecond */
    uint64_t waits_in; /**< number of the collective that it waits in; 0: a message */
    int peer;          /**< whose message it waits for; -1: a collective */
    double waited_s;   /**< in all waits that have ended, as dml_comm_stats.wait_s */
    uint64_t notes;    /**< how often it has left a note; 0: never */
    uint64_t note[DML_NOTE_WORDS]; /**< the newest; what it did not write is 0 */
} dml_rank_state;

/**
 * What a rank does, this one or another of its node (shared memory).
 * Not collective. Costs some microseconds, and the rank looked at nothing.
 * @param      rank   in @p comm.
 * @param[out] state  written on success alone.
 * @return DML_OK | DML_EINVAL | DML_EUNSUPPORTED (its memory cannot be read: it is on
 * another node, or DML_SHM=0); the context's last error stays as it was.
 * Threads: any, also while another one is in a call on @p comm, but for
 * dml_comm_destroy().  @since 0.4
 */
DML_API dml_status dml_comm_get_state(const dml_comm *comm, int rank,
                                      dml_rank_state *state);

/**
 * Leave a note, in place of the one before. Cheap: some tens of nanoseconds.
 * Not collective.
 * @param[in] words  [count] copied.  @param count  at most DML_NOTE_WORDS.
 * @return DML_OK | DML_EINVAL.
 * Threads: one at a time for each communicator.  @since 0.4
 */
DML_API dml_status dml_comm_set_note(dml_comm *comm, const uint64_t *words,
                                     size_t count);

#ifdef __cplusplus
}
#endif
#endif
