/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-perf: time a collective of libdml beside the MPI library's own, over a range of
 * sizes. perf_options.c is its command line, perf_measure.c its method, perf_report.c
 * its output; see README.md.
 */
#include "perf_modes.h"
#include "perf_peers.h"
#include "perf_report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Rank 0 says what is wrong; every rank returns the exit status. */
static int complain(int rank, const char *what)
{
    if (rank == 0)
        fprintf(stderr, "dml-perf: %s\n", what);
    return 2;
}

static int complain_status(const struct perf_coll *c, const char *what,
                           dml_status status)
{
    dml_error error;
    char text[640];
    dml_ctx_last_error(dml_comm_ctx(c->comm), &error);
    snprintf(text, sizeof text, "%s: %s: %s", what, dml_status_str(status), error.text);
    return complain(c->rank, text);
}

/* All sizes; the exit status. */
static int sizes(struct perf_coll *c, struct perf_peers *peers,
                 struct perf_report *report)
{
    const struct perf_options *o = c->o;
    size_t wrong = 0, last = SIZE_MAX;
    for (size_t bytes = o->min_bytes; bytes <= o->max_bytes; bytes *= o->factor) {
        perf_coll_shape(c, bytes);
        if (c->bytes == last)
            continue; /* a barrier, or two sizes below one element a rank */
        last = c->bytes;
        struct perf_result result;
        dml_status status = perf_measure(c, &result);
        if (status == DML_ENOMEM)
            return complain(c->rank, "not enough memory for this size; lower --max");
        if (status != DML_OK)
            return complain_status(c, "the collective failed", status);
        if (c->rank == 0)
            perf_report_row(report, c, &result, result.algorithm);
        wrong += result.wrong;
        if (c->npeers > 1) {
            perf_peers_drop(peers, &result, c->bytes);
            c->npeers = peers->n;
        }
        if (bytes > o->max_bytes / o->factor)
            break;
    }
    return wrong > 0 ? complain(c->rank, "wrong results, see the column #wrong") : 0;
}

/* The report's file belongs to rank 0, but a failure to all. */
static int run(struct perf_coll *c, struct perf_peers *peers)
{
    struct perf_report report = {.json = NULL};
    char text[512];
    dml_status status = DML_OK;
    if (c->o->algorithm != NULL)
        status = dml_comm_set_algorithm(c->comm, c->o->coll, c->o->algorithm);
    if (status != DML_OK)
        return complain_status(c, "--algorithm", status);
    int failed = c->rank == 0 && !perf_report_open(&report, c->o);
    snprintf(text, sizeof text, "--json %.300s: %s", failed ? c->o->json : "",
             strerror(errno));
    MPI_Bcast(&failed, 1, MPI_INT, 0, c->mpi);
    if (failed)
        return complain(c->rank, text);
    perf_report_head(c);
    int exit_status = sizes(c, peers, &report);
    failed = c->rank == 0 && !perf_report_close(&report, c->o, exit_status == 0);
    if (failed)
        fprintf(stderr, "dml-perf: --json %s: %s\n", c->o->json, strerror(errno));
    MPI_Bcast(&failed, 1, MPI_INT, 0, c->mpi);
    return failed ? 2 : exit_status;
}

/* Opens what is measured beside the communicator itself; an exit status. */
static int open_others(struct perf_coll *c, struct perf_peers *peers, dml_ctx **ordered)
{
    const char *wrong = perf_peers_open(peers, c->o, c->mpi);
    if (wrong != NULL)
        return complain(c->rank, wrong);
    if (perf_coll_reduces(c->o->coll))
        c->half_op = perf_half_op(c->o->dtype, c->o->op);
    c->peer = peers->list;
    c->npeers = perf_coll_mpi_can(c) ? peers->n : 0;
    if (!c->o->reproducible)
        return 0;
    dml_ctx_opts opts;
    dml_ctx_opts_init(&opts);
    opts.reproducible = true;
    dml_status status = dml_ctx_create(&opts, ordered);
    if (status == DML_OK)
        status = dml_comm_from_mpi(*ordered, c->mpi, &c->ordered);
    return status == DML_OK ? 0 : complain(c->rank, "no context in reproducible mode");
}

static int measure(struct perf_coll *c)
{
    struct perf_peers peers = {.n = 0};
    dml_ctx *ordered = NULL;
    int exit_status;
    if (c->o->tensors) {
        exit_status = perf_tensors(c);
    } else if (c->o->sweep) {
        exit_status = perf_sweep(c);
    } else {
        exit_status = open_others(c, &peers, &ordered);
        if (exit_status == 0)
            exit_status = run(c, &peers);
    }
    perf_peers_close(&peers);
    if (c->half_op != MPI_OP_NULL)
        MPI_Op_free(&c->half_op);
    dml_comm_destroy(c->ordered);
    dml_ctx_destroy(ordered);
    return exit_status;
}

int main(int argc, char **argv)
{
    struct perf_options o;
    struct perf_coll c = {.o = &o, .mpi = MPI_COMM_WORLD, .half_op = MPI_OP_NULL};
    dml_ctx *ctx = NULL;
    char error[512];
    int provided, exit_status = 1;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    MPI_Comm_rank(c.mpi, &c.rank);
    MPI_Comm_size(c.mpi, &c.nranks);
    if (!perf_options_parse(&o, argc, argv, error, sizeof error)) {
        exit_status = complain(c.rank, error);
        goto out;
    }
    if (o.help) {
        if (c.rank == 0)
            perf_options_help();
        exit_status = 0;
        goto out;
    }
    if (dml_ctx_create(NULL, &ctx) != DML_OK) {
        exit_status = complain(c.rank, "no context, see the line above");
        goto out;
    }
    dml_status status = dml_comm_from_mpi(ctx, c.mpi, &c.comm);
    if (status != DML_OK) {
        dml_error last;
        dml_ctx_last_error(ctx, &last);
        /* Launched by another MPI every process is rank 0, and all of them say so. */
        exit_status = complain(c.rank, last.text);
        goto out;
    }
    exit_status = measure(&c);
out:
    dml_comm_destroy(c.comm);
    dml_ctx_destroy(ctx);
    MPI_Finalize();
    return exit_status;
}
