/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table at a communicator's end: for each collective and algorithm what it cost,
 * and whom the ranks waited for.
 */
#include "comm/trace_internal.h"

#include <stdio.h>

/* Columns of a row that are added over the ranks. */
enum { NVALUES = 4 };

static void pack(const struct dml__trace *t, double *to)
{
    for (int i = 0; i < DML__TRACE_ROWS; i++) {
        const struct dml__trace_row *row = &t->rows[i];
        to[i * NVALUES] = row->calls;
        to[i * NVALUES + 1] = row->bytes;
        to[i * NVALUES + 2] = row->seconds;
        to[i * NVALUES + 3] = row->wait_s;
    }
}

static void print_bytes(double bytes, char *text, size_t room)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    while (bytes >= 1024 && unit < 4) {
        bytes /= 1024;
        unit++;
    }
    snprintf(text, room, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

/* The rank most waited for in a row, and its part of all that waiting. */
static void print_culprit(const struct dml__trace *t, const double *waited_s,
                          char *text, size_t room)
{
    int most = 0;
    double sum = 0;
    for (int i = 0; i < t->comm->size; i++) {
        sum += waited_s[i];
        if (waited_s[i] > waited_s[most])
            most = i;
    }
    if (sum > 0)
        snprintf(text, room, "rank %d (%.0f %%)", t->world_of[most],
                 100 * waited_s[most] / sum);
    else
        snprintf(text, room, "-");
}

static void print_table(const struct dml__trace *t, const double *sums, int nranks)
{
    const dml_ctx *ctx = t->comm->ctx;
    const double *waited_s = sums + DML__TRACE_ROWS * NVALUES;
    dml__tell(ctx, "summary: communicator of %d rank%s, %.1f s; a rank's mean over %d",
              t->comm->size, t->comm->size > 1 ? "s" : "", dml__now_s() - t->opened_s,
              nranks);
    dml__tell(ctx, "%-15s %-20s %9s %11s %11s %11s  %s", "collective", "algorithm",
              "calls", "bytes", "seconds", "waiting", "mostly for");
    for (int i = 0; i < t->nrows; i++) {
        const struct dml__trace_row *row = &t->rows[i];
        const double *v = sums + i * NVALUES;
        char bytes[24], culprit[40];
        print_bytes(v[1] / nranks, bytes, sizeof bytes);
        print_culprit(t, waited_s + i * t->comm->size, culprit, sizeof culprit);
        dml__tell(ctx, "%-15s %-20s %9.0f %11s %11.6f %11.6f  %s",
                  dml_coll_name(row->coll), row->algorithm, v[0] / nranks, bytes,
                  v[2] / nranks, v[3] / nranks, culprit);
    }
    char sent[24], received[24];
    print_bytes((double)t->comm->stats.bytes_sent, sent, sizeof sent);
    print_bytes((double)t->comm->stats.bytes_received, received, sizeof received);
    dml__tell(ctx, "rank %d sent %s and received %s", t->world_rank, sent, received);
}

void dml__trace_summarise(struct dml__trace *t)
{
    dml_comm *comm = t->comm;
    size_t n = DML__TRACE_ROWS * NVALUES + (size_t)DML__TRACE_ROWS * (size_t)comm->size;
    double *own = dml__alloc(comm->ctx, dml__mul(n, sizeof *own));
    int have = own != NULL, all = have, nranks = 1;
    /* Ranks of a broken communicator may be anywhere: each tells of itself. */
    if (comm->broken == DML_OK && comm->size > 1) {
        MPI_Allreduce(&have, &all, 1, MPI_INT, MPI_MIN, comm->coll);
        nranks = comm->size;
    }
    if (!all)
        goto out;
    pack(t, own);
    for (size_t i = 0; i < (size_t)DML__TRACE_ROWS * (size_t)comm->size; i++)
        own[DML__TRACE_ROWS * NVALUES + i] = t->waited_s[i];
    if (nranks > 1) {
        int code = MPI_Reduce(comm->rank == 0 ? MPI_IN_PLACE : own, own, (int)n,
                              MPI_DOUBLE, MPI_SUM, 0, comm->coll);
        if (code != MPI_SUCCESS || comm->rank != 0)
            goto out;
    }
    print_table(t, own, nranks);
out:
    dml__free(own);
}
