/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a communicator did, and when: a timeline for DML_TRACE, a table for DML_SUMMARY.
 *
 * Off, it costs one comparison an operation. On, an event goes to memory that was there
 * before, and a full buffer to the file at once. Used by the thread that has the
 * communicator.
 */
#ifndef DML__TRACE_H
#define DML__TRACE_H

#include "comm/comm.h"

struct dml__trace;
struct dml__idle;

/* Part of a request: what it will be recorded as. */
struct dml__traced {
    const char *algorithm; /* NULL: it is not */
    double begin_s;
    size_t bytes;
    unsigned number; /* of the operation on this communicator; equal on all ranks */
    int row;
    dml_coll coll;
};

/* Does the environment ask for a trace or a summary? */
bool dml__trace_wanted(const dml_ctx *ctx);

/* Start recording, or leave it when there is no memory. summarise: the same on all
 * ranks. */
void dml__trace_open(dml_comm *comm, bool summarise);

/* Write out what is left; print the table. Collective if there is to be one. */
void dml__trace_close(dml_comm *comm);

/* NULL: nothing is recorded. */
struct dml__trace *dml__comm_trace(const dml_comm *comm);

/* Around the choice of an algorithm, which may measure: its waits are not recorded. */
void dml__trace_choosing(struct dml__trace *trace);
void dml__trace_chosen(struct dml__trace *trace);

/* Around the run of a blocking collective. */
void dml__trace_enter(struct dml__trace *trace, const struct dml__call *call,
                      const char *algorithm);
void dml__trace_leave(struct dml__trace *trace);

/* A request for a collective: when it is written, at each start, and at its end. */
void dml__trace_mark(dml_request *request, const struct dml__call *call,
                     const char *algorithm);
void dml__trace_begin(dml_request *request);
void dml__trace_end(dml_request *request);

/* A wait: notes now and then whom it is for, and is recorded at its end. */
void dml__trace_look(const dml_comm *comm, struct dml__idle *idle);
void dml__trace_wait(dml_comm *comm, const struct dml__idle *idle, double end_s);

#endif
