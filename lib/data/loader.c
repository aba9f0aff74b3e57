/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The loader: a pipeline whose records are the images of a set in memory, and whose
 * decoding is augmentation and normalisation.
 */
#include "dml/pipeline.h"

#include "core/core.h"
#include "data/images.h"
#include "data/prepare.h"

#include <limits.h>

#define MAX_DEPTH   1024
#define MAX_THREADS 256

struct dml_loader {
    const dml_images *images;
    dml_pipeline *pipeline;
    size_t image_pixels;
    uint64_t seed;
    int shift;
    bool flip;
    bool bytes;   /* are what batches hold */
    float *table; /* [C][256] */
};

enum { PIXELS, LABELS, AREAS }; /* fields; areas with bytes only */

void dml_loader_opts_init(dml_loader_opts *opts)
{
    *opts = (dml_loader_opts){
        .size = sizeof *opts,
        .seed = 1,
        .batch = 128,
        .nranks = 1,
        .shuffle = true,
        .drop_last = true,
        .uneven = DML_UNEVEN_SHARE,
        .depth = 2,
        .threads = 1,
        .dtype = DML_F32,
    };
}

/* ---- what the pipeline calls -------------------------------------------------- */

static dml_status read_image(void *loader, uint64_t number, void *buffer, size_t room,
                             dml_record *record, char *why)
{
    const dml_loader *l = loader;
    (void)buffer;
    (void)room;
    (void)why;
    record->data = l->images->pixels + number * l->image_pixels;
    record->bytes = l->image_pixels;
    return DML_OK;
}

static dml_status prepare(void *loader, const dml_record *record, uint64_t epoch,
                          void *const *fields, char *why)
{
    const dml_loader *l = loader;
    const dml_images_info *shape = &l->images->info;
    size_t image = (size_t)record->number;
    (void)why;
    dml__augment augment = dml__augment_draw(l->seed, epoch, image, l->shift, l->flip);
    const int height = (int)shape->height, width = (int)shape->width;
    if (l->bytes) {
        dml__prepare_bytes(record->data, shape->channels, height, width, &augment,
                           fields[PIXELS]);
        *(dml_image_area *)fields[AREAS] = dml__augment_area(&augment, height, width);
    } else {
        dml__prepare_image(record->data, shape->channels, height, width, l->table,
                           &augment, fields[PIXELS]);
    }
    *(int32_t *)fields[LABELS] = l->images->labels[image];
    return DML_OK;
}

/* ---- create and destroy ------------------------------------------------------- */

static dml_status check_augment(dml_ctx *ctx, const char *where,
                                const dml_images_info *shape, const dml_loader_opts *o)
{
    size_t side = shape->height < shape->width ? shape->height : shape->width;
    if (o->shift < 0 || (size_t)o->shift >= side)
        return dml__fail_values(ctx, DML_EINVAL, where, -1, o->shift, (int64_t)side - 1,
                                "shift %d; choose 0 .. %zu for images of %zu x %zu",
                                o->shift, side - 1, shape->height, shape->width);
    for (size_t c = 0; o->stddev != NULL && c < shape->channels; c++)
        if (!(o->stddev[c] > 0))
            return dml__fail(ctx, DML_EINVAL, where,
                             "stddev of channel %zu is %g; it must be above 0", c,
                             (double)o->stddev[c]);
    return DML_OK;
}

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
    if (o->owner == NULL && o->batch % (size_t)o->nranks != 0)
        return dml__fail_values(
            ctx, DML_EINVAL, where, -1, (int64_t)o->batch, o->nranks,
            "batch %zu cannot be divided evenly by %d ranks; choose "
            "a multiple of %d",
            o->batch, o->nranks, o->nranks);
    if (o->owner == NULL && o->drop_last && o->batch > shape->count)
        return dml__fail_values(ctx, DML_EINVAL, where, -1, (int64_t)o->batch,
                                (int64_t)shape->count,
                                "batch %zu is larger than the data, %zu images; choose "
                                "a smaller batch or drop_last = false",
                                o->batch, shape->count);
    if (o->depth < 1 || o->depth > MAX_DEPTH)
        return dml__fail_values(ctx, DML_EINVAL, where, -1, o->depth, MAX_DEPTH,
                                "depth %d; choose 1 .. %d batches prepared ahead",
                                o->depth, MAX_DEPTH);
    if (o->threads < 1 || o->threads > MAX_THREADS)
        return dml__fail_values(ctx, DML_EINVAL, where, -1, o->threads, MAX_THREADS,
                                "%d threads; choose 1 .. %d", o->threads, MAX_THREADS);
    if (o->dtype != DML_F32 && o->dtype != DML_U8)
        return dml__fail_values(ctx, DML_EINVAL, where, -1, (int64_t)o->dtype, DML_U8,
                                "pixels as dtype %d; choose DML_F32 or DML_U8",
                                (int)o->dtype);
    if (shape->count > UINT32_MAX || shape->height > INT_MAX || shape->width > INT_MAX)
        return dml__fail_values(ctx, DML_EINVAL, where, -1, (int64_t)shape->count,
                                UINT32_MAX,
                                "%zu images of %zu x %zu are more than a loader can "
                                "count; split the data",
                                shape->count, shape->height, shape->width);
    return check_augment(ctx, where, shape, o);
}

static dml_status start(dml_ctx *ctx, dml_loader *l, const dml_loader_opts *opts)
{
    const dml_record_source source = {
        .user = l, .count = l->images->info.count, .read = read_image};
    dml_pipeline_opts o;
    dml_pipeline_opts_init(&o);
    o.seed = opts->seed;
    o.shuffle = opts->shuffle;
    o.rank = opts->rank;
    o.nranks = opts->nranks;
    o.batch = opts->batch;
    o.owner = opts->owner;
    o.uneven = opts->owner != NULL ? opts->uneven
               : opts->drop_last   ? DML_UNEVEN_DROP
                                   : DML_UNEVEN_JOIN;
    o.pad = opts->pad;
    o.decode = prepare;
    o.user = l;
    o.nfields = l->bytes ? AREAS + 1 : LABELS + 1;
    o.field_bytes[PIXELS] = l->image_pixels * (l->bytes ? 1 : sizeof(float));
    o.field_bytes[LABELS] = sizeof(int32_t);
    o.field_bytes[AREAS] = sizeof(dml_image_area);
    o.readers = 0;
    o.decoders = opts->threads;
    o.depth = opts->depth;
    o.memory_bytes = SIZE_MAX; /* the set itself is in memory, without a bound */
    o.alloc = opts->alloc;
    o.release = opts->release;
    return dml_pipeline_create(ctx, &source, &o, &l->pipeline);
}

dml_status dml_loader_create(dml_ctx *ctx, const dml_images *images,
                             const dml_loader_opts *opts, dml_loader **loader)
{
    if (images == NULL || opts == NULL || loader == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "images, options or result missing; options come from "
                         "dml_loader_opts_init()");
    DML_TRY(dml__check_size(ctx, __func__, opts->size, sizeof *opts,
                            "dml_loader_opts_init"));
    const dml_images_info *shape = &images->info;
    DML_TRY(check(ctx, __func__, shape, opts));
    dml_loader *l = dml__alloc(ctx, sizeof *l);
    if (l == NULL)
        return dml__fail(ctx, DML_ENOMEM, __func__, "no memory for a loader");
    l->images = images;
    l->image_pixels = shape->channels * shape->height * shape->width;
    l->seed = opts->seed;
    l->shift = opts->shift;
    l->flip = opts->flip;
    l->bytes = opts->dtype == DML_U8;
    l->table = dml__alloc(ctx, dml__mul(shape->channels, 256 * sizeof *l->table));
    dml_status status = DML_OK;
    if (l->table == NULL)
        status = dml__fail(ctx, DML_ENOMEM, __func__, "no memory for a loader");
    if (status == DML_OK) {
        dml__prepare_table(shape->channels, opts->mean, opts->stddev, l->table);
        status = start(ctx, l, opts);
    }
    if (status == DML_OK)
        *loader = l;
    else
        dml_loader_destroy(l);
    return status;
}

void dml_loader_destroy(dml_loader *l)
{
    if (l == NULL)
        return;
    dml_pipeline_destroy(l->pipeline);
    dml__free(l->table);
    dml__free(l);
}

/* ---- the caller --------------------------------------------------------------- */

uint64_t dml_loader_steps(const dml_loader *l)
{
    return dml_pipeline_steps(l->pipeline);
}

size_t dml_loader_rows(const dml_loader *l)
{
    return dml_pipeline_rows(l->pipeline);
}

const float *dml_loader_values(const dml_loader *l)
{
    return l->table;
}

uint64_t dml_loader_global_count(const dml_loader *l, uint64_t step)
{
    return dml_pipeline_global_count(l->pipeline, step);
}

dml_status dml_loader_next(dml_loader *l, dml_batch *batch)
{
    if (l == NULL || batch == NULL)
        return DML_EINVAL;
    dml_pipeline_batch b;
    DML_TRY(dml_pipeline_next(l->pipeline, &b));
    *batch = (dml_batch){
        .images = l->bytes ? NULL : b.fields[PIXELS],
        .labels = b.fields[LABELS],
        .count = b.count,
        .rows = b.rows,
        .global_count = b.global_count,
        .first_row = b.first_row,
        .epoch = b.epoch,
        .step = b.step,
        .bytes = l->bytes ? b.fields[PIXELS] : NULL,
        .areas = l->bytes ? b.fields[AREAS] : NULL,
    };
    return DML_OK;
}

dml_status dml_loader_seek_step(dml_loader *l, uint64_t epoch, uint64_t step)
{
    if (l == NULL)
        return DML_EINVAL;
    const dml_pipeline_state state = {.epoch = epoch, .step = step};
    return dml_pipeline_seek(l->pipeline, &state);
}

dml_status dml_loader_seek(dml_loader *l, uint64_t epoch)
{
    return dml_loader_seek_step(l, epoch, 0);
}

double dml_loader_wait_s(const dml_loader *l)
{
    dml_pipeline_stats stats;
    dml_pipeline_get_stats(l->pipeline, &stats);
    return stats.wait_s;
}
