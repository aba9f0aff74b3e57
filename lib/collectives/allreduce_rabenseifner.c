/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All-reduce by recursive halving and recursive doubling: as few bytes as a ring, in
 * 2 log2 P messages.
 *
 * Each element is summed on one rank, so all ranks get the same bits.
 *
 * Source: Rabenseifner, ICCS 2004; Thakur, Rabenseifner and Gropp, IJHPCA 2005,
 * section 4.5.
 */
#include "collectives/halves.h"

static void build(const struct dml__call *call, dml_request *request)
{
    struct dml__halves h;
    bool in_recv = call->red.acc_bytes == call->elem_bytes;
    if (!dml__halves_init(&h, call, request, 0, false))
        return;
    struct dml__range own = dml__halves_span(&h, h.number, h.number + 1);
    const char *sum = dml__halves_reduce(&h, in_recv ? call->recv : NULL);
    dml__halves_store(&h, dml__at(call, own.offset), sum);
    dml__halves_allgather(&h, call->recv, false);
}

static double cost_s(const struct dml__model *m, double bytes)
{
    double part = (m->nranks - 1.0) / m->nranks * bytes;
    return 2 * dml__halves_phase_s(m, bytes) + part * m->gamma_s;
}

const struct dml__alg dml__allreduce_rabenseifner = {
    .name = "rabenseifner",
    .text = "recursive halving, then doubling, least bytes; Rabenseifner 2004",
    .cost_s = cost_s,
    .build = build,
};
