/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From (type, operation) to the four functions of a reduction: load, fold, merge, store
 * (lib/kernels/kernels.h says what they are; doc/adr/0003 why).
 */
#include "collectives/coll_internal.h"

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

int dml__fold_in_order(const struct dml__call *call, dml_request *request,
                       const char *const *terms, const int *after, size_t n, void *sum,
                       void *to)
{
    const struct dml__reduction *red = &call->red;
    bool loaded = red->own_scale || red->load == NULL; /* terms are accumulators */
    int nranks = dml_comm_size(call->comm), step = DML__NO_STEP;
    const void *now = terms[0]; /* the partial sum */
    if (!loaded) {
        dml__sched_local(request, red->load, sum, now, NULL, n, red->scale, after[0],
                         DML__NO_STEP);
        now = sum;
    }
    for (int i = 1; i < nranks; i++) {
        void *into = i == nranks - 1 && red->store == NULL ? to : sum;
        step = dml__sched_local(request, red->own_scale ? red->merge : red->fold, into,
                                now, terms[i], n, red->scale, after[i],
                                i == 1 ? after[0] : DML__NO_STEP);
        now = into;
    }
    if (red->store != NULL)
        step = dml__sched_local(request, red->store, to, now, NULL, n, red->divisor,
                                step, DML__NO_STEP);
    return step;
}
