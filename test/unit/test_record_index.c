/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The index of a record file: made, stored, and every way in which it can be wrong.
 */
#include "records_fixture.h"

#include <fcntl.h>

static void refuse_index(const fixture *f, dml_status status, const char *words)
{
    dml_record_index *index = NULL;
    assert_int_equal(dml_record_index_open(f->ctx, f->images, &index), status);
    assert_null(index);
    last_error(f, status, words);
}

static void a_stale_or_absent_index_is_found(void **state)
{
    fixture *f = *state;
    uint8_t raw[MOST];
    char index[PATH_BYTES];
    index_path(f, index);
    write_records(f, 6);
    size_t whole = read_raw(f->images, raw, sizeof raw);
    dml_record_index *read = NULL;
    /* The same bytes at another time: a copy. */
    struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    assert_int_equal(utimensat(AT_FDCWD, f->images, times, 0), 0);
    assert_int_equal(dml_record_index_open(f->ctx, f->images, &read), DML_OK);
    dml_record_index_destroy(read);
    /* Another file of the same length. */
    raw[whole - 1] ^= 1;
    write_file(f->images, false, raw, whole);
    assert_int_equal(utimensat(AT_FDCWD, f->images, times, 0), 0);
    refuse_index(f, DML_EMISMATCH, "stale: the record file has changed");
    write_file(f->images, false, raw, whole - 3);
    refuse_index(f, DML_EMISMATCH, "stale: the record file has another length");
    unlink(index);
    refuse_index(f, DML_EIO, "has no index");
    unlink(f->images);
    refuse_index(f, DML_EIO, "No such file");
}

static void every_damage_of_an_index_is_found(void **state)
{
    fixture *f = *state;
    uint8_t raw[MOST];
    char path[PATH_BYTES];
    index_path(f, path);
    write_records(f, 3);
    size_t whole = read_raw(path, raw, sizeof raw);
    assert_int_equal(whole, 64 + 3 * 32);
    for (size_t at = 0; at < whole; at++) {
        raw[at] ^= 0x10;
        write_file(path, false, raw, whole);
        raw[at] ^= 0x10;
        bool unused = at >= 52 && at < 60; /* covered by the head's checksum too */
        refuse_index(f, DML_EFORMAT, unused ? "checksum" : "make it anew");
    }
    for (size_t cut = 0; cut < whole; cut++) {
        write_file(path, false, raw, cut);
        refuse_index(f, DML_EFORMAT, "make it anew");
    }
    write_file(path, true, raw, whole);
    refuse_index(f, DML_EFORMAT, "not an index");
}

static void odd_keys(void *user, const dml_record *record, uint64_t *key,
                     double *weight)
{
    *key = 2 * record->number + 1;
    *weight = *(double *)user;
}

static void an_index_is_built(void **state)
{
    fixture *f = *state;
    char path[PATH_BYTES];
    index_path(f, path);
    write_records(f, 40);
    unlink(path);
    double weight = 3;
    dml_record_index *index = NULL;
    for (int own = 0; own < 2; own++) {
        assert_int_equal(dml_record_index_build(f->ctx, f->images, NULL,
                                                own != 0 ? odd_keys : NULL, &weight,
                                                &index),
                         DML_OK);
        assert_int_equal(dml_record_index_write(f->ctx, index, f->images), DML_OK);
        dml_record_index_destroy(index);
        assert_int_equal(dml_record_index_open(f->ctx, f->images, &index), DML_OK);
        assert_int_equal(dml_record_index_count(index), 40);
        const dml_record_entry *e = dml_record_index_entries(index);
        assert_int_equal(e[20].key, own != 0 ? 41 : 20);
        assert_true(e[20].weight == (own != 0 ? weight : (double)e[20].bytes));
        dml_record_index_destroy(index);
    }
    weight = -1;
    assert_int_equal(
        dml_record_index_build(f->ctx, f->images, NULL, odd_keys, &weight, &index),
        DML_EINVAL);
}

static void each_lack_of_memory_is_survived(void **state)
{
    fixture *f = *state;
    write_records(f, 20);
    for (int n = 1; n < 40; n++) {
        dml_ctx *ctx = ctx_failing_at(n);
        dml_records *r = NULL;
        dml_record record;
        dml_record_index *index = NULL;
        dml_status status = dml_records_open(ctx, f->images, NULL, &r);
        while (status == DML_OK)
            status = dml_records_next(r, &record);
        assert_true(status == DML_EEND || status == DML_ENOMEM);
        dml_records_close(r);
        status = dml_record_index_build(ctx, f->images, NULL, NULL, NULL, &index);
        if (status == DML_OK)
            status = dml_record_index_write(ctx, index, f->images);
        dml_record_index_destroy(index);
        index = NULL;
        assert_true(status == DML_OK || status == DML_ENOMEM);
        status = dml_record_index_open(ctx, f->images, &index);
        assert_true(status == DML_OK || status == DML_ENOMEM);
        dml_record_index_destroy(index);
        dml_ctx_destroy(ctx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DATA_TEST(a_stale_or_absent_index_is_found),
        DATA_TEST(every_damage_of_an_index_is_found),
        DATA_TEST(an_index_is_built),
        DATA_TEST(each_lack_of_memory_is_survived),
    };
    setenv("DML_LOG", "error", 1); /* what is left out is meant to be */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
