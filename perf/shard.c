/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-perf-shard: what it brings that sharded training gathers parameters behind the
 * next forward pass. A step is: all gradients ready, dml_sharded_step, a forward pass
 * that computes as long as the gathering takes alone, the same for each tensor. In turn
 * within every block the pass waits for all parameters first, waits for each tensor
 * where it is used, and does not compute. hidden = what the second way saves, over the
 * shorter of gathering and computing: 1 when that is hidden whole.
 *
 * It also says what of the optimizer's state each rank has: 1/N.
 */
#include "dml/dml.h"
#include "dml/mpi.h"

#include "median.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BLOCKS = 99, NUMBERS = 256, MOST_TENSORS = 256 };

/* The two ways to wait, and what each part takes alone. */
enum { FIRST, EACH, NO_FORWARD, FORWARD, NTIMES };

struct shard {
    MPI_Comm mpi;
    dml_ctx *ctx;
    dml_comm *comm;
    dml_sharded *sharded;
    int rank, nranks, blocks;
    size_t count, ntensors; /* elements of all tensors; of equal size */
    const char *progress, *json;
    float *params, *grads, number[NUMBERS];
    double rounds; /* of computing for one tensor */
    double time_s[NTIMES][MOST_BLOCKS];
};

static void need(const struct shard *s, const char *what, dml_status status)
{
    dml_error error = {.status = status};
    if (status == DML_OK)
        return;
    if (s->ctx != NULL)
        dml_ctx_last_error(s->ctx, &error);
    fprintf(stderr, "dml-perf-shard: rank %d: %s: %s: %s\n", s->rank, what,
            dml_status_str(status), error.text);
    MPI_Abort(s->mpi, 1);
}

static double slowest(const struct shard *s, double seconds)
{
    double all_s = 0;
    MPI_Allreduce(&seconds, &all_s, 1, MPI_DOUBLE, MPI_MAX, s->mpi);
    return all_s;
}

/* One tensor's forward pass: work that fits the first-level cache. */
static void compute(struct shard *s)
{
    for (double r = 0; r < s->rounds; r++)
        for (int i = 0; i < NUMBERS; i++)
            s->number[i] = s->number[i] * 0.999f + 0.5f;
}

/* Seconds of the slowest rank, from the first gradient to the end of the pass. */
static double step(struct shard *s, int way)
{
    MPI_Barrier(s->mpi);
    double begin_s = MPI_Wtime();
    if (way != FORWARD) {
        need(s, "begin", dml_sharded_begin(s->sharded));
        for (size_t i = s->ntensors; i-- > 0;)
            need(s, "ready", dml_sharded_ready(s->sharded, i));
        need(s, "step", dml_sharded_step(s->sharded, 1e-3));
    }
    if (way == FIRST || way == NO_FORWARD)
        need(s, "wait", dml_sharded_wait_all(s->sharded));
    for (size_t i = 0; i < s->ntensors && way != NO_FORWARD; i++) {
        if (way == EACH)
            need(s, "wait", dml_sharded_wait(s->sharded, i));
        compute(s);
    }
    return slowest(s, MPI_Wtime() - begin_s);
}

/* What the gathering takes alone: the waits of a step without a forward pass. */
static double gathering(struct shard *s)
{
    dml_sharded_stats before, after;
    dml_sharded_get_stats(s->sharded, &before);
    (void)step(s, NO_FORWARD);
    dml_sharded_get_stats(s->sharded, &after);
    return slowest(s, after.param_wait_s - before.param_wait_s);
}

static double measure(struct shard *s)
{
    double gather_s[3];
    (void)gathering(s);
    for (int i = 0; i < 3; i++)
        gather_s[i] = gathering(s);
    const double wanted_s = perf_median(gather_s, 3);
    s->rounds = 1000;
    for (int i = 0; i < 4; i++) { /* longer trials are closer to the truth */
        s->rounds *= wanted_s / step(s, FORWARD);
        s->rounds = s->rounds > 1 ? s->rounds : 1; /* memory gathers in no time */
    }
    for (int block = 0; block < s->blocks; block++)
        for (int k = 0; k < NTIMES; k++) {
            int way = block % 2 == 0 ? k : NTIMES - 1 - k;
            s->time_s[way][block] = step(s, way);
        }
    return wanted_s;
}

static void report(struct shard *s, double gather_s)
{
    double t[NTIMES];
    dml_sharded_stats stats;
    dml_sharded_get_stats(s->sharded, &stats);
    for (int way = 0; way < NTIMES; way++)
        t[way] = perf_median(s->time_s[way], (size_t)s->blocks);
    const double shorter_s = gather_s < t[FORWARD] ? gather_s : t[FORWARD];
    const double hidden = (t[FIRST] - t[EACH]) / shorter_s;
    const double share =
        (double)stats.state_bytes * s->nranks / (double)stats.whole_state_bytes;
    printf("%d ranks, %zu tensors, %zu bytes of f32, %zu buckets, progress: %s, "
           "medians of %d blocks, ms\n"
           "%12s %12s %12s %12s %12s %8s %8s\n"
           "%12.3f %12.3f %12.3f %12.3f %12.3f %8.2f %8.3f\n"
           "state: %zu of %zu bytes on rank 0, %.4f of 1/%d\n",
           s->nranks, s->ntensors, s->count * sizeof(float), stats.buckets,
           s->progress != NULL ? s->progress : "by $DML_PROGRESS", s->blocks, "no pass",
           "gathering", "the pass", "all first", "each", "speed-up", "hidden",
           1e3 * t[NO_FORWARD], 1e3 * gather_s, 1e3 * t[FORWARD], 1e3 * t[FIRST],
           1e3 * t[EACH], t[FIRST] / t[EACH], hidden, stats.state_bytes,
           stats.whole_state_bytes, share, s->nranks);
    FILE *file = s->json != NULL ? fopen(s->json, "w") : NULL;
    if (file == NULL)
        return;
    json_t *row = json_pack(
        "{si sI sf sf sf sf sf sf sI sI}", "nranks", s->nranks, "bytes",
        (json_int_t)(s->count * sizeof(float)), "no_forward_us", 1e6 * t[NO_FORWARD],
        "gather_us", 1e6 * gather_s, "forward_us", 1e6 * t[FORWARD], "wait_first_us",
        1e6 * t[FIRST], "wait_each_us", 1e6 * t[EACH], "hidden", hidden, "state_bytes",
        (json_int_t)stats.state_bytes, "whole_state_bytes",
        (json_int_t)stats.whole_state_bytes);
    json_dumpf(row, file, JSON_COMPACT);
    fputc('\n', file);
    json_decref(row);
    fclose(file);
}

static bool parse(struct shard *s, int argc, char **argv)
{
    static const struct option options[] = {
        {"bytes", required_argument, NULL, 'b'},
        {"tensors", required_argument, NULL, 't'},
        {"blocks", required_argument, NULL, 'n'},
        {"progress", required_argument, NULL, 'p'},
        {"json", required_argument, NULL, 'j'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'b')
            s->count = strtoul(optarg, NULL, 10) / sizeof(float);
        else if (option == 't')
            s->ntensors = strtoul(optarg, NULL, 10);
        else if (option == 'n')
            s->blocks = atoi(optarg);
        else if (option == 'p')
            s->progress = optarg;
        else if (option == 'j')
            s->json = optarg;
        else
            return false;
    }
    bool known = s->progress == NULL || strcmp(s->progress, "poll") == 0 ||
                 strcmp(s->progress, "thread") == 0;
    return known && optind == argc && s->ntensors > 0 && s->ntensors <= MOST_TENSORS &&
           s->count >= s->ntensors && s->blocks > 0 && s->blocks <= MOST_BLOCKS;
}

static void open_all(struct shard *s)
{
    dml_param params[MOST_TENSORS];
    dml_ctx_opts opts;
    dml_ctx_opts_init(&opts);
    if (s->progress != NULL)
        opts.progress = strcmp(s->progress, "thread") == 0 ? DML_PROGRESS_THREAD
                                                           : DML_PROGRESS_POLL;
    need(s, "dml_ctx_create", dml_ctx_create(&opts, &s->ctx));
    need(s, "dml_comm_from_mpi", dml_comm_from_mpi(s->ctx, s->mpi, &s->comm));
    const size_t each = s->count / s->ntensors;
    s->count = each * s->ntensors;
    s->params = calloc(s->count, sizeof *s->params);
    s->grads = calloc(s->count, sizeof *s->grads);
    if (s->params == NULL || s->grads == NULL)
        need(s, "memory", DML_ENOMEM);
    for (size_t i = 0; i < s->count; i++)
        s->params[i] = s->grads[i] = (float)(i % 7) - 3;
    for (size_t i = 0; i < s->ntensors; i++)
        params[i] = (dml_param){
            .param = s->params + i * each, .grad = s->grads + i * each, .count = each};
    need(s, "dml_sharded_create",
         dml_sharded_create(DML_OPTIM_ADAMW, params, s->ntensors, NULL, NULL, s->comm,
                            &s->sharded));
}

int main(int argc, char **argv)
{
    static struct shard s = {.count = (size_t)4 << 20, .ntensors = 16, .blocks = 9};
    int provided;
    s.mpi = MPI_COMM_WORLD;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    MPI_Comm_rank(s.mpi, &s.rank);
    MPI_Comm_size(s.mpi, &s.nranks);
    if (!parse(&s, argc, argv)) {
        if (s.rank == 0)
            fprintf(stderr, "usage: mpirun ... dml-perf-shard [--bytes N] "
                            "[--tensors N] [--blocks N] [--progress poll|thread] "
                            "[--json FILE]\n");
        MPI_Finalize();
        return 2;
    }
    open_all(&s);
    double gather_s = measure(&s);
    if (s.rank == 0)
        report(&s, gather_s);
    dml_sharded_destroy(s.sharded);
    dml_comm_destroy(s.comm);
    dml_ctx_destroy(s.ctx);
    free(s.grads);
    free(s.params);
    MPI_Finalize();
    return 0;
}
