/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-perf --tensors: the gradients of a net of 1,000 tensors, 4 B to 1 MiB of f32 each
 * (or as --min and --max say) with sizes spread evenly over the logarithm, averaged by
 * the bucketed reducer; beside it one MPI_Allreduce for each tensor, one for all of
 * them together, which no program can have whose tensors lie apart, and the limit: all
 * ranks at once copy the tensors. Blocks of the four alternate.
 *
 * Plain tensors lie a cache line apart; those of --buffers symmetric in one piece of
 * memory from dml_alloc, for the reducer alone.
 */
#include "median.h"
#include "perf_modes.h"
#include "perf_report.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TENSORS = 1000,
    BLOCKS = 15,
    FEWEST_BLOCKS = 3,
    REDUCER = 0,
    EACH,
    TOGETHER,
    COPY,
    NWAYS
};

static const char *const names[NWAYS] = {
    "dml_reducer, 1,000 tensors", "MPI_Allreduce for each of them",
    "one MPI_Allreduce of all bytes", "memcpy of each of them"};

struct tensors {
    const struct perf_coll *c;
    dml_tensor list[TENSORS], plain[TENSORS]; /* the reducer's, and the others' */
    float *memory; /* of the plain ones, a cache line apart */
    void *shared;  /* of the others, from dml_alloc, or NULL: they are the plain ones */
    float *at_once; /* [total], for TOGETHER and COPY */
    size_t total;
    dml_reducer *reducer;
    size_t wrong;
};

static bool make(struct tensors *t)
{
    size_t at = 0, starts[TENSORS];
    double least = (double)t->c->o->min_bytes / 4,
           most = (double)t->c->o->max_bytes / 4;
    for (size_t i = 0; i < TENSORS; i++) {
        /* A fixed shuffle: large and small ones follow each other as they come. */
        double x = (double)(i * 617 % TENSORS) / (TENSORS - 1);
        size_t count = (size_t)(least * pow(most / least, x) + 0.5);
        starts[i] = at;
        t->plain[i] = (dml_tensor){NULL, count > 0 ? count : 1, DML_F32, NULL};
        t->total += t->plain[i].count;
        at += (t->plain[i].count + 15) / 16 * 16 + 16;
    }
    t->memory = aligned_alloc(64, at * sizeof(float));
    t->at_once = calloc(t->total, sizeof(float));
    if (t->memory == NULL || t->at_once == NULL)
        return false;
    for (size_t i = 0; i < TENSORS; i++) {
        t->plain[i].data = t->memory + starts[i];
        t->list[i] = t->plain[i];
    }
    return true;
}

/* Puts the reducer's tensors into shared memory if that is wanted. Collective. */
static dml_status share(struct tensors *t)
{
    dml_status status = DML_OK;
    if (t->c->o->symmetric)
        status = dml_alloc(t->c->comm, t->total * sizeof(float), &t->shared);
    float *next = t->shared;
    for (size_t i = 0; i < TENSORS && next != NULL; i++) {
        t->list[i].data = next;
        next += t->list[i].count;
    }
    return status;
}

/* Values whose average over the ranks is exact. */
static void fill(const struct tensors *t, const dml_tensor *list)
{
    for (size_t i = 0; i < TENSORS; i++) {
        float *x = list[i].data;
        for (size_t k = 0; k < list[i].count; k++)
            x[k] = (float)(2 * t->c->rank) + (float)((i + k) % 7);
    }
}

static void check(struct tensors *t)
{
    for (size_t i = 0; i < TENSORS; i++) {
        const float *x = t->list[i].data;
        for (size_t k = 0; k < t->list[i].count; k++)
            t->wrong += x[k] != (float)(t->c->nranks - 1) + (float)((i + k) % 7);
    }
}

static dml_status step(struct tensors *t)
{
    dml_status status = dml_reducer_begin(t->reducer, true);
    for (size_t i = TENSORS; i-- > 0 && status == DML_OK;)
        status = dml_reducer_ready(t->reducer, i);
    return status == DML_OK ? dml_reducer_finish(t->reducer) : status;
}

static double block(struct tensors *t, int way, dml_status *status)
{
    fill(t, way == REDUCER ? t->list : t->plain);
    MPI_Barrier(t->c->mpi);
    double begin = MPI_Wtime(), slowest;
    float *to = t->at_once;
    if (way == REDUCER)
        *status = step(t);
    for (size_t i = TENSORS; way == EACH && i-- > 0;)
        MPI_Allreduce(MPI_IN_PLACE, t->plain[i].data, (int)t->plain[i].count, MPI_FLOAT,
                      MPI_SUM, t->c->mpi);
    for (size_t i = 0; way == COPY && i < TENSORS; to += t->plain[i++].count)
        memcpy(to, t->plain[i].data, t->plain[i].count * sizeof(float));
    if (way == TOGETHER)
        MPI_Allreduce(MPI_IN_PLACE, t->at_once, (int)t->total, MPI_FLOAT, MPI_SUM,
                      t->c->mpi);
    double own = MPI_Wtime() - begin;
    MPI_Allreduce(&own, &slowest, 1, MPI_DOUBLE, MPI_MAX, t->c->mpi);
    if (way == REDUCER && *status == DML_OK)
        check(t);
    return slowest;
}

/* All ways, the other way round every second time; seconds. */
static double round_of(struct tensors *t, int b, double times[NWAYS][BLOCKS],
                       dml_status *status)
{
    double begin = MPI_Wtime(), own, slowest;
    for (int i = 0; i < NWAYS && *status == DML_OK; i++) {
        int way = b % 2 == 0 ? i : NWAYS - 1 - i;
        times[way][b] = block(t, way, status);
    }
    own = MPI_Wtime() - begin;
    MPI_Allreduce(&own, &slowest, 1, MPI_DOUBLE, MPI_MAX, t->c->mpi);
    return slowest;
}

static void report(const struct tensors *t, double times[NWAYS][BLOCKS], int blocks,
                   FILE *json)
{
    dml_reducer_stats stats;
    dml_reducer_get_stats(t->reducer, &stats);
    printf("# dml-perf --tensors: %d tensors, %.2f MB of f32, %d ranks, %s buffers\n"
           "# %zu buckets, %zu of them packed; %d blocks, in turn\n"
           "#%30s %10s %20s %6s\n",
           TENSORS, (double)t->total * 4e-6, t->c->nranks, t->c->o->buffers,
           stats.buckets, stats.packed_buckets, blocks, "", "(ms)", "min-max", "ratio");
    double median_s[NWAYS];
    for (int w = 0; w < NWAYS; w++) /* sorts them */
        median_s[w] = perf_median(times[w], (size_t)blocks);
    for (int w = 0; w < NWAYS; w++) {
        char range[48];
        snprintf(range, sizeof range, "%.3f-%.3f", times[w][0] * 1e3,
                 times[w][blocks - 1] * 1e3);
        printf("%31s %10.3f %20s %6.2f\n", names[w], median_s[w] * 1e3, range,
               median_s[w] / median_s[REDUCER]);
    }
    if (json == NULL)
        return;
    json_t *row = json_pack(
        "{s:i s:I s:i s:s s:f s:f s:f s:f s:I}", "tensors", (int)TENSORS, "bytes",
        (json_int_t)(t->total * 4), "nranks", t->c->nranks, "buffers", t->c->o->buffers,
        "time_us", median_s[REDUCER] * 1e6, "peer_time_us", median_s[EACH] * 1e6,
        "together_us", times[TOGETHER][blocks / 2] * 1e6, "memcpy_time_us",
        median_s[COPY] * 1e6, "wrong", (json_int_t)t->wrong);
    json_dumpf(row, json, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));
    fputc('\n', json);
    json_decref(row);
}

int perf_tensors(const struct perf_coll *c)
{
    static const char *const complaint =
        "dml-perf: --tensors failed: memory, --json, or wrong results";
    struct tensors t = {.c = c};
    struct perf_report out = {.json = NULL};
    double times[NWAYS][BLOCKS];
    dml_status status = DML_OK;
    int ok = make(&t) && (c->rank != 0 || perf_report_open(&out, c->o)), all_ok;
    MPI_Allreduce(&ok, &all_ok, 1, MPI_INT, MPI_MIN, c->mpi);
    if (all_ok)
        status = share(&t);
    if (all_ok && status == DML_OK)
        status = dml_reducer_create(t.list, TENSORS, NULL, c->comm, &t.reducer);
    int blocks = BLOCKS;
    double round_s = 0;
    for (int b = 0; b < 2 && all_ok && status == DML_OK; b++) /* warms up */
        round_s = round_of(&t, b, times, &status);
    if (c->o->budget_s > 0 && c->o->budget_s < BLOCKS * round_s)
        blocks = (int)(c->o->budget_s / round_s);
    blocks = blocks < FEWEST_BLOCKS ? FEWEST_BLOCKS : blocks;
    for (int b = 0; b < blocks && all_ok && status == DML_OK; b++)
        round_of(&t, b, times, &status);
    ok = all_ok && status == DML_OK && t.wrong == 0;
    MPI_Allreduce(&ok, &all_ok, 1, MPI_INT, MPI_MIN, c->mpi);
    if (c->rank == 0 && all_ok)
        report(&t, times, blocks, out.json);
    if (c->rank == 0 && !perf_report_close(&out, c->o, all_ok))
        all_ok = 0;
    if (c->rank == 0 && !all_ok)
        fprintf(stderr, "%s: %s, %zu wrong\n", complaint, dml_status_str(status),
                t.wrong);
    MPI_Bcast(&all_ok, 1, MPI_INT, 0, c->mpi);
    dml_reducer_destroy(t.reducer);
    dml_free(c->comm, t.shared);
    free(t.memory);
    free(t.at_once);
    return all_ok ? 0 : 2;
}
