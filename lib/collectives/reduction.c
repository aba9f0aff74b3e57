/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From (type, operation) to the four functions of a reduction: load, fold, merge, store
 * (lib/kernels/kernels.h says what they are; doc/adr/0003 why).
 */
#include "collectives/coll_internal.h"

bool dml__reduces(dml_coll coll)
{
    return coll == DML_COLL_ALLREDUCE || coll == DML_COLL_REDUCE_SCATTER ||
           coll == DML_COLL_REDUCE;
}

bool dml__reduction_init(struct dml__call *call)
{
    const struct dml__kernels *k = dml__ctx_kernels(dml_comm_ctx(call->comm));
    dml_dtype t = call->dtype, acc = dml__acc_dtype(t);
    double scale = 1;
    bool premul = (int)call->op >= DML_NOPS;
    if ((int)call->op < 0 ||
        (premul && !dml__comm_op_scale(call->comm, call->op, &scale)))
        return false;
    bool average = call->op == DML_AVG;
    int loop = average || premul ? DML_SUM : (int)call->op;
    call->red = (struct dml__reduction){
        .acc_bytes = dml_dtype_bytes(acc),
        .load = premul || acc != t ? k->load_scaled[t] : NULL,
        .fold = premul ? k->fold_scaled[t] : k->fold[t][loop],
        .merge = k->merge[acc][loop],
        .store = average || acc != t ? k->store_div[t] : NULL,
        .scale = scale,
        .divisor = average ? dml_comm_size(call->comm) : 1,
        .own_scale = premul,
    };
    return true;
}
