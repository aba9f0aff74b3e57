/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a trace consists of: shared by the timeline and the summary.
 */
#ifndef DML__TRACE_INTERNAL_H
#define DML__TRACE_INTERNAL_H

#include "comm/comm_internal.h"
#include "comm/trace.h"
#include "core/trace_file.h"

enum {
    DML__TRACE_EVENTS = 4096,
    DML__TRACE_ROWS = 64,       /* of the table; the last takes what is beyond */
    DML__TRACE_LINE = 512,      /* bytes of an event's line, at most */
    DML__TRACE_TEXT = 64 * 1024 /* of lines written at once */
};

enum dml__event_kind {
    DML__OPERATION,
    DML__STARTED,
    DML__ENDED,
    DML__WAITED,
    DML__SPAN
};

struct dml__event {
    const char *name, *algorithm; /* static strings */
    double begin_s, end_s;
    size_t bytes;            /* of the operation's whole vector */
    uint64_t sent, received; /* by this rank since the event before */
    unsigned number;
    int peer; /* rank in MPI_COMM_WORLD, or -1 */
    enum dml__event_kind kind;
};

struct dml__trace_row {
    const char *algorithm;
    dml_coll coll;
    double calls, bytes, seconds, wait_s; /* of this rank */
};

struct dml__trace {
    dml_comm *comm;
    struct dml__trace_file *file; /* NULL: only the table is wanted */
    bool summarise;
    int world_rank;
    unsigned lane;           /* the communicator's number in this process */
    int *world_of;           /* [size] rank in MPI_COMM_WORLD, or -1 */
    uint64_t sent, received; /* that events have told of */
    unsigned next_number;
    struct dml__event *events; /* [DML__TRACE_EVENTS] */
    int nevents;
    char *text;                 /* [DML__TRACE_TEXT] */
    struct dml__traced current; /* the blocking operation that runs, if any */
    double choosing_s;          /* since when an algorithm is being chosen, or 0 */
    double opened_s;
    struct dml__trace_row rows[DML__TRACE_ROWS];
    int nrows;
    double *waited_s; /* [DML__TRACE_ROWS][size] of this rank, for each rank */
};

/* Prints the table on rank 0; collective unless the communicator is broken. */
void dml__trace_summarise(struct dml__trace *trace);

#endif
