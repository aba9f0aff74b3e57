/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A communicator of one rank: there every collective is a copy, or nothing.
 */
#include "collectives/select.h"
#include "collectives/user_call.h"

#include <string.h>

/* With one rank a reduction is load and store, through accumulators a little at a time.
 */
static void reduce_alone(const struct dml__call *call)
{
    const struct dml__reduction *red = &call->red;
    enum { PIECE = 256 };
    double acc[PIECE]; /* as large as any accumulator type */
    struct dml__range all = {0, call->counts != NULL ? call->counts[0] : call->count};
    for (size_t done = 0; done < all.count; done += PIECE) {
        struct dml__range piece = dml__part(all, done, PIECE);
        const void *from = dml__in(call, done);
        if (red->load != NULL)
            red->load(acc, from, NULL, piece.count, red->scale);
        else
            memcpy(acc, from, piece.count * red->acc_bytes);
        if (red->store != NULL)
            red->store(dml__at(call, done), acc, NULL, piece.count, red->divisor);
        else
            memcpy(dml__at(call, done), acc, piece.count * red->acc_bytes);
    }
}

static void run_pieces(const struct dml__call *call)
{
    for (size_t i = 0; i < call->npieces; i++) {
        struct dml__call piece = *call;
        piece.pieces = NULL;
        piece.send = piece.recv = call->pieces[i].data;
        piece.count = call->pieces[i].count;
        dml__run_alone(&piece);
    }
}

/* With one rank every other collective is a copy. */
void dml__run_alone(const struct dml__call *call)
{
    if (call->pieces != NULL) {
        run_pieces(call);
        return;
    }
    struct dml__range block = {0, call->count};
    if (call->counts != NULL)
        block = dml__block(call, 0);
    bool scatters = call->coll == DML_COLL_SCATTER;
    bool gathers = dml__traits(call->coll)->gives_block;
    const char *from = dml__in(call, scatters ? block.offset : 0);
    char *to = dml__at(call, gathers ? block.offset : 0);
    if (dml__reduces(call->coll) && call->red.own_scale)
        reduce_alone(call);
    else if (!(scatters && call->in_place) && from != to && block.count > 0)
        dml__copy(to, from, block.count * call->elem_bytes);
}

/* It is a copy, for which MPI libraries take 5 to 20 ns, so that the general path's
 * checks and tables would be felt. */
bool dml__perform_alone(const struct dml__user_call *u)
{
    const struct dml__coll_state *state = dml__comm_alone(u->comm);
    if (state == NULL || dml__is_forced(state, u->coll, false) ||
        dml__is_forced(state, u->coll, true) || (int)u->dtype < 0 ||
        (int)u->dtype >= DML_NDTYPES || u->root != 0 || u->has_counts ||
        u->pieces != NULL || u->count > UINT32_MAX || (int)u->op < 0 ||
        (int)u->op >= DML_NOPS)
        return false;
    if (u->coll == DML_COLL_BARRIER ||
        (u->coll == DML_COLL_BCAST && u->recv != NULL && u->recv != DML_IN_PLACE)) {
        dml__comm_count_collective(u->comm);
        return true;
    }
    bool scatter = u->coll == DML_COLL_SCATTER; /* its root may leave its block */
    const void *omitted = scatter ? u->recv : u->send;
    const void *given = scatter ? u->send : u->recv;
    if (omitted == NULL || given == NULL || given == DML_IN_PLACE)
        return false;
    dml__comm_count_collective(u->comm);
    if (omitted != DML_IN_PLACE && u->send != u->recv)
        dml__copy(u->recv, u->send, u->count * dml_dtype_bytes(u->dtype));
    return true;
}
