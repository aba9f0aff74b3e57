/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making replicas equal before the first step.
 */
#include "sync/reducer.h"

/* Broadcasts in flight at once: enough to overlap latencies, few enough to poll. */
enum { MAX_PENDING = 16 };

dml_status dml__bcast_now(void *data, size_t bytes, int root, dml_comm *comm)
{
    dml_request *request = NULL;
    DML_TRY(dml_ibcast(data, bytes, DML_U8, root, comm, &request));
    return dml_wait(&request);
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
