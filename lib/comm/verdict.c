/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Verdicts: what a rank found out, as the error of all. The node's first ledger keeps
 * the verdict, an alarm in every ledger makes its owner read it, and notes carry it to
 * ranks elsewhere.
 */
#include "comm/request.h"
#include "comm/roll.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

static struct dml__ledger *first_ledger(const struct dml__roll *roll)
{
    const struct dml__node *node = roll->comm->node;
    return node != NULL ? &node->desk[0]->ledger : roll->own;
}

/* True when this rank's is the first verdict of its node. */
static bool publish(struct dml__roll *roll, dml_status status, const char *text)
{
    struct dml__ledger *first = first_ledger(roll);
    const struct dml__node *node = roll->comm->node;
    int none = 0;
    bool mine = atomic_compare_exchange_strong(&first->judged, &none, 1);
    if (mine) {
        first->verdict_status = status;
        snprintf(first->verdict, sizeof first->verdict, "%s", text);
        atomic_store(&first->judged, 2);
    }
    atomic_store(&roll->own->alarm, 1);
    for (int i = 0; mine && node != NULL && i < node->size; i++) {
        atomic_store(&node->desk[i]->ledger.alarm, 1);
        dml__node_wake(roll->comm->node, i);
    }
    return mine;
}

dml_status dml__roll_judged(struct dml__roll *roll, const char *where)
{
    dml_comm *comm = roll->comm;
    struct dml__ledger *first = first_ledger(roll);
    if (atomic_load_explicit(&roll->own->alarm, memory_order_acquire) == 0)
        return DML_OK;
    double begin_s = dml__now_s();
    while (atomic_load(&first->judged) != 2 && dml__now_s() - begin_s < 1)
        sched_yield(); /* a peer is writing it, unless it ended over that */
    bool written = atomic_load(&first->judged) == 2;
    dml_status status = written ? (dml_status)first->verdict_status : DML_EPEER;
    roll->judged = true;
    comm->broken = status;
    dml__comm_abandon(comm, status);
    return dml__fail_values(comm->ctx, status, where, comm->rank, 0, 0, "%s",
                            written ? first->verdict
                                    : "a rank found an error and ended before it "
                                      "could say which; see its output");
}

dml_status dml__roll_judge(struct dml__roll *roll, dml_status status, const char *text)
{
    char where[48] = "dml_wait";
    struct dml__op op = {0};
    if (dml__roll_waits_in(roll, &op))
        dml__op_where(&op, where, sizeof where);
    if (publish(roll, status, text))
        dml__notes_tell(roll, DML__NOTE_VERDICT, op.seq, status, text);
    return dml__roll_judged(roll, where);
}

dml_status dml__roll_adopt(struct dml__roll *roll, dml_status status, const char *text)
{
    char where[48] = "dml_wait";
    struct dml__op op = {0};
    if (dml__roll_waits_in(roll, &op))
        dml__op_where(&op, where, sizeof where);
    publish(roll, status, text);
    return dml__roll_judged(roll, where);
}

void dml__comm_break(dml_comm *comm, dml_status status)
{
    struct dml__roll *roll = comm->roll;
    if (comm->broken == DML_OK)
        comm->broken = status;
    if (roll == NULL || roll->judged)
        return;
    dml_error error;
    dml_ctx_last_error(comm->ctx, &error);
    char what[160] = "a message", text[DML__VERDICT_BYTES];
    struct dml__op op;
    if (dml__roll_waits_in(roll, &op))
        dml__op_describe(&op, what, sizeof what);
    const char *why = error.status == status ? error.text : dml_status_str(status);
    if (status == DML_EPEER) /* another rank's failure, which is named */
        snprintf(text, sizeof text, "%s", why);
    else
        snprintf(text, sizeof text, "rank %d failed in %s: %.240s", comm->rank, what,
                 why);
    roll->judged = true;
    if (publish(roll, status, text))
        dml__notes_tell(roll, DML__NOTE_VERDICT, 0, status, text);
}

dml_status dml__comm_failure(const dml_comm *comm)
{
    return comm->broken != DML_OK ? comm->broken : DML_ECOMM;
}

bool dml__comm_alarmed(const dml_comm *comm)
{
    const struct dml__roll *roll = comm->roll;
    return roll != NULL &&
           atomic_load_explicit(&roll->own->alarm, memory_order_relaxed) != 0;
}

dml_status dml__comm_check(const dml_comm *comm, const char *where)
{
    bool alarm = dml__comm_alarmed(comm);
    if (comm->broken == DML_OK && !alarm)
        return DML_OK;
    if (alarm)
        return dml__roll_judged(comm->roll, where);
    return dml__fail(comm->ctx, comm->broken, where,
                     "an earlier call on this communicator failed (%s): ranks no "
                     "longer agree on what was sent; destroy it, or end the job",
                     dml_status_str(comm->broken));
}
