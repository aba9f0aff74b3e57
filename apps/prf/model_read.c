/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading model files, which may come from strangers: the checksum first, then every
 * number before it is used; the format stands in model.c.
 */
#include "model.h"
#include "model_bytes.h"
#include "record.h"
#include "vote.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define MAX_TREES 32768

static const char no_memory[] = "out of memory"; /* as record_read() says it */

static dml_status malformed(struct job *job, const char *path, const char *what)
{
    return job_fail(job, DML_EFORMAT,
                    "%.200s is not a forest that this dml-prf can read: %s", path,
                    what);
}

/* Not blocking, and regular files only: a pipe without a writer is not waited for. */
static unsigned char *read_file(const char *path, size_t *size)
{
    struct stat info;
    unsigned char *bytes = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return NULL;
    int code = fstat(fd, &info) != 0 ? errno : S_ISREG(info.st_mode) ? 0 : EISDIR;
    FILE *file = code == 0 ? fdopen(fd, "rb") : NULL;
    if (file) {
        *size = (size_t)info.st_size;
        bytes = malloc(*size + 1);
        code = bytes ? 0 : ENOMEM;
        if (bytes && fread(bytes, 1, *size, file) != *size) {
            code = EIO;
            free(bytes);
            bytes = NULL;
        }
        fclose(file);
    } else {
        close(fd);
    }
    errno = code;
    return bytes;
}

static const char *read_column(struct model_reader *in, struct schema_column *column)
{
    column->name = get_text(in);
    column->flags = (uint8_t)get_number(in, 1);
    column->common = (uint8_t)get_number(in, 1);
    column->nbins = (uint16_t)get_number(in, 2);
    bool category = column->flags & COLUMN_CATEGORY;
    if (in->bad || column->flags > (COLUMN_CATEGORY | COLUMN_MISSING) ||
        column->nbins > BINS - category || (!category && column->nbins == 0))
        return "a column's head cannot be";
    if (category) {
        column->category = calloc(BINS, sizeof *column->category);
        for (size_t b = 0; column->category && b < column->nbins; b++) {
            column->category[b] = get_text(in);
            if (!column->category[b] && b != BINS - 2)
                return "a category has no name";
        }
        return column->category ? NULL : no_memory;
    }
    column->cut = calloc(BINS, sizeof *column->cut);
    for (size_t b = 0; column->cut && b + 1u < column->nbins; b++)
        column->cut[b] = get_real(in);
    return column->cut ? NULL : no_memory;
}

static const char *read_schema(struct model_reader *in, struct schema *schema)
{
    size_t nfeatures = get_number(in, 4), nclasses = get_number(in, 4);
    schema->label_is_word = get_number(in, 1);
    schema->label_name = get_text(in);
    schema->target_offset = get_real(in);
    schema->target_scale = get_real(in);
    schema->target_variance = get_real(in);
    schema->weight_scale = get_real(in);
    /* A class takes at least 4 bytes, a column 8. */
    if (in->bad || nfeatures == 0 || nfeatures > TREE_MAX_FEATURES ||
        nclasses > (in->size - in->at) / 4 || nfeatures > (in->size - in->at) / 8 ||
        !isfinite(schema->target_offset) || !isfinite(schema->target_scale) ||
        (nclasses == 0 && !(schema->target_variance > 0)))
        return "its head cannot be";
    schema->class_name = calloc(nclasses + 1, sizeof *schema->class_name);
    schema->column = calloc(nfeatures, sizeof *schema->column);
    if (!schema->class_name || !schema->column)
        return no_memory;
    for (size_t c = 0; c < nclasses; c++) {
        schema->nclasses = c + 1;
        schema->class_name[c] = get_text(in);
        if (!schema->class_name[c])
            return "a class has no name";
    }
    schema->nfeatures = nfeatures;
    const char *wrong = NULL;
    for (size_t f = 0; !wrong && f < nfeatures; f++)
        wrong = read_column(in, &schema->column[f]);
    return wrong ? wrong : in->bad ? "its columns are cut short" : NULL;
}

static const char *read_trees(struct model_reader *in, struct model *model)
{
    size_t nclasses = model->schema.nclasses;
    size_t ntrees = get_number(in, 4);
    if (in->bad || ntrees == 0 || ntrees > MAX_TREES)
        return "its number of trees cannot be";
    model->trees = calloc(ntrees, sizeof *model->trees);
    if (!model->trees)
        return no_memory;
    for (size_t t = 0; t < ntrees; t++) {
        const unsigned char *head = get_bytes(in, RECORD_HEAD);
        size_t bytes = head ? record_bytes_of(head, nclasses) : 0;
        if (bytes == 0 || !get_bytes(in, bytes - RECORD_HEAD))
            return "a tree is cut short";
        model->ntrees = t + 1;
        const char *wrong =
            record_read(head, nclasses, model->schema.nfeatures, &model->trees[t]);
        if (wrong)
            return wrong;
    }
    return in->at == in->size ? NULL : "there is more than its trees";
}

static const char *read_all(struct model_reader *in, struct model *model)
{
    const char *wrong;
    model->seed = get_number(in, 8);
    model->criterion = (uint32_t)get_number(in, 4);
    model->mtry = (uint32_t)get_number(in, 4);
    model->max_depth = (uint32_t)get_number(in, 4);
    model->min_leaf = get_real(in);
    model->sample_fraction = get_real(in);
    model->oob = get_real(in);
    wrong = read_schema(in, &model->schema);
    if (wrong)
        return wrong;
    model->importance = calloc(model->schema.nfeatures, sizeof *model->importance);
    for (size_t f = 0; model->importance && f < model->schema.nfeatures; f++)
        model->importance[f] = get_real(in);
    return model->importance ? read_trees(in, model) : no_memory;
}

/* Trees without rows out of bag vote with the mean weight of the others. */
static const char *weigh_trees(struct model *model)
{
    double sum = 0, n = 0;
    model->weight = calloc(model->ntrees, sizeof *model->weight);
    if (!model->weight)
        return no_memory;
    for (int pass = 0; pass < 2; pass++)
        for (size_t t = 0; t < model->ntrees; t++) {
            const struct tree *tree = &model->trees[t];
            uint32_t usual = n > 0 && sum > 0 ? (uint32_t)(sum / n) : VOTE_ONE;
            model->weight[t] = vote_weight(tree, model->schema.nclasses,
                                           model->schema.target_variance, usual);
            if (pass == 0 && tree->oob_rows > 0) {
                sum += model->weight[t];
                n++;
            } else if (pass == 1) {
                model->weight_sum += model->weight[t];
            }
        }
    return NULL;
}

dml_status model_read(struct job *job, const char *path, struct model *model)
{
    size_t size = 0;
    *model = (struct model){0};
    if (!path)
        return job_fail(job, DML_EINVAL,
                        "no model given; give --model a file written by dml-prf train");
    unsigned char *bytes = read_file(path, &size);
    if (!bytes)
        return job_fail(job, DML_EIO,
                        "cannot read the model %.200s: %s; give --model a file written "
                        "by dml-prf train",
                        path, strerror(errno));
    const char *wrong = NULL;
    struct model_reader in = {.bytes = bytes, .size = size};
    if (size < MODEL_MAGIC_BYTES + 8 ||
        memcmp(bytes, MODEL_MAGIC, MODEL_MAGIC_BYTES) != 0) {
        wrong = "wrong first bytes";
    } else {
        in.at = in.size - 4;
        uint32_t stored = (uint32_t)get_number(&in, 4);
        in.size -= 4;
        in.at = MODEL_MAGIC_BYTES;
        if (stored != (uint32_t)crc32_z(crc32_z(0, NULL, 0), bytes, in.size))
            wrong = "its checksum is wrong (cut short or damaged)";
        else if (get_number(&in, 4) != MODEL_VERSION)
            wrong = "written by another version";
        else
            wrong = read_all(&in, model);
        if (!wrong)
            wrong = weigh_trees(model);
    }
    free(bytes);
    if (wrong && (in.no_memory || strcmp(wrong, no_memory) == 0))
        return job_fail(job, DML_ENOMEM, "out of memory for the model %.200s", path);
    return wrong ? malformed(job, path, wrong) : DML_OK;
}

void model_free(struct model *model)
{
    schema_free(&model->schema);
    for (size_t t = 0; model->trees && t < model->ntrees; t++)
        tree_free(&model->trees[t]);
    free(model->trees);
    free(model->weight);
    free(model->importance);
    *model = (struct model){0};
}
