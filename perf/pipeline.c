/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-perf-pipeline: does the input pipeline hide the shorter of reading and computing,
 * and what does a record cost on its way through the threads?
 *
 * Stalls: a source that gives so many bytes a second, as a disk does, feeds a loop that
 * computes for a given time a step. Both wait by the clock, so that the figures are the
 * pipeline's and not those of a loaded machine. A step should take the longer of the
 * two, as measured in a loop that only waits; without a pipeline it takes their sum.
 *
 * Records: records of many sizes from memory, beside memcpy of the same bytes by as
 * many threads as decode.
 */
#include "dml/dml.h"

#include "median.h"

#include <getopt.h>
#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

enum { MAX_STEPS = 10000, MAX_ROUNDS = 99, BLOCKS = 10, RECORDS = 4096 };

static const char usage[] =
    "usage: dml-perf-pipeline [--batch N] [--bytes N] [--step MS] [--steps N]\n"
    "                         [--readers N] [--decoders N] [--depth N] [--rounds N]\n"
    "                         [--json FILE]\n"
    "Prints the time of a step beside the longer of reading and computing, for "
    "readers\n"
    "slower and faster than the computation; then records a second beside memcpy.\n"
    "  --batch N     records of a step (default 64)\n"
    "  --bytes N     of a record, in the first table (default 4096)\n"
    "  --step MS     the longer of reading and computing (default 10)\n"
    "  --steps N     measured for each line, at most 10000 (default 100)\n"
    "  --readers N, --decoders N, --depth N   of the pipeline (default 2, 1, 2)\n"
    "  --rounds N    of the second table, 0 .. 99 (default 5)\n"
    "  --json FILE   one object a line, with the columns of the tables and \"kind\":\n"
    "                stall or record\n";

struct options {
    size_t batch, bytes;
    double step_s;
    int steps, readers, decoders, depth, rounds;
    FILE *json;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void sleep_until(double when)
{
    struct timespec t = {.tv_sec = (time_t)when};
    t.tv_nsec = (long)((when - (double)t.tv_sec) * 1e9);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) != 0)
        continue;
}

static void check(dml_ctx *ctx, dml_status status)
{
    dml_error error;
    if (status == DML_OK)
        return;
    dml_ctx_last_error(ctx, &error);
    fprintf(stderr, "dml-perf-pipeline: %s\n", error.text);
    exit(1);
}

/* ---- a device that gives one record at a time ------------------------------------ */

struct device {
    double record_s;
    size_t bytes;
    char *data; /* [bytes] */
    pthread_mutex_t lock;
    double free_s; /* when it has given all that was asked for */
};

/* Threads that wake up a little late must not slow the device down. */
#define LATE_S 2e-3

static dml_status read_throttled(void *user, uint64_t number, void *buffer, size_t room,
                                 dml_record *record, char *why)
{
    struct device *device = user;
    (void)number;
    (void)room;
    (void)why;
    pthread_mutex_lock(&device->lock);
    double now = now_s();
    if (device->free_s < now - LATE_S)
        device->free_s = now - LATE_S;
    device->free_s += device->record_s;
    double ready = device->free_s;
    pthread_mutex_unlock(&device->lock);
    if (ready > now)
        sleep_until(ready);
    memcpy(buffer, device->data, device->bytes);
    record->data = buffer;
    record->bytes = device->bytes;
    return DML_OK;
}

static dml_status read_memory(void *user, uint64_t number, void *buffer, size_t room,
                              dml_record *record, char *why)
{
    const struct device *device = user;
    (void)buffer;
    (void)room;
    (void)why;
    record->data = device->data + number % 64 * device->bytes;
    record->bytes = device->bytes;
    return DML_OK;
}

static dml_pipeline *make(dml_ctx *ctx, const struct options *o, struct device *device,
                          bool throttled, int decoders)
{
    dml_record_source source = {.user = device,
                                .count = RECORDS,
                                .max_bytes = throttled ? device->bytes : 0,
                                .read = throttled ? read_throttled : read_memory};
    dml_pipeline_opts opts;
    dml_pipeline *pipeline = NULL;
    dml_pipeline_opts_init(&opts);
    opts.batch = o->batch;
    opts.field_bytes[0] = device->bytes;
    opts.readers = throttled ? o->readers : 0;
    opts.decoders = decoders;
    opts.depth = o->depth;
    check(ctx, dml_pipeline_create(ctx, &source, &opts, &pipeline));
    return pipeline;
}

/* ---- stalls ---------------------------------------------------------------------- */

/* Some steps; with p == NULL the same loop just waits. */
static double run_steps(dml_ctx *ctx, dml_pipeline *p, int steps, double compute_s)
{
    dml_pipeline_batch batch;
    double start = now_s();
    for (int step = 0; step < steps; step++) {
        if (p != NULL)
            check(ctx, dml_pipeline_next(p, &batch));
        sleep_until(now_s() + compute_s);
    }
    return (now_s() - start) / steps;
}

/* Seconds of a step: the median over blocks of steps, so that what else the machine
 * does in one of them does not count. */
static double measure_steps(dml_ctx *ctx, const struct options *o, dml_pipeline *p,
                            double compute_s)
{
    double blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = run_steps(ctx, p, (o->steps + BLOCKS - 1) / BLOCKS, compute_s);
    return perf_median(blocks, BLOCKS);
}

static void run_stalls(dml_ctx *ctx, const struct options *o)
{
    static const double ratios[] = {0.25, 0.5, 0.8, 0.95, 1, 1.05, 1.25, 2, 4};
    printf("\nstalls: %zu records of %zu bytes a step, %d readers, depth %d\n",
           o->batch, o->bytes, o->readers, o->depth);
    printf("%10s %10s %10s %10s %10s %8s %10s %8s\n", "read ms", "compute ms",
           "step ms", "longer ms", "alone ms", "over %", "sum ms", "wait %");
    for (size_t i = 0; i < sizeof ratios / sizeof *ratios; i++) {
        double r = ratios[i], read_s = o->step_s * (r < 1 ? r : 1);
        double compute_s = read_s / r;
        double longer = read_s > compute_s ? read_s : compute_s;
        struct device device = {.record_s = read_s / (double)o->batch,
                                .bytes = o->bytes,
                                .data = calloc(1, o->bytes)};
        pthread_mutex_init(&device.lock, NULL);
        dml_pipeline *p = make(ctx, o, &device, true, o->decoders);
        dml_pipeline_stats before, after;
        run_steps(ctx, p, 2 * o->depth + 2,
                  compute_s); /* the ring comes to its state */
        dml_pipeline_get_stats(p, &before);
        double start = now_s();
        double step_s = measure_steps(ctx, o, p, compute_s);
        double seconds = now_s() - start;
        dml_pipeline_get_stats(p, &after);
        double waited = (after.wait_s - before.wait_s) / seconds;
        dml_pipeline_destroy(p);
        pthread_mutex_destroy(&device.lock);
        free(device.data);
        double alone_s = measure_steps(ctx, o, NULL, longer);
        double over = step_s / alone_s - 1;
        printf("%10.2f %10.2f %10.3f %10.2f %10.3f %8.2f %10.2f %8.1f\n", 1e3 * read_s,
               1e3 * compute_s, 1e3 * step_s, 1e3 * longer, 1e3 * alone_s, 100 * over,
               1e3 * (read_s + compute_s), 100 * waited);
        if (o->json == NULL)
            continue;
        json_t *line =
            json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:i, s:i, s:i}", "kind",
                      "stall", "read_ms", 1e3 * read_s, "compute_ms", 1e3 * compute_s,
                      "step_ms", 1e3 * step_s, "longer_ms", 1e3 * longer, "alone_ms",
                      1e3 * alone_s, "over_frac", over, "wait_frac", waited, "readers",
                      o->readers, "decoders", o->decoders, "depth", o->depth);
        json_dumpf(line, o->json, JSON_COMPACT);
        fputc('\n', o->json);
        json_decref(line);
    }
}

/* ---- records --------------------------------------------------------------------- */

enum { MOST_DECODERS = 2 };

struct copier {
    const struct device *device;
    size_t count;
    char *to; /* [256][bytes] */
};

static void *copy_records(void *user)
{
    const struct copier *c = user;
    for (size_t i = 0; i < c->count; i++)
        memcpy(c->to + i % 256 * c->device->bytes,
               c->device->data + i % 64 * c->device->bytes, c->device->bytes);
    return NULL;
}

/* Records a second of plain copies by so many threads. */
static double measure_copies(const struct device *device, size_t count, int nthreads)
{
    struct copier copiers[MOST_DECODERS];
    pthread_t threads[MOST_DECODERS];
    for (int t = 0; t < nthreads; t++) {
        copiers[t] = (struct copier){.device = device,
                                     .count = count / (size_t)nthreads,
                                     .to = malloc(256 * device->bytes)};
        if (copiers[t].to == NULL)
            exit(1);
        /* Written once before the clock runs, so that the pages are there. */
        memset(copiers[t].to, 1, 256 * device->bytes);
    }
    double start = now_s();
    for (int t = 0; t < nthreads; t++)
        pthread_create(&threads[t], NULL, copy_records, &copiers[t]);
    for (int t = 0; t < nthreads; t++)
        pthread_join(threads[t], NULL);
    double seconds = now_s() - start;
    for (int t = 0; t < nthreads; t++)
        free(copiers[t].to);
    return (double)count / seconds;
}

static double measure_records(dml_ctx *ctx, dml_pipeline *p, size_t batch, size_t count)
{
    dml_pipeline_batch b;
    double start = now_s();
    for (size_t i = 0; i < count; i += batch)
        check(ctx, dml_pipeline_next(p, &b));
    return (double)count / (now_s() - start);
}

static void run_records(dml_ctx *ctx, const struct options *given)
{
    struct options o = *given;
    o.batch = 256;
    printf("\nrecords from memory, batches of %zu\n", o.batch);
    printf("%10s %8s %12s %10s %10s %12s\n", "bytes", "decoders", "records/s", "GB/s",
           "ns/record", "memcpy GB/s");
    for (size_t bytes = 64; bytes <= 262144; bytes *= 16)
        for (int decoders = 1; decoders <= MOST_DECODERS; decoders++) {
            size_t count = (size_t)(bytes < 4096 ? 1 << 20 : ((size_t)1 << 30) / bytes);
            count = count / o.batch * o.batch;
            struct device device = {.bytes = bytes, .data = calloc(64, bytes)};
            double speeds[MAX_ROUNDS], copies[MAX_ROUNDS];
            dml_pipeline *p = make(ctx, &o, &device, false, decoders);
            for (int round = 0; round < o.rounds; round++) {
                speeds[round] = measure_records(ctx, p, o.batch, count);
                copies[round] = measure_copies(&device, count, decoders);
            }
            dml_pipeline_destroy(p);
            free(device.data);
            double speed = perf_median(speeds, (size_t)o.rounds),
                   copy = perf_median(copies, (size_t)o.rounds);
            double gbs = 1e-9 * speed * (double)bytes,
                   copy_gbs = 1e-9 * copy * (double)bytes;
            printf("%10zu %8d %12.0f %10.3f %10.1f %12.3f\n", bytes, decoders, speed,
                   gbs, 1e9 / speed, copy_gbs);
            if (o.json == NULL)
                continue;
            json_t *line =
                json_pack("{s:s, s:I, s:i, s:f, s:f, s:f}", "kind", "record", "bytes",
                          (json_int_t)bytes, "decoders", decoders, "records_per_second",
                          speed, "gbs", gbs, "memcpy_gbs", copy_gbs);
            json_dumpf(line, o.json, JSON_COMPACT);
            fputc('\n', o.json);
            json_decref(line);
        }
}

/* ---- main ------------------------------------------------------------------------ */

static bool parse(int argc, char **argv, struct options *o)
{
    static const struct option names[] = {{"batch", required_argument, NULL, 'b'},
                                          {"bytes", required_argument, NULL, 'y'},
                                          {"step", required_argument, NULL, 's'},
                                          {"steps", required_argument, NULL, 'n'},
                                          {"readers", required_argument, NULL, 'r'},
                                          {"decoders", required_argument, NULL, 'd'},
                                          {"depth", required_argument, NULL, 'e'},
                                          {"rounds", required_argument, NULL, 'o'},
                                          {"json", required_argument, NULL, 'j'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    int c;
    while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
        double number = optarg != NULL ? strtod(optarg, NULL) : 0;
        switch (c) {
        case 'b':
            o->batch = (size_t)number;
            break;
        case 'y':
            o->bytes = (size_t)number;
            break;
        case 's':
            o->step_s = 1e-3 * number;
            break;
        case 'n':
            o->steps = (int)number;
            break;
        case 'r':
            o->readers = (int)number;
            break;
        case 'd':
            o->decoders = (int)number;
            break;
        case 'e':
            o->depth = (int)number;
            break;
        case 'o':
            o->rounds = (int)number;
            break;
        case 'j':
            o->json = fopen(optarg, "w");
            break;
        default:
            return false;
        }
        if (c == 'j' && o->json == NULL) {
            perror(optarg);
            return false;
        }
    }
    return optind == argc && o->batch >= 1 && o->bytes >= 1 && o->step_s > 0 &&
           o->steps >= 1 && o->steps <= MAX_STEPS && o->readers >= 1 &&
           o->rounds >= 0 && o->rounds <= MAX_ROUNDS;
}

int main(int argc, char **argv)
{
    struct options o = {.batch = 64,
                        .bytes = 4096,
                        .step_s = 0.01,
                        .steps = 100,
                        .readers = 2,
                        .decoders = 1,
                        .depth = 2,
                        .rounds = 5};
    dml_ctx *ctx = NULL;
    if (!parse(argc, argv, &o)) {
        fputs(usage, stderr);
        return 1;
    }
    prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0); /* ns; wakes up as told */
    check(NULL, dml_ctx_create(NULL, &ctx));
    run_stalls(ctx, &o);
    if (o.rounds > 0)
        run_records(ctx, &o);
    dml_ctx_destroy(ctx);
    return o.json != NULL && fclose(o.json) != 0;
}
