/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Batches on their way to a GPU: two slots on the device, so that while a pass runs the
 * next batch is copied by a stream of its own, its images out of the loader's memory,
 * which is pinned. A slot is filled anew when the pass before the last is done with it.
 */
#include "gpu_feed.h"

void feed_loader(dml_loader_opts *opts)
{
    opts->dtype = DML_U8;
    opts->alloc = dml_gpu_alloc_pinned;
    opts->release = dml_gpu_free_pinned;
}

static size_t aligned(size_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

static dml_status open_slot(struct feed *feed, struct feed_slot *slot)
{
    dml_ctx *ctx = feed->gpu->ctx;
    const size_t small = feed->bytes - feed->area_at;
    void *memory = NULL;
    CNN_TRY(gpu_note(feed->gpu, dml_gpu_alloc_pinned(ctx, small, &memory)));
    slot->host = memory;
    memset(slot->host, 0, small);
    CNN_TRY(gpu_note(feed->gpu, dml_gpu_alloc(ctx, feed->bytes, &memory)));
    slot->device = memory;
    CNN_TRY(gpu_note(feed->gpu, dml_gpu_event_create(ctx, false, &slot->copied)));
    return gpu_note(feed->gpu, dml_gpu_event_create(ctx, false, &slot->used));
}

static dml_status send_values(struct feed *feed, const float *values, size_t channels)
{
    dml_ctx *ctx = feed->gpu->ctx;
    const size_t bytes = channels * 256 * sizeof *values;
    CNN_TRY(gpu_note(feed->gpu, dml_gpu_alloc(ctx, bytes, &feed->values)));
    CNN_TRY(gpu_note(feed->gpu,
                     dml_gpu_copy(ctx, feed->values, values, bytes, feed->stream)));
    return gpu_note(feed->gpu, dml_gpu_stream_sync(ctx, feed->stream));
}

dml_status feed_open(struct gpu *gpu, const struct net *net, const float *values,
                     struct feed *feed)
{
    const struct net_shape *shape = &net->shape;
    *feed = (struct feed){.gpu = gpu, .rows = shape->rows};
    feed->row_bytes = shape->channels * shape->height * shape->width;
    feed->area_at = aligned(shape->rows * feed->row_bytes);
    feed->label_at = feed->area_at + aligned(shape->rows * sizeof(dml_image_area));
    feed->pass_at = feed->label_at + aligned(shape->rows * sizeof(int32_t));
    feed->bytes = feed->pass_at + aligned(sizeof(struct cnn_pass));
    CNN_TRY(gpu_note(gpu, dml_gpu_stream_create(gpu->ctx, &feed->stream)));
    CNN_TRY(send_values(feed, values, shape->channels));
    for (int i = 0; i < FEED_SLOTS; i++)
        CNN_TRY(open_slot(feed, &feed->slots[i]));
    return DML_OK;
}

void feed_close(struct feed *feed)
{
    if (!feed->gpu)
        return;
    dml_ctx *ctx = feed->gpu->ctx;
    if (feed->stream)
        (void)dml_gpu_stream_sync(ctx, feed->stream);
    (void)dml_gpu_stream_sync(ctx, feed->gpu->stream);
    for (int i = 0; i < FEED_SLOTS; i++) {
        struct feed_slot *slot = &feed->slots[i];
        (void)dml_gpu_event_destroy(ctx, slot->copied);
        (void)dml_gpu_event_destroy(ctx, slot->used);
        (void)dml_gpu_free(ctx, slot->device);
        (void)dml_gpu_free_pinned(ctx, slot->host);
    }
    (void)dml_gpu_free(ctx, feed->values);
    (void)dml_gpu_stream_destroy(ctx, feed->stream);
    *feed = (struct feed){0};
}

bool feed_has(const struct feed *feed)
{
    return feed->next > feed->now;
}

dml_status feed_wait_sent(struct feed *feed)
{
    const struct feed_slot *slot =
        &feed->slots[(feed->next + FEED_SLOTS - 1) % FEED_SLOTS];
    return gpu_note(feed->gpu, dml_gpu_event_sync(feed->gpu->ctx, slot->copied));
}

static void gather(const struct feed *feed, const struct feed_slot *slot,
                   const dml_batch *batch, const struct cnn_pass *pass)
{
    dml_image_area *areas = (dml_image_area *)(void *)slot->host;
    for (size_t row = 0; row < feed->rows; row++)
        areas[row] = batch->areas[row % batch->rows];
    if (batch->count > 0)
        memcpy(slot->host + feed->label_at - feed->area_at, batch->labels,
               batch->count * sizeof *batch->labels);
    memcpy(slot->host + feed->pass_at - feed->area_at, pass, sizeof *pass);
}

static dml_status copy_images(const struct feed *feed, const struct feed_slot *slot,
                              const dml_batch *batch)
{
    struct gpu *gpu = feed->gpu;
    for (size_t row = 0; row < feed->rows; row += batch->rows) {
        size_t left = feed->rows - row;
        size_t rows = left < batch->rows ? left : batch->rows;
        CNN_TRY(gpu_note(
            gpu, dml_gpu_copy(gpu->ctx, slot->device + row * feed->row_bytes,
                              batch->bytes, rows * feed->row_bytes, feed->stream)));
    }
    return DML_OK;
}

dml_status feed_put(struct feed *feed, const dml_batch *batch,
                    const struct cnn_pass *pass)
{
    struct gpu *gpu = feed->gpu;
    struct feed_slot *slot = &feed->slots[feed->next % FEED_SLOTS];
    gather(feed, slot, batch, pass);
    CNN_TRY(gpu_note(gpu, dml_gpu_stream_wait(gpu->ctx, feed->stream, slot->used)));
    CNN_TRY(copy_images(feed, slot, batch));
    CNN_TRY(
        gpu_note(gpu, dml_gpu_copy(gpu->ctx, slot->device + feed->area_at, slot->host,
                                   feed->bytes - feed->area_at, feed->stream)));
    CNN_TRY(gpu_note(gpu, dml_gpu_event_record(gpu->ctx, slot->copied, feed->stream)));
    feed->next++;
    return DML_OK;
}

dml_status feed_take(struct feed *feed, struct net *net, const int32_t **labels)
{
    struct gpu *gpu = feed->gpu;
    const struct feed_slot *slot = &feed->slots[feed->now % FEED_SLOTS];
    net->gpu->fed = (struct cnn_bytes_args){
        .x = (const uint8_t *)slot->device,
        .areas = (const dml_image_area *)(const void *)(slot->device + feed->area_at),
        .values = feed->values};
    net->gpu->pass =
        (const struct cnn_pass *)(const void *)(slot->device + feed->pass_at);
    *labels = (const int32_t *)(const void *)(slot->device + feed->label_at);
    return gpu_note(gpu, dml_gpu_stream_wait(gpu->ctx, gpu->stream, slot->copied));
}

dml_status feed_done(struct feed *feed)
{
    struct gpu *gpu = feed->gpu;
    const struct feed_slot *slot = &feed->slots[feed->now % FEED_SLOTS];
    feed->now++;
    return gpu_note(gpu, dml_gpu_event_record(gpu->ctx, slot->used, gpu->stream));
}

const struct cnn_pass *feed_done_pass(const struct feed *feed, const int32_t **labels)
{
    const char *host = feed->slots[(feed->now + FEED_SLOTS - 1) % FEED_SLOTS].host;
    *labels = (const int32_t *)(const void *)(host + feed->label_at - feed->area_at);
    return (const struct cnn_pass *)(const void *)(host + feed->pass_at -
                                                   feed->area_at);
}
