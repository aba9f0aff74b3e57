/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pipeline when options are wrong, records are bad, memory is short, or it is
 * destroyed while its threads work.
 */
#include "pipeline_fixture.h"

static dml_error last_error(const fixture *f, dml_status status, const char *words)
{
    dml_error error;
    dml_ctx_last_error(f->ctx, &error);
    assert_int_equal(error.status, status);
    assert_non_null(strstr(error.text, words));
    return error;
}

static dml_error refuse(fixture *f, const dml_pipeline_opts *opts, dml_status status,
                        const char *words)
{
    dml_pipeline *p = NULL;
    assert_int_equal(dml_pipeline_create(f->ctx, &f->source, opts, &p), status);
    assert_null(p);
    dml_error error = last_error(f, status, words);
    assert_string_equal(error.where, "dml_pipeline_create");
    return error;
}

static void wrong_options_are_refused(void **state)
{
    fixture *f = *state;
    const struct {
        size_t at;
        int value;
        const char *words;
    } faults[] = {
        {offsetof(dml_pipeline_opts, nranks), 0, "number of ranks is 0; choose 1"},
        {offsetof(dml_pipeline_opts, rank), 1, "rank is 1; choose 0 .. 0"},
        {offsetof(dml_pipeline_opts, rank), -1, "rank is -1"},
        {offsetof(dml_pipeline_opts, uneven), 3, "uneven is 3; choose 0 .. 2"},
        {offsetof(dml_pipeline_opts, on_error), 2, "on_error is 2"},
        {offsetof(dml_pipeline_opts, nfields), 0, "nfields is 0; choose 1 .. 4"},
        {offsetof(dml_pipeline_opts, nfields), 5, "nfields is 5"},
        {offsetof(dml_pipeline_opts, nfields), 3, "field_bytes is 0"},
        {offsetof(dml_pipeline_opts, readers), -1, "readers is -1; choose 0 .. 256"},
        {offsetof(dml_pipeline_opts, readers), 257, "readers is 257"},
        {offsetof(dml_pipeline_opts, decoders), 0, "decoders is 0; choose 1 .. 256"},
        {offsetof(dml_pipeline_opts, depth), 0, "depth is 0; choose 1 .. 1024"},
        {offsetof(dml_pipeline_opts, depth), 1025, "depth is 1025"},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        dml_pipeline_opts o = f->opts;
        memcpy((char *)&o + faults[i].at, &faults[i].value, sizeof(int));
        assert_int_equal(refuse(f, &o, DML_EINVAL, faults[i].words).seen,
                         strstr(faults[i].words, "field_bytes") ? 0 : faults[i].value);
    }
    dml_pipeline_opts o = f->opts;
    o.batch = 0;
    refuse(f, &o, DML_EINVAL, "batch is 0");
    o.batch = N + 1;
    refuse(f, &o, DML_EINVAL, "batch 204 is larger than the data, 203 records;");
    o = f->opts;
    o.decode = NULL;
    o.field_bytes[1] = 4;
    refuse(f, &o, DML_EINVAL, "field 1 has 4 bytes");
    o.field_bytes[1] = o.field_bytes[2] = sizeof(uint64_t);
    o.nfields = 3;
    refuse(f, &o, DML_EINVAL, "without a decode function there are at most 2");
    o = f->opts;
    o.size--;
    refuse(f, &o, DML_EINVAL, "dml_pipeline_opts_init()");
    refuse(f, NULL, DML_EINVAL, "dml_pipeline_opts_init()");
    f->source.count = 0;
    refuse(f, &f->opts, DML_EINVAL, "number of records is 0");
}

static void owners_that_cannot_be_are_refused(void **state)
{
    fixture *f = *state;
    f->opts.owner = f->owner;
    f->opts.nranks = 3;
    f->owner[7] = 3;
    dml_error error = refuse(f, &f->opts, DML_EINVAL, "record 7 belongs to rank 3");
    assert_true(error.seen == 3 && error.expected == 2);
    f->owner[7] = 2; /* and rank 1 has none */
    refuse(f, &f->opts, DML_EINVAL, "larger than the data, 203 records, on some rank");
    f->opts.batch = 2;
    refuse(f, &f->opts, DML_EINVAL, "batch 2 leaves some of 3 ranks without a row");
}

/* Steps before the bad one come; then the error, again and again, until a seek. */
static void a_bad_record_fails_its_step(void **state)
{
    fixture *f = *state;
    for (int variant = 0; variant < 8; variant++) {
        bool reading = (variant & 1) != 0;
        f->opts.shuffle = false;
        f->opts.readers = (variant & 2) != 0 ? 0 : 2;
        f->opts.decoders = (variant & 4) != 0 ? 4 : 1;
        f->unreadable = reading ? 60 : NONE;
        f->undecodable = reading ? NONE : 60;
        dml_pipeline *p = create(f, &f->opts);
        for (uint64_t step = 0; step < 2; step++)
            assert_int_equal(next_batch(p).step, step);
        dml_pipeline_batch b;
        dml_status wanted = reading ? DML_EFORMAT : DML_EUNSUPPORTED;
        for (int again = 0; again < 2; again++) {
            assert_int_equal(dml_pipeline_next(p, &b), wanted);
            dml_error error = last_error(
                f, wanted,
                reading ? "record 60: numbers at byte 17: its checksum is wrong"
                        : "record 60, numbers at byte 6000 cannot be decoded: it is "
                          "not a number");
            assert_string_equal(error.where, "dml_pipeline_next");
        }
        dml_pipeline_state place;
        dml_pipeline_get_state(p, &place);
        assert_true(place.epoch == 0 && place.step == 2);
        place.step = 3;
        assert_int_equal(dml_pipeline_seek(p, &place), DML_OK);
        assert_int_equal(next_batch(p).records[0], 72);
        dml_pipeline_destroy(p);
    }
}

static void bad_records_are_skipped_and_counted(void **state)
{
    fixture *f = *state;
    f->opts.on_error = DML_ON_ERROR_SKIP;
    f->opts.shuffle = false;
    f->unreadable = 1;
    f->undecodable = B + 5;
    for (int variant = 0; variant < 4; variant++) {
        f->opts.readers = (variant & 1) != 0 ? 0 : 2;
        f->opts.decoders = (variant & 2) != 0 ? 3 : 1;
        dml_pipeline *p = create(f, &f->opts);
        for (uint64_t i = 0; i < 2 * dml_pipeline_steps(p); i++) {
            dml_pipeline_batch b = next_batch(p);
            const uint64_t *numbers = b.fields[0];
            bool one_less = b.step < 2;
            assert_int_equal(b.count, B - one_less);
            assert_int_equal(b.global_count, B);
            assert_true(!one_less || numbers[B - 1] == 0);
            for (size_t row = 1; row < b.count; row++)
                assert_int_equal(numbers[row],
                                 numbers[row - 1] + 1 +
                                     (numbers[row] == f->unreadable + 1 ||
                                      numbers[row] == f->undecodable + 1));
        }
        dml_pipeline_stats stats;
        dml_pipeline_get_stats(p, &stats);
        assert_in_range(stats.skipped, 4, 6); /* it reads ahead */
        dml_pipeline_destroy(p);
    }
}

static void places_that_are_none_are_refused(void **state)
{
    fixture *f = *state;
    dml_pipeline *p = create(f, &f->opts);
    const dml_pipeline_state wrong[] = {{0, N / B}, {UINT64_MAX, 0}};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(dml_pipeline_seek(p, &wrong[i]), DML_EINVAL);
        last_error(f, DML_EINVAL, "an epoch has 8 steps");
    }
    assert_int_equal(dml_pipeline_seek(p, NULL), DML_EINVAL);
    assert_int_equal(dml_pipeline_next(p, NULL), DML_EINVAL);
    assert_int_equal(dml_pipeline_next(NULL, NULL), DML_EINVAL);
    assert_int_equal(next_batch(p).step, 0);
    dml_pipeline_destroy(p);
}

static void memory_keeps_to_its_bound(void **state)
{
    fixture *f = *state;
    dml_pipeline_stats stats;
    f->opts.readers = f->opts.decoders = 8;
    dml_pipeline *p = create(f, &f->opts);
    dml_pipeline_get_stats(p, &stats);
    dml_pipeline_destroy(p);
    size_t free_choice = stats.memory_bytes;
    f->opts.memory_bytes = 1;
    size_t least =
        (size_t)refuse(f, &f->opts, DML_ENOMEM, "memory_bytes is 1").expected;
    assert_true(least < free_choice);
    for (size_t bound = least; bound < free_choice + 200; bound += 200) {
        f->opts.memory_bytes = bound;
        p = create(f, &f->opts);
        dml_pipeline_get_stats(p, &stats);
        assert_in_range(stats.memory_bytes, least, bound);
        for (int i = 0; i < 10; i++)
            (void)next_batch(p);
        dml_pipeline_destroy(p);
    }
    f->opts.memory_bytes = least - 1;
    refuse(f, &f->opts, DML_ENOMEM, "raise it, or reduce batch or depth");
}

static dml_ctx *ctx_failing_at(int allocation)
{
    char text[16];
    snprintf(text, sizeof text, "%d", allocation);
    setenv("DML_TEST_ALLOC_FAIL", text, 1);
    dml_ctx *ctx = NULL;
    assert_int_equal(dml_ctx_create(NULL, &ctx), DML_OK);
    unsetenv("DML_TEST_ALLOC_FAIL");
    return ctx;
}

static void memory_is_taken_at_creation_only(void **state)
{
    fixture *f = *state;
    f->opts.nranks = 2;
    own_unevenly(f, 2);
    f->opts.owner = f->owner;
    for (int allocations = 0;; allocations++) {
        dml_ctx *ctx = ctx_failing_at(allocations + 1);
        dml_pipeline *p = NULL;
        dml_status status = dml_pipeline_create(ctx, &f->source, &f->opts, &p);
        if (status != DML_OK) {
            assert_int_equal(status, DML_ENOMEM);
            assert_null(p);
            dml_ctx_destroy(ctx);
            continue;
        }
        assert_true(allocations > 10);
        for (int i = 0; i < 100; i++)
            (void)next_batch(p);
        assert_int_equal(dml_pipeline_seek(p, &(dml_pipeline_state){5, 1}), DML_OK);
        (void)next_batch(p);
        dml_pipeline_destroy(p);
        /* The allocation that must fail has not been asked for yet. */
        assert_null(dml__alloc(ctx, 1));
        dml_ctx_destroy(ctx);
        return;
    }
}

static void destroy_returns_at_any_time(void **state)
{
    fixture *f = *state;
    dml_pipeline_destroy(NULL);
    for (uint64_t i = 0; i < 200; i++) {
        f->read_us = i % 4 == 0 ? 200 : 0;
        f->undecodable = i % 6 == 0 ? 100 : NONE;
        f->opts.readers = (int)(i % 4);
        f->opts.decoders = 1 + (int)(i % 3);
        f->opts.depth = 1 + (int)(i % 5);
        dml_pipeline *p = create(f, &f->opts);
        dml_pipeline_batch b;
        if (i % 3 == 0)
            usleep((unsigned)(dml_rng_u64(13, 0, i) % 1000));
        if (i % 5 == 0)
            assert_int_equal(dml_pipeline_seek(p, &(dml_pipeline_state){i, 2}), DML_OK);
        for (uint64_t k = 0; k < i % 7; k++)
            (void)dml_pipeline_next(p, &b);
        dml_pipeline_destroy(p);
    }
}

static void what_happens_is_counted(void **state)
{
    fixture *f = *state;
    dml_pipeline_stats stats;
    f->read_us = 300;
    dml_pipeline *p = create(f, &f->opts);
    uint64_t bytes = 0;
    for (int i = 0; i < 8; i++) {
        dml_pipeline_batch b = next_batch(p);
        for (size_t row = 0; row < b.count; row++)
            bytes += record_bytes(b.records[row]);
    }
    dml_pipeline_get_stats(p, &stats);
    assert_int_equal(stats.batches, 8);
    assert_in_range(stats.records, 8 * B, 11 * B);
    assert_in_range(stats.bytes, bytes, bytes + 3 * B * f->source.max_bytes);
    assert_int_equal(stats.skipped, 0);
    assert_true(stats.read_s >= 8 * B * 300e-6);
    assert_true(stats.wait_s > 0 && stats.waits > 0 && stats.waits <= 8);
    assert_true(stats.decode_s < stats.read_s);
    f->read_us = 0;
    usleep(50000);
    (void)next_batch(p);
    dml_pipeline_get_stats(p, &stats);
    assert_true(stats.ready_mean >= 1.0 / 9); /* some were ready this time */
    dml_pipeline_destroy(p);
}

/* Record 6 waits to be decoded until it is let go. */
static atomic_int holding, let_go;

static dml_status decode_held(void *user, const dml_record *record, uint64_t epoch,
                              void *const *fields, char *why)
{
    if (record->number == 6) {
        holding = 1;
        while (!let_go)
            usleep(100);
    }
    return decode_number(user, record, epoch, fields, why);
}

/* What a seek drops half done leaves no trace in a shorter batch. */
static void a_dropped_batch_leaves_zeros(void **state)
{
    fixture *f = *state;
    f->source.count = B + 2;
    f->opts.uneven = DML_UNEVEN_JOIN;
    f->opts.shuffle = false;
    f->opts.depth = 1;
    f->opts.decode = decode_held;
    holding = let_go = 0;
    dml_pipeline *p = create(f, &f->opts);
    while (!holding)
        usleep(100);
    assert_int_equal(dml_pipeline_seek(p, &(dml_pipeline_state){0, 1}), DML_OK);
    let_go = 1;
    dml_pipeline_batch b = next_batch(p);
    assert_int_equal(b.count, 2);
    for (int field = 0; field < 2; field++)
        for (size_t row = b.count; row < b.rows; row++)
            assert_int_equal(((const uint64_t *)b.fields[field])[row], 0);
    dml_pipeline_destroy(p);
}

/* Asking again for a batch that cannot be had changes no mean. */
static void failed_calls_are_not_counted(void **state)
{
    fixture *f = *state;
    dml_pipeline_stats before, after;
    f->opts.shuffle = false;
    f->unreadable = 2 * B;
    dml_pipeline *p = create(f, &f->opts);
    (void)next_batch(p);
    (void)next_batch(p);
    dml_pipeline_get_stats(p, &before);
    for (int i = 0; i < 50; i++) {
        dml_pipeline_batch b;
        assert_int_equal(dml_pipeline_next(p, &b), DML_EFORMAT);
    }
    dml_pipeline_get_stats(p, &after);
    assert_int_equal(after.batches, 2);
    assert_true(after.ready_mean == before.ready_mean);
    dml_pipeline_destroy(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PIPELINE_TEST(wrong_options_are_refused),
        PIPELINE_TEST(owners_that_cannot_be_are_refused),
        PIPELINE_TEST(a_bad_record_fails_its_step),
        PIPELINE_TEST(bad_records_are_skipped_and_counted),
        PIPELINE_TEST(places_that_are_none_are_refused),
        PIPELINE_TEST(memory_keeps_to_its_bound),
        PIPELINE_TEST(memory_is_taken_at_creation_only),
        PIPELINE_TEST(destroy_returns_at_any_time),
        PIPELINE_TEST(what_happens_is_counted),
        PIPELINE_TEST(a_dropped_batch_leaves_zeros),
        PIPELINE_TEST(failed_calls_are_not_counted),
    };
    return cmocka_run_group_tests_name("pipeline faults", tests, NULL, NULL);
}
