/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The loader: a background thread that keeps a ring of prepared batches full.
 *
 * The ring has depth + 1 slots: at most depth are filled, so the thread never writes
 * into the slot that the caller still reads. Thread and caller share the ring's
 * counters under one lock; a slot itself belongs to one side at a time. A seek or the
 * end raises the generation, at which the thread drops what it is doing within one
 * image's time.
 */
#include "dml/data.h"
#include "dml/rng.h"

#include "core/core.h"
#include "data/images.h"
#include "data/prepare.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

/* Keeps the orders apart from the augmentation and from the streams of callers. */
#define ORDER_STREAM (UINT64_C(1) << 63)

#define MAX_DEPTH 1024 /* more is a mistake, and would only take memory */

struct dml_loader {
    dml_ctx *ctx;
    const dml_images *images;
    dml_loader_opts opts; /* its mean and stddev live in table only */
    uint64_t steps;       /* of one epoch */

    float *table;       /* [C][256] */
    uint32_t *order;    /* [N] image of each place in the epoch; the thread's */
    dml_batch *slots;   /* [depth + 1] */
    float *pixels;      /* [depth + 1][slot_images][C][H][W] */
    int32_t *labels;    /* [depth + 1][slot_images] */
    size_t slot_images; /* most images of this rank in a step */

    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t room;  /* the thread waits: the ring is full */
    pthread_cond_t ready; /* the caller waits: it is empty */
    size_t first;         /* slot of the oldest filled batch */
    size_t filled;
    uint64_t epoch; /* where the current generation starts */
    bool stop;
    atomic_uint generation; /* written under the lock */

    double wait_s; /* the caller's */
};

/* Where the thread is. */
typedef struct cursor {
    unsigned generation;
    uint64_t epoch, step;
} cursor;

void dml_loader_opts_init(dml_loader_opts *opts)
{
    *opts = (dml_loader_opts){
        .size = sizeof *opts,
        .seed = 1,
        .batch = 128,
        .nranks = 1,
        .shuffle = true,
        .drop_last = true,
        .depth = 2,
    };
}

static size_t nslots(const dml_loader *l)
{
    return (size_t)l->opts.depth + 1;
}

/* ---- the thread --------------------------------------------------------------------
 */

static void start_epoch(dml_loader *l, uint64_t epoch)
{
    uint32_t count = (uint32_t)l->images->info.count;
    if (l->opts.shuffle)
        dml_rng_permutation(l->opts.seed, ORDER_STREAM + epoch, count, l->order);
    else
        for (uint32_t i = 0; i < count; i++)
            l->order[i] = i;
}

/* Prepares this rank's part of the step at the cursor; false when it is not wanted any
 * more. */
static bool fill(dml_loader *l, size_t slot, const cursor *at)
{
    const dml_images_info *shape = &l->images->info;
    size_t start = (size_t)at->step * l->opts.batch;
    size_t rest = shape->count - start;
    size_t global = rest < l->opts.batch ? rest : l->opts.batch;
    size_t rank = (size_t)l->opts.rank, nranks = (size_t)l->opts.nranks;
    size_t begin = rank * global / nranks, end = (rank + 1) * global / nranks;
    size_t image_pixels = shape->channels * shape->height * shape->width;
    float *pixels = l->pixels + slot * l->slot_images * image_pixels;
    int32_t *labels = l->labels + slot * l->slot_images;
    for (size_t i = begin; i < end; i++) {
        if (atomic_load_explicit(&l->generation, memory_order_relaxed) !=
            at->generation)
            return false;
        size_t image = l->order[start + i];
        dml__augment augment = dml__augment_draw(l->opts.seed, at->epoch, image,
                                                 l->opts.shift, l->opts.flip);
        dml__prepare_image(l->images->pixels + image * image_pixels, shape->channels,
                           (int)shape->height, (int)shape->width, l->table, &augment,
                           pixels + (i - begin) * image_pixels);
        labels[i - begin] = l->images->labels[image];
    }
    l->slots[slot] = (dml_batch){
        .images = pixels,
        .labels = labels,
        .count = end - begin,
        .global_count = global,
        .epoch = at->epoch,
        .step = at->step,
    };
    return true;
}

/* Waits for a free slot; moves the cursor if there was a seek. False: stop. */
static bool wait_for_room(dml_loader *l, cursor *at, size_t *slot)
{
    pthread_mutex_lock(&l->lock);
    while (!l->stop && l->filled == nslots(l) - 1)
        pthread_cond_wait(&l->room, &l->lock);
    unsigned generation = atomic_load_explicit(&l->generation, memory_order_relaxed);
    if (generation != at->generation)
        *at = (cursor){.generation = generation, .epoch = l->epoch};
    *slot = (l->first + l->filled) % nslots(l);
    bool go_on = !l->stop;
    pthread_mutex_unlock(&l->lock);
    return go_on;
}

static void publish(dml_loader *l, const cursor *at)
{
    pthread_mutex_lock(&l->lock);
    if (atomic_load_explicit(&l->generation, memory_order_relaxed) == at->generation) {
        l->filled++;
        pthread_cond_signal(&l->ready);
    }
    pthread_mutex_unlock(&l->lock);
}

static void *prefetch(void *loader)
{
    dml_loader *l = loader;
    cursor at = {0};
    size_t slot = 0;
    while (wait_for_room(l, &at, &slot)) {
        if (at.step == 0)
            start_epoch(l, at.epoch);
        if (!fill(l, slot, &at))
            continue;
        publish(l, &at);
        if (++at.step == l->steps)
            at = (cursor){.generation = at.generation, .epoch = at.epoch + 1};
    }
    return NULL;
}

/* ---- create and destroy ------------------------------------------------------------
 */

static dml_status check(dml_ctx *ctx, const char *where, const dml_images_info *shape,
                        const dml_loader_opts *o)
{
    if (o->batch == 0)
        return dml__fail_values(ctx, DML_EINVAL, where, -1, 0, 1,
                                "batch is 0; give at least one image");
    if (o->nranks < 1 || o->rank < 0 || o->rank >= o->nranks)
        return dml__fail_values(ctx, DML_EINVAL, where, -1, o->rank, o->nranks,
                                "rank %d of %d ranks; a rank is 0 .. ranks-1", o->rank,
                                o->nranks);
    if (o->batch % (size_t)o->nranks != 0)
        return dml__fail_values(
            ctx, DML_EINVAL, where, -1, (int64_t)o->batch, o->nranks,
            "batch %zu cannot be divided evenly by %d ranks; choose "
            "a multiple of %d",
            o->batch, o->nranks, o->nranks);
    if (o->drop_last && o->batch > shape->count)
        return dml__fail_values(ctx, DML_EINVAL, where, -1, (int64_t)o->batch,
                                (int64_t)shape->count,
                                "batch %zu is larger than the data, %zu images; choose "
                                "a smaller batch or drop_last = false",
                                o->batch, shape->count);
    size_t side = shape->height < shape->width ? shape->height : shape->width;
    if (o->shift < 0 || (size_t)o->shift >= side)
        return dml__fail_values(ctx, DML_EINVAL, where, -1, o->shift, (int64_t)side - 1,
                                "shift %d; choose 0 .. %zu for images of %zu x %zu",
                                o->shift, side - 1, shape->height, shape->width);
    if (o->depth < 1 || o->depth > MAX_DEPTH)
        return dml__fail_values(ctx, DML_EINVAL, where, -1, o->depth, MAX_DEPTH,
                                "depth %d; choose 1 .. %d batches prepared ahead",
                                o->depth, MAX_DEPTH);
    for (size_t c = 0; o->stddev != NULL && c < shape->channels; c++)
        if (!(o->stddev[c] > 0))
            return dml__fail(ctx, DML_EINVAL, where,
                             "stddev of channel %zu is %g; it must be above 0", c,
                             (double)o->stddev[c]);
    if (shape->count > UINT32_MAX || shape->height > INT_MAX || shape->width > INT_MAX)
        return dml__fail_values(ctx, DML_EINVAL, where, -1, (int64_t)shape->count,
                                UINT32_MAX,
                                "%zu images of %zu x %zu are more than a loader can "
                                "count; split the data",
                                shape->count, shape->height, shape->width);
    return DML_OK;
}

static bool allocate(dml_loader *l)
{
    const dml_images_info *shape = &l->images->info;
    size_t nranks = (size_t)l->opts.nranks;
    size_t largest = l->opts.batch < shape->count ? l->opts.batch : shape->count;
    l->slot_images = (largest + nranks - 1) / nranks;
    size_t image_pixels = shape->channels * shape->height * shape->width;
    size_t images = dml__mul(nslots(l), l->slot_images);
    l->table = dml__alloc(l->ctx, dml__mul(shape->channels, 256 * sizeof *l->table));
    l->order = dml__alloc(l->ctx, dml__mul(shape->count, sizeof *l->order));
    l->slots = dml__alloc(l->ctx, dml__mul(nslots(l), sizeof *l->slots));
    l->pixels = dml__alloc(l->ctx, dml__mul(images, image_pixels * sizeof *l->pixels));
    l->labels = dml__alloc(l->ctx, dml__mul(images, sizeof *l->labels));
    return l->table != NULL && l->order != NULL && l->slots != NULL &&
           l->pixels != NULL && l->labels != NULL;
}

static void release(dml_loader *l)
{
    dml__free(l->labels);
    dml__free(l->pixels);
    dml__free(l->slots);
    dml__free(l->order);
    dml__free(l->table);
    dml__free(l);
}

/* The thread takes no signals: the program's handlers run where it expects them. */
static int start_thread(dml_loader *l)
{
    sigset_t all, kept;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &kept);
    int error = pthread_create(&l->thread, NULL, prefetch, l);
    pthread_sigmask(SIG_SETMASK, &kept, NULL);
    return error;
}

dml_status dml_loader_create(dml_ctx *ctx, const dml_images *images,
                             const dml_loader_opts *opts, dml_loader **loader)
{
    if (images == NULL || opts == NULL || opts->size != sizeof *opts || loader == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "images, options or result missing; fill the options with "
                         "dml_loader_opts_init()");
    DML_TRY(check(ctx, __func__, &images->info, opts));
    dml_loader *l = dml__alloc(ctx, sizeof *l);
    if (l == NULL)
        return dml__fail(ctx, DML_ENOMEM, __func__, "no memory for a loader");
    l->ctx = ctx;
    l->images = images;
    l->opts = *opts;
    l->opts.mean = l->opts.stddev = NULL;
    size_t last = opts->drop_last ? 0 : images->info.count % opts->batch;
    l->steps = images->info.count / opts->batch + (last != 0);
    if (!allocate(l)) {
        release(l);
        return dml__fail(ctx, DML_ENOMEM, __func__,
                         "no memory for %d batches prepared ahead; reduce batch or "
                         "depth",
                         opts->depth);
    }
    dml__prepare_table(images->info.channels, opts->mean, opts->stddev, l->table);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->room, NULL);
    pthread_cond_init(&l->ready, NULL);
    if (start_thread(l) != 0) {
        release(l);
        return dml__fail(ctx, DML_ENOMEM, __func__,
                         "cannot start a thread; raise the limit on processes");
    }
    *loader = l;
    return DML_OK;
}

/* Drops what was prepared and what the thread is preparing. Lock held. */
static void next_generation(dml_loader *l)
{
    atomic_fetch_add_explicit(&l->generation, 1, memory_order_relaxed);
    l->filled = 0;
    pthread_cond_signal(&l->room);
}

void dml_loader_destroy(dml_loader *l)
{
    if (l == NULL)
        return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    next_generation(l);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    pthread_cond_destroy(&l->ready);
    pthread_cond_destroy(&l->room);
    pthread_mutex_destroy(&l->lock);
    release(l);
}

/* ---- the caller --------------------------------------------------------------------
 */

uint64_t dml_loader_steps(const dml_loader *l)
{
    return l->steps;
}

dml_status dml_loader_next(dml_loader *l, dml_batch *batch)
{
    if (l == NULL || batch == NULL)
        return DML_EINVAL;
    pthread_mutex_lock(&l->lock);
    if (l->filled == 0) {
        double start = dml__now_s();
        while (l->filled == 0)
            pthread_cond_wait(&l->ready, &l->lock);
        l->wait_s += dml__now_s() - start;
    }
    *batch = l->slots[l->first];
    l->first = (l->first + 1) % nslots(l);
    l->filled--;
    pthread_cond_signal(&l->room);
    pthread_mutex_unlock(&l->lock);
    return DML_OK;
}

dml_status dml_loader_seek(dml_loader *l, uint64_t epoch)
{
    if (l == NULL)
        return DML_EINVAL;
    pthread_mutex_lock(&l->lock);
    l->epoch = epoch;
    next_generation(l);
    pthread_mutex_unlock(&l->lock);
    return DML_OK;
}

double dml_loader_wait_s(const dml_loader *l)
{
    return l->wait_s;
}
