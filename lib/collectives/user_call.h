/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From the public functions (api.c) to the one path that all calls take (coll.c).
 */
#ifndef DML__USER_CALL_H
#define DML__USER_CALL_H

#include "collectives/coll_internal.h"

/* A call as the user made it, before buffers are resolved. */
struct dml__user_call {
    dml_coll coll;
    const void *send;
    void *recv;
    size_t count;
    const size_t *counts; /* given by a v-variant */
    bool has_counts;      /* this is a v-variant */
    const size_t *displs;
    const dml_piece *pieces; /* of an all-reduce, in place of recv */
    size_t npieces;
    dml_dtype dtype;
    dml_op op;
    int root;
    dml_comm *comm;
    const char *where;
};

/* Run it and wait, start it, or only plan it, for dml_start. */
enum dml__mode { DML__BLOCKING, DML__STARTED, DML__PLANNED };

/* Validates, chooses and does what mode says. "request" is ignored by a blocking call.
 */
dml_status dml__perform(const struct dml__user_call *u, enum dml__mode mode,
                        dml_request **request);

/* The usual blocking call of an only rank, by the shortest way: true when it was done;
 * whatever is unusual takes the general path (alone.c). */
bool dml__perform_alone(const struct dml__user_call *u);

#endif
