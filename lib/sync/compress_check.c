/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Is a reducer's codec right for its gradients, and for where they lie?
 */
#include "sync/compress.h"

dml_status dml__compress_check(const dml_tensor *grads, size_t ngrads,
                               const dml_reducer_opts *opts, const dml_comm *comm)
{
    dml_ctx *ctx = dml_comm_ctx(comm);
    const char *where = "dml_reducer_create";
    struct dml__codec_spec spec;
    DML_TRY(dml__codec_parse(ctx, opts->codec, where, &spec));
    if (spec.kind == NULL)
        return DML_OK;
    if (spec.kind->form == DML__FORM_FACTORS && opts->rows == NULL)
        return dml__fail(ctx, DML_EINVAL, where,
                         "%s needs the gradients' shapes: set rows in the options",
                         spec.kind->name);
    for (size_t i = 0; i < ngrads; i++) {
        const dml_tensor *t = &grads[i];
        size_t rows = opts->rows != NULL ? opts->rows[i] : 1;
        if (rows == DML_KEEP_DENSE)
            continue;
        if (rows == 0 || t->count % rows != 0)
            return dml__fail(ctx, DML_EINVAL, where,
                             "gradient %zu (%s): %zu elements are not of %zu rows; "
                             "give 1 for a vector",
                             i, dml__tensor_name(t), t->count, rows);
        if (spec.kind->velocity && t->dtype != DML_F32)
            return dml__fail(ctx, DML_EINVAL, where,
                             "gradient %zu (%s) is of type %s; the momentum of %s is "
                             "kept for f32 only",
                             i, dml__tensor_name(t), dml_dtype_name(t->dtype),
                             spec.kind->name);
    }
    return DML_OK;
}

/* The largest bucket that this tensor may be in, in whatever order they become ready:
 * one is closed when it has its bytes. */
static size_t most_in_bucket(const dml_reducer *r, size_t tensor, size_t all)
{
    const size_t count = r->grads[tensor].count;
    const size_t bytes = r->opts.bucket_bytes > r->opts.first_bucket_bytes
                             ? r->opts.bucket_bytes
                             : r->opts.first_bucket_bytes;
    const size_t before = (bytes - 1) / sizeof(float);
    if (r->compression->spec.kind->form == DML__FORM_FACTORS) /* each has a codec */
        return count;
    return count + (all - count < before ? all - count : before);
}

dml_status dml__compress_check_places(const dml_reducer *r)
{
    const struct dml__compression *c = r->compression;
    size_t all[DML__NTENSOR_KINDS] = {0};
    if (c == NULL)
        return DML_OK;
    for (size_t i = 0; i < r->ngrads; i++)
        if (r->slots[i].on_device)
            all[dml__compress_kind(r, i)] += r->grads[i].count;
    for (size_t i = 0; i < r->ngrads; i++) {
        const enum dml__tensor_kind kind = dml__compress_kind(r, i);
        const bool has_codec =
            kind == DML__CODED || (kind == DML__VECTOR && c->spec.kind->velocity);
        if (!r->slots[i].on_device || !has_codec ||
            most_in_bucket(r, i, all[kind]) <= UINT32_MAX)
            continue;
        return dml__fail(
            dml_comm_ctx(r->comm), DML_EUNSUPPORTED, "dml_reducer_create",
            "gradient %zu (%s) of %zu elements may be in a bucket of %zu, and "
            "a device codes at most %u at a time; make bucket_bytes smaller, "
            "or give it the rows DML_KEEP_DENSE",
            i, dml__tensor_name(&r->grads[i]), r->grads[i].count,
            most_in_bucket(r, i, all[kind]), UINT32_MAX);
    }
    return DML_OK;
}
