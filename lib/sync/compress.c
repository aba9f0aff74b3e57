/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A reducer's codec from step to step: what it is for, what waits, and what is wrong.
 */
#include "sync/compress.h"

#include "collectives/collectives.h"
#include "comm/comm.h"
#include "compress/codec_device.h"
#include "compress/powersgd.h"
#include "sync/device.h"

#include <math.h>
#include <string.h>

/* ---- options -----------------------------------------------------------------------
 */

dml_status dml__compress_open(dml_reducer *r, const dml_reducer_opts *opts)
{
    dml_ctx *ctx = dml_comm_ctx(r->comm);
    struct dml__codec_spec spec;
    DML_TRY(dml__codec_parse(ctx, opts->codec, "dml_reducer_create", &spec));
    if (spec.kind == NULL)
        return DML_OK;
    struct dml__compression *c = dml__alloc(ctx, sizeof *c);
    r->compression = c;
    if (c == NULL)
        return DML_ENOMEM;
    c->spec = spec;
    c->rows_known = opts->rows != NULL;
    c->rows = dml__alloc(ctx, dml__mul(r->ngrads, sizeof *c->rows));
    c->members = dml__alloc(ctx, dml__mul(r->ngrads, sizeof *c->members));
    if (c->rows == NULL || c->members == NULL)
        return DML_ENOMEM;
    if (c->rows_known && r->ngrads > 0)
        memcpy(c->rows, opts->rows, r->ngrads * sizeof *c->rows);
    return DML_OK;
}

void dml__compress_close(dml_reducer *r)
{
    if (r->compression == NULL)
        return;
    dml__free(r->compression->rows);
    dml__free(r->compression->members);
    dml__comm_release(r->comm,
                      r->compression); /* the fault in it is reduced in place */
    r->compression = NULL;
}

/* A number for what must be equal on all ranks. */
static uint64_t fingerprint(const dml_reducer *r)
{
    const struct dml__compression *c = r->compression;
    if (c == NULL)
        return 0;
    const struct dml__codec_spec *s = &c->spec;
    const double numbers[] = {
        s->number,       s->momentum,      s->clip,  (double)s->warmup,
        (double)s->seed, (double)s->start, s->force,
    };
    uint64_t hash = dml__hash(1, numbers, sizeof numbers);
    hash = dml__hash(hash, s->kind->name, strlen(s->kind->name));
    return dml__hash(hash, c->rows, r->ngrads * sizeof *c->rows);
}

dml_status dml__compress_verify(dml_reducer *r)
{
    bool same = false;
    DML_TRY(dml__same_everywhere(r->comm, fingerprint(r), &same));
    if (same)
        return DML_OK;
    return dml__fail(dml_comm_ctx(r->comm), DML_EMISMATCH, "dml_reducer_create",
                     "the ranks' codecs or rows differ (here %s); give all the same",
                     r->compression != NULL ? r->compression->spec.kind->name : "none");
}

enum dml__tensor_kind dml__compress_kind(const dml_reducer *r, size_t tensor)
{
    const struct dml__compression *c = r->compression;
    if (c == NULL || r->grads[tensor].dtype != DML_F32 ||
        c->rows[tensor] == DML_KEEP_DENSE)
        return DML__KEPT;
    if (c->rows_known && c->rows[tensor] <= 1)
        return DML__VECTOR;
    if (c->spec.kind->form == DML__FORM_FACTORS &&
        !dml__power_saves(r->grads[tensor].count, c->rows[tensor],
                          (size_t)c->spec.number))
        return DML__VECTOR;
    return DML__CODED;
}

/* ---- exchanges ---------------------------------------------------------------------
 */

void dml__compress_forget(dml_reducer *r)
{
    for (size_t b = 0; b < r->nbuckets; b++)
        dml__exchange_close(r->buckets[b].exchange);
}

/* The one vector of a bucket; NULL where the exchange shall have it. */
static float *vector_of(const struct dml__bucket *b)
{
    if (b->layout == DML__APART)
        return (float *)(void *)b->packed;
    return (float *)(void *)b->data;
}

/* Where a bucket's tensors lie in its data; of those that lie apart, in a copy. */
static void locate_members(dml_reducer *r, const struct dml__bucket *b)
{
    size_t at = 0;
    for (size_t i = b->first; i < b->first + b->n; i++) {
        size_t index = r->order[i];
        const dml_tensor *t = &r->grads[index];
        struct dml__member *m = &r->compression->members[i];
        *m = (struct dml__member){at, t->count, r->compression->rows[index], index};
        if (b->layout != DML__APART && t->count > 0)
            m->offset = (size_t)((float *)t->data - (float *)(void *)b->data);
        at += t->count;
    }
}

/* The first step was dense, and its average is the velocity's mean over the ranks: the
 * momentum goes on as if each rank had kept its own. */
static dml_status begin_velocity(dml_reducer *r, const struct dml__bucket *b)
{
    float *velocity = b->exchange->codecs[0].codec->velocity;
    for (size_t i = b->first; i < b->first + b->n && velocity != NULL; i++) {
        const dml_tensor *t = &r->grads[r->order[i]];
        const size_t bytes = t->count * sizeof *velocity;
        float *to = velocity + r->compression->members[i].offset;
        if (bytes > 0 && b->on_device)
            DML_TRY(dml__sync_device_copy(r->device, to, t->data, bytes));
        else if (bytes > 0)
            memcpy(to, t->data, bytes);
    }
    return DML_OK;
}

/* The first that is not empty: an empty one lies nowhere, and may have a bucket of its
 * own beside those of a device. */
static size_t first_tensor(const dml_reducer *r, const struct dml__bucket *b)
{
    size_t i = b->first;
    while (r->grads[r->order[i]].count == 0)
        i++;
    return r->order[i];
}

static dml_status open_exchanges(dml_reducer *r)
{
    const struct dml__codec_spec *spec = &r->compression->spec;
    for (size_t i = 0; i < r->nbuckets; i++) {
        struct dml__bucket *b = &r->buckets[i];
        bool wanted =
            b->kind == DML__CODED || (b->kind == DML__VECTOR && spec->kind->velocity);
        if (!wanted || b->count == 0)
            continue;
        locate_members(r, b);
        /* Below 2^31, which marks the noise of a share's owner. */
        uint64_t stream = (uint64_t)(first_tensor(r, b) & 0x3fff) << 16;
        if (spec->kind->own_stream)
            stream += (uint64_t)dml_comm_rank(r->comm) & 0xffff;
        DML_TRY(dml__exchange_open(
            r->comm, spec, b->on_device ? r->device : NULL, vector_of(b), b->count,
            r->compression->members + b->first, b->n, stream, &b->exchange));
        DML_TRY(begin_velocity(r, b));
    }
    return DML_OK;
}

dml_status dml__compress_measure(dml_reducer *r)
{
    if (r->compression == NULL)
        return DML_OK;
    const enum dml__form form = r->compression->spec.kind->form;
    dml_status status = DML_OK;
    if (form == DML__FORM_SHARDS)
        status = dml__coll_measure_device(r->comm, DML_COLL_ALLTOALL);
    if (status == DML_OK && (form == DML__FORM_SHARDS || form == DML__FORM_SPARSE))
        status = dml__coll_measure_device(r->comm, DML_COLL_ALLGATHER);
    return status;
}

dml_status dml__compress_replan(dml_reducer *r)
{
    if (r->compression == NULL)
        return DML_OK;
    dml_status status = open_exchanges(r);
    double failed = status != DML_OK;
    DML_TRY(dml__comm_max(r->comm, &failed, 1));
    if (status == DML_OK && failed > 0)
        status = dml__fail(dml_comm_ctx(r->comm), DML_ENOMEM, "dml_reducer_finish",
                           "another rank has no memory for its codecs");
    return status;
}

dml_status dml__compress_plan(dml_reducer *r)
{
    DML_TRY(dml__compress_replan(r));
    return r->compression != NULL ? dml__compress_choose(r) : DML_OK;
}

/* ---- steps -------------------------------------------------------------------------
 */

static dml_status refuse_capture(dml_reducer *r)
{
    bool captured = false;
    DML_TRY(dml__sync_device_captured(r->device, &captured));
    return captured
               ? dml__fail(dml_comm_ctx(r->comm), DML_EUNSUPPORTED, "dml_reducer_begin",
                           "a step that compresses gradients cannot be captured "
                           "in a graph: it waits for the device")
               : DML_OK;
}

dml_status dml__compress_begin(dml_reducer *r)
{
    struct dml__compression *c = r->compression;
    if (c == NULL)
        return DML_OK;
    const bool dense = c->flush || r->stats.steps < c->spec.start;
    bool any = c->spec.kind->velocity;
    for (size_t i = 0; i < r->nbuckets; i++)
        any = any || (r->buckets[i].compressed && !dense);
    if (any && r->device != NULL)
        DML_TRY(refuse_capture(r));
    c->any = any;
    c->flush = false;
    c->fault = 0;
    for (size_t i = 0; i < r->nbuckets; i++) {
        struct dml__bucket *b = &r->buckets[i];
        b->coded = b->compressed && !dense;
        if (b->exchange != NULL)
            dml__exchange_age(b->exchange, r->stats.steps);
    }
    return DML_OK;
}

/* Does a gradient hold an element that is unusable? One on a device is fetched. */
static dml_status look_into(dml_reducer *r, size_t tensor, bool *found)
{
    const dml_tensor *t = &r->grads[tensor];
    const size_t bytes = t->count * sizeof(float);
    const float *x = t->data;
    float *fetched = NULL;
    if (r->slots[tensor].on_device) {
        x = fetched = dml__alloc(dml_comm_ctx(r->comm), bytes);
        if (fetched == NULL)
            dml__comm_break(r->comm, DML_ENOMEM); /* the others wait for this rank */
        dml_status status =
            fetched == NULL ? DML_ENOMEM
                            : dml__sync_device_copy(r->device, fetched, t->data, bytes);
        if (status == DML_OK)
            status = dml__sync_device_wait(r->device);
        if (status != DML_OK) {
            dml__free(fetched);
            return status;
        }
    }
    for (size_t k = 0; k < t->count && !*found; k++)
        *found = !(fabsf(x[k]) < 0x1p100f);
    dml__free(fetched);
    return DML_OK;
}

dml_status dml__compress_look(dml_reducer *r, const struct dml__bucket *b)
{
    struct dml__compression *c = r->compression;
    /* In the first step there is only the gradient, of which momentum is then made. */
    const bool first = b->exchange == NULL;
    if (first ? !c->spec.kind->velocity || b->kind == DML__KEPT
              : dml__codec_finite(b->exchange->top))
        return DML_OK;
    /* A sum with the residual may be too large where no gradient is: then the bucket's
     * first tensor stands for it. */
    size_t tensor = r->order[b->first];
    /* Of a device's the average has replaced the gradient by now. */
    bool found = b->on_device && !first;
    for (size_t i = b->first; i < b->first + b->n && !found; i++) {
        DML_TRY(look_into(r, r->order[i], &found));
        if (found)
            tensor = r->order[i];
    }
    if (first && !found)
        return DML_OK;
    int above = dml_comm_size(r->comm) - dml_comm_rank(r->comm);
    double fault = (double)above * (double)r->ngrads - (double)tensor;
    c->fault = fault > c->fault ? fault : c->fault;
    return DML_OK;
}

/* What dml__compress_look() does for a bucket of the host when it is launched, of those
 * that a device has encoded, or added to their momentum: only the end of the step
 * tells. And then the agreement. */
static dml_status look_at_devices(dml_reducer *r)
{
    struct dml__compression *c = r->compression;
    if (r->device == NULL || !c->any)
        return DML_OK;
    DML_TRY(dml__sync_device_wait(r->device));
    for (size_t i = 0; i < r->nbuckets; i++) {
        const struct dml__bucket *b = &r->buckets[i];
        const bool pushed = b->exchange != NULL && c->spec.kind->velocity;
        if ((!b->coded && !pushed) || !b->on_device)
            continue;
        DML_TRY(dml__exchange_look(b->exchange));
        DML_TRY(dml__compress_look(r, b));
    }
    return dml__comm_max(r->comm, &c->fault, 1);
}

static dml_status fail_numeric(dml_reducer *r)
{
    const int64_t fault = (int64_t)r->compression->fault, n = (int64_t)r->ngrads;
    const int64_t above = (fault + n - 1) / n;
    const size_t tensor = (size_t)(above * n - fault);
    const int rank = dml_comm_size(r->comm) - (int)above;
    for (size_t i = 0; i < r->nbuckets; i++)
        if (r->buckets[i].exchange != NULL)
            dml__exchange_clear(r->buckets[i].exchange);
    return dml__fail_values(
        dml_comm_ctx(r->comm), DML_ENUMERIC, "dml_reducer_finish", rank,
        (int64_t)tensor, 0,
        "gradient %zu (%s)%s of rank %d in step %llu holds an element that is not "
        "finite, "
        "or of magnitude 2^100 or more; do not use this step's gradients",
        tensor, dml__tensor_name(&r->grads[tensor]),
        r->slots[tensor].on_device ? ", or another of its bucket," : "", rank,
        (unsigned long long)r->stats.steps);
}

/* Is the coming step the first of a fifth of dgc's warm-up, or the first after it? */
static bool ratio_changes(const dml_reducer *r)
{
    const uint64_t steps = r->stats.steps, warmup = r->compression->spec.warmup;
    return steps <= warmup && steps * 5 / warmup != (steps - 1) * 5 / warmup;
}

dml_status dml__compress_end(dml_reducer *r, dml_status status)
{
    struct dml__compression *c = r->compression;
    if (c == NULL)
        return status;
    dml_status agreed = dml_wait(&c->agreement);
    DML_TRY(status);
    DML_TRY(agreed);
    const double begin_s = dml__now_s();
    dml_status looked = look_at_devices(r);
    r->stats.wait_s += dml__now_s() - begin_s;
    DML_TRY(looked);
    if (c->any && c->fault > 0)
        return fail_numeric(r);
    if (r->stats.steps != c->next_measure && !ratio_changes(r))
        return DML_OK;
    return dml__compress_choose(r);
}
