/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Record files as a source of the pipeline: indexes say where each record lies, and
 * every reading is one call at an offset, so that threads need no lock.
 *
 * A context keeps one error. Readings that fail at the same time would overwrite each
 * other's, so one that failed is repeated under a lock, on a context that nobody else
 * uses, and what it says there is passed on.
 */
#include "dml/pipeline.h"

#include "core/core.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct file {
    char *path;
    dml_record_index *index;
    dml_record_file *file;
    const dml_record_entry *entries;
    uint64_t first, count; /* numbers of its records */
};

struct dml_record_set {
    dml_ctx *ctx;
    dml_ctx *quiet; /* of the files that are read */
    bool check;
    struct file *files; /* [nfiles] */
    size_t nfiles;
    uint64_t count;
    size_t max_bytes;

    pthread_mutex_t lock; /* guards the next one and its last error */
    dml_ctx *teller;
};

/* ---- open and close ----------------------------------------------------------------
 */

static dml_status open_file(dml_record_set *set, const char *where, const char *path,
                            struct file *f)
{
    if (path == NULL)
        return dml__fail(set->ctx, DML_EINVAL, where, "path %td is NULL",
                         f - set->files);
    f->path = dml__alloc(set->ctx, strlen(path) + 1);
    if (f->path == NULL)
        return dml__fail(set->ctx, DML_ENOMEM, where, "no memory for a path");
    memcpy(f->path, path, strlen(path));
    DML_TRY(dml_record_index_open(set->ctx, path, &f->index));
    dml_status status = dml_record_file_open(set->quiet, path, set->check, &f->file);
    if (status != DML_OK) {
        dml_error error;
        dml_ctx_last_error(set->quiet, &error);
        return dml__fail(set->ctx, status, where, "%s", error.text);
    }
    f->entries = dml_record_index_entries(f->index);
    f->count = dml_record_index_count(f->index);
    f->first = set->count;
    set->count += f->count;
    for (uint64_t i = 0; i < f->count; i++)
        if (f->entries[i].bytes + DML_RECORD_FRAME_BYTES > set->max_bytes)
            set->max_bytes = (size_t)f->entries[i].bytes + DML_RECORD_FRAME_BYTES;
    return DML_OK;
}

dml_status dml_record_set_open(dml_ctx *ctx, const char *const *paths, size_t npaths,
                               bool check, dml_record_set **out)
{
    if (paths == NULL || npaths == 0 || out == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "no file given, or the result is NULL");
    dml_record_set *set = dml__alloc(ctx, sizeof *set);
    if (set == NULL)
        return dml__fail(ctx, DML_ENOMEM, __func__, "no memory for a set of files");
    set->ctx = ctx;
    set->check = check;
    pthread_mutex_init(&set->lock, NULL);
    set->files = dml__alloc(ctx, dml__mul(npaths, sizeof *set->files));
    dml_status status = DML_OK;
    if (set->files == NULL || dml__ctx_beside(ctx, &set->quiet) != DML_OK ||
        dml__ctx_beside(ctx, &set->teller) != DML_OK)
        status =
            dml__fail(ctx, DML_ENOMEM, __func__, "no memory for %zu files", npaths);
    for (; set->nfiles < npaths && status == DML_OK; set->nfiles++)
        status = open_file(set, __func__, paths[set->nfiles], &set->files[set->nfiles]);
    if (status != DML_OK)
        dml_record_set_close(set);
    else
        *out = set;
    return status;
}

void dml_record_set_close(dml_record_set *set)
{
    if (set == NULL)
        return;
    for (size_t i = 0; i < set->nfiles; i++) {
        dml_record_file_close(set->files[i].file);
        dml_record_index_destroy(set->files[i].index);
        dml__free(set->files[i].path);
    }
    dml_ctx_destroy(set->teller);
    dml_ctx_destroy(set->quiet);
    dml__free(set->files);
    pthread_mutex_destroy(&set->lock);
    dml__free(set);
}

/* ---- reading -----------------------------------------------------------------------
 */

/* The file of a record, which is below the set's count. */
static const struct file *find(const dml_record_set *set, uint64_t number)
{
    size_t low = 0, high = set->nfiles;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (set->files[middle].first <= number)
            low = middle;
        else
            high = middle;
    }
    return &set->files[low];
}

/* Why a reading fails, from a second one; DML_OK if that does not. */
static dml_status read_again(dml_record_set *set, const struct file *f,
                             const dml_record_entry *entry, void *buffer, size_t room,
                             dml_record *record, char *why)
{
    dml_record_file *file = NULL;
    pthread_mutex_lock(&set->lock);
    dml_status status = dml_record_file_open(set->teller, f->path, set->check, &file);
    if (status == DML_OK)
        status = dml_record_file_read(file, entry->offset, buffer, room, record);
    if (status == DML_EINVAL || (status == DML_OK && record->bytes != entry->bytes))
        status = dml__fail(set->teller, DML_EMISMATCH, __func__,
                           "%.200s: record at offset %llu has another length than the "
                           "index says, which is stale; make it anew: dml-records "
                           "index --file FILE",
                           f->path, (unsigned long long)entry->offset);
    if (status != DML_OK) {
        dml_error error;
        dml_ctx_last_error(set->teller, &error);
        snprintf(why, DML_PIPELINE_WHY, "%.*s", DML_PIPELINE_WHY - 1, error.text);
    }
    dml_record_file_close(file);
    pthread_mutex_unlock(&set->lock);
    return status;
}

static dml_status read_record(void *user, uint64_t number, void *buffer, size_t room,
                              dml_record *record, char *why)
{
    dml_record_set *set = user;
    const struct file *f = find(set, number);
    const dml_record_entry *entry = &f->entries[number - f->first];
    (void)room; /* it is that of the longest record */
    size_t bytes = (size_t)entry->bytes + DML_RECORD_FRAME_BYTES;
    if (dml_record_file_read(f->file, entry->offset, buffer, bytes, record) == DML_OK &&
        record->bytes == entry->bytes)
        return DML_OK;
    return read_again(set, f, entry, buffer, bytes, record, why);
}

static void locate(void *user, uint64_t number, char *place)
{
    const dml_record_set *set = user;
    const struct file *f = find(set, number);
    size_t length = strlen(f->path), most = DML_PIPELINE_WHY - 64;
    snprintf(place, DML_PIPELINE_WHY, "%s at offset %llu",
             f->path + (length > most ? length - most : 0),
             (unsigned long long)f->entries[number - f->first].offset);
}

void dml_record_set_source(dml_record_set *set, dml_record_source *source)
{
    *source = (dml_record_source){.user = set,
                                  .count = set->count,
                                  .max_bytes = set->max_bytes,
                                  .read = read_record,
                                  .locate = locate};
}

const dml_record_entry *dml_record_set_entry(const dml_record_set *set, uint64_t number)
{
    if (number >= set->count)
        return NULL;
    const struct file *f = find(set, number);
    return &f->entries[number - f->first];
}
