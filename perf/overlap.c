/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-perf-overlap: how much of an all-reduce hides behind computing that never enters
 * the library. Per block, one after the other and for libdml and MPI alike: the
 * all-reduce alone (Tm), a computing loop as long as that (Tc), and both: started,
 * computed, waited for (T). overlap = 1 - (T - max(Tc, Tm)) / min(Tc, Tm): 1 when the
 * shorter of the two is hidden whole, 0 when they follow one another.
 */
#include "dml/dml.h"
#include "dml/mpi.h"

#include "median.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BLOCKS = 99, LIBDML = 0, MPI = 1, NWAYS = 2, NUMBERS = 256 };

struct overlap {
    MPI_Comm mpi;
    dml_ctx *ctx;
    dml_comm *comm;
    int rank, nranks, blocks;
    size_t bytes;
    const char *progress, *json; /* progress: poll or thread; NULL: the environment's */
    float *vector, number[NUMBERS];
    double alone_s[NWAYS][MAX_BLOCKS], compute_s[NWAYS][MAX_BLOCKS];
    double both_s[NWAYS][MAX_BLOCKS];
};

/* Multiplications and additions on what fits a first-level cache; seconds. The numbers
 * belong to o, which the clock's function might read for all that the compiler knows:
 * so the loop stays between the two calls. */
static double timed_compute(struct overlap *o, double rounds)
{
    double begin_s = MPI_Wtime();
    for (double r = 0; r < rounds; r++)
        for (int i = 0; i < NUMBERS; i++)
            o->number[i] = o->number[i] * 0.999f + 0.5f;
    return MPI_Wtime() - begin_s;
}

static double slowest(const struct overlap *o, double seconds)
{
    double all_s = 0;
    MPI_Allreduce(&seconds, &all_s, 1, MPI_DOUBLE, MPI_MAX, o->mpi);
    return all_s;
}

/* One all-reduce with "rounds" of computing before its wait; seconds of the slowest. */
static double once(struct overlap *o, int way, double rounds)
{
    size_t count = o->bytes / sizeof(float);
    dml_request *request = NULL;
    MPI_Request mpi = MPI_REQUEST_NULL;
    for (size_t i = 0; i < count; i++)
        o->vector[i] = 1;
    MPI_Barrier(o->mpi);
    double begin_s = MPI_Wtime();
    if (way == LIBDML)
        dml_iallreduce(DML_IN_PLACE, o->vector, count, DML_F32, DML_SUM, o->comm,
                       &request);
    else
        MPI_Iallreduce(MPI_IN_PLACE, o->vector, (int)count, MPI_FLOAT, MPI_SUM, o->mpi,
                       &mpi);
    timed_compute(o, rounds);
    if (way == LIBDML)
        dml_wait(&request);
    else
        MPI_Wait(&mpi, MPI_STATUS_IGNORE);
    double own_s = MPI_Wtime() - begin_s;
    for (size_t i = 0; i < count; i++)
        if (o->vector[i] < (float)o->nranks || o->vector[i] > (float)o->nranks) {
            fprintf(stderr, "dml-perf-overlap: rank %d: wrong sum\n", o->rank);
            MPI_Abort(o->mpi, 1);
        }
    return slowest(o, own_s);
}

static void measure(struct overlap *o)
{
    double rounds[NWAYS];
    for (int way = 0; way < NWAYS; way++) {
        once(o, way, 0);
        double wanted_s = once(o, way, 0);
        rounds[way] = 10000;
        for (int i = 0; i < 4; i++) /* longer trials are closer to the truth */
            rounds[way] *= wanted_s / slowest(o, timed_compute(o, rounds[way]));
    }
    for (int block = 0; block < o->blocks; block++)
        for (int k = 0; k < NWAYS; k++) {
            int way = block % 2 == 0 ? k : NWAYS - 1 - k;
            o->alone_s[way][block] = once(o, way, 0);
            MPI_Barrier(o->mpi);
            o->compute_s[way][block] = slowest(o, timed_compute(o, rounds[way]));
            o->both_s[way][block] = once(o, way, rounds[way]);
        }
}

static void report(struct overlap *o)
{
    static const char *const names[NWAYS] = {"dml_iallreduce", "MPI_Iallreduce"};
    FILE *file = o->json != NULL ? fopen(o->json, "w") : NULL;
    printf("%d ranks, %zu bytes, progress: %s, medians of %d blocks\n%-16s %12s %12s "
           "%12s %8s\n",
           o->nranks, o->bytes, o->progress != NULL ? o->progress : "by $DML_PROGRESS",
           o->blocks, "", "Tm us", "Tc us", "both us", "overlap");
    for (int way = 0; way < NWAYS; way++) {
        double alone_s = perf_median(o->alone_s[way], (size_t)o->blocks);
        double compute_s = perf_median(o->compute_s[way], (size_t)o->blocks);
        double both_s = perf_median(o->both_s[way], (size_t)o->blocks);
        double longer_s = alone_s > compute_s ? alone_s : compute_s;
        double overlap = 1 - (both_s - longer_s) / (alone_s + compute_s - longer_s);
        printf("%-16s %12.1f %12.1f %12.1f %8.3f\n", names[way], 1e6 * alone_s,
               1e6 * compute_s, 1e6 * both_s, overlap);
        if (file == NULL)
            continue;
        json_t *row = json_pack("{ss sI si sf sf sf sf}", "way", names[way], "bytes",
                                (json_int_t)o->bytes, "nranks", o->nranks, "alone_us",
                                1e6 * alone_s, "compute_us", 1e6 * compute_s, "both_us",
                                1e6 * both_s, "overlap", overlap);
        json_dumpf(row, file, JSON_COMPACT);
        fputc('\n', file);
        json_decref(row);
    }
    if (file != NULL)
        fclose(file);
}

static bool parse(struct overlap *o, int argc, char **argv)
{
    static const struct option options[] = {
        {"bytes", required_argument, NULL, 'b'},
        {"blocks", required_argument, NULL, 'n'},
        {"progress", required_argument, NULL, 'p'},
        {"json", required_argument, NULL, 'j'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (option) {
        case 'b':
            o->bytes = strtoul(optarg, NULL, 10);
            break;
        case 'n':
            o->blocks = atoi(optarg);
            break;
        case 'p':
            o->progress = optarg;
            break;
        case 'j':
            o->json = optarg;
            break;
        default:
            return false;
        }
    bool known = o->progress == NULL || strcmp(o->progress, "poll") == 0 ||
                 strcmp(o->progress, "thread") == 0;
    return known && optind == argc && o->bytes >= sizeof(float) && o->blocks > 0 &&
           o->blocks <= MAX_BLOCKS;
}

static int run(struct overlap *o)
{
    dml_ctx_opts opts;
    dml_ctx_opts_init(&opts);
    if (o->progress != NULL)
        opts.progress = strcmp(o->progress, "thread") == 0 ? DML_PROGRESS_THREAD
                                                           : DML_PROGRESS_POLL;
    int status = 1;
    o->vector = malloc(o->bytes);
    if (o->vector == NULL || dml_ctx_create(&opts, &o->ctx) != DML_OK ||
        dml_comm_from_mpi(o->ctx, o->mpi, &o->comm) != DML_OK) {
        fprintf(stderr, "dml-perf-overlap: rank %d cannot start\n", o->rank);
        MPI_Abort(o->mpi, 1);
    }
    dml_choice choice; /* non-blocking calls do not measure: done here */
    if (dml_algorithm_query(DML_COLL_ALLREDUCE, o->bytes / sizeof(float), DML_F32,
                            DML_SUM, o->comm, &choice) == DML_OK) {
        measure(o);
        if (o->rank == 0)
            report(o);
        status = 0;
    }
    dml_comm_destroy(o->comm);
    dml_ctx_destroy(o->ctx);
    free(o->vector);
    return status;
}

int main(int argc, char **argv)
{
    static struct overlap o = {.bytes = (size_t)4 << 20, .blocks = 15};
    int provided, status = 2;
    o.mpi = MPI_COMM_WORLD;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    MPI_Comm_rank(o.mpi, &o.rank);
    MPI_Comm_size(o.mpi, &o.nranks);
    if (parse(&o, argc, argv))
        status = run(&o);
    else if (o.rank == 0)
        fprintf(stderr, "usage: mpirun ... dml-perf-overlap [--bytes N] [--blocks N] "
                        "[--progress poll|thread] [--json FILE]\n");
    MPI_Finalize();
    return status;
}
