/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Batches on their way to a device: what a net's input gets of bytes has the bits of a
 * loader's numbers, labels and pass are those of the batch, while the next one is sent;
 * with as many rows as the net has, and fewer.
 *
 * Argument: plain, for the GPU that $DML_GPU names.
 */
#include "cnn_device.h"
#include "gpu_feed.h"
#include "kernels_items.h"
#include "unit.h"

#include <stdlib.h>

enum { SEED = 20261122, STEPS = 12 };

static struct gpu gpu;

struct feed_case {
    dml_images_info images;
    size_t batch, rows; /* rows: of the net, or 0 for as many */
    int shift, half;
};

static const struct feed_case cases[] = {
    {{7, 1, 1, 1, 2}, 3, 0, 0, 0},     {{7, 1, 1, 1, 2}, 1, 4, 0, 1},
    {{50, 3, 9, 7, 5}, 8, 0, 4, 0},    {{50, 3, 9, 7, 5}, 8, 0, 4, 1},
    {{50, 3, 9, 7, 5}, 8, 13, 4, 1},   {{50, 3, 9, 7, 5}, 8, 20, 0, 0},
    {{21, 5, 32, 33, 3}, 21, 0, 8, 0}, {{21, 2, 40, 17, 3}, 4, 5, 16, 1},
};

struct bench {
    const struct feed_case *t;
    dml_images *images;
    dml_loader *numbers, *bytes;
    struct net *net;
    struct feed feed;
};

static dml_loader *make_loader(struct bench *b, dml_dtype dtype)
{
    static const float mean[] = {0.1f, 0.9f, 0.5f, 0.2f, 0.3f};
    static const float stddev[] = {0.5f, 0.125f, 0.3f, 0.7f, 0.1f};
    dml_loader_opts opts;
    dml_loader *loader = NULL;
    dml_loader_opts_init(&opts);
    opts.batch = b->t->batch;
    opts.drop_last = false; /* the last batch of an epoch is short */
    opts.shift = b->t->shift;
    opts.flip = true;
    opts.mean = mean;
    opts.stddev = stddev;
    opts.dtype = dtype;
    if (dtype == DML_U8) {
        opts.alloc = dml_gpu_alloc_pinned;
        opts.release = dml_gpu_free_pinned;
    }
    assert_int_equal(dml_loader_create(gpu.ctx, b->images, &opts, &loader), DML_OK);
    return loader;
}

static void open_bench(struct bench *b, const struct feed_case *t)
{
    const dml_images_info *s = &t->images;
    const struct net_shape shape = {t->rows ? t->rows : t->batch, s->channels,
                                    s->height, s->width, s->nclasses};
    *b = (struct bench){.t = t};
    gpu.half = t->half != 0;
    assert_int_equal(dml_images_make(gpu.ctx, s, SEED, 0, &b->images), DML_OK);
    b->numbers = make_loader(b, DML_F32);
    b->bytes = make_loader(b, DML_U8);
    assert_int_equal(net_create_on(&gpu, &shape, 1, 0, &b->net), DML_OK);
    assert_int_equal(net_finish(b->net, net_logits(b->net, b->net->input)), DML_OK);
    assert_int_equal(feed_open(&gpu, b->net, dml_loader_values(b->bytes), &b->feed),
                     DML_OK);
}

static void close_bench(struct bench *b)
{
    feed_close(&b->feed);
    net_destroy(b->net);
    dml_loader_destroy(b->bytes);
    dml_loader_destroy(b->numbers);
    dml_images_destroy(b->images);
    gpu.half = false;
}

static struct cnn_pass pass_of(const dml_batch *batch)
{
    struct cnn_pass pass;
    memset(&pass, 0, sizeof pass); /* gaps between members, too */
    pass.step = batch->step;
    pass.first_row = batch->first_row + 1;
    pass.scale = 1.0 / (double)(batch->step + 1);
    pass.count = (int32_t)batch->count;
    return pass;
}

static void send(struct bench *b)
{
    dml_batch batch;
    assert_int_equal(feed_wait_sent(&b->feed), DML_OK);
    assert_int_equal(dml_loader_next(b->bytes, &batch), DML_OK);
    const struct cnn_pass pass = pass_of(&batch);
    assert_int_equal(feed_put(&b->feed, &batch, &pass), DML_OK);
}

/* Channels last, rows beyond the batch's repeated, bf16 where that is asked for. */
static void compare_input(const struct bench *b, const dml_batch *batch)
{
    const dml_images_info *s = &b->t->images;
    const size_t plane = s->height * s->width, row_numbers = s->channels * plane;
    const size_t rows = b->net->shape.rows;
    const size_t bytes = rows * row_numbers * (b->t->half ? 2 : sizeof(float));
    char *expected = must(calloc(bytes, 1)), *got = must(calloc(bytes, 1));
    for (size_t i = 0; i < rows * row_numbers; i++) {
        size_t c = i % s->channels, pixel = i / s->channels % plane;
        size_t row = i / row_numbers % batch->rows;
        cnn_put(expected, i, batch->images[row * row_numbers + c * plane + pixel],
                b->t->half);
    }
    device_get(&gpu, got, b->net->input->data_at, bytes);
    assert_memory_equal(got, expected, bytes);
    free(got);
    free(expected);
}

static void run_case(const struct feed_case *t)
{
    struct bench b;
    open_bench(&b, t);
    int32_t *got = must(calloc(t->batch, sizeof *got));
    send(&b);
    for (int step = 0; step < STEPS; step++) {
        const int32_t *labels;
        dml_batch batch;
        struct cnn_pass pass;
        assert_true(feed_has(&b.feed));
        assert_int_equal(feed_take(&b.feed, b.net, &labels), DML_OK);
        const struct cnn_pass *sent = b.net->gpu->pass;
        assert_int_equal(net_forward(b.net, NET_TRAIN, NULL), DML_OK);
        assert_int_equal(feed_done(&b.feed), DML_OK);
        assert_false(feed_has(&b.feed));
        send(&b);
        assert_int_equal(dml_loader_next(b.numbers, &batch), DML_OK);
        compare_input(&b, &batch);
        device_get(&gpu, got, labels, batch.count * sizeof *got);
        assert_memory_equal(got, batch.labels, batch.count * sizeof *got);
        device_get(&gpu, &pass, sent, sizeof pass);
        const struct cnn_pass expected = pass_of(&batch);
        assert_memory_equal(&pass, &expected, sizeof pass);
        const struct cnn_pass *done = feed_done_pass(&b.feed, &labels);
        assert_memory_equal(done, &expected, sizeof pass);
        assert_memory_equal(labels, batch.labels, batch.count * sizeof *labels);
    }
    free(got);
    close_bench(&b);
}

static void batches_arrive(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        run_case(&cases[i]);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(batches_arrive)};
    if (!device_begin(&gpu, argc > 1 ? argv[1] : "plain"))
        return 1;
    return device_end(&gpu, cmocka_run_group_tests(tests, NULL, NULL));
}
