/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of record files share: a file of records of any length.
 */
#ifndef RECORDS_FIXTURE_H
#define RECORDS_FIXTURE_H

#include "dml/records.h"
#include "dml/rng.h"

#include "data_fixture.h"

#define MOST  4096
#define FRAME DML_RECORD_FRAME_BYTES

/* Record i of a file: any length, also 0. */
static inline size_t make(uint64_t i, uint8_t *out)
{
    size_t bytes = (size_t)(dml_rng_u64(5, 1, i) % 300) * (i % 4 != 3);
    for (size_t b = 0; b < bytes; b++)
        out[b] = (uint8_t)dml_rng_u64(5, 2 + i, b);
    return bytes;
}

/* Not brought to the disk at the commit, which takes long on some. */
static inline dml_record_writer *open_writer(const fixture *f)
{
    dml_record_writer_opts opts;
    dml_record_writer_opts_init(&opts);
    opts.sync = false;
    dml_record_writer *w = NULL;
    assert_int_equal(dml_record_writer_create(f->ctx, f->images, &opts, &w), DML_OK);
    return w;
}

static inline void write_records(const fixture *f, size_t count)
{
    uint8_t bytes[MOST];
    dml_record_writer *w = open_writer(f);
    for (uint64_t i = 0; i < count; i++)
        assert_int_equal(dml_record_writer_append(w, bytes, make(i, bytes), 100 + i,
                                                  0.5 * (double)i),
                         DML_OK);
    assert_int_equal(dml_record_writer_count(w), count);
    assert_int_equal(dml_record_writer_commit(w), DML_OK);
    dml_record_writer_destroy(w);
}

static inline void index_path(const fixture *f, char path[PATH_BYTES])
{
    path_in(f, "images.index", path);
}

#endif
