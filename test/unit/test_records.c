/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Record files: round trips, and every way in which a file can be wrong.
 * test/apps/records.py holds the bytes against a writer and reader of its own.
 */
#include "records_fixture.h"

#define LONG_N 300000 /* longer than the reader's pieces */

/* What a whole reading gives: records that are those of make(), in order. */
typedef struct outcome {
    dml_status status;
    uint64_t records, skipped;
} outcome;

static outcome read_all(const fixture *f, dml_on_error on_error, bool same)
{
    outcome o = {0};
    uint8_t want[MOST];
    dml_records_opts opts;
    dml_records_opts_init(&opts);
    opts.on_error = on_error;
    opts.max_bytes = (size_t)1 << 20;
    dml_records *r = NULL;
    assert_int_equal(dml_records_open(f->ctx, f->images, &opts, &r), DML_OK);
    dml_record record;
    while ((o.status = dml_records_next(r, &record)) == DML_OK) {
        if (same) {
            assert_int_equal(record.bytes, make(o.records, want));
            assert_memory_equal(record.data, want, record.bytes);
        }
        assert_int_equal(record.number, o.records);
        o.records++;
    }
    /* The same answer again. */
    assert_int_equal(dml_records_next(r, &record), o.status);
    o.skipped = dml_records_skipped(r);
    dml_records_close(r);
    return o;
}

static void assert_outcome(outcome o, dml_status status, uint64_t records,
                           uint64_t skipped)
{
    assert_int_equal(o.status, status);
    assert_int_equal(o.records, records);
    assert_int_equal(o.skipped, skipped);
}

static void what_was_written_comes_back(void **state)
{
    fixture *f = *state;
    enum { N = 5000 };
    uint8_t buffer[MOST], want[MOST];
    write_records(f, N);
    assert_outcome(read_all(f, DML_ON_ERROR_FAIL, true), DML_EEND, N, 0);
    dml_record_index *index = NULL;
    dml_record_file *file = NULL;
    assert_int_equal(dml_record_index_open(f->ctx, f->images, &index), DML_OK);
    assert_int_equal(dml_record_file_open(f->ctx, f->images, true, &file), DML_OK);
    assert_int_equal(dml_record_index_count(index), N);
    const dml_record_entry *entries = dml_record_index_entries(index);
    for (uint64_t n = 0; n < N; n++) {
        uint64_t i = dml_rng_u64(6, 1, n) % N;
        dml_record r;
        assert_int_equal(entries[i].key, 100 + i);
        assert_true(entries[i].weight == 0.5 * (double)i);
        assert_int_equal(entries[i].bytes, make(i, want));
        assert_int_equal(dml_record_file_read(file, entries[i].offset, buffer,
                                              (size_t)entries[i].bytes + FRAME, &r),
                         DML_OK);
        assert_int_equal(r.bytes, entries[i].bytes);
        assert_memory_equal(r.data, want, r.bytes);
    }
    dml_record_file_close(file);
    dml_record_index_destroy(index);
}

static void an_empty_file_has_no_record(void **state)
{
    fixture *f = *state;
    write_records(f, 0);
    assert_outcome(read_all(f, DML_ON_ERROR_FAIL, true), DML_EEND, 0, 0);
    dml_record_index *index = NULL;
    assert_int_equal(dml_record_index_open(f->ctx, f->images, &index), DML_OK);
    assert_int_equal(dml_record_index_count(index), 0);
    dml_record_index_destroy(index);
}

static void long_records_and_gzip(void **state)
{
    fixture *f = *state;
    uint8_t *bytes = malloc(2 * LONG_N + 4), *raw = malloc(8 * LONG_N);
    assert_non_null(bytes);
    assert_non_null(raw);
    for (size_t i = 0; i < 2 * LONG_N + 4; i++)
        bytes[i] = (uint8_t)dml_rng_u64(7, 1, i);
    dml_record_writer *w = open_writer(f);
    for (size_t i = 1; i <= 4; i++)
        assert_int_equal(dml_record_writer_append(w, bytes, i * LONG_N / 2 + i, i, 1),
                         DML_OK);
    assert_int_equal(dml_record_writer_commit(w), DML_OK);
    dml_record_writer_destroy(w);
    size_t whole = read_raw(f->images, raw, 8 * LONG_N);
    for (int gzip = 0; gzip < 2; gzip++) {
        write_file(f->labels, gzip, raw, whole);
        dml_records *r = NULL;
        dml_record record;
        assert_int_equal(dml_records_open(f->ctx, f->labels, NULL, &r), DML_OK);
        for (size_t i = 1; i <= 4; i++) {
            assert_int_equal(dml_records_next(r, &record), DML_OK);
            assert_int_equal(record.bytes, i * LONG_N / 2 + i);
            assert_memory_equal(record.data, bytes, record.bytes);
        }
        assert_int_equal(dml_records_next(r, &record), DML_EEND);
        dml_records_close(r);
    }
    dml_record_file *file = NULL; /* of the gzip file */
    assert_int_equal(dml_record_file_open(f->ctx, f->labels, true, &file),
                     DML_EUNSUPPORTED);
    free(raw);
    free(bytes);
}

/* A shortened gzip file gives the records that it still holds whole. */
static void records_before_a_gzip_fault(void **state)
{
    fixture *f = *state;
    enum { N = 400, ROOM = 200000 };
    uint8_t *raw = malloc(ROOM), *packed = malloc(ROOM), want[MOST];
    assert_non_null(raw);
    assert_non_null(packed);
    write_records(f, N);
    size_t whole = read_raw(f->images, raw, ROOM);
    write_file(f->images, true, raw, whole);
    size_t bytes = read_raw(f->images, packed, ROOM);
    for (size_t missing = 1; missing < bytes; missing = 3 * missing + 1) {
        write_file(f->images, false, packed, bytes - missing);
        gzFile file = gzopen(f->images, "rb");
        int decoded = gzread(file, raw, ROOM);
        gzclose(file);
        uint64_t records = 0;
        for (size_t at = make(0, want) + FRAME; at <= (size_t)decoded && records < N;
             at += make(records, want) + FRAME)
            records++;
        assert_true(records > 0);
        assert_outcome(read_all(f, DML_ON_ERROR_FAIL, true), DML_EFORMAT, records, 0);
        last_error(f, DML_EFORMAT, "cut short: its gzip stream");
    }
    free(packed);
    free(raw);
}

/* Flip each bit of a small file: never taken for good, and with skipping all that is
 * not damaged is found. */
static void every_flipped_bit_is_found(void **state)
{
    fixture *f = *state;
    enum { N = 5 };
    uint8_t raw[MOST];
    write_records(f, N);
    size_t whole = read_raw(f->images, raw, sizeof raw);
    for (size_t bit = 0; bit < 8 * whole; bit += 1 + bit % 7) {
        raw[bit / 8] ^= (uint8_t)(1 << bit % 8);
        write_file(f->images, false, raw, whole);
        raw[bit / 8] ^= (uint8_t)(1 << bit % 8);
        outcome o = read_all(f, DML_ON_ERROR_FAIL, true);
        assert_int_equal(o.status, DML_EFORMAT);
        last_error(f, DML_EFORMAT, "record at offset ");
        last_error(f, DML_EFORMAT, "wrong checksum of its");
        assert_outcome(read_all(f, DML_ON_ERROR_SKIP, false), DML_EEND, N - 1, 1);
    }
}

static void every_cut_is_found(void **state)
{
    fixture *f = *state;
    uint8_t raw[MOST];
    write_records(f, 4);
    size_t whole = read_raw(f->images, raw, sizeof raw);
    size_t ends[5] = {0};
    for (uint64_t i = 0; i < 4; i++) {
        uint8_t bytes[MOST];
        ends[i + 1] = ends[i] + make(i, bytes) + FRAME;
    }
    assert_int_equal(ends[4], whole);
    for (size_t cut = 0; cut < whole; cut++) {
        size_t before = 0;
        while (ends[before + 1] <= cut)
            before++;
        write_file(f->images, false, raw, cut);
        outcome o = read_all(f, DML_ON_ERROR_FAIL, true);
        assert_int_equal(o.records, before);
        assert_int_equal(o.status, cut == ends[before] ? DML_EEND : DML_EFORMAT);
        if (cut != ends[before])
            last_error(f, DML_EFORMAT, "cut short");
        assert_outcome(read_all(f, DML_ON_ERROR_SKIP, true), DML_EEND, before,
                       cut != ends[before]);
    }
}

static void a_record_too_long_is_refused(void **state)
{
    fixture *f = *state;
    uint8_t bytes[MOST] = {0}, buffer[64];
    dml_record_writer *w = open_writer(f);
    assert_int_equal(dml_record_writer_append(w, bytes, 10, 0, 1), DML_OK);
    assert_int_equal(dml_record_writer_append(w, bytes, 2000, 0, 1), DML_OK);
    assert_int_equal(dml_record_writer_append(w, bytes, 20, 0, 1), DML_OK);
    assert_int_equal(dml_record_writer_commit(w), DML_OK);
    dml_record_writer_destroy(w);
    for (int skip = 0; skip < 2; skip++) {
        dml_records_opts opts;
        dml_records_opts_init(&opts);
        opts.max_bytes = 1999;
        opts.on_error = skip != 0 ? DML_ON_ERROR_SKIP : DML_ON_ERROR_FAIL;
        dml_records *r = NULL;
        dml_record record;
        assert_int_equal(dml_records_open(f->ctx, f->images, &opts, &r), DML_OK);
        assert_int_equal(dml_records_next(r, &record), DML_OK);
        assert_int_equal(dml_records_next(r, &record),
                         skip != 0 ? DML_OK : DML_EFORMAT);
        if (skip != 0)
            assert_int_equal(record.bytes, 20);
        else
            last_error(f, DML_EFORMAT, "record at offset 26: 2000 bytes, at most 1999");
        assert_int_equal(dml_records_skipped(r), skip);
        dml_records_close(r);
    }
    dml_record_file *file = NULL;
    dml_record record;
    assert_int_equal(dml_record_file_open(f->ctx, f->images, true, &file), DML_OK);
    assert_int_equal(dml_record_file_read(file, 26, buffer, sizeof buffer, &record),
                     DML_EINVAL);
    assert_int_equal(last_error(f, DML_EINVAL, "offset 26 has 2000 bytes").seen, 2000);
    assert_int_equal(dml_record_file_read(file, 27, buffer, sizeof buffer, &record),
                     DML_EFORMAT);
    assert_int_equal(
        dml_record_file_read(file, 1 << 20, buffer, sizeof buffer, &record),
        DML_EFORMAT);
    assert_int_equal(dml_record_file_read(file, 0, buffer, 15, &record), DML_EINVAL);
    dml_record_file_close(file);
}

static void a_range_of_offsets_is_read(void **state)
{
    fixture *f = *state;
    enum { N = 50 };
    write_records(f, N);
    dml_record_index *index = NULL;
    assert_int_equal(dml_record_index_open(f->ctx, f->images, &index), DML_OK);
    const dml_record_entry *e = dml_record_index_entries(index);
    for (size_t from = 0; from < N; from += 7) {
        size_t to = from + 9 < N ? from + 9 : N - 1, count = 0;
        dml_records_opts opts;
        dml_records_opts_init(&opts);
        opts.begin = e[from].offset;
        opts.end = e[to].offset;
        dml_records *r = NULL;
        dml_record record;
        assert_int_equal(dml_records_open(f->ctx, f->images, &opts, &r), DML_OK);
        for (; dml_records_next(r, &record) == DML_OK; count++)
            assert_int_equal(record.offset, e[from + count].offset);
        assert_int_equal(count, to - from);
        dml_records_close(r);
    }
    dml_record_index_destroy(index);
}

/* Out of memory at any allocation: what was refused is in neither file. */
static void no_memory_leaves_file_and_index_alike(void **state)
{
    fixture *f = *state;
    enum { N = 700 };
    int refused = 0;
    for (int nth = 1; nth < 40; nth++) {
        dml_ctx *ctx = ctx_failing_at(nth);
        dml_record_writer_opts opts;
        dml_record_writer_opts_init(&opts);
        opts.sync = false;
        dml_record_writer *w = NULL;
        dml_status status = dml_record_writer_create(ctx, f->images, &opts, &w);
        assert_true(status == DML_OK || status == DML_ENOMEM);
        size_t count = 0;
        for (int i = 0; i < N && w != NULL; i++) {
            status = dml_record_writer_append(w, &i, sizeof i, 0, 1);
            assert_true(status == DML_OK || status == DML_ENOMEM);
            count += status == DML_OK;
            refused += status != DML_OK;
        }
        if (w != NULL) {
            assert_int_equal(dml_record_writer_commit(w), DML_OK);
            dml_record_index *index = NULL;
            assert_int_equal(dml_record_index_open(f->ctx, f->images, &index), DML_OK);
            assert_int_equal(dml_record_index_count(index), count);
            dml_record_index_destroy(index);
            assert_outcome(read_all(f, DML_ON_ERROR_FAIL, false), DML_EEND, count, 0);
        }
        dml_record_writer_destroy(w);
        dml_ctx_destroy(ctx);
    }
    assert_true(refused > 0);
}

static void misuse_is_refused(void **state)
{
    fixture *f = *state;
    dml_record_writer *w = NULL;
    dml_records *r = NULL;
    dml_records_opts opts = {0};
    assert_int_equal(dml_records_open(f->ctx, f->images, &opts, &r), DML_EINVAL);
    dml_records_opts_init(&opts);
    opts.max_bytes = 0;
    assert_int_equal(dml_records_open(f->ctx, f->images, &opts, &r), DML_EINVAL);
    assert_int_equal(dml_records_open(f->ctx, f->images, NULL, &r), DML_EIO);
    assert_int_equal(dml_record_writer_create(f->ctx, "/nowhere/x", NULL, &w), DML_EIO);
    last_error(f, DML_EIO, "/nowhere/x: cannot create it");
    assert_int_equal(dml_record_writer_create(f->ctx, f->images, NULL, &w), DML_OK);
    assert_int_equal(dml_record_writer_append(w, "a", 1, 0, -1.0), DML_EINVAL);
    assert_int_equal(dml_record_writer_append(w, NULL, 1, 0, 1), DML_EINVAL);
    dml_record_writer_destroy(w);
    assert_int_not_equal(access(f->images, F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DATA_TEST(what_was_written_comes_back),
        DATA_TEST(an_empty_file_has_no_record),
        DATA_TEST(long_records_and_gzip),
        DATA_TEST(every_flipped_bit_is_found),
        DATA_TEST(records_before_a_gzip_fault),
        DATA_TEST(every_cut_is_found),
        DATA_TEST(a_record_too_long_is_refused),
        DATA_TEST(a_range_of_offsets_is_read),
        DATA_TEST(no_memory_leaves_file_and_index_alike),
        DATA_TEST(misuse_is_refused),
    };
    setenv("DML_LOG", "error", 1); /* what is left out is meant to be */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
