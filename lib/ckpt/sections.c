/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the caller puts into a snapshot: sections, copied one after the other into
 * memory that the next snapshot uses again.
 */
#include "dml/rng.h"

#include "ckpt/writer.h"

#include <string.h>

#define FIRST_ROOM ((size_t)64 << 10)

static dml_status make_paths(dml_ckpt *c, const char *where)
{
    char unnamed[DML__NAME_ROOM], named[DML__NAME_ROOM];
    dml__unnamed_name(c->token, c->serial, unnamed);
    dml__snapshot_name(c->serial, c->shard.step, named);
    dml__free(c->unnamed);
    dml__free(c->named);
    c->unnamed = dml__ckpt_path(c->ctx, c->dir, unnamed);
    c->named = dml__ckpt_path(c->ctx, c->dir, named);
    return c->unnamed != NULL && c->named != NULL
               ? DML_OK
               : dml__fail(c->own, DML_ENOMEM, where, "no memory for a path");
}

dml_status dml_ckpt_begin(dml_ckpt *c, uint64_t step)
{
    if (c == NULL)
        return DML_EINVAL;
    if (c->begun)
        return dml__fail(c->ctx, DML_EINVAL, __func__,
                         "a snapshot is begun already; commit it");
    DML_TRY(dml_ckpt_wait(c, NULL));
    double begin_s = dml__now_s();
    c->begun = true;
    c->due = false;
    c->due_s = begin_s;
    c->serial++;
    c->shard.rank = (uint32_t)c->rank;
    c->shard.ranks = (uint32_t)c->nranks;
    c->shard.id = dml_rng_u64(c->token, 0, c->serial);
    c->shard.step = step;
    c->shard.nsections = 0;
    c->used = 0;
    c->result = make_paths(c, __func__);
    c->stats.call_s += dml__now_s() - begin_s;
    return DML_OK;
}

static bool good_name(const char *name)
{
    size_t n = 0;
    for (; name != NULL && name[n] != '\0' && n < DML_CKPT_NAME_MAX; n++)
        if (name[n] <= ' ' || name[n] > '~')
            return false;
    return n > 0 && n < DML_CKPT_NAME_MAX;
}

/* Is the name free for a section of this kind? */
static bool free_name(const dml_ckpt *c, const char *name, dml_section_kind kind)
{
    for (size_t i = 0; i < c->shard.nsections; i++) {
        const struct dml__section *s = &c->shard.sections[i];
        if (strcmp(s->name, name) == 0 &&
            (kind != DML_SECTION_VECTOR || s->kind != DML_SECTION_VECTOR))
            return false;
    }
    return true;
}

/* Room for "wanted" of so many bytes, of which "used" are kept. */
static bool reserve(dml_ckpt *c, void **memory, size_t *room, size_t used,
                    size_t wanted, size_t each)
{
    if (wanted <= *room)
        return true;
    size_t more = wanted + wanted / 2;
    void *next = dml__alloc(c->ctx, dml__mul(more, each));
    if (next == NULL)
        return false;
    if (used > 0)
        dml__copy(next, *memory, used * each);
    dml__free(*memory);
    *memory = next;
    *room = more;
    return true;
}

static dml_status no_memory(dml_ckpt *c, const char *where, size_t bytes)
{
    c->result = dml__fail(c->own, DML_ENOMEM, where,
                          "no memory to copy %zu bytes of the state", bytes);
    return dml__fail(c->ctx, DML_ENOMEM, where,
                     "no memory to copy %zu bytes of the state", bytes);
}

static dml_status check(const dml_ckpt *c, const char *where,
                        const struct dml__section *s, const char *name,
                        const void *data)
{
    size_t each = dml_dtype_bytes((dml_dtype)s->dtype), n = c->shard.nsections;
    if (!c->begun)
        return dml__fail(c->ctx, DML_EINVAL, where,
                         "no snapshot is begun; call dml_ckpt_begin first");
    if (!good_name(name) || n == DML_CKPT_MAX_SECTIONS)
        return dml__fail(c->ctx, DML_EINVAL, where,
                         "\"%.64s\" is no name for section %zu; take up to %d visible "
                         "characters, and up to %d sections",
                         name != NULL ? name : "", n, DML_CKPT_NAME_MAX - 1,
                         DML_CKPT_MAX_SECTIONS);
    if (!free_name(c, name, (dml_section_kind)s->kind))
        return dml__fail(c->ctx, DML_EINVAL, where,
                         "section %s is there already; take another name", name);
    if (each == 0 || s->count > s->total || s->first > s->total - s->count ||
        s->count > (SIZE_MAX / 4 - c->used) / each || (data == NULL && s->count > 0))
        return dml__fail(c->ctx, DML_EINVAL, where,
                         "section %s: %llu elements from number %llu on, of %llu; or "
                         "of no type, or without data",
                         name, (unsigned long long)s->count,
                         (unsigned long long)s->first, (unsigned long long)s->total);
    return DML_OK;
}

static dml_status put(dml_ckpt *c, const char *where, struct dml__section section,
                      const char *name, const void *data)
{
    double begin_s = dml__now_s();
    if (c == NULL)
        return DML_EINVAL;
    DML_TRY(check(c, where, &section, name, data));
    size_t bytes = (size_t)section.count * dml_dtype_bytes((dml_dtype)section.dtype);
    size_t wanted = c->used + bytes > FIRST_ROOM ? c->used + bytes : FIRST_ROOM;
    size_t n = c->shard.nsections;
    strcpy(section.name, name);
    if (!reserve(c, (void **)&c->shard.sections, &c->room, n, n + 1, sizeof section) ||
        !reserve(c, (void **)&c->data, &c->capacity, c->used, wanted, 1))
        return no_memory(c, where, bytes);
    if (bytes > 0 && dml__on_device(c->ctx, data))
        DML_TRY(dml__ctx_device(c->ctx)->copy(dml__ctx_device(c->ctx), NULL,
                                              c->data + c->used, data, bytes));
    else if (bytes > 0)
        dml__copy(c->data + c->used, data, bytes);
    c->shard.sections[c->shard.nsections++] = section;
    c->used += bytes;
    c->stats.call_s += dml__now_s() - begin_s;
    return DML_OK;
}

dml_status dml_ckpt_add_shared(dml_ckpt *c, const char *name, const void *data,
                               size_t bytes)
{
    const struct dml__section section = {
        .kind = DML_SECTION_SHARED, .dtype = DML_U8, .count = bytes, .total = bytes};
    if (c != NULL && c->rank != 0)
        return check(c, __func__, &section, name, data);
    return put(c, __func__, section, name, data);
}

dml_status dml_ckpt_add_own(dml_ckpt *c, const char *name, const void *data,
                            size_t bytes)
{
    const struct dml__section section = {
        .kind = DML_SECTION_OWN, .dtype = DML_U8, .count = bytes, .total = bytes};
    return put(c, __func__, section, name, data);
}

dml_status dml_ckpt_add_vector(dml_ckpt *c, const char *name, const void *data,
                               dml_dtype dtype, uint64_t first, uint64_t count,
                               uint64_t total)
{
    const struct dml__section section = {.kind = DML_SECTION_VECTOR,
                                         .dtype = (uint32_t)dtype,
                                         .first = first,
                                         .count = count,
                                         .total = total};
    return put(c, __func__, section, name, data);
}

/* Memory for the head, and where in the file everything goes. */
static dml_status lay_out(dml_ckpt *c, const char *where)
{
    DML_TRY(c->result);
    if (dml__shard_place(&c->shard) != DML_OK)
        return dml__fail(c->own, DML_EINVAL, where, "more than a file can hold");
    dml__free(c->head);
    c->head_bytes = dml__shard_head_bytes(c->shard.sections, c->shard.nsections);
    c->head = dml__alloc(c->ctx, c->head_bytes);
    return c->head != NULL ? DML_OK
                           : dml__fail(c->own, DML_ENOMEM, where,
                                       "no memory for %zu bytes", c->head_bytes);
}

dml_status dml_ckpt_commit(dml_ckpt *c)
{
    if (c == NULL)
        return DML_EINVAL;
    if (!c->begun)
        return dml__fail(c->ctx, DML_EINVAL, __func__,
                         "no snapshot is begun; call dml_ckpt_begin first");
    c->begun = false;
    c->begin_s = dml__now_s();
    c->phase = DML__CKPT_WRITING;
    dml_status status = lay_out(c, __func__);
    if (status == DML_OK)
        dml__ckpt_start(c, dml__ckpt_write_shard);
    else
        dml__ckpt_end(c, status);
    c->stats.call_s += dml__now_s() - c->begin_s;
    return DML_OK;
}

void dml_ckpt_get_stats(const dml_ckpt *c, dml_ckpt_stats *stats)
{
    *stats = c->stats;
    stats->last_s = c->committed_s >= 0 ? dml__now_s() - c->committed_s : -1;
}
