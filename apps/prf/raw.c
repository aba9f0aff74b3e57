/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Room for rows, what is kept of them, and idx images; tables and libsvm: raw_text.c.
 */
#include "raw.h"

#include "raw_text.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_ROOM   1024
#define IMAGE_BLOCK 1000

/* ---- room for rows -------------------------------------------------------------- */

static bool resize(void *array, size_t count, size_t bytes)
{
    void **at = array;
    void *larger =
        count < SIZE_MAX / (bytes + 1) ? realloc(*at, count * bytes + 1) : NULL;
    if (larger)
        *at = larger;
    return larger != NULL;
}

static size_t more(size_t room, size_t n)
{
    size_t larger = room + room / 2;
    return larger > n ? larger : n;
}

/* Room for n rows, and for cells of ncells rows. */
static dml_status make_room(struct job *job, const struct raw *raw,
                            struct raw_rows *rows, size_t n, size_t ncells)
{
    bool good = true;
    if (n > UINT32_MAX)
        return job_fail(job, DML_EUNSUPPORTED, "more than %u rows", UINT32_MAX);
    if (n > rows->row_room || !rows->label) {
        size_t room = more(rows->row_room, n);
        good = resize(&rows->label, room, sizeof *rows->label) &&
               (!raw->has_weight || resize(&rows->weight, room, sizeof *rows->weight));
        rows->row_room = room;
    }
    if (ncells > rows->cell_room || (!rows->cells && !rows->bytes)) {
        size_t room = more(rows->cell_room, ncells);
        good = good && (raw->is_bytes
                            ? resize(&rows->bytes, room, rows->width)
                            : resize(&rows->cells, room, rows->width * sizeof(float)));
        rows->cell_room = room;
    }
    return good ? DML_OK
                : job_fail(job, DML_ENOMEM,
                           "out of memory after %zu rows of %zu features", rows->nrows,
                           raw->nfeatures);
}

dml_status raw_start_block(struct job *job, struct raw *raw, size_t n)
{
    struct raw_rows *block = &raw->block;
    block->step = 1;
    block->width = raw->nfeatures;
    block->nrows = n;
    return make_room(job, raw, block, n, n);
}

/* Cells of row "from" become those of row "to". */
static void copy_cells(const struct raw_rows *source, size_t from,
                       struct raw_rows *rows, size_t to)
{
    size_t at = from * source->width + rows->first - source->first;
    if (rows->bytes)
        memmove(rows->bytes + to * rows->width, source->bytes + at, rows->width);
    else
        memmove(rows->cells + to * rows->width, source->cells + at,
                rows->width * sizeof *rows->cells);
}

dml_status raw_keep(struct job *job, struct raw *raw, size_t first, size_t width,
                    size_t most)
{
    const struct raw_rows *block = &raw->block;
    struct raw_rows *kept = &raw->kept;
    if (kept->step == 0)
        *kept = (struct raw_rows){.step = 1, .first = first, .width = width};
    size_t before = kept->nrows, n = before + block->nrows;
    size_t ncells = (before + kept->step - 1) / kept->step;
    for (size_t step = kept->step; (n + step - 1) / step > most;) {
        step = kept->step *= 2;
        ncells = (ncells + 1) / 2;
        for (size_t i = 1; i < ncells; i++)
            copy_cells(kept, 2 * i, kept, i);
    }
    dml_status status = make_room(job, raw, kept, n, (n + kept->step - 1) / kept->step);
    if (status != DML_OK)
        return status;
    memcpy(kept->label + before, block->label, block->nrows * sizeof *kept->label);
    if (raw->has_weight)
        memcpy(kept->weight + before, block->weight,
               block->nrows * sizeof *kept->weight);
    for (size_t r = ncells * kept->step; r < n; r += kept->step)
        copy_cells(block, r - before, kept, ncells++);
    kept->nrows = n;
    return DML_OK;
}

void raw_free_rows(struct raw_rows *rows)
{
    free(rows->cells);
    free(rows->bytes);
    free(rows->label);
    free(rows->weight);
    *rows = (struct raw_rows){0};
}

void raw_free(struct raw *raw)
{
    raw_free_rows(&raw->block);
    raw_free_rows(&raw->kept);
    for (size_t f = 0; raw->column && f < raw->nfeatures; f++) {
        free(raw->column[f].name);
        words_free(&raw->column[f].words);
    }
    free(raw->column);
    words_free(&raw->label_words);
    free(raw->label_name);
    *raw = (struct raw){0};
}

/* ---- idx images ----------------------------------------------------------------- */

/* "DIR/NAME", or with ".gz" where only that is there. */
static bool find_file(const char *dir, const char *part, const char *kind,
                      char path[PATH_ROOM])
{
    snprintf(path, PATH_ROOM, "%s/%s-%s-ubyte.gz", dir, part, kind);
    if (access(path, F_OK) == 0)
        return true;
    path[strlen(path) - 3] = '\0';
    return access(path, F_OK) == 0;
}

bool raw_is_images(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static dml_status make_columns(struct job *job, struct raw *raw, size_t nfeatures)
{
    if (raw->column && raw->nfeatures != nfeatures)
        return job_fail(job, DML_EFORMAT,
                        "test images have %zu pixels, training images %zu: the files "
                        "are of different data sets",
                        nfeatures, raw->nfeatures);
    if (!raw->column)
        raw->column = calloc(nfeatures, sizeof *raw->column);
    raw->nfeatures = nfeatures;
    return raw->column ? DML_OK : job_fail(job, DML_ENOMEM, "out of memory");
}

static dml_status open_images(struct raw_reader *reader)
{
    struct job *job = reader->job;
    const struct raw_source *source = reader->source;
    char pixels[PATH_ROOM], labels[PATH_ROOM];
    if (!find_file(source->path, source->part, "images-idx3", pixels))
        return job_fail(job, DML_EIO,
                        "%s is not there; a folder given by --data holds idx files",
                        pixels);
    (void)find_file(source->path, source->part, "labels-idx1", labels);
    dml_images_info info;
    dml_loader_opts opts;
    dml_status status =
        job_note(job, dml_images_open_idx(job->ctx, pixels, labels, &reader->images));
    if (status != DML_OK)
        return status;
    dml_images_get_info(reader->images, &info);
    status = make_columns(job, reader->raw, info.channels * info.height * info.width);
    reader->raw->is_bytes = true;
    reader->left = info.count;
    dml_loader_opts_init(&opts);
    opts.batch = info.count < IMAGE_BLOCK ? info.count : IMAGE_BLOCK;
    opts.dtype = DML_U8;
    opts.shuffle = false;
    opts.drop_last = false;
    if (status == DML_OK)
        status = job_note(
            job, dml_loader_create(job->ctx, reader->images, &opts, &reader->loader));
    return status;
}

static dml_status next_images(struct raw_reader *reader)
{
    struct raw *raw = reader->raw;
    dml_batch batch = {.count = 0};
    dml_status status = DML_OK;
    if (reader->left > 0)
        status = job_note(reader->job, dml_loader_next(reader->loader, &batch));
    if (status == DML_OK)
        status = raw_start_block(reader->job, raw, batch.count);
    if (status == DML_OK && batch.count > 0)
        memcpy(raw->block.bytes, batch.bytes, batch.count * raw->nfeatures);
    for (size_t i = 0; status == DML_OK && i < batch.count; i++)
        raw->block.label[i] = batch.labels[i];
    reader->left -= batch.count;
    return status;
}

/* ---- files ---------------------------------------------------------------------- */

dml_status raw_open(struct job *job, const struct raw_source *source, struct raw *raw,
                    struct raw_reader **reader)
{
    *reader = calloc(1, sizeof **reader);
    if (!*reader)
        return job_fail(job, DML_ENOMEM, "out of memory");
    **reader = (struct raw_reader){.job = job, .source = source, .raw = raw};
    if (raw_is_images(source->path))
        return open_images(*reader);
    if (strcmp(source->format, "libsvm") == 0)
        return raw_open_libsvm(*reader);
    return raw_open_table(*reader);
}

dml_status raw_next(struct raw_reader *reader)
{
    if (reader->images)
        return next_images(reader);
    return reader->svm ? raw_next_libsvm(reader) : raw_next_table(reader);
}

void raw_close(struct raw_reader *reader)
{
    if (!reader)
        return;
    dml_loader_destroy(reader->loader);
    dml_images_destroy(reader->images);
    dml_svm_close(reader->svm);
    dml_table_close(reader->layout.table);
    free(reader->layout.feature);
    free(reader);
}

dml_status raw_read(struct job *job, const struct raw_source *source, struct raw *raw)
{
    struct raw_reader *reader = NULL;
    dml_status status = raw_open(job, source, raw, &reader);
    while (status == DML_OK) {
        status = raw_next(reader);
        if (status != DML_OK || raw->block.nrows == 0)
            break;
        status = raw_keep(job, raw, 0, raw->nfeatures, SIZE_MAX);
    }
    raw_close(reader);
    raw_free_rows(&raw->block);
    return status;
}
