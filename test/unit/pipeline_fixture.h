/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A generated source for the pipeline's tests: record i is i % 7 + 1 copies of the
 * number i. Reading or decoding can be made to fail for one record, or to take time.
 */
#ifndef PIPELINE_FIXTURE_H
#define PIPELINE_FIXTURE_H

#include "dml/pipeline.h"
#include "dml/rng.h"

#include "core/core.h"
#include "unit.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N    203 /* records; prime to the batch, so that the last one is short */
#define B    24
#define NONE UINT64_MAX

typedef struct fixture {
    dml_ctx *ctx;
    dml_record_source source;
    dml_pipeline_opts opts;
    uint64_t unreadable, undecodable; /* records; NONE: all are well */
    atomic_uint read_us;              /* each reading takes so long */
    uint32_t owner[N];
} fixture;

static size_t record_bytes(uint64_t number)
{
    return (size_t)(number % 7 + 1) * sizeof number;
}

static dml_status read_number(void *user, uint64_t number, void *buffer, size_t room,
                              dml_record *record, char *why)
{
    fixture *f = user;
    assert_true(number < f->source.count && room == f->source.max_bytes);
    if (f->read_us > 0)
        usleep(f->read_us);
    if (number == f->unreadable) {
        snprintf(why, DML_PIPELINE_WHY, "numbers at byte 17: its checksum is wrong");
        return DML_EFORMAT;
    }
    for (size_t at = 0; at < record_bytes(number); at += sizeof number)
        memcpy((char *)buffer + at, &number, sizeof number);
    record->data = buffer;
    record->bytes = record_bytes(number);
    record->offset = 100 * number;
    return DML_OK;
}

static void locate_number(void *user, uint64_t number, char *place)
{
    (void)user;
    snprintf(place, DML_PIPELINE_WHY, "numbers at byte %d", (int)number * 100);
}

/* Field 0: the number; field 1: the number mixed with the epoch. */
static dml_status decode_number(void *user, const dml_record *record, uint64_t epoch,
                                void *const *fields, char *why)
{
    const fixture *f = user;
    uint64_t number, mixed;
    if (record->bytes != record_bytes(record->number) ||
        record->offset != 100 * record->number) {
        snprintf(why, DML_PIPELINE_WHY, "another record was expected");
        return DML_EINVAL;
    }
    if (record->number == f->undecodable) {
        snprintf(why, DML_PIPELINE_WHY, "it is not a number");
        return DML_EUNSUPPORTED;
    }
    memcpy(&number, record->data, sizeof number);
    mixed = dml_rng_u64(7, epoch, number);
    memcpy(fields[0], &number, sizeof number);
    memcpy(fields[1], &mixed, sizeof mixed);
    return DML_OK;
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(dml_ctx_create(NULL, &f->ctx), DML_OK);
    f->unreadable = f->undecodable = NONE;
    f->source = (dml_record_source){.user = f,
                                    .count = N,
                                    .max_bytes = 7 * sizeof(uint64_t),
                                    .read = read_number,
                                    .locate = locate_number};
    dml_pipeline_opts_init(&f->opts);
    f->opts.batch = B;
    f->opts.decode = decode_number;
    f->opts.user = f;
    f->opts.nfields = 2;
    f->opts.field_bytes[0] = f->opts.field_bytes[1] = sizeof(uint64_t);
    *state = f;
    alarm(100); /* a pipeline that hangs ends the test */
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    alarm(0);
    dml_ctx_destroy(f->ctx);
    free(f);
    return 0;
}

static dml_pipeline *create(fixture *f, const dml_pipeline_opts *opts)
{
    dml_pipeline *p = NULL;
    assert_int_equal(dml_pipeline_create(f->ctx, &f->source, opts, &p), DML_OK);
    return p;
}

/* Record i belongs to rank r with a share of about 2^-r; the last rank owns nothing
 * where there are more than two. */
static void own_unevenly(fixture *f, int nranks)
{
    uint32_t owners = (uint32_t)(nranks > 2 ? nranks - 1 : nranks);
    for (uint64_t i = 0; i < N; i++) {
        uint64_t draw = dml_rng_u64(3, 0, i);
        uint32_t rank = 0;
        while ((draw >> rank & 1) != 0 && rank < owners - 1)
            rank++;
        f->owner[i] = rank;
    }
}

/* The next batch, all of whose rows hold what they should. */
static inline dml_pipeline_batch next_batch(dml_pipeline *p)
{
    dml_pipeline_batch b;
    assert_int_equal(dml_pipeline_next(p, &b), DML_OK);
    assert_true(b.count <= b.rows && b.rows == dml_pipeline_rows(p));
    assert_int_equal(b.global_count, dml_pipeline_global_count(p, b.step));
    const uint64_t *numbers = b.fields[0], *mixed = b.fields[1];
    for (size_t i = 0; i < b.count; i++) {
        assert_int_equal(numbers[i], b.records[i]);
        assert_int_equal(mixed[i], dml_rng_u64(7, b.epoch, numbers[i]));
    }
    return b;
}

#define PIPELINE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
