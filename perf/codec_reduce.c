/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A gradient of many tensors through the reducer: plain, then with each codec, in turn
 * within every block, so that a link or neighbour that changes meets all of them. Time
 * is that of the slowest rank, from begin to the end of finish, all gradients ready at
 * once; with --optimizer to the end of SGD's update, since with dgc the reducer has
 * work to do that the update has without it: momentum.
 */
#include "codec.h"
#include "median.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_WAYS = 24, TENSORS = 16 };

struct way {
    char text[DML_CODEC_TEXT_MAX];
    dml_reducer *reducer;
    dml_optim *optim; /* with --optimizer, else NULL */
    double time_s[CODEC_MOST_TIMES];
    uint64_t bytes; /* that rank 0 sent in the last step */
};

struct reduction {
    const struct codec_options *o;
    float *gradient, *weights;
    dml_tensor tensors[TENSORS];
    size_t rows[TENSORS];
    struct way ways[MOST_WAYS];
    int nways;
};

static void step(struct reduction *x, struct way *w, double *seconds)
{
    const struct codec_options *o = x->o;
    dml_comm_stats before, after;
    codec_fill(x->gradient, o->count, (uint32_t)o->rank + 1);
    dml_comm_get_stats(o->comm, &before);
    MPI_Barrier(o->mpi);
    double begin_s = MPI_Wtime(), own_s;
    codec_need(o, "begin", dml_reducer_begin(w->reducer, true));
    for (size_t i = TENSORS; i-- > 0;)
        codec_need(o, "ready", dml_reducer_ready(w->reducer, i));
    codec_need(o, "finish", dml_reducer_finish(w->reducer));
    if (w->optim != NULL)
        codec_need(o, "step", dml_optim_step(w->optim, 1e-3));
    own_s = MPI_Wtime() - begin_s;
    MPI_Allreduce(&own_s, seconds, 1, MPI_DOUBLE, MPI_MAX, o->mpi);
    dml_comm_get_stats(o->comm, &after);
    w->bytes = after.bytes_sent - before.bytes_sent;
}

/* Momentum is the optimizer's, but dgc's own with dgc. */
static void open_optimizer(struct reduction *x, struct way *w)
{
    const struct codec_options *o = x->o;
    dml_param params[TENSORS];
    dml_optim_opts opts;
    dml_optim_opts_init(&opts, DML_OPTIM_SGD);
    if (strncmp(w->text, "dgc", 3) == 0)
        opts.momentum = 0;
    for (size_t i = 0; i < TENSORS; i++) {
        const dml_tensor *t = &x->tensors[i];
        float *grad = t->data;
        params[i] = (dml_param){.param = x->weights + (grad - x->gradient),
                                .grad = grad,
                                .count = t->count};
    }
    codec_need(
        o, "optimizer",
        dml_optim_create(o->ctx, DML_OPTIM_SGD, params, TENSORS, &opts, &w->optim));
}

static void open_ways(struct reduction *x)
{
    const struct codec_options *o = x->o;
    size_t each = o->count / TENSORS / 64 * 64;
    for (size_t i = 0; i < TENSORS; i++) {
        size_t count = i + 1 < TENSORS ? each : o->count - i * each;
        size_t rows = o->rows / 4;
        x->tensors[i] = (dml_tensor){x->gradient + i * each, count, DML_F32, NULL};
        x->rows[i] = rows > 1 && count % rows == 0 ? rows : 2 - count % 2;
    }
    strcpy(x->ways[x->nways++].text, "none");
    for (const char *list = o->codecs;
         x->nways < MOST_WAYS && codec_next(&list, x->ways[x->nways].text) > 0;)
        x->nways++;
    for (int k = 0; k < x->nways; k++) {
        dml_reducer_opts opts;
        dml_reducer_opts_init(&opts);
        opts.codec = x->ways[k].text;
        opts.rows = x->rows;
        codec_need(o, opts.codec,
                   dml_reducer_create(x->tensors, TENSORS, &opts, o->comm,
                                      &x->ways[k].reducer));
        if (o->optimizer)
            open_optimizer(x, &x->ways[k]);
    }
}

static void report(struct reduction *x, FILE *json)
{
    const struct codec_options *o = x->o;
    double plain_s = perf_median(x->ways[0].time_s, (size_t)o->repeats);
    printf("# %d ranks, %zu bytes of f32, medians of %d steps\n"
           "%-22s %12s %8s %12s %10s %8s  %s\n",
           o->nranks, o->count * sizeof(float), o->repeats, "codec", "ms", "speed-up",
           "bytes sent", "trials ms", "buckets", "the first of them");
    for (int k = 0; k < x->nways; k++) {
        struct way *w = &x->ways[k];
        double time_s = perf_median(w->time_s, (size_t)o->repeats);
        dml_bucket_info info = {0}, first = {0};
        size_t n = 0, compressed = 0;
        for (; n < 10000; n++, compressed += info.compressed) {
            if (dml_reducer_get_bucket(w->reducer, n, &info) != DML_OK)
                break;
            if (n == 0)
                first = info;
        }
        dml_reducer_stats stats;
        dml_reducer_get_stats(w->reducer, &stats);
        printf("%-22s %12.3f %8.2f %12llu %10.1f %4zu/%-3zu  %s\n", w->text,
               time_s * 1e3, plain_s / time_s, (unsigned long long)w->bytes,
               stats.trial_s * 1e3, compressed, n, first.why);
        if (json == NULL)
            continue;
        json_t *line = json_pack(
            "{s:s, s:i, s:I, s:f, s:f, s:I, s:f, s:I, s:I, s:s, s:f, s:f, s:f, s:f}",
            "codec", w->text, "nranks", o->nranks, "bytes",
            (json_int_t)(o->count * sizeof(float)), "time_us", time_s * 1e6, "ratio",
            plain_s / time_s, "bytes_sent", (json_int_t)w->bytes, "trial_us",
            stats.trial_s * 1e6, "buckets", (json_int_t)n, "compressed",
            (json_int_t)compressed, "why", first.why, "predicted_dense_us",
            first.dense_s * 1e6, "encode_us", first.encode_s * 1e6, "transfer_us",
            first.transfer_s * 1e6, "decode_us", first.decode_s * 1e6);
        json_dumpf(line, json, JSON_COMPACT);
        fputc('\n', json);
        json_decref(line);
    }
}

void codec_reduce(const struct codec_options *o)
{
    struct reduction *x = codec_alloc(sizeof *x);
    double seconds = 0;
    x->o = o;
    x->gradient = codec_alloc(o->count * sizeof *x->gradient);
    x->weights = codec_alloc(o->count * sizeof *x->weights);
    open_ways(x);
    /* The first step is dense and measures; the second one settles top-k's limit. */
    for (int k = 0; k < x->nways; k++)
        for (int i = 0; i < 2; i++)
            step(x, &x->ways[k], &seconds);
    for (int i = 0; i < o->repeats; i++)
        for (int k = 0; k < x->nways; k++) {
            struct way *w = &x->ways[i % 2 == 0 ? k : x->nways - 1 - k];
            step(x, w, &w->time_s[i]);
        }
    FILE *json = o->json != NULL && o->rank == 0 ? fopen(o->json, "w") : NULL;
    if (o->rank == 0)
        report(x, json);
    if (json != NULL)
        fclose(json);
    for (int k = 0; k < x->nways; k++)
        dml_reducer_destroy(x->ways[k].reducer);
    for (int k = 0; k < x->nways; k++)
        dml_optim_destroy(x->ways[k].optim);
    free(x->weights);
    free(x->gradient);
    free(x);
}
