/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writing record files: frames into a partial file, entries into memory; both files get
 * their names at the commit, the record file first. A crash in between leaves a record
 * file with the index of an older one, which is found to be stale.
 */
#include "data/record_index.h"

#include <math.h>
#include <string.h>

struct dml_record_writer {
    dml_ctx *ctx;
    const struct dml__byte_kernels *bytes;
    dml_record_writer_opts opts;
    dml__partial file, index_file;
    dml_record_index *index;
    uint64_t count;
    bool done;
};

void dml_record_writer_opts_init(dml_record_writer_opts *opts)
{
    *opts = (dml_record_writer_opts){.size = sizeof *opts, .index = true, .sync = true};
}

static dml_status open_writer(dml_record_writer *w, const char *where, const char *path)
{
    w->file.fd = w->index_file.fd = -1;
    DML_TRY(dml__index_new(w->ctx, where, &w->index));
    DML_TRY(dml__partial_open(&w->file, w->ctx, where, path, ""));
    if (!w->opts.index)
        return DML_OK;
    return dml__partial_open(&w->index_file, w->ctx, where, path, DML__INDEX_SUFFIX);
}

dml_status dml_record_writer_create(dml_ctx *ctx, const char *path,
                                    const dml_record_writer_opts *opts,
                                    dml_record_writer **out)
{
    dml_record_writer_opts defaults;
    dml_record_writer_opts_init(&defaults);
    opts = opts != NULL ? opts : &defaults;
    if (path == NULL || out == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "the path or the result is NULL");
    DML_TRY(dml__check_size(ctx, __func__, opts->size, sizeof *opts,
                            "dml_record_writer_opts_init"));
    dml_record_writer *w = dml__alloc(ctx, sizeof *w);
    if (w == NULL)
        return dml__fail(ctx, DML_ENOMEM, __func__, "no memory for a writer");
    w->ctx = ctx;
    w->bytes = dml__ctx_bytes(ctx);
    w->opts = *opts;
    dml_status status = open_writer(w, __func__, path);
    if (status != DML_OK)
        dml_record_writer_destroy(w);
    else
        *out = w;
    return status;
}

dml_status dml_record_writer_append(dml_record_writer *w, const void *data,
                                    size_t bytes, uint64_t key, double weight)
{
    uint8_t head[DML__FRAME_HEAD], tail[DML__FRAME_TAIL];
    if ((data == NULL && bytes > 0) || !isfinite(weight) || weight < 0 || w->done)
        return dml__fail(w->ctx, DML_EINVAL, __func__,
                         "no data, a weight of %g, or after the commit", weight);
    dml_record_entry entry = {
        .offset = w->file.bytes, .bytes = bytes, .key = key, .weight = weight};
    w->file.where = __func__;
    if (w->opts.index) /* before the frame is written, so that both hold it or none */
        DML_TRY(dml__index_reserve(w->index, __func__));
    dml__put_u64(head, bytes);
    dml__put_u32(head + 8, dml__mask(w->bytes->crc32c(0, head, 8)));
    dml__put_u32(tail, dml__mask(w->bytes->crc32c(0, data, bytes)));
    DML_TRY(dml__partial_write(&w->file, head, sizeof head));
    DML_TRY(dml__partial_write(&w->file, data, bytes));
    DML_TRY(dml__partial_write(&w->file, tail, sizeof tail));
    if (w->opts.index)
        dml__index_add(w->index, &entry, head, tail);
    w->count++;
    return DML_OK;
}

uint64_t dml_record_writer_count(const dml_record_writer *w)
{
    return w->count;
}

dml_status dml_record_writer_commit(dml_record_writer *w)
{
    bool sync = w->opts.sync;
    if (w->done)
        return dml__fail(w->ctx, DML_EINVAL, __func__, "committed before");
    w->file.where = w->index_file.where = __func__;
    w->done = true;
    w->index->file_bytes = w->file.bytes;
    DML_TRY(dml__partial_finish(&w->file, sync, &w->index->mtime_ns));
    if (w->opts.index)
        DML_TRY(dml__index_store(w->index, &w->index_file, sync));
    DML_TRY(dml__partial_rename(&w->file, sync));
    dml_status status =
        w->opts.index ? dml__partial_rename(&w->index_file, sync) : DML_OK;
    if (status != DML_OK)
        dml__partial_undo(&w->file);
    return status;
}

void dml_record_writer_destroy(dml_record_writer *w)
{
    if (w == NULL)
        return;
    dml__partial_close(&w->file);
    dml__partial_close(&w->index_file);
    dml_record_index_destroy(w->index);
    dml__free(w);
}
