/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writing record files: both files or none, under names that can be had.
 */
#include "records_fixture.h"

#include <glob.h>
#include <signal.h>
#include <sys/resource.h>

/* Whether a file that never got its name was left. */
static bool has_partial(const fixture *f)
{
    char pattern[PATH_BYTES];
    glob_t found;
    path_in(f, "*.partial*", pattern);
    int result = glob(pattern, 0, NULL, &found);
    if (result == 0)
        globfree(&found);
    return result == 0;
}

/* A disk that is full, as a limit on the length of files: no file of that name. */
static void a_full_disk_leaves_nothing(void **state)
{
    fixture *f = *state;
    uint8_t *bytes = calloc(1, 3 << 20);
    assert_non_null(bytes);
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 100000;
    signal(SIGXFSZ, SIG_IGN);
    for (size_t n = 1000; n <= (3 << 20); n = n < 200000 ? 200000 : n * 15) {
        dml_record_writer *w = NULL;
        assert_int_equal(dml_record_writer_create(f->ctx, f->images, NULL, &w), DML_OK);
        setrlimit(RLIMIT_FSIZE, &small);
        dml_status status = dml_record_writer_append(w, bytes, n, 0, 1);
        if (status == DML_OK)
            status = dml_record_writer_commit(w);
        setrlimit(RLIMIT_FSIZE, &before);
        assert_int_equal(status, n < 100000 ? DML_OK : DML_EIO);
        if (status != DML_OK) {
            last_error(f, DML_EIO, "cannot write after ");
            assert_int_not_equal(access(f->images, F_OK), 0);
        }
        dml_record_writer_destroy(w);
        assert_false(has_partial(f));
        unlink(f->images);
    }
    signal(SIGXFSZ, SIG_DFL);
    free(bytes);
}

/* Found before any work is done, and what is there stays. */
static void a_name_of_no_file_is_refused(void **state)
{
    fixture *f = *state;
    dml_record_writer *w = NULL;
    char index[PATH_BYTES];
    struct stat info;
    index_path(f, index);
    assert_int_equal(dml_record_writer_create(f->ctx, "", NULL, &w), DML_EINVAL);
    last_error(f, DML_EINVAL, "the path is empty");
    const char *names[] = {f->images, index};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mkdir(names[i], 0777), 0);
        assert_int_equal(dml_record_writer_create(f->ctx, f->images, NULL, &w),
                         DML_EIO);
        last_error(f, DML_EIO, "a folder of that name is there");
        assert_int_equal(rmdir(names[i]), 0);
    }
    assert_int_equal(mkfifo(f->images, 0666), 0);
    assert_int_equal(dml_record_writer_create(f->ctx, f->images, NULL, &w), DML_EIO);
    last_error(f, DML_EIO, "a device or a pipe of that name is there");
    assert_true(lstat(f->images, &info) == 0 && S_ISFIFO(info.st_mode));
    assert_int_equal(unlink(f->images), 0);
    assert_int_equal(symlink("nowhere", f->images), 0);
    assert_int_equal(dml_record_writer_create(f->ctx, f->images, NULL, &w), DML_EIO);
    last_error(f, DML_EIO, "cannot follow the link");
    assert_int_equal(unlink(f->images), 0);
    assert_null(w);
    assert_false(has_partial(f));
}

/* Two writers of one name: whole files, the one that commits last. */
static void two_writers_of_one_name(void **state)
{
    fixture *f = *state;
    dml_record_writer *a = open_writer(f), *b = open_writer(f);
    assert_int_equal(dml_record_writer_append(a, "aaa", 3, 0, 1), DML_OK);
    assert_int_equal(dml_record_writer_append(b, "b", 1, 0, 1), DML_OK);
    assert_int_equal(dml_record_writer_commit(a), DML_OK);
    assert_int_equal(dml_record_writer_commit(b), DML_OK);
    dml_record_writer_destroy(a);
    dml_record_writer_destroy(b);
    dml_records *r = NULL;
    dml_record record;
    assert_int_equal(dml_records_open(f->ctx, f->images, NULL, &r), DML_OK);
    assert_int_equal(dml_records_next(r, &record), DML_OK);
    assert_int_equal(record.bytes, 1);
    assert_int_equal(dml_records_next(r, &record), DML_EEND);
    dml_records_close(r);
    assert_false(has_partial(f));
}

/* The index cannot get its name: neither does a new record file keep its own. */
static void a_commit_is_of_both_files(void **state)
{
    fixture *f = *state;
    char index[PATH_BYTES];
    index_path(f, index);
    for (int old = 0; old < 2; old++) {
        if (old != 0)
            write_file(f->images, false, "old", 3);
        dml_record_writer *w = open_writer(f);
        assert_int_equal(mkdir(index, 0777), 0);
        assert_int_equal(dml_record_writer_append(w, "a", 1, 0, 1), DML_OK);
        assert_int_equal(dml_record_writer_commit(w), DML_EIO);
        last_error(f, DML_EIO, "images.index: cannot give it its name");
        dml_record_writer_destroy(w);
        assert_int_equal(access(f->images, F_OK) == 0, old);
        assert_int_equal(rmdir(index), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DATA_TEST(a_full_disk_leaves_nothing),
        DATA_TEST(a_name_of_no_file_is_refused),
        DATA_TEST(two_writers_of_one_name),
        DATA_TEST(a_commit_is_of_both_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
