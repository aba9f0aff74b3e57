/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making replicas equal before the first step.
 */
#include "comm/comm.h"
#include "sync/reducer.h"

#include <string.h>

/* Broadcasts in flight at once: enough to overlap latencies, few enough to poll. */
enum { MAX_PENDING = 16 };

dml_status dml__bcast_now(void *data, size_t bytes, int root, dml_comm *comm)
{
    dml_request *request = NULL;
    void *copy = dml__alloc(dml_comm_ctx(comm), bytes);
    if (copy == NULL) {
        dml_status status =
            dml__fail(dml_comm_ctx(comm), DML_ENOMEM, "dml_reducer",
                      "no memory to broadcast %zu bytes to all ranks", bytes);
        dml__comm_break(comm, status); /* the others are in it already */
        return status;
    }
    if (bytes > 0)
        memcpy(copy, data, bytes);
    dml_status status = dml_ibcast(copy, bytes, DML_U8, root, comm, &request);
    if (status == DML_OK)
        status = dml_wait(&request);
    if (status == DML_OK && bytes > 0)
        memcpy(data, copy, bytes);
    dml__comm_release(comm, copy);
    return status;
}

dml_status dml_sync_bcast(const dml_tensor *tensors, size_t ntensors, int root,
                          dml_comm *comm)
{
    if (comm == NULL)
        return DML_EINVAL;
    if (tensors == NULL && ntensors > 0)
        return dml__fail(dml_comm_ctx(comm), DML_EINVAL, __func__, "tensors is NULL");
    if (root < 0 || root >= dml_comm_size(comm))
        return dml__fail(dml_comm_ctx(comm), DML_EINVAL, __func__,
                         "root is %d; it must be one of the %d ranks", root,
                         dml_comm_size(comm));
    dml_request *pending[MAX_PENDING] = {NULL};
    dml_status status = DML_OK;
    for (size_t i = 0; i < ntensors && status == DML_OK; i++) {
        dml_request **slot = &pending[i % MAX_PENDING];
        status = dml_wait(slot);
        if (status == DML_OK)
            status = dml_ibcast(tensors[i].data, tensors[i].count, tensors[i].dtype,
                                root, comm, slot);
    }
    dml_status last = dml_waitall(MAX_PENDING, pending);
    return status != DML_OK ? status : last;
}
