/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The files of a snapshot: what is packed is read again, and everything else is
 * refused: cut at every length, each byte changed, numbers that make no sense.
 * test/apps/checkpoint.py reads them by doc/checkpoints.md alone.
 */
#include "ckpt/ckpt.h"
#include "core/wire.h"
#include "data_fixture.h"

#include <errno.h>
#include <fcntl.h>

#define MOST 1024

static const char where[] = "test";

/* Head, table and data of a small shard of rank 0 of 2; returns its length. */
static size_t make_shard(const dml_ctx *ctx, uint8_t bytes[MOST])
{
    static const uint8_t data[] = "step....own.......vector..";
    struct dml__section sections[] = {
        {.name = "step", .kind = DML_SECTION_SHARED, .dtype = DML_U8, .count = 8},
        {.name = "own", .kind = DML_SECTION_OWN, .dtype = DML_U8, .count = 10},
        {.name = "w",
         .kind = DML_SECTION_VECTOR,
         .dtype = DML_F32,
         .first = 3,
         .count = 2,
         .total = 9},
        {.name = "empty", .kind = DML_SECTION_OWN, .dtype = DML_U8},
    };
    struct dml__shard shard = {
        .ranks = 2, .id = 77, .step = 5, .sections = sections, .nsections = 4};
    sections[0].total = 8;
    sections[1].total = 10;
    assert_int_equal(dml__shard_place(&shard), DML_OK);
    size_t head = dml__shard_head_bytes(sections, 4);
    for (size_t i = 0, at = 0; i < 4; at += (size_t)sections[i++].bytes)
        sections[i].crc = dml__ckpt_crc(ctx, 0, data + at, (size_t)sections[i].bytes);
    dml__shard_pack(ctx, &shard, bytes);
    memcpy(bytes + head, data, 26);
    assert_int_equal(shard.file_bytes, head + 26);
    return head + 26;
}

/* As a reader meets a file: its head, then all its data. */
static dml_status look(fixture *f)
{
    struct dml__shard shard = {0};
    dml_status status = dml__shard_read(f->ctx, where, f->images, &shard);
    if (status != DML_OK) {
        assert_null(shard.sections);
        return status;
    }
    status = dml__shard_check(f->ctx, where, f->images, &shard);
    dml__free(shard.sections);
    return status;
}

static void a_shard_comes_back(void **state)
{
    fixture *f = *state;
    uint8_t bytes[MOST], data[10];
    struct dml__shard shard;
    write_file(f->images, false, bytes, make_shard(f->ctx, bytes));
    assert_int_equal(dml__shard_read(f->ctx, where, f->images, &shard), DML_OK);
    assert_int_equal(shard.nsections, 4);
    assert_int_equal(shard.id, 77);
    assert_int_equal(shard.step, 5);
    const struct dml__section *w = &shard.sections[2];
    assert_string_equal(w->name, "w");
    assert_int_equal(w->first, 3);
    assert_int_equal(w->total, 9);
    assert_int_equal(dml__section_read(f->ctx, where, f->images, w, 1, 1, data),
                     DML_OK);
    assert_memory_equal(data, "or..", 4);
    assert_int_equal(
        dml__section_read(f->ctx, where, f->images, &shard.sections[1], 0, 10, data),
        DML_OK);
    assert_memory_equal(data, "own.......", 10);
    dml__free(shard.sections);
    assert_int_equal(look(f), DML_OK);
}

static void a_shard_cut_anywhere_is_refused(void **state)
{
    fixture *f = *state;
    uint8_t bytes[MOST] = {0};
    size_t n = make_shard(f->ctx, bytes);
    for (size_t cut = 0; cut < n; cut++) {
        write_file(f->images, false, bytes, cut);
        assert_int_equal(look(f), DML_EFORMAT);
    }
    write_file(f->images, false, bytes, n + 1);
    assert_int_equal(look(f), DML_EFORMAT);
}

static void a_shard_changed_anywhere_is_refused(void **state)
{
    fixture *f = *state;
    uint8_t bytes[MOST];
    size_t n = make_shard(f->ctx, bytes);
    for (size_t at = 0; at < n; at++) {
        uint8_t change = (uint8_t)(1u << at % 8);
        bytes[at] ^= change;
        write_file(f->images, false, bytes, n);
        assert_int_equal(look(f), DML_EFORMAT);
        bytes[at] ^= change;
    }
}

/* A number in the head, which is summed anew: only its sense can be wrong. */
static void refused_with(fixture *f, size_t at, int bytes_of, uint64_t value)
{
    uint8_t bytes[MOST];
    size_t n = make_shard(f->ctx, bytes), summed = n - 26 - DML__CKPT_SUM;
    if (bytes_of == 4)
        dml__put_u32(bytes + at, (uint32_t)value);
    else
        dml__put_u64(bytes + at, value);
    dml__put_u32(bytes + summed, dml__ckpt_crc(f->ctx, 0, bytes, summed));
    write_file(f->images, false, bytes, n);
    assert_int_equal(look(f), DML_EFORMAT);
}

static void numbers_without_sense_are_refused(void **state)
{
    fixture *f = *state;
    const size_t step = DML__SHARD_HEAD; /* the first section's entry */
    refused_with(f, 8, 4, 2);            /* version */
    refused_with(f, 12, 4, 2);           /* rank 2 of 2 */
    refused_with(f, 16, 4, UINT32_MAX);  /* ranks */
    refused_with(f, 20, 4, UINT32_MAX);  /* sections */
    refused_with(f, 20, 4, 3);
    refused_with(f, 20, 4, 5);
    refused_with(f, 40, 8, UINT64_MAX); /* bytes of the table */
    refused_with(f, 40, 8, 1);
    refused_with(f, 48, 8, UINT64_MAX); /* bytes of the file */
    refused_with(f, step, 4, 0);        /* length of a name */
    refused_with(f, step, 4, UINT32_MAX);
    refused_with(f, step, 4, DML_CKPT_NAME_MAX);
    refused_with(f, step + 4, 4, 0); /* kind */
    refused_with(f, step + 4, 4, 4);
    refused_with(f, step + 8, 4, DML_NDTYPES); /* type */
    refused_with(f, step + 16, 8, 1);          /* first */
    refused_with(f, step + 24, 8, UINT64_MAX); /* count */
    refused_with(f, step + 24, 8, 7);
    refused_with(f, step + 32, 8, 7);                       /* total */
    refused_with(f, step + DML__SECTION_HEAD, 4, 0x200a0a); /* name */
}

/* ---- manifests --------------------------------------------------------------------
 */

static size_t make_manifest(const dml_ctx *ctx, uint8_t bytes[MOST])
{
    struct dml__manifest_entry entries[] = {{100, 1}, {200, 2}, {300, 3}};
    struct dml__manifest m = {
        .ranks = 3, .id = 9, .step = 4, .serial = 2, .unix_s = 1, .entries = entries};
    dml__manifest_pack(ctx, &m, bytes);
    return dml__manifest_bytes(3);
}

static dml_status read_manifest(fixture *f, struct dml__manifest *m)
{
    return dml__manifest_read(f->ctx, where, f->labels, m);
}

static void a_manifest_comes_back(void **state)
{
    fixture *f = *state;
    uint8_t bytes[MOST];
    struct dml__manifest m;
    write_file(f->labels, false, bytes, make_manifest(f->ctx, bytes));
    assert_int_equal(read_manifest(f, &m), DML_OK);
    assert_int_equal(m.ranks, 3);
    assert_int_equal(m.serial, 2);
    assert_int_equal(m.entries[2].file_bytes, 300);
    assert_int_equal(m.entries[2].crc, 3);
    dml__free(m.entries);
}

static void a_manifest_that_is_damaged_is_refused(void **state)
{
    fixture *f = *state;
    uint8_t bytes[MOST] = {0};
    struct dml__manifest m;
    size_t n = make_manifest(f->ctx, bytes);
    for (size_t cut = 0; cut <= n + 1; cut++) {
        write_file(f->labels, false, bytes, cut);
        if (cut != n)
            assert_int_equal(read_manifest(f, &m), DML_EFORMAT);
    }
    for (size_t at = 0; at < n; at++) {
        bytes[at] ^= 4;
        write_file(f->labels, false, bytes, n);
        assert_int_equal(read_manifest(f, &m), DML_EFORMAT);
        bytes[at] ^= 4;
    }
    for (uint32_t ranks = 0; ranks < 9; ranks++) {
        dml__put_u32(bytes + 12, ranks < 8 ? ranks : UINT32_MAX);
        dml__put_u32(bytes + n - 4, dml__ckpt_crc(f->ctx, 0, bytes, n - 4));
        write_file(f->labels, false, bytes, n);
        if (ranks != 3)
            assert_int_equal(read_manifest(f, &m), DML_EFORMAT);
    }
}

/* ---- folders ----------------------------------------------------------------------
 */

static void names_are_told_apart(void **state)
{
    (void)state;
    char name[DML__NAME_ROOM];
    uint64_t serial = 0;
    dml__snapshot_name(12, 3400, name);
    assert_string_equal(name, "snapshot-000012-step-3400");
    assert_true(dml__is_snapshot(name, &serial) && serial == 12);
    dml__snapshot_name(UINT64_MAX, UINT64_MAX, name);
    assert_true(dml__is_snapshot(name, &serial) && serial == UINT64_MAX);
    dml__unnamed_name(0xabc, 7, name);
    assert_true(dml__is_unnamed(name) && !dml__is_snapshot(name, &serial));
    static const char *const others[] = {"snapshot-",
                                         "snapshot-1",
                                         "snapshot-1-step-",
                                         "snapshot-x-step-1",
                                         "snapshot-1-step-1x",
                                         "snapshot-99999999999999999999999-step-1",
                                         "unnamed-",
                                         "unnamed-0-1",
                                         "unnamed-000000000000000g-1",
                                         "unnamed-0000000000000000-",
                                         "unnamed-0000000000000000-1x",
                                         "lock",
                                         "",
                                         "my-unnamed-0000000000000000-1"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_false(dml__is_snapshot(others[i], &serial));
        assert_false(dml__is_unnamed(others[i]));
    }
}

static void snapshots_are_listed_by_number(void **state)
{
    fixture *f = *state;
    static const uint64_t serials[] = {3, 1000000, 7, 20};
    struct dml__found *found = NULL;
    size_t count = 0;
    for (size_t i = 0; i < 4; i++) {
        char name[DML__NAME_ROOM], path[PATH_BYTES];
        dml__snapshot_name(serials[i], 1, name);
        path_in(f, name, path);
        assert_int_equal(dml__ckpt_mkdir(f->ctx, where, path), DML_OK);
        assert_int_equal(dml__ckpt_mkdir(f->ctx, where, path), DML_OK);
    }
    assert_int_equal(dml__ckpt_list(f->ctx, where, f->folder, &found, &count), DML_OK);
    assert_int_equal(count, 4);
    assert_int_equal(found[0].serial, 1000000);
    assert_int_equal(found[3].serial, 3);
    for (size_t i = 0; i < count; i++) {
        char path[PATH_BYTES];
        path_in(f, found[i].name, path);
        dml__ckpt_remove(f->ctx, path);
    }
    dml__free(found);
    assert_int_equal(dml__ckpt_list(f->ctx, where, f->folder, &found, &count), DML_OK);
    assert_int_equal(count, 0);
    dml__free(found);
}

/* What is there already, a link of somebody's for one, is not written to. */
static void nothing_is_overwritten(void **state)
{
    fixture *f = *state;
    write_file(f->images, false, "kept", 4);
    assert_int_equal(unlink(f->labels) == 0 || errno == ENOENT, 1);
    assert_int_equal(symlink(f->images, f->labels), 0);
    assert_int_equal(dml__ckpt_write(f->ctx, where, f->images, "x", 1, NULL, 0, false),
                     DML_EIO);
    assert_int_equal(dml__ckpt_write(f->ctx, where, f->labels, "x", 1, NULL, 0, false),
                     DML_EIO);
    struct stat info;
    assert_int_equal(stat(f->images, &info), 0);
    assert_int_equal(info.st_size, 4);
    assert_int_equal(unlink(f->labels), 0);
}

static void a_folder_that_may_not_be_written(void **state)
{
    fixture *f = *state;
    char path[PATH_BYTES];
    int lock = -1;
    path_in(f, "new", path);
    const bool root = geteuid() == 0;
    assert_int_equal(chmod(f->folder, root ? 0755 : 0500), 0);
    if (root)
        assert_int_equal(seteuid(65534), 0);
    dml_status made = dml__ckpt_mkdir(f->ctx, where, path);
    dml_status written = dml__ckpt_write(f->ctx, where, path, "x", 1, NULL, 0, false);
    dml_status locked = dml__ckpt_lock(f->ctx, where, f->folder, 0, &lock);
    if (root)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(chmod(f->folder, 0700), 0);
    assert_int_equal(made, DML_EIO);
    assert_int_equal(written, DML_EIO);
    assert_int_equal(locked, DML_EIO);
    dml_error error;
    dml_ctx_last_error(f->ctx, &error);
    assert_non_null(strstr(error.text, "Permission denied"));
}

static void one_holds_the_lock(void **state)
{
    fixture *f = *state;
    int first = -1, second = -1;
    assert_int_equal(dml__ckpt_lock(f->ctx, where, f->folder, 0, &first), DML_OK);
    assert_int_equal(dml__ckpt_lock(f->ctx, where, f->folder, 0.05, &second), DML_EIO);
    dml_error error;
    dml_ctx_last_error(f->ctx, &error);
    assert_non_null(strstr(error.text, "process "));
    close(first);
    assert_int_equal(dml__ckpt_lock(f->ctx, where, f->folder, 0, &second), DML_OK);
    close(second);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_shard_comes_back),
        TEST(a_shard_cut_anywhere_is_refused),
        TEST(a_shard_changed_anywhere_is_refused),
        TEST(numbers_without_sense_are_refused),
        TEST(a_manifest_comes_back),
        TEST(a_manifest_that_is_damaged_is_refused),
        TEST(names_are_told_apart),
        TEST(snapshots_are_listed_by_number),
        TEST(nothing_is_overwritten),
        TEST(a_folder_that_may_not_be_written),
        TEST(one_holds_the_lock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
