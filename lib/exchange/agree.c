/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ranks that fail alone: after steps that may do so, all hear of it and fail alike,
 * with the words of the one that failed.
 */
#include "dml/coll.h"

#include "exchange/exchange.h"

#include <string.h>

dml_status dml__share_failure(dml_comm *comm, dml_status mine, char *why,
                              const char *where)
{
    int nranks = dml_comm_size(comm);
    double lowest = mine < 0 ? nranks - dml_comm_rank(comm) : 0;
    DML_TRY(dml__comm_max(comm, &lowest, 1));
    if (lowest <= 0)
        return DML_OK;
    int rank = nranks - (int)lowest;
    int32_t status = mine;
    DML_TRY(dml_bcast(&status, 1, DML_I32, rank, comm));
    DML_TRY(dml_bcast(why, sizeof((dml_error *)0)->text, DML_U8, rank, comm));
    if (where == NULL)
        return (dml_status)status;
    return dml__fail_values(dml_comm_ctx(comm), (dml_status)status, where, rank, 0, 0,
                            "%s", why);
}

dml_status dml__share_last_error(dml_comm *comm, dml_status mine, const char *where)
{
    dml_error error = {.status = DML_OK};
    if (mine < 0)
        dml_ctx_last_error(dml_comm_ctx(comm), &error);
    return dml__share_failure(comm, mine, error.text, where);
}
