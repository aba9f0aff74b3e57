/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pipeline on generated records: which record comes where, for any number of ranks
 * and threads, however records are spread over the ranks, and after a seek.
 */
#include "pipeline_fixture.h"

static const int rank_counts[] = {1, 2, 3, 5, 8}, thread_counts[] = {1, 2, 4};
#define NRANK_COUNTS   (sizeof rank_counts / sizeof *rank_counts)
#define NTHREAD_COUNTS (sizeof thread_counts / sizeof *thread_counts)
#define MOST_SEEN      (4 * N)

/* What all ranks together get in some epochs, step by step, rank by rank. */
typedef struct seen {
    size_t count;
    uint64_t numbers[MOST_SEEN];
    int ranks[MOST_SEEN];
} seen;

static void collect(fixture *f, dml_pipeline_opts opts, int nranks, uint64_t epochs,
                    seen *s)
{
    dml_pipeline *pipelines[8] = {NULL};
    s->count = 0;
    opts.nranks = nranks;
    for (opts.rank = 0; opts.rank < nranks; opts.rank++)
        pipelines[opts.rank] = create(f, &opts);
    uint64_t steps = dml_pipeline_steps(pipelines[0]);
    for (uint64_t i = 0; i < epochs * steps; i++) {
        size_t start = s->count;
        for (int r = 0; r < nranks; r++) {
            assert_int_equal(dml_pipeline_steps(pipelines[r]), steps);
            dml_pipeline_batch b = next_batch(pipelines[r]);
            assert_int_equal(b.epoch, i / steps);
            assert_int_equal(b.step, i % steps);
            assert_int_equal(b.first_row, s->count - start);
            assert_true(s->count + b.count <= MOST_SEEN);
            for (size_t row = 0; row < b.count; row++, s->count++) {
                s->numbers[s->count] = b.records[row];
                s->ranks[s->count] = r;
            }
        }
        dml_pipeline_state state;
        dml_pipeline_get_state(pipelines[0], &state);
        assert_int_equal(state.epoch * steps + state.step, i + 1);
        assert_int_equal(s->count - start,
                         dml_pipeline_global_count(pipelines[0], i % steps));
    }
    for (int r = 0; r < nranks; r++)
        dml_pipeline_destroy(pipelines[r]);
}

static void assert_same(const seen *a, const seen *b)
{
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->numbers, b->numbers, a->count * sizeof *a->numbers);
}

static void assert_each_once(const seen *s, uint64_t epochs)
{
    assert_int_equal(s->count, epochs * N);
    for (uint64_t e = 0; e < epochs; e++) {
        int times[N] = {0};
        for (size_t i = 0; i < N; i++)
            assert_int_equal(times[s->numbers[e * N + i]]++, 0);
    }
}

static void each_record_once_for_any_ranks_and_threads(void **state)
{
    fixture *f = *state;
    static const dml_uneven ways[] = {DML_UNEVEN_JOIN, DML_UNEVEN_SHARE};
    seen s;
    for (size_t i = 0; i < NRANK_COUNTS; i++)
        for (size_t t = 0; t < NTHREAD_COUNTS; t++)
            for (int variant = 0; variant < 8; variant++) {
                f->opts.uneven = ways[variant & 1];
                f->opts.pad = (variant & 2) != 0;
                f->opts.readers = variant == 7 ? 0 : thread_counts[t];
                f->opts.decoders = thread_counts[t];
                f->opts.owner = (variant & 4) != 0 ? f->owner : NULL;
                own_unevenly(f, rank_counts[i]);
                collect(f, f->opts, rank_counts[i], 2, &s);
                assert_each_once(&s, 2);
                for (size_t k = 0; f->opts.owner != NULL && k < s.count; k++)
                    assert_int_equal(s.ranks[k], f->owner[s.numbers[k]]);
            }
}

static void order_is_a_function_of_seed_and_epoch(void **state)
{
    fixture *f = *state;
    seen one, many, other;
    f->opts.uneven = DML_UNEVEN_JOIN;
    collect(f, f->opts, 1, 3, &one);
    for (size_t i = 0; i < NRANK_COUNTS; i++)
        for (size_t t = 0; t < NTHREAD_COUNTS; t++) {
            f->opts.readers = f->opts.decoders = thread_counts[t];
            f->opts.depth = 1 + (int)t;
            collect(f, f->opts, rank_counts[i], 3, &many);
            assert_same(&one, &many);
        }
    assert_memory_not_equal(one.numbers, one.numbers + N, N * sizeof *one.numbers);
    f->opts.seed++;
    collect(f, f->opts, 1, 1, &other);
    assert_memory_not_equal(one.numbers, other.numbers, N * sizeof *one.numbers);
    f->opts.shuffle = false;
    collect(f, f->opts, 3, 2, &other);
    for (size_t i = 0; i < 2 * N; i++)
        assert_int_equal(other.numbers[i], i % N);
}

/* Two records that meet on one rank come in the global order. */
static void owned_records_keep_the_global_order(void **state)
{
    fixture *f = *state;
    seen one, s;
    uint64_t place[N];
    f->opts.uneven = DML_UNEVEN_JOIN;
    collect(f, f->opts, 1, 1, &one);
    for (size_t i = 0; i < N; i++)
        place[one.numbers[i]] = i;
    for (int way = DML_UNEVEN_DROP; way <= (int)DML_UNEVEN_SHARE; way++) {
        uint64_t last[3] = {0};
        size_t rows[3] = {0};
        for (size_t i = 0; i < N; i++)
            f->owner[i] = i % 5 == 0 ? 0 : i % 3 == 0 ? 1 : 2;
        f->opts.owner = f->owner;
        f->opts.uneven = (dml_uneven)way;
        collect(f, f->opts, 3, 1, &s);
        for (size_t k = 0; k < s.count; k++) {
            uint64_t at = place[s.numbers[k]];
            assert_true(rows[s.ranks[k]]++ == 0 || at > last[s.ranks[k]]);
            last[s.ranks[k]] = at;
        }
        if (way == DML_UNEVEN_DROP) /* 41 records are 5 batches of 8, on every rank */
            assert_true(rows[0] == 40 && rows[1] == 40 && rows[2] == 40);
    }
}

/* In every step, each rank has its share to within one record. */
static void shares_are_proportional(void **state)
{
    fixture *f = *state;
    own_unevenly(f, 4);
    f->opts.owner = f->owner;
    f->opts.uneven = DML_UNEVEN_SHARE;
    f->opts.nranks = 4;
    size_t held[4] = {0};
    for (size_t i = 0; i < N; i++)
        held[f->owner[i]]++;
    assert_int_equal(held[3], 0);
    for (f->opts.rank = 0; f->opts.rank < 4; f->opts.rank++) {
        dml_pipeline *p = create(f, &f->opts);
        uint64_t steps = dml_pipeline_steps(p);
        assert_int_equal(steps, (N + B - 1) / B);
        for (uint64_t s = 0; s < steps; s++) {
            dml_pipeline_batch b = next_batch(p);
            size_t share = held[f->opts.rank] / steps;
            assert_in_range(b.count, share, share + 1);
            assert_in_range(b.global_count, N / steps - 3, B + 3);
        }
        dml_pipeline_destroy(p);
    }
}

/* Rows without a record repeat this rank's, or are zero; neither is counted. */
static void short_batches_are_filled(void **state)
{
    fixture *f = *state;
    for (uint32_t i = 0; i < N; i++)
        f->owner[i] = i < 10; /* rank 1 owns ten records, and 2 nothing */
    f->opts.owner = f->owner;
    f->opts.uneven = DML_UNEVEN_JOIN;
    f->opts.nranks = 3;
    for (int pad = 0; pad < 2; pad++)
        for (f->opts.rank = 1; f->opts.rank < 3; f->opts.rank++) {
            size_t own = f->opts.rank == 1 ? 10 : 0;
            f->opts.pad = pad != 0;
            dml_pipeline *p = create(f, &f->opts);
            assert_int_equal(dml_pipeline_steps(p), (N - 10 + 7) / 8);
            size_t counted = 0;
            for (uint64_t s = 0; s < 2 * dml_pipeline_steps(p); s++) {
                dml_pipeline_batch b = next_batch(p);
                const uint64_t *numbers = b.fields[0];
                assert_int_equal(b.rows, 8);
                counted += b.count;
                for (size_t row = b.count; row < b.rows; row++)
                    if (pad != 0 && own > 0)
                        assert_true(numbers[row] < 10 &&
                                    numbers[row] == b.records[row]);
                    else
                        assert_int_equal(numbers[row], 0);
            }
            assert_int_equal(counted, 2 * own);
            dml_pipeline_destroy(p);
        }
}

/* Without owners too: a rank repeats its records of the step, never another's. */
static void padding_repeats_the_ranks_own(void **state)
{
    fixture *f = *state;
    f->source.count = 10;
    f->opts.batch = 9;
    f->opts.uneven = DML_UNEVEN_JOIN;
    f->opts.nranks = 3;
    f->opts.pad = true;
    for (int shuffle = 0; shuffle < 2; shuffle++)
        for (f->opts.rank = 0; f->opts.rank < 3; f->opts.rank++) {
            f->opts.shuffle = shuffle != 0;
            dml_pipeline *p = create(f, &f->opts);
            for (uint64_t s = 0; s < 4 * dml_pipeline_steps(p); s++) {
                dml_pipeline_batch b = next_batch(p);
                const uint64_t *numbers = b.fields[0];
                for (size_t row = b.count; row < b.rows; row++)
                    assert_int_equal(numbers[row],
                                     b.count > 0 ? b.records[row % b.count] : 0);
            }
            dml_pipeline_destroy(p);
        }
}

static void more_ranks_than_records(void **state)
{
    fixture *f = *state;
    f->source.count = 3;
    for (int owned = 0; owned < 2; owned++)
        for (int way = DML_UNEVEN_JOIN; way <= (int)DML_UNEVEN_SHARE; way++) {
            size_t total = 0;
            memcpy(f->owner, (uint32_t[]){6, 0, 6}, 3 * sizeof *f->owner);
            f->opts.owner = owned != 0 ? f->owner : NULL;
            f->opts.uneven = (dml_uneven)way;
            f->opts.nranks = 8;
            for (f->opts.rank = 0; f->opts.rank < 8; f->opts.rank++) {
                dml_pipeline *p = create(f, &f->opts);
                for (int epoch = 0; epoch < 3; epoch++)
                    total += next_batch(p).count;
                dml_pipeline_destroy(p);
            }
            assert_int_equal(total, 9);
        }
}

/* From any place, also one that another number of ranks came to. */
static void a_saved_place_is_gone_on_from(void **state)
{
    fixture *f = *state;
    seen s;
    f->opts.uneven = DML_UNEVEN_JOIN;
    collect(f, f->opts, 1, 3, &s);
    uint64_t steps = (N + B - 1) / B;
    for (uint64_t i = 0; i < 60; i++) {
        dml_pipeline_state place;
        uint64_t from = dml_rng_u64(11, 0, i) % (2 * steps);
        uint64_t to = dml_rng_u64(11, 1, i) % (2 * steps);
        f->opts.readers = (int)(i % 3);
        dml_pipeline_opts first = f->opts;
        first.nranks = 3;
        dml_pipeline *p = create(f, &first);
        for (uint64_t k = 0; k < from; k++)
            (void)next_batch(p);
        dml_pipeline_get_state(p, &place);
        dml_pipeline_destroy(p);
        assert_int_equal(place.epoch * steps + place.step, from);

        p = create(f, &f->opts);
        for (uint64_t k = 0; k < i % 4; k++)
            (void)next_batch(p); /* work for another place is in progress */
        place = i % 2 == 0 ? place : (dml_pipeline_state){to / steps, to % steps};
        assert_int_equal(dml_pipeline_seek(p, &place), DML_OK);
        for (uint64_t at = place.epoch * steps + place.step; at < 3 * steps; at++) {
            dml_pipeline_batch b = next_batch(p);
            assert_int_equal(b.epoch * steps + b.step, at);
            assert_memory_equal(b.records, s.numbers + at / steps * N + at % steps * B,
                                b.count * sizeof *b.records);
        }
        dml_pipeline_destroy(p);
    }
}

/* Without a decode function: the bytes, zeros behind them, and their number. */
static void records_as_they_are(void **state)
{
    fixture *f = *state;
    f->opts.decode = NULL;
    f->opts.field_bytes[0] = 60;
    dml_pipeline *p = create(f, &f->opts);
    for (int step = 0; step < 20; step++) {
        dml_pipeline_batch b;
        assert_int_equal(dml_pipeline_next(p, &b), DML_OK);
        const char *data = b.fields[0];
        const uint64_t *bytes = b.fields[1];
        for (size_t row = 0; row < b.count; row++, data += 60) {
            assert_int_equal(bytes[row], record_bytes(b.records[row]));
            for (size_t at = 0; at < 60; at++)
                assert_int_equal(data[at], at < bytes[row]
                                               ? ((const char *)&b.records[row])[at % 8]
                                               : 0);
        }
    }
    dml_pipeline_destroy(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PIPELINE_TEST(each_record_once_for_any_ranks_and_threads),
        PIPELINE_TEST(order_is_a_function_of_seed_and_epoch),
        PIPELINE_TEST(owned_records_keep_the_global_order),
        PIPELINE_TEST(shares_are_proportional),
        PIPELINE_TEST(short_batches_are_filled),
        PIPELINE_TEST(padding_repeats_the_ranks_own),
        PIPELINE_TEST(more_ranks_than_records),
        PIPELINE_TEST(a_saved_place_is_gone_on_from),
        PIPELINE_TEST(records_as_they_are),
    };
    return cmocka_run_group_tests_name("pipeline", tests, NULL, NULL);
}
