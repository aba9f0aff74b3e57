/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Record files under the pipeline: what was written comes back, once an epoch, from
 * several files of which one is empty; damage is told with file and offset, or skipped
 * and counted.
 */
#include "dml/pipeline.h"
#include "dml/plan.h"
#include "dml/rng.h"

#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NFILES  4
#define N       150 /* records in all; record i has bytes(i) bytes, each of them i */
#define MOST    200
#define DAMAGED 40 /* a record of the third file */

static const size_t ends[NFILES] = {33, 33, 97, N}; /* the second file is empty */

typedef struct fixture {
    dml_ctx *ctx;
    char folder[64];
    char names[NFILES][96];
    const char *paths[NFILES];
} fixture;

static size_t bytes_of(size_t i)
{
    return (size_t)(dml_rng_u64(21, 0, i) % MOST);
}

static void write_file(const fixture *f, const char *path, size_t begin, size_t end)
{
    dml_record_writer *writer = NULL;
    assert_int_equal(dml_record_writer_create(f->ctx, path, NULL, &writer), DML_OK);
    for (size_t i = begin; i < end; i++) {
        uint8_t data[MOST];
        memset(data, (int)i, sizeof data);
        assert_int_equal(
            dml_record_writer_append(writer, data, bytes_of(i), i, (double)i), DML_OK);
    }
    assert_int_equal(dml_record_writer_commit(writer), DML_OK);
    dml_record_writer_destroy(writer);
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(dml_ctx_create(NULL, &f->ctx), DML_OK);
    snprintf(f->folder, sizeof f->folder, "/tmp/dml-set-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    for (size_t k = 0; k < NFILES; k++) {
        snprintf(f->names[k], sizeof f->names[k], "%s/%zu.records", f->folder, k);
        f->paths[k] = f->names[k];
        write_file(f, f->paths[k], k > 0 ? ends[k - 1] : 0, ends[k]);
    }
    *state = f;
    alarm(100);
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    alarm(0);
    for (size_t k = 0; k < NFILES; k++) {
        char index[112];
        snprintf(index, sizeof index, "%s.index", f->paths[k]);
        unlink(index);
        unlink(f->paths[k]);
    }
    rmdir(f->folder);
    dml_ctx_destroy(f->ctx);
    free(f);
    return 0;
}

static dml_record_set *open_set(const fixture *f)
{
    dml_record_set *set = NULL;
    assert_int_equal(dml_record_set_open(f->ctx, f->paths, NFILES, true, &set), DML_OK);
    return set;
}

static dml_pipeline_opts make_opts(dml_record_set *set, dml_record_source *source)
{
    dml_pipeline_opts opts;
    dml_record_set_source(set, source);
    assert_int_equal(source->count, N);
    dml_pipeline_opts_init(&opts);
    opts.batch = 16;
    opts.uneven = DML_UNEVEN_JOIN;
    opts.nfields = 2;
    opts.field_bytes[0] = MOST;
    opts.field_bytes[1] = sizeof(uint64_t);
    opts.readers = opts.decoders = 3;
    return opts;
}

static dml_pipeline *open_pipeline(const fixture *f, dml_record_set *set,
                                   dml_on_error on_error, bool shuffle)
{
    dml_record_source source;
    dml_pipeline_opts opts = make_opts(set, &source);
    dml_pipeline *p = NULL;
    opts.on_error = on_error;
    opts.shuffle = shuffle;
    assert_int_equal(dml_pipeline_create(f->ctx, &source, &opts, &p), DML_OK);
    return p;
}

/* Adds to "times" what an epoch hands out; returns how many records that were. */
static size_t take_epoch(dml_pipeline *p, int times[N])
{
    size_t count = 0;
    for (uint64_t s = 0; s < dml_pipeline_steps(p); s++) {
        dml_pipeline_batch b;
        assert_int_equal(dml_pipeline_next(p, &b), DML_OK);
        const uint8_t *data = b.fields[0];
        const uint64_t *bytes = b.fields[1];
        for (size_t row = 0; row < b.count; row++, data += MOST) {
            size_t i = (size_t)b.records[row];
            times[i]++;
            assert_int_equal(bytes[row], bytes_of(i));
            for (size_t at = 0; at < MOST; at++)
                assert_int_equal(data[at], at < bytes[row] ? i : 0);
        }
        count += b.count;
    }
    return count;
}

static void files_are_one_source(void **state)
{
    fixture *f = *state;
    dml_record_set *set = open_set(f);
    for (size_t i = 0; i < N; i++) {
        const dml_record_entry *entry = dml_record_set_entry(set, i);
        assert_true(entry->key == i && entry->bytes == bytes_of(i));
    }
    assert_null(dml_record_set_entry(set, N));
    dml_pipeline *p = open_pipeline(f, set, DML_ON_ERROR_FAIL, true);
    int times[N] = {0};
    for (int epoch = 1; epoch <= 3; epoch++) {
        assert_int_equal(take_epoch(p, times), N);
        for (size_t i = 0; i < N; i++)
            assert_int_equal(times[i], epoch);
    }
    dml_pipeline_destroy(p);
    dml_record_set_close(set);
    dml_record_set_close(NULL);
}

/* Who gets which record by a plan over the index's keys and weights. */
static void plan_owners(const fixture *f, dml_record_set *set, size_t nranks,
                        uint32_t owner[N])
{
    uint64_t keys[N];
    double weights[N];
    for (size_t i = 0; i < N; i++) {
        keys[i] = dml_record_set_entry(set, i)->key;
        weights[i] = dml_record_set_entry(set, i)->weight;
    }
    const dml_keys all = {.kind = DML_KEY_U64, .count = N, .u64 = keys};
    dml_sampler_opts opts;
    dml_plan_opts plan_opts;
    dml_sampler *sampler = NULL;
    dml_histogram *histogram = NULL;
    dml_plan *plan = NULL;
    dml_sampler_opts_init(&opts);
    dml_plan_opts_init(&plan_opts);
    opts.rate = 1;
    opts.weight = DML_WEIGHT_VALUE;
    plan_opts.min_samples = 1;
    assert_int_equal(dml_sampler_create(f->ctx, &opts, &sampler), DML_OK);
    assert_int_equal(dml_sampler_add(sampler, &all, weights), DML_OK);
    assert_int_equal(dml_sampler_finish(sampler, &histogram), DML_OK);
    assert_int_equal(
        dml_plan_create(f->ctx, DML_PLAN_KSRP, nranks, histogram, &plan_opts, &plan),
        DML_OK);
    assert_int_equal(dml_plan_route(plan, &all, NULL, 0, owner), DML_OK);
    dml_plan_destroy(plan);
    dml_histogram_destroy(histogram);
    dml_sampler_destroy(sampler);
}

static void a_plan_shards_the_files(void **state)
{
    enum { NRANKS = 3 };
    fixture *f = *state;
    dml_record_set *set = open_set(f);
    uint32_t owner[N];
    int times[N] = {0};
    double loads[NRANKS] = {0};
    plan_owners(f, set, NRANKS, owner);
    dml_record_source source;
    dml_pipeline_opts opts = make_opts(set, &source);
    opts.owner = owner;
    opts.uneven = DML_UNEVEN_SHARE;
    opts.nranks = NRANKS;
    for (opts.rank = 0; opts.rank < NRANKS; opts.rank++) {
        dml_pipeline *p = NULL;
        assert_int_equal(dml_pipeline_create(f->ctx, &source, &opts, &p), DML_OK);
        int before[N];
        memcpy(before, times, sizeof before);
        take_epoch(p, times);
        for (size_t i = 0; i < N; i++)
            loads[opts.rank] += times[i] > before[i] ? (double)i : 0;
        dml_pipeline_destroy(p);
    }
    for (size_t i = 0; i < N; i++)
        assert_int_equal(times[i], 1);
    for (int r = 0; r < NRANKS; r++) /* by weight, of which all have N (N - 1) / 2 */
        assert_in_range((int)loads[r], N * (N - 1) / 6 - N, N * (N - 1) / 6 + N);
    dml_record_set_close(set);
}

static void refuse(const fixture *f, dml_status status, const char *words)
{
    dml_record_set *set = NULL;
    dml_error error;
    assert_int_equal(dml_record_set_open(f->ctx, f->paths, NFILES, true, &set), status);
    assert_null(set);
    dml_ctx_last_error(f->ctx, &error);
    assert_int_equal(error.status, status);
    assert_non_null(strstr(error.text, words));
}

static void files_that_do_not_fit_are_refused(void **state)
{
    fixture *f = *state;
    const char *kept = f->paths[2];
    f->paths[2] = NULL;
    refuse(f, DML_EINVAL, "path 2 is NULL");
    f->paths[2] = "/nowhere/x.records";
    refuse(f, DML_EIO, "/nowhere/x.records");
    f->paths[2] = kept;
    assert_int_equal(truncate(kept, 1000), 0);
    refuse(f, DML_EMISMATCH, kept);
}

/* Changes a byte of record DAMAGED, or ends its file within it. */
static void damage(const fixture *f, const dml_record_set *set, bool cut)
{
    const dml_record_entry *entry = dml_record_set_entry(set, DAMAGED);
    assert_true(entry->bytes > 0);
    off_t at = (off_t)entry->offset + 12;
    if (cut) {
        assert_int_equal(truncate(f->paths[2], at), 0);
        return;
    }
    int fd = open(f->paths[2], O_WRONLY);
    assert_true(fd >= 0 && pwrite(fd, "\377", 1, at) == 1);
    close(fd);
}

static void damage_is_told_with_its_place(void **state)
{
    fixture *f = *state;
    for (int cut = 0; cut < 2; cut++) {
        dml_record_set *set = open_set(f);
        damage(f, set, cut != 0);
        dml_pipeline *p = open_pipeline(f, set, DML_ON_ERROR_FAIL, false);
        dml_pipeline_batch b;
        assert_int_equal(dml_pipeline_next(p, &b), DML_OK);
        assert_int_equal(dml_pipeline_next(p, &b), DML_OK);
        assert_int_equal(dml_pipeline_next(p, &b), DML_EFORMAT);
        dml_error error;
        char place[160];
        dml_ctx_last_error(f->ctx, &error);
        snprintf(place, sizeof place, "record %d: %s: record at offset %llu: %s",
                 DAMAGED, f->paths[2],
                 (unsigned long long)dml_record_set_entry(set, DAMAGED)->offset,
                 cut != 0 ? "cut short" : "wrong checksum of its data");
        assert_non_null(strstr(error.text, place));
        dml_pipeline_destroy(p);
        dml_record_set_close(set);
    }
}

static void put_u32(uint8_t *to, uint32_t crc)
{
    uint32_t masked = (crc >> 15 | crc << 17) + 0xa282ead8U;
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(masked >> 8 * i);
}

/* Another intact record where the index has one, longer or empty. */
static void a_record_of_another_length_is_told(void **state)
{
    fixture *f = *state;
    dml_record_set *set = open_set(f);
    const dml_record_entry *entry = dml_record_set_entry(set, DAMAGED);
    dml_record_source source;
    dml_record_set_source(set, &source);
    char *buffer = calloc(1, source.max_bytes), why[DML_PIPELINE_WHY];
    int fd = open(f->paths[2], O_WRONLY);
    assert_true(buffer != NULL && fd >= 0);
    for (int empty = 0; empty < 2; empty++) {
        dml_record record;
        uint8_t frame[16] = {0};
        uint64_t bytes = empty != 0 ? 0 : entry->bytes + 1;
        for (int i = 0; i < 8; i++)
            frame[i] = (uint8_t)(bytes >> 8 * i);
        put_u32(frame + 8, dml_crc32c(f->ctx, 0, frame, 8));
        put_u32(frame + 12, 0);
        size_t n = empty != 0 ? 16 : 12;
        assert_true(pwrite(fd, frame, n, (off_t)entry->offset) == (ssize_t)n);
        why[0] = '\0';
        assert_int_equal(
            source.read(source.user, DAMAGED, buffer, source.max_bytes, &record, why),
            DML_EMISMATCH);
        assert_non_null(strstr(why, f->paths[2]));
        assert_non_null(strstr(why, "stale; make it anew"));
    }
    close(fd);
    free(buffer);
    dml_record_set_close(set);
}

static void count_reads(void *user, dml_log_level level, const char *line)
{
    (void)level;
    *(int *)user += strstr(line, "dml_record_file_read") != NULL;
}

/* What the set's own readings log goes where the caller's context logs. */
static void readings_log_as_the_caller_does(void **state)
{
    fixture *f = *state;
    int lines = 0;
    dml_ctx_opts opts;
    dml_ctx_opts_init(&opts);
    opts.log = count_reads;
    opts.log_user = &lines;
    opts.log_level = DML_LOG_INFO;
    dml_ctx *ctx = NULL;
    dml_record_set *set = NULL;
    dml_record_source source;
    assert_int_equal(dml_ctx_create(&opts, &ctx), DML_OK);
    assert_int_equal(dml_record_set_open(ctx, f->paths, NFILES, true, &set), DML_OK);
    damage(f, set, false);
    dml_record_set_source(set, &source);
    char *buffer = calloc(1, source.max_bytes), why[DML_PIPELINE_WHY] = "";
    dml_record record;
    assert_non_null(buffer);
    assert_int_equal(
        source.read(source.user, DAMAGED, buffer, source.max_bytes, &record, why),
        DML_EFORMAT);
    assert_true(lines > 0);
    free(buffer);
    dml_record_set_close(set);
    dml_ctx_destroy(ctx);
}

static void damage_can_be_skipped(void **state)
{
    fixture *f = *state;
    for (int cut = 0; cut < 2; cut++) {
        dml_record_set *set = open_set(f);
        damage(f, set, cut != 0);
        dml_pipeline *p = open_pipeline(f, set, DML_ON_ERROR_SKIP, true);
        int times[N] = {0};
        size_t lost = cut != 0 ? ends[2] - DAMAGED : 1;
        assert_int_equal(take_epoch(p, times), N - lost);
        for (size_t i = 0; i < N; i++)
            assert_int_equal(times[i], i < DAMAGED || i >= DAMAGED + lost);
        dml_pipeline_stats stats;
        dml_pipeline_get_stats(p, &stats);
        assert_in_range(stats.skipped, lost, 2 * lost);
        dml_pipeline_destroy(p);
        dml_record_set_close(set);
    }
}

#define SET_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SET_TEST(files_are_one_source),
        SET_TEST(a_plan_shards_the_files),
        SET_TEST(files_that_do_not_fit_are_refused),
        SET_TEST(damage_is_told_with_its_place),
        SET_TEST(a_record_of_another_length_is_told),
        SET_TEST(readings_log_as_the_caller_does),
        SET_TEST(damage_can_be_skipped),
    };
    return cmocka_run_group_tests_name("record set", tests, NULL, NULL);
}
