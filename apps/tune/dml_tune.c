/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-tune: times every algorithm of every collective on the ranks that it is started
 * on, and writes a tuning table for them (doc/tuning.md).
 *
 * Each size is timed in blocks whose slowest rank counts; the median of the blocks is
 * kept. Memory of dml_alloc makes the algorithm "shared" possible: it is timed in a
 * second pass, and its rules stand first, because a rule is passed over where its
 * algorithm cannot do a call.
 */
#include "dml/dml.h"
#include "dml/gpu.h"
#include "dml/mpi.h"

#include "../common/outfile.h"
#include "../common/process.h"
#include "../common/version.h"
#include "tune.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCKS = 7 };

static const double block_s = 300e-6;

struct tune {
    struct tune_options o;
    dml_ctx *ctx;
    dml_comm *comm;
    int rank, nranks, nnodes;
    bool terminal;
    char *send, *recv; /* [max_bytes + a rank's rest] */
    bool failed;
    const char *failed_at;
    struct outfile out; /* of rank 0 */
};

static double slowest_s(double own_s)
{
    double s;
    MPI_Allreduce(&own_s, &s, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return s;
}

static dml_status call(struct tune *t, dml_coll coll, size_t n)
{
    dml_comm *comm = t->comm;
    switch (coll) {
    case DML_COLL_ALLREDUCE:
        return dml_allreduce(t->send, t->recv, n, DML_F32, DML_SUM, comm);
    case DML_COLL_REDUCE_SCATTER:
        return dml_reduce_scatter(t->send, t->recv, n, DML_F32, DML_SUM, comm);
    case DML_COLL_ALLGATHER:
        return dml_allgather(t->send, t->recv, n, DML_F32, comm);
    case DML_COLL_BCAST:
        return dml_bcast(t->recv, n, DML_F32, 0, comm);
    case DML_COLL_REDUCE:
        return dml_reduce(t->send, t->recv, n, DML_F32, DML_SUM, 0, comm);
    case DML_COLL_GATHER:
        return dml_gather(t->send, t->recv, n, DML_F32, 0, comm);
    case DML_COLL_SCATTER:
        return dml_scatter(t->send, t->recv, n, DML_F32, 0, comm);
    case DML_COLL_ALLTOALL:
        return dml_alltoall(t->send, t->recv, n, DML_F32, comm);
    default:
        return dml_barrier(comm);
    }
}

/* The argument "count" for a size in bytes of the whole. */
static size_t count_of(const struct tune *t, dml_coll coll, size_t bytes)
{
    bool whole =
        coll == DML_COLL_ALLREDUCE || coll == DML_COLL_BCAST || coll == DML_COLL_REDUCE;
    size_t elems = bytes / sizeof(float), ranks = whole ? 1 : (size_t)t->nranks;
    return (elems + ranks - 1) / ranks;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Is it for device memory? Then it can be forced beside one for the host's. */
static bool for_device(const struct tune *t, dml_coll coll, const char *algorithm)
{
    char both[64];
    snprintf(both, sizeof both, "mpi,%s", algorithm);
    return dml_comm_set_algorithm(t->comm, coll, both) == DML_OK;
}

/* Seconds of one call; 0 when the algorithm cannot do it. (Forced, one for the other
 * kind of memory leaves the choice free.) */
static double time_s(struct tune *t, dml_coll coll, const char *algorithm, size_t n)
{
    double s[BLOCKS];
    if (for_device(t, coll, algorithm) != t->o.gpu)
        return 0;
    dml_status status = dml_comm_set_algorithm(t->comm, coll, algorithm);
    if (status == DML_OK)
        status = call(t, coll, n);
    if (status == DML_EUNSUPPORTED)
        return 0;
    double begin_s = MPI_Wtime();
    if (status == DML_OK)
        status = call(t, coll, n);
    double once_s = slowest_s(MPI_Wtime() - begin_s);
    double wanted = block_s / once_s;
    int runs = wanted > 100 ? 100 : wanted < 1 ? 1 : (int)wanted;
    int blocks = once_s > 0.05 ? 1 : BLOCKS; /* fewer where a call takes long */
    for (int b = 0; b < blocks && status == DML_OK; b++) {
        MPI_Barrier(MPI_COMM_WORLD);
        begin_s = MPI_Wtime();
        for (int i = 0; i < runs && status == DML_OK; i++)
            status = call(t, coll, n);
        s[b] = slowest_s((MPI_Wtime() - begin_s) / runs);
    }
    if (status != DML_OK) {
        t->failed = true;
        t->failed_at = algorithm;
        return 0;
    }
    qsort(s, (size_t)blocks, sizeof s[0], by_value);
    return s[blocks / 2];
}

static void show(const struct tune *t, dml_coll coll, size_t bytes, const char *pass)
{
    if (t->rank == 0 && t->terminal)
        fprintf(stderr, "\r%-14s %-9s %9zu B ", dml_coll_name(coll), pass, bytes);
}

/* Times all algorithms over the sizes, into rows[]; returns their number. Those that
 * were five times slower than the best at two sizes in a row are not timed again. */
static size_t time_sizes(struct tune *t, dml_coll coll, const char *pass,
                         struct tune_row *rows)
{
    int behind[TUNE_ALGORITHMS] = {0};
    size_t nrows = 0, n = 0;
    const char *name, *text;
    double begin_s = MPI_Wtime();
    for (size_t bytes = 8; bytes <= t->o.max_bytes && nrows < TUNE_ROWS; bytes *= 2) {
        struct tune_row *row = &rows[nrows];
        *row = (struct tune_row){.bytes = bytes};
        show(t, coll, bytes, pass);
        for (size_t i = 0;
             i < TUNE_ALGORITHMS && dml_algorithm_list(coll, i, &name, &text) == DML_OK;
             i++) {
            if (behind[i] >= 2)
                continue;
            n = count_of(t, coll, bytes);
            tune_row_add(row, name, time_s(t, coll, name, n), i);
            if (t->failed)
                return nrows;
        }
        for (int i = 0; i < TUNE_ALGORITHMS; i++)
            behind[i] = row->seconds[i] > 5 * row->best_s ? behind[i] + 1 : 0;
        if (nrows > 0)
            tune_row_steady(row, row - 1);
        nrows++;
        if (coll == DML_COLL_BARRIER || slowest_s(MPI_Wtime() - begin_s) > t->o.seconds)
            break;
    }
    return nrows;
}

/* Both passes of one collective; rules are written by rank 0. */
static void tune(struct tune *t, dml_coll coll)
{
    struct tune_row plain[TUNE_ROWS], shared[TUNE_ROWS];
    void *memory = NULL;
    size_t bytes = t->o.max_bytes + (size_t)t->nranks * sizeof(float);
    double begin_s = MPI_Wtime();
    size_t nplain = time_sizes(t, coll, "", plain), nshared = 0;
    char *send = t->send, *recv = t->recv;
    bool several = t->nranks > 1 && !t->o.gpu && coll != DML_COLL_BARRIER && !t->failed;
    if (several && dml_alloc(t->comm, 2 * bytes, &memory) == DML_OK) {
        t->send = memory;
        t->recv = (char *)memory + bytes;
        nshared = time_sizes(t, coll, "dml_alloc", shared);
        t->send = send;
        t->recv = recv;
        dml_free(t->comm, memory);
    }
    dml_comm_set_algorithm(t->comm, coll, "auto");
    if (t->rank != 0 || t->failed)
        return;
    tune_write(t->out.file, coll, t->nranks, t->nnodes, shared, nshared, "shared");
    tune_write(t->out.file, coll, t->nranks, t->nnodes, plain, nplain, NULL);
    fprintf(stderr, "%s%-14s %zu sizes, %.1f s          \n", t->terminal ? "\r" : "",
            dml_coll_name(coll), nplain, MPI_Wtime() - begin_s);
}

static int say(const struct tune *t, const char *what)
{
    if (t->rank == 0)
        fprintf(stderr, "dml-tune: %s\n", what);
    return 1;
}

/* The same, with what libdml found. */
static int complain(const struct tune *t, const char *what)
{
    dml_error error = {.text = ""};
    if (t->ctx != NULL)
        dml_ctx_last_error(t->ctx, &error);
    if (t->rank == 0)
        fprintf(stderr, "dml-tune: %s%s%s\n", what, error.text[0] ? ": " : "",
                error.text);
    return 1;
}

/* What all ranks have met alike is told by one. Otherwise the others may be waiting for
 * this rank: it ends them, too. */
static int cannot_start(const struct tune *t, dml_status status)
{
    if (status == DML_EINVAL || status == DML_ELAUNCH)
        return complain(t, "libdml cannot start");
    dml_error error = {.text = ""};
    if (t->ctx != NULL)
        dml_ctx_last_error(t->ctx, &error);
    fprintf(stderr, "dml-tune: rank %d: libdml cannot start: %s\n", t->rank,
            error.text[0] ? error.text : dml_status_str(status));
    MPI_Abort(MPI_COMM_WORLD, 1);
    return 1;
}

/* Both buffers, of zeros. */
static bool take_memory(struct tune *t, size_t bytes)
{
    void *send = NULL, *recv = NULL;
    if (!t->o.gpu) {
        t->send = calloc(1, bytes);
        t->recv = calloc(1, bytes);
        return t->send != NULL && t->recv != NULL;
    }
    bool good = dml_gpu_alloc(t->ctx, bytes, &send) == DML_OK &&
                dml_gpu_alloc(t->ctx, bytes, &recv) == DML_OK &&
                dml_gpu_fill(t->ctx, send, 0, bytes, NULL) == DML_OK &&
                dml_gpu_fill(t->ctx, recv, 0, bytes, NULL) == DML_OK &&
                dml_gpu_stream_sync(t->ctx, NULL) == DML_OK;
    t->send = send;
    t->recv = recv;
    return good;
}

static void give_memory(struct tune *t)
{
    if (t->o.gpu && t->ctx != NULL) {
        dml_gpu_free(t->ctx, t->send);
        dml_gpu_free(t->ctx, t->recv);
    } else {
        free(t->send);
        free(t->recv);
    }
}

static int run(struct tune *t)
{
    size_t bytes = t->o.max_bytes + (size_t)t->nranks * sizeof(float);
    int node_rank, first;
    char error[512] = "";
    dml_comm_node(t->comm, &node_rank, NULL);
    first = node_rank == 0;
    MPI_Allreduce(&first, &t->nnodes, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    if (t->o.gpu && dml_gpu_bind(t->comm, DML_GPU_NEAREST) != DML_OK)
        return complain(t, "--gpu");
    int ok = take_memory(t, bytes), all_ok;
    MPI_Allreduce(&ok, &all_ok, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    if (!all_ok)
        return say(t, "not enough memory; lower --max");
    ok = t->rank != 0 || tune_open(&t->out, &t->o, error, sizeof error);
    MPI_Bcast(&ok, 1, MPI_INT, 0, MPI_COMM_WORLD);
    if (!ok)
        return say(t, error);
    if (t->rank == 0)
        tune_head(t->out.file, t->nranks, t->nnodes);
    for (int c = 0; c < DML_NCOLLS && !t->failed; c++)
        if (t->o.wanted[c] && !(t->o.gpu && c == DML_COLL_BARRIER))
            tune(t, (dml_coll)c);
    if (t->failed)
        complain(t, t->failed_at);
    ok = t->rank != 0 || tune_close(&t->out, &t->o, !t->failed, error, sizeof error);
    MPI_Bcast(&ok, 1, MPI_INT, 0, MPI_COMM_WORLD);
    if (!ok)
        return say(t, error);
    return t->failed;
}

int main(int argc, char **argv)
{
    struct tune t = {.terminal = isatty(STDERR_FILENO)};
    char error[200] = "";
    int provided, exit_status = 1;
    process_guard();
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &t.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &t.nranks);
    if (!tune_options(&t.o, argc, argv, error, sizeof error)) {
        complain(&t, error);
        exit_status = 64; /* as the other applications say it */
    } else if (t.o.help || t.o.version) {
        if (t.rank == 0 && t.o.help)
            tune_help();
        else if (t.rank == 0)
            version_print("dml-tune");
        exit_status = 0;
        if (t.rank == 0 && stdout_commit(error, sizeof error) != DML_OK) {
            complain(&t, error);
            exit_status = 1;
        }
    } else {
        unsetenv("DML_TUNING"); /* the table is being made */
        dml_status status = dml_ctx_create(NULL, &t.ctx);
        if (status == DML_OK)
            status = dml_comm_from_mpi(t.ctx, MPI_COMM_WORLD, &t.comm);
        if (status != DML_OK)
            exit_status = cannot_start(&t, status);
        else
            exit_status = run(&t);
    }
    give_memory(&t);
    dml_comm_destroy(t.comm);
    dml_ctx_destroy(t.ctx);
    MPI_Finalize();
    return exit_status;
}
