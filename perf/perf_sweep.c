/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-perf --sweep: which algorithm is fastest for each size on 2, 3, ... of the ranks,
 * and whether the automatic choice takes it. scripts/plot draws the JSON lines as a
 * map.
 */
#include "perf_modes.h"
#include "perf_report.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const double default_budget_s = 0.03; /* for an algorithm and a size */

enum { MOST_ALGORITHMS = 24 };

/* One size on some ranks. */
struct cell {
    const char *best, *chosen;
    double best_s, auto_s;
    size_t wrong;
};

static void put(FILE *json, const struct perf_coll *c, const char *algorithm,
                const char *chosen, const struct perf_result *r)
{
    if (json == NULL)
        return;
    json_t *row = json_pack("{s:b s:s s:I s:s s:i s:s s:s? s:f s:f s:f}", "sweep", 1,
                            "collective", dml_coll_name(c->o->coll), "bytes",
                            (json_int_t)c->bytes, "dtype", dml_dtype_name(c->o->dtype),
                            "nranks", c->nranks, "algorithm", algorithm, "chosen",
                            chosen, "time_us", r->dml.median_s * 1e6, "time_min_us",
                            r->dml.min_s * 1e6, "time_max_us", r->dml.max_s * 1e6);
    json_dumpf(row, json, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));
    fputc('\n', json);
    json_decref(row);
}

/* Times every algorithm; then lets libdml choose. */
static dml_status measure_cell(const struct perf_coll *c, FILE *json, struct cell *cell)
{
    const char *name, *text;
    struct perf_result r;
    dml_status status = DML_OK;
    *cell = (struct cell){.best = NULL};
    for (size_t i = 0; i <= MOST_ALGORITHMS && status == DML_OK; i++) {
        bool automatic = dml_algorithm_list(c->o->coll, i, &name, &text) != DML_OK;
        name = automatic ? "auto" : name;
        dml_comm_set_algorithm(c->comm, c->o->coll, name);
        status = perf_measure(c, &r);
        if (status == DML_EUNSUPPORTED && !automatic) {
            status = DML_OK;
            continue;
        }
        if (status != DML_OK)
            break;
        if (!automatic && strcmp(r.algorithm, name) != 0)
            continue; /* it is for device memory: the choice was free */
        cell->wrong += r.wrong;
        put(json, c, name, automatic ? r.algorithm : NULL, &r);
        if (automatic) {
            cell->chosen = r.algorithm;
            cell->auto_s = r.dml.median_s;
            break;
        }
        if (cell->best == NULL || r.dml.median_s < cell->best_s) {
            cell->best = name;
            cell->best_s = r.dml.median_s;
        }
    }
    return status;
}

static dml_status measure_sizes(struct perf_coll *c, FILE *json, size_t *wrong)
{
    const struct perf_options *o = c->o;
    size_t last = SIZE_MAX;
    for (size_t bytes = o->min_bytes; bytes <= o->max_bytes; bytes *= o->factor) {
        struct cell cell;
        perf_coll_shape(c, bytes);
        if (c->bytes == last)
            continue;
        last = c->bytes;
        dml_status status = measure_cell(c, json, &cell);
        if (status != DML_OK)
            return status;
        *wrong += cell.wrong;
        if (c->rank == 0) {
            printf("%6d %12zu %20s %10.2f %20s %10.2f %6.2f\n", c->nranks, c->bytes,
                   cell.best, cell.best_s * 1e6, cell.chosen, cell.auto_s * 1e6,
                   cell.auto_s / cell.best_s);
            fflush(stdout);
        }
        if (bytes > o->max_bytes / o->factor)
            break;
    }
    return DML_OK;
}

/* Waits without using a processor that the others need. */
static void wait_for_all(MPI_Comm mpi)
{
    MPI_Request request;
    int done = 0;
    MPI_Ibarrier(mpi, &request);
    while (!done) {
        MPI_Test(&request, &done, MPI_STATUS_IGNORE);
        if (!done)
            usleep(2000);
    }
}

/* The first n ranks; the others wait. */
static dml_status measure_ranks(const struct perf_coll *whole, int n, FILE *json,
                                size_t *wrong)
{
    struct perf_options o = *whole->o;
    struct perf_coll c = *whole;
    dml_status status = DML_OK;
    o.peer = false;
    o.budget_s = o.budget_s > 0 ? o.budget_s : default_budget_s;
    c.o = &o;
    c.npeers = 0;
    MPI_Comm_split(whole->mpi, whole->rank < n ? 0 : MPI_UNDEFINED, whole->rank,
                   &c.mpi);
    if (c.mpi != MPI_COMM_NULL) {
        c.nranks = n;
        c.comm = NULL;
        status = dml_comm_from_mpi(dml_comm_ctx(whole->comm), c.mpi, &c.comm);
        if (status == DML_OK)
            status = measure_sizes(&c, json, wrong);
        dml_comm_destroy(c.comm);
        MPI_Comm_free(&c.mpi);
    }
    wait_for_all(whole->mpi);
    return status;
}

int perf_sweep(const struct perf_coll *c)
{
    struct perf_report report = {.json = NULL};
    size_t wrong = 0;
    dml_status status = DML_OK;
    int failed = c->rank == 0 && !perf_report_open(&report, c->o);
    MPI_Bcast(&failed, 1, MPI_INT, 0, c->mpi);
    if (failed) {
        if (c->rank == 0)
            fprintf(stderr, "dml-perf: --json %s: cannot be written\n", c->o->json);
        return 2;
    }
    if (c->rank == 0)
        printf("# dml-perf %s --sweep, %s: each algorithm alone, and the automatic "
               "choice\n#%5s %12s %20s %10s %20s %10s %6s\n",
               dml_coll_name(c->o->coll), c->o->buffers, "ranks", "size (B)", "fastest",
               "(us)", "chosen", "(us)", "/best");
    for (int n = 2; n <= c->nranks && status == DML_OK; n++)
        status = measure_ranks(c, n, report.json, &wrong);
    int bad = status != DML_OK || wrong > 0, any;
    MPI_Allreduce(&bad, &any, 1, MPI_INT, MPI_MAX, c->mpi);
    if (c->rank == 0 && !perf_report_close(&report, c->o, !any))
        any = 1;
    if (any && c->rank == 0)
        fprintf(stderr, "dml-perf: the sweep failed: %s, %zu wrong results\n",
                dml_status_str(status), wrong);
    MPI_Bcast(&any, 1, MPI_INT, 0, c->mpi);
    return any ? 2 : 0;
}
