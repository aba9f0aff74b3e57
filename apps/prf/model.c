/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writing model files. The file is a function of data and options alone: the same bytes
 * for any number of ranks and threads.
 *
 * Little endian; u8 u16 u32 u64 are whole numbers, f64 is IEEE 754, text is u32 length
 * plus 1 (0: none) and so many bytes:
 *
 *     "DMLPRF\r\n"  u32 version = 1
 *     u64 seed  u32 criterion mtry max_depth  f64 min_leaf sample_fraction oob
 *     u32 F features  u32 K classes (0: regression)  u8 label is a word
 *     text label  f64 target offset, scale, variance  f64 weight scale
 *     K texts, the classes
 *     F columns: text name  u8 flags (1 category, 2 may be missing)
 *         u8 bin of missing cells where training had none  u16 nbins
 *         category: nbins texts, else nbins - 1 f64: x <= cut[b] has a bin <= b
 *     F f64 importance
 *     u32 number of trees, each a record (record.h)
 *     CRC-32 (zlib's) of all bytes before
 *
 * A bin above nbins - 1 is 255: missing. Regression: y = offset + scale * leaf.
 */
#include "model.h"

#include "model_bytes.h"
#include "record.h"

#include <stdlib.h>
#include <string.h>

#define TREE_TAG 1

static void put_column(struct model_writer *writer, const struct schema_column *column)
{
    put_text(writer, column->name);
    put_number(writer, column->flags, 1);
    put_number(writer, column->common, 1);
    put_number(writer, column->nbins, 2);
    for (size_t b = 0; column->category && b < column->nbins; b++)
        put_text(writer, column->category[b]);
    for (size_t b = 0; !column->category && b + 1u < column->nbins; b++)
        put_real(writer, column->cut[b]);
}

static void put_schema(struct model_writer *writer, const struct schema *schema)
{
    put_number(writer, schema->nfeatures, 4);
    put_number(writer, schema->nclasses, 4);
    put_number(writer, schema->label_is_word, 1);
    put_text(writer, schema->label_name);
    put_real(writer, schema->target_offset);
    put_real(writer, schema->target_scale);
    put_real(writer, schema->target_variance);
    put_real(writer, schema->weight_scale);
    for (size_t c = 0; c < schema->nclasses; c++)
        put_text(writer, schema->class_name[c]);
    for (size_t f = 0; f < schema->nfeatures; f++)
        put_column(writer, &schema->column[f]);
}

uint32_t model_schema_crc(const struct schema *schema)
{
    struct model_writer writer = {.file = NULL};
    put_schema(&writer, schema);
    return (uint32_t)writer.crc;
}

static void put_head(struct model_writer *writer, const struct model *about,
                     size_t ntrees)
{
    const struct schema *schema = &about->schema;
    put_bytes(writer, MODEL_MAGIC, MODEL_MAGIC_BYTES);
    put_number(writer, MODEL_VERSION, 4);
    put_number(writer, about->seed, 8);
    put_number(writer, about->criterion, 4);
    put_number(writer, about->mtry, 4);
    put_number(writer, about->max_depth, 4);
    put_real(writer, about->min_leaf);
    put_real(writer, about->sample_fraction);
    put_real(writer, about->oob);
    put_schema(writer, schema);
    for (size_t f = 0; f < schema->nfeatures; f++)
        put_real(writer, about->importance[f]);
    put_number(writer, ntrees, 4);
}

/* Which rank has which tree? Collective. */
static dml_status find_owners(const struct forest *forest, int32_t *owner)
{
    for (size_t t = 0; t < forest->ntrees; t++)
        owner[t] = -1;
    for (size_t i = 0; i < forest->spool.n; i++)
        owner[forest->spool.entry[i].number] = forest->job->rank;
    return job_note(forest->job, dml_allreduce(DML_IN_PLACE, owner, forest->ntrees,
                                               DML_I32, DML_MAX, forest->job->comm));
}

/* The i-th record of the own spool to rank 0: its size, then its bytes. A size of 0
 * says that it cannot be read. */
static dml_status send_tree(struct forest *forest, size_t i)
{
    unsigned char *record = spool_get(&forest->spool, i);
    uint64_t bytes = record ? forest->spool.entry[i].bytes : 0;
    dml_status status = dml_send(&bytes, 1, DML_U64, 0, TREE_TAG, forest->job->comm);
    if (status == DML_OK && bytes > 0)
        status = dml_send(record, bytes, DML_U8, 0, TREE_TAG, forest->job->comm);
    free(record);
    return job_note(forest->job, status);
}

static dml_status write_tree(struct forest *forest, int owner, size_t own,
                             struct model_writer *writer)
{
    struct job *job = forest->job;
    unsigned char *record = NULL;
    uint64_t bytes = 0;
    dml_status status = DML_OK;
    if (owner == job->rank) {
        record = spool_get(&forest->spool, own);
        bytes = forest->spool.entry[own].bytes;
    } else {
        status = dml_recv(&bytes, 1, DML_U64, owner, TREE_TAG, job->comm);
        record = status == DML_OK && bytes > 0 ? malloc(bytes) : NULL;
        if (record)
            status = dml_recv(record, bytes, DML_U8, owner, TREE_TAG, job->comm);
    }
    if (status != DML_OK)
        (void)job_note(job, status);
    else if (!record) /* others may wait in a send: DML_ECOMM ends them, too */
        status = job_fail(job, DML_ECOMM,
                          "a tree cannot be read back: no memory, or /tmp fails");
    else
        put_bytes(writer, record, bytes);
    free(record);
    return status;
}

dml_status model_write(struct forest *forest, const struct model *about, FILE *file)
{
    struct job *job = forest->job;
    struct model_writer writer = {.file = file};
    int32_t *owner = malloc(forest->ntrees * sizeof *owner);
    dml_status status =
        job_agree(job, owner ? DML_OK : job_fail(job, DML_ENOMEM, "out of memory"));
    if (status == DML_OK)
        status = find_owners(forest, owner);
    if (status == DML_OK && job->rank == 0)
        put_head(&writer, about, forest->ntrees);
    size_t own = 0;
    for (size_t t = 0; status == DML_OK && t < forest->ntrees; t++) {
        if (job->rank == 0)
            status = write_tree(forest, owner[t], own, &writer);
        else if (owner[t] == job->rank)
            status = send_tree(forest, own);
        own += owner[t] == job->rank;
    }
    if (status == DML_OK && job->rank == 0) {
        put_number(&writer, writer.crc, 4);
        if (writer.failed)
            status = job_fail(job, DML_ENOMEM, "out of memory for the model");
    }
    free(owner);
    return job_agree(job, status);
}
