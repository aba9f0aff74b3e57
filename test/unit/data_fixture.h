/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files in a temporary folder for the readers' tests, and a check of what an error
 * says.
 */
#ifndef DATA_FIXTURE_H
#define DATA_FIXTURE_H

#include "dml/data.h"

#include "core/core.h"
#include "unit.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define PATH_BYTES 512

typedef struct fixture {
    dml_ctx *ctx;
    char folder[PATH_BYTES / 2];
    char images[PATH_BYTES], labels[PATH_BYTES]; /* paths in folder */
} fixture;

static void path_in(const fixture *f, const char *name, char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%s/%s", f->folder, name);
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(dml_ctx_create(NULL, &f->ctx), DML_OK);
    const char *base = getenv("TMPDIR");
    snprintf(f->folder, sizeof f->folder, "%.200s/dml-data-XXXXXX",
             base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(f->folder));
    path_in(f, "images", f->images);
    path_in(f, "labels", f->labels);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    DIR *folder = opendir(f->folder);
    for (struct dirent *e; folder != NULL && (e = readdir(folder)) != NULL;) {
        char path[PATH_BYTES];
        path_in(f, e->d_name, path);
        if (e->d_name[0] != '.')
            unlink(path);
    }
    if (folder != NULL)
        closedir(folder);
    rmdir(f->folder);
    dml_ctx_destroy(f->ctx);
    free(f);
    return 0;
}

static inline void write_file(const char *path, bool gzip, const void *bytes,
                              size_t count)
{
    gzFile file = gzopen(path, gzip ? "wb" : "wbT");
    assert_non_null(file);
    if (count > 0)
        assert_int_equal(gzwrite(file, bytes, (unsigned)count), count);
    assert_int_equal(gzclose(file), Z_OK);
}

/* Returns the bytes of a small file as stored. */
static inline size_t read_raw(const char *path, uint8_t *bytes, size_t room)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t count = fread(bytes, 1, room, file);
    fclose(file);
    assert_true(count < room);
    return count;
}

/* The last error: one line with these words, of this function. */
static inline dml_error last_error(const fixture *f, dml_status status,
                                   const char *words)
{
    dml_error error;
    dml_ctx_last_error(f->ctx, &error);
    assert_int_equal(error.status, status);
    if (strstr(error.text, words) == NULL)
        fail_msg("\"%s\" lacks \"%s\"", error.text, words);
    assert_null(strchr(error.text, '\n'));
    return error;
}

/* A context whose n-th allocation fails. */
static inline dml_ctx *ctx_failing_at(int n)
{
    char text[16];
    snprintf(text, sizeof text, "%d", n);
    setenv("DML_TEST_ALLOC_FAIL", text, 1);
    dml_ctx *ctx = NULL;
    assert_int_equal(dml_ctx_create(NULL, &ctx), DML_OK);
    unsetenv("DML_TEST_ALLOC_FAIL");
    return ctx;
}

#define DATA_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
