/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Collectives that are planned once and started many times: one function for all, since
 * a description of a call is what it is about.
 */
#include "collectives/user_call.h"

dml_status dml_coll_init(const dml_coll_args *args, dml_comm *comm,
                         dml_request **request)
{
    if (comm == NULL)
        return DML_EINVAL;
    dml_ctx *ctx = dml_comm_ctx(comm);
    if (args == NULL || args->size != sizeof *args || (int)args->coll < 0 ||
        (int)args->coll >= DML_NCOLLS) {
        dml__fail(ctx, DML_EINVAL, __func__,
                  "args is NULL, its size is not sizeof(dml_coll_args), or its "
                  "collective is unknown");
        dml__roll_refuse(comm, DML__PLAN, 0); /* the others may wait */
        return DML_EINVAL;
    }
    if (args->counts != NULL && !dml__traits(args->coll)->has_counts) {
        dml__fail(ctx, DML_EINVAL, __func__,
                  "%s has no variant with counts; leave counts NULL",
                  dml_coll_name(args->coll));
        dml__roll_refuse(comm, (int)args->coll, 0);
        return DML_EINVAL;
    }
    bool barrier = args->coll == DML_COLL_BARRIER;
    bool reduce_scatter = args->coll == DML_COLL_REDUCE_SCATTER;
    struct dml__user_call u = {
        .coll = args->coll,
        .send = args->coll != DML_COLL_BCAST ? args->send : NULL,
        .recv = args->recv,
        .count = args->counts != NULL || barrier ? 0 : args->count,
        .has_counts = args->counts != NULL,
        .counts = args->counts,
        .displs = reduce_scatter ? NULL : args->displs,
        .dtype = barrier ? DML_U8 : args->dtype,
        .op = args->op,
        .root = args->root,
        .comm = comm,
        .where = __func__,
    };
    return dml__perform(&u, DML__PLANNED, request);
}
