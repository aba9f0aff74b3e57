/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writing model files; the format is described in model_file.h.
 */
#include "model.h"

#include "model_file.h"

#include <stdlib.h>
#include <string.h>

/* ---- writing -------------------------------------------------------------------- */

/* A model without what is 0. */
struct pruned {
    struct dict labels, attributes;
    uint64_t *rows;
    uint16_t *row_labels, *from, *to;
    uint64_t *pair_rows;
    uint16_t *pair_from, *pair_to;
    float *weights; /* of states, then of transitions and pairs */
    float *pair_weights;
    size_t nattrs, nstate, ntrans, npairs;
};

static void pruned_free(struct pruned *pruned)
{
    dict_free(&pruned->labels);
    dict_free(&pruned->attributes);
    free(pruned->rows);
    free(pruned->row_labels);
    free(pruned->from);
    free(pruned->to);
    free(pruned->pair_rows);
    free(pruned->pair_from);
    free(pruned->pair_to);
    free(pruned->pair_weights);
    free(pruned->weights);
}

static bool copy_texts(struct dict *to, const struct dict *from, size_t count)
{
    if (!dict_init(to))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        const char *text = dict_text(from, i);
        if (dict_put(to, text, strlen(text)) == DICT_NONE)
            return false;
    }
    return true;
}

/* The features of attribute a whose weights are not 0, appended. */
static void prune_attribute(struct pruned *pruned, const struct features *features,
                            const double *weights, size_t a)
{
    for (size_t i = features->row[a]; i < features->row[a + 1]; i++) {
        if ((float)weights[i] == 0)
            continue;
        pruned->row_labels[pruned->nstate] = features->label[i];
        pruned->weights[pruned->nstate++] = (float)weights[i];
    }
    const double *pairs = weights + features->nstate + features->ntrans;
    for (size_t i = features->npairs > 0 ? features->pair_row[a] : 0;
         features->npairs > 0 && i < features->pair_row[a + 1]; i++) {
        if ((float)pairs[i] == 0)
            continue;
        pruned->pair_from[pruned->npairs] = features->pair_from[i];
        pruned->pair_to[pruned->npairs] = features->pair_to[i];
        pruned->pair_weights[pruned->npairs++] = (float)pairs[i];
    }
}

static bool allocate(struct pruned *pruned, const struct features *features)
{
    size_t n = features_count(features) + 1, nrows = features->nattrs + 1;
    size_t npairs = features->npairs + 1;
    *pruned = (struct pruned){
        .rows = calloc(nrows, sizeof *pruned->rows),
        .row_labels = malloc(n * sizeof *pruned->row_labels),
        .from = malloc(n * sizeof *pruned->from),
        .to = malloc(n * sizeof *pruned->to),
        .pair_rows = calloc(nrows, sizeof *pruned->pair_rows),
        .pair_from = malloc(npairs * sizeof *pruned->pair_from),
        .pair_to = malloc(npairs * sizeof *pruned->pair_to),
        .weights = malloc(n * sizeof *pruned->weights),
        .pair_weights = malloc(npairs * sizeof *pruned->pair_weights),
    };
    return pruned->rows && pruned->row_labels && pruned->from && pruned->to &&
           pruned->pair_rows && pruned->pair_from && pruned->pair_to &&
           pruned->weights && pruned->pair_weights && dict_init(&pruned->attributes);
}

/* Attributes that have weights, with those; all of them with hashing. */
static bool prune_attributes(struct pruned *pruned, const struct model *model,
                             const double *weights)
{
    const struct vocabulary *vocabulary = &model->vocabulary;
    for (size_t a = 0; a < model->features.nattrs; a++) {
        size_t before = pruned->nstate + pruned->npairs;
        prune_attribute(pruned, &model->features, weights, a);
        if (pruned->nstate + pruned->npairs == before && vocabulary->hash_bits == 0)
            continue;
        pruned->rows[++pruned->nattrs] = pruned->nstate;
        pruned->pair_rows[pruned->nattrs] = pruned->npairs;
        if (vocabulary->hash_bits > 0)
            continue;
        const char *text = dict_text(&vocabulary->attributes, (uint32_t)a);
        if (dict_put(&pruned->attributes, text, strlen(text)) == DICT_NONE)
            return false;
    }
    return true;
}

static bool prune(struct pruned *pruned, const struct model *model,
                  const double *weights)
{
    const struct features *features = &model->features;
    if (!allocate(pruned, features) ||
        !copy_texts(&pruned->labels, &model->vocabulary.labels, model->nlabels) ||
        !prune_attributes(pruned, model, weights))
        return false;
    for (size_t i = 0; i < features->ntrans; i++) {
        if ((float)weights[features->nstate + i] == 0)
            continue;
        pruned->from[pruned->ntrans] = features->from[i];
        pruned->to[pruned->ntrans] = features->to[i];
        pruned->weights[pruned->nstate + pruned->ntrans++] =
            (float)weights[features->nstate + i];
    }
    memcpy(pruned->weights + pruned->nstate + pruned->ntrans, pruned->pair_weights,
           pruned->npairs * sizeof *pruned->weights);
    return true;
}

/* Where the sections begin; the file's bytes are returned. */
static uint64_t place(struct header *header)
{
    uint64_t at = (sizeof *header + SECTION_ALIGN - 1) / SECTION_ALIGN * SECTION_ALIGN;
    for (int i = 0; i < NSECTIONS; i++) {
        header->section[i].offset = at;
        at = (at + header->section[i].bytes + SECTION_ALIGN - 1) / SECTION_ALIGN *
             SECTION_ALIGN;
    }
    return at;
}

uint64_t model_checksum(const void *file, size_t bytes)
{
    struct header header;
    memcpy(&header, file, sizeof header);
    header.checksum = 0;
    return dict_hash((const char *)&header, sizeof header) +
           dict_hash((const char *)file + sizeof header, bytes - sizeof header);
}

static dml_status write_pruned(FILE *file, const struct model *model,
                               const struct pruned *pruned, struct job *job)
{
    const struct dict *labels = &pruned->labels, *attrs = &pruned->attributes;
    const struct {
        const void *data;
        size_t bytes;
    } parts[NSECTIONS] = {
        [TEMPLATE] = {model->template.text, model->template.text_bytes},
        [LABEL_TEXT] = {labels->text, labels->offsets[labels->count]},
        [LABEL_OFFSETS] = {labels->offsets, (labels->count + 1) * 8},
        [LABEL_SLOTS] = {labels->slots, labels->nslots * 8},
        [ATTR_TEXT] = {attrs->text, attrs->offsets[attrs->count]},
        [ATTR_OFFSETS] = {attrs->offsets, (attrs->count + 1) * 8},
        [ATTR_SLOTS] = {attrs->slots, attrs->nslots * 8},
        [ROWS] = {pruned->rows, (pruned->nattrs + 1) * 8},
        [ROW_LABELS] = {pruned->row_labels, pruned->nstate * 2},
        [FROM] = {pruned->from, pruned->ntrans * 2},
        [TO] = {pruned->to, pruned->ntrans * 2},
        [PAIR_ROWS] = {pruned->pair_rows,
                       pruned->npairs > 0 ? (pruned->nattrs + 1) * 8 : 0},
        [PAIR_FROM] = {pruned->pair_from, pruned->npairs * 2},
        [PAIR_TO] = {pruned->pair_to, pruned->npairs * 2},
        [WEIGHTS] = {pruned->weights,
                     (pruned->nstate + pruned->ntrans + pruned->npairs) * 4},
    };
    struct header header = {.magic = MODEL_MAGIC,
                            .version = MODEL_VERSION,
                            .nlabels = model->nlabels,
                            .nattrs = pruned->nattrs,
                            .nstate = pruned->nstate,
                            .ntrans = pruned->ntrans,
                            .npairs = pruned->npairs,
                            .hash_bits = (uint64_t)model->vocabulary.hash_bits,
                            .format = (uint64_t)model->source.format,
                            .label = model->source.label,
                            .has_template = model->source.template != NULL};
    for (int i = 0; i < NSECTIONS; i++)
        header.section[i].bytes = parts[i].bytes;
    header.bytes = place(&header);
    char *image = calloc(1, header.bytes);
    if (!image)
        return job_fail(job, DML_ENOMEM, "out of memory");
    for (int i = 0; i < NSECTIONS; i++)
        if (parts[i].bytes > 0)
            memcpy(image + header.section[i].offset, parts[i].data, parts[i].bytes);
    memcpy(image, &header, sizeof header);
    header.checksum = model_checksum(image, header.bytes);
    memcpy(image, &header, sizeof header);
    bool good = fwrite(image, 1, header.bytes, file) == header.bytes;
    free(image);
    return good ? DML_OK : job_fail(job, DML_EIO, "cannot write the model");
}

dml_status model_write(FILE *file, const struct model *model, const double *weights,
                       struct job *job)
{
    struct pruned pruned;
    dml_status status = prune(&pruned, model, weights)
                            ? write_pruned(file, model, &pruned, job)
                            : job_fail(job, DML_ENOMEM, "out of memory");
    pruned_free(&pruned);
    return status;
}

/* ---- warm start ----------------------------------------------------------------- */

/* The weight of a pair in "from", by linear search among an attribute's few labels. */
static double find_weight(const struct model *from, uint32_t attr, uint16_t label)
{
    const struct features *features = &from->features;
    if (attr == DICT_NONE)
        return 0;
    for (size_t i = features->row[attr]; i < features->row[attr + 1]; i++)
        if (features->label[i] == label)
            return (double)from->weights[i];
    return 0;
}

/* The number in "from" of a label of "to", or LABEL_NONE. */
static uint16_t find_label(const struct model *from, const struct model *to,
                           uint16_t label)
{
    const char *text = dict_text(&to->vocabulary.labels, label);
    uint32_t number = dict_find(&from->vocabulary.labels, text, strlen(text));
    return number < from->nlabels ? (uint16_t)number : LABEL_NONE;
}

/* The same of a pair of labels. */
static double find_pair(const struct model *from, uint32_t attr, uint16_t before,
                        uint16_t after)
{
    const struct features *features = &from->features;
    if (attr == DICT_NONE || features->npairs == 0)
        return 0;
    for (size_t i = features->pair_row[attr]; i < features->pair_row[attr + 1]; i++)
        if (features->pair_from[i] == before && features->pair_to[i] == after)
            return (double)from->weights[features->nstate + features->ntrans + i];
    return 0;
}

static void copy_attribute(const struct model *from, const struct model *to, uint32_t a,
                           double *weights)
{
    const struct features *features = &to->features;
    double *pairs = weights + features->nstate + features->ntrans;
    uint32_t attr = a;
    if (to->vocabulary.hash_bits == 0) {
        const char *text = dict_text(&to->vocabulary.attributes, a);
        attr = dict_find(&from->vocabulary.attributes, text, strlen(text));
    }
    for (size_t i = features->row[a]; i < features->row[a + 1]; i++)
        weights[i] = find_weight(from, attr, find_label(from, to, features->label[i]));
    for (size_t i = features->npairs > 0 ? features->pair_row[a] : 0;
         features->npairs > 0 && i < features->pair_row[a + 1]; i++)
        pairs[i] = find_pair(from, attr, find_label(from, to, features->pair_from[i]),
                             find_label(from, to, features->pair_to[i]));
}

void model_copy_weights(const struct model *from, const struct model *to,
                        double *weights)
{
    const struct features *features = &to->features;
    for (uint32_t a = 0; a < features->nattrs; a++)
        copy_attribute(from, to, a, weights);
    for (size_t i = 0; i < features->ntrans; i++) {
        uint16_t before = find_label(from, to, features->from[i]);
        uint16_t after = find_label(from, to, features->to[i]);
        weights[features->nstate + i] = 0;
        for (size_t k = 0; k < from->features.ntrans; k++)
            if (from->features.from[k] == before && from->features.to[k] == after)
                weights[features->nstate + i] =
                    (double)from->weights[from->features.nstate + k];
    }
}
