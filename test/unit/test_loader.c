/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The loader on generated images: which image stands where, for any number of ranks,
 * before and after a seek, and what each of its pixels becomes.
 */
#include "data/prepare.h"
#include "loader_fixture.h"

#include <string.h>

#define PIXELS ((size_t)C * H * W)

static const float mean[C] = {0.25f, 0.5f}, stddev[C] = {0.5f, 0.125f};

static dml_loader *create(fixture *f, const dml_loader_opts *opts)
{
    dml_loader *loader = NULL;
    assert_int_equal(dml_loader_create(f->ctx, f->images, opts, &loader), DML_OK);
    return loader;
}

/* What all ranks together see in some epochs, in global order. */
typedef struct seen {
    size_t count;
    int32_t *labels;
    float *images; /* [count][C][H][W] */
} seen;

static void seen_free(seen *s)
{
    free(s->labels);
    free(s->images);
}

static seen collect(fixture *f, dml_loader_opts opts, int nranks, uint64_t epochs)
{
    seen s = {0};
    s.labels = calloc((size_t)epochs * N, sizeof *s.labels);
    s.images = calloc((size_t)epochs * N * PIXELS, sizeof *s.images);
    dml_loader *loaders[8];
    opts.nranks = nranks;
    for (opts.rank = 0; opts.rank < nranks; opts.rank++)
        loaders[opts.rank] = create(f, &opts);
    uint64_t steps = dml_loader_steps(loaders[0]);
    assert_int_equal(steps, opts.drop_last ? N / opts.batch
                                           : (N + opts.batch - 1) / opts.batch);
    for (uint64_t i = 0; i < epochs * steps; i++) {
        size_t start = s.count, full = (size_t)(i % steps + 1) * opts.batch;
        size_t global = full <= N ? opts.batch : N - (full - opts.batch);
        for (int r = 0; r < nranks; r++) {
            dml_batch b;
            assert_int_equal(dml_loader_next(loaders[r], &b), DML_OK);
            assert_int_equal(b.epoch, i / steps);
            assert_int_equal(b.step, i % steps);
            assert_int_equal(b.global_count, global);
            assert_int_equal(s.count - start, (size_t)r * global / (size_t)nranks);
            memcpy(s.labels + s.count, b.labels, b.count * sizeof *b.labels);
            memcpy(s.images + s.count * PIXELS, b.images,
                   b.count * PIXELS * sizeof *b.images);
            s.count += b.count;
        }
        assert_int_equal(s.count - start, global);
    }
    for (int r = 0; r < nranks; r++)
        dml_loader_destroy(loaders[r]);
    return s;
}

static void assert_same(const seen *a, const seen *b)
{
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->labels, b->labels, a->count * sizeof *a->labels);
    assert_memory_equal(a->images, b->images, a->count * PIXELS * sizeof *a->images);
}

static void order_and_augmentation_do_not_depend_on_ranks(void **state)
{
    fixture *f = *state;
    static const int ranks[] = {1, 2, 3, 4, 8};
    for (int variant = 0; variant < 4; variant++) {
        dml_loader_opts opts = f->opts;
        opts.drop_last = (variant & 1) != 0;
        opts.shift = (variant & 2) != 0 ? 2 : 0;
        opts.flip = (variant & 2) != 0;
        seen one = collect(f, opts, 1, 3);
        for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++) {
            seen many = collect(f, opts, ranks[i], 3);
            assert_same(&one, &many);
            seen_free(&many);
        }
        seen_free(&one);
    }
}

static void each_image_comes_once_an_epoch(void **state)
{
    fixture *f = *state;
    f->opts.drop_last = false;
    seen s = collect(f, f->opts, 3, 4);
    assert_int_equal(s.count, 4 * N);
    for (size_t epoch = 0; epoch < 4; epoch++) {
        int times[N] = {0};
        for (size_t i = 0; i < N; i++)
            assert_int_equal(times[s.labels[epoch * N + i]]++, 0);
    }
    size_t epoch_bytes = N * sizeof *s.labels;
    for (size_t e = 1; e < 4; e++)
        assert_memory_not_equal(s.labels, s.labels + e * N, epoch_bytes);
    seen_free(&s);
}

static void seed_alone_decides_the_order(void **state)
{
    fixture *f = *state;
    f->opts.drop_last = false;
    seen a = collect(f, f->opts, 1, 1);
    seen again = collect(f, f->opts, 1, 1);
    assert_same(&a, &again);
    f->opts.seed++;
    seen other = collect(f, f->opts, 1, 1);
    assert_memory_not_equal(a.labels, other.labels, N * sizeof *a.labels);
    f->opts.shuffle = false;
    seen plain = collect(f, f->opts, 1, 2);
    for (int i = 0; i < 2 * N; i++)
        assert_int_equal(plain.labels[i], i % N);
    seen_free(&a);
    seen_free(&again);
    seen_free(&other);
    seen_free(&plain);
}

/* Pixel (c, y, x) of image i by the definition: flip, then shift, then normalise. */
static float pixel(const fixture *f, size_t i, const dml__augment *a, int c, int y,
                   int x)
{
    int from_y = y - a->dy, from_x = x - a->dx;
    if (from_y < 0 || from_y >= H || from_x < 0 || from_x >= W)
        return 0;
    if (a->flip)
        from_x = W - 1 - from_x;
    uint8_t byte =
        f->images
            ->pixels[((i * C + (size_t)c) * H + (size_t)from_y) * W + (size_t)from_x];
    return (float)((byte / 255.0 - (double)mean[c]) / (double)stddev[c]);
}

static void images_equal_their_definition(void **state)
{
    fixture *f = *state;
    f->opts.drop_last = false;
    f->opts.shift = H - 1;
    f->opts.flip = true;
    f->opts.mean = mean;
    f->opts.stddev = stddev;
    seen s = collect(f, f->opts, 2, 3);
    int shifts[2 * H] = {0}, flips = 0;
    for (size_t n = 0; n < s.count; n++) {
        size_t i = (size_t)s.labels[n];
        dml__augment a = dml__augment_draw(f->opts.seed, n / N, i, H - 1, true);
        assert_in_range(a.dx + H - 1, 0, 2 * H - 2);
        assert_in_range(a.dy + H - 1, 0, 2 * H - 2);
        shifts[a.dx + H - 1]++;
        shifts[a.dy + H - 1]++;
        flips += a.flip;
        const float *out = s.images + n * PIXELS;
        for (int c = 0; c < C; c++)
            for (int y = 0; y < H; y++)
                for (int x = 0; x < W; x++, out++)
                    assert_true(*out == pixel(f, i, &a, c, y, x));
    }
    /* Of 1218 shifts each of the 9 comes 135 times on average, of 609 flips half. */
    for (int i = 0; i < 2 * H - 1; i++)
        assert_in_range(shifts[i], 80, 190);
    assert_in_range(flips, 240, 370);
    seen_free(&s);
}

static void seek_goes_to_any_epoch(void **state)
{
    fixture *f = *state;
    seen s = collect(f, f->opts, 1, 5);
    const size_t steps = N / B;
    dml_loader *loader = create(f, &f->opts);
    for (uint64_t i = 0; i < 200; i++) {
        uint64_t draw = dml_rng_u64(11, 0, i);
        uint64_t epoch = draw % 5, batches = (draw >> 8) % (steps + 2);
        dml_batch held;
        assert_int_equal(dml_loader_next(loader, &held), DML_OK);
        int32_t kept[B];
        memcpy(kept, held.labels, sizeof kept);
        assert_int_equal(dml_loader_seek(loader, epoch), DML_OK);
        if (i % 3 == 0)
            usleep(300); /* the thread may prepare the new batches meanwhile */
        assert_memory_equal(kept, held.labels, sizeof kept);
        for (uint64_t k = 0; k < batches && epoch + k / steps < 5; k++) {
            dml_batch b;
            assert_int_equal(dml_loader_next(loader, &b), DML_OK);
            assert_int_equal(b.epoch, epoch + k / steps);
            assert_int_equal(b.step, k % steps);
            size_t at = (size_t)epoch * steps * B + (size_t)k * B;
            assert_memory_equal(b.labels, s.labels + at, B * sizeof *b.labels);
            assert_memory_equal(b.images, s.images + at * PIXELS,
                                B * PIXELS * sizeof *b.images);
        }
    }
    dml_loader_destroy(loader);
    seen_free(&s);
}

static void seek_goes_to_any_step(void **state)
{
    fixture *f = *state;
    seen s = collect(f, f->opts, 1, 3);
    const size_t steps = N / B;
    dml_loader *loader = create(f, &f->opts);
    for (size_t at = 3 * steps; at-- > 0;) {
        dml_batch b;
        assert_int_equal(dml_loader_seek_step(loader, at / steps, at % steps), DML_OK);
        assert_int_equal(dml_loader_next(loader, &b), DML_OK);
        assert_int_equal(b.epoch * steps + b.step, at);
        assert_memory_equal(b.images, s.images + at * B * PIXELS,
                            B * PIXELS * sizeof *b.images);
    }
    assert_int_equal(dml_loader_seek_step(loader, 0, steps), DML_EINVAL);
    assert_int_equal(dml_loader_seek_step(NULL, 0, 0), DML_EINVAL);
    dml_loader_destroy(loader);
    seen_free(&s);
}

static void any_depth_gives_the_same(void **state)
{
    fixture *f = *state;
    seen two = collect(f, f->opts, 2, 2);
    for (f->opts.depth = 1; f->opts.depth <= 4; f->opts.depth++) {
        seen s = collect(f, f->opts, 2, 2);
        assert_same(&two, &s);
        seen_free(&s);
    }
    seen_free(&two);
}

/* The batch in hand stays as it is while the thread fills every other slot. */
static void the_batch_in_hand_is_left_alone(void **state)
{
    fixture *f = *state;
    f->opts.depth = 1;
    dml_loader *loader = create(f, &f->opts);
    for (int i = 0; i < 40; i++) {
        dml_batch b;
        float kept[B * PIXELS];
        assert_int_equal(dml_loader_next(loader, &b), DML_OK);
        memcpy(kept, b.images, sizeof kept);
        usleep(500);
        assert_memory_equal(kept, b.images, sizeof kept);
    }
    dml_loader_destroy(loader);
}

static void batch_may_be_as_large_as_the_data(void **state)
{
    fixture *f = *state;
    f->opts.batch = N;
    seen s = collect(f, f->opts, 1, 2);
    assert_int_equal(s.count, 2 * N);
    seen_free(&s);
    f->opts.drop_last = false;
    f->opts.batch = N + 5; /* 208 = 8 * 26 */
    s = collect(f, f->opts, 8, 2);
    assert_int_equal(s.count, 2 * N);
    seen_free(&s);
    f->opts.batch = 6000; /* a rank's part is larger than what there is */
    s = collect(f, f->opts, 8, 1);
    assert_int_equal(s.count, N);
    seen_free(&s);
}

static void ranks_may_get_nothing_of_the_last_batch(void **state)
{
    fixture *f = *state;
    dml_images *three = make_images(f->ctx, 3, H, W);
    dml_loader_opts opts = f->opts;
    opts.drop_last = false;
    opts.batch = 8;
    opts.nranks = 8;
    size_t total = 0, empty = 0;
    for (opts.rank = 0; opts.rank < 8; opts.rank++) {
        dml_loader *loader = NULL;
        dml_batch b;
        assert_int_equal(dml_loader_create(f->ctx, three, &opts, &loader), DML_OK);
        assert_int_equal(dml_loader_next(loader, &b), DML_OK);
        assert_int_equal(b.global_count, 3);
        total += b.count;
        empty += b.count == 0;
        dml_loader_destroy(loader);
    }
    assert_int_equal(total, 3);
    assert_int_equal(empty, 5);
    dml_images_destroy(three);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOADER_TEST(order_and_augmentation_do_not_depend_on_ranks),
        LOADER_TEST(each_image_comes_once_an_epoch),
        LOADER_TEST(seed_alone_decides_the_order),
        LOADER_TEST(images_equal_their_definition),
        LOADER_TEST(seek_goes_to_any_epoch),
        LOADER_TEST(seek_goes_to_any_step),
        LOADER_TEST(any_depth_gives_the_same),
        LOADER_TEST(the_batch_in_hand_is_left_alone),
        LOADER_TEST(batch_may_be_as_large_as_the_data),
        LOADER_TEST(ranks_may_get_nothing_of_the_last_batch),
    };
    return cmocka_run_group_tests_name("loader", tests, NULL, NULL);
}
