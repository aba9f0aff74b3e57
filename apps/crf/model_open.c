/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading model files, which may come from anywhere: the file is mapped, its checksum
 * compared, and every number that points somewhere is looked at before it is followed.
 */
#include "model.h"
#include "model_file.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static dml_status malformed(struct job *job, const char *path, const char *what)
{
    return job_fail(job, DML_EFORMAT,
                    "%.300s: not a usable model file: %s; write it anew with dml-crf "
                    "train --model",
                    path, what);
}

static dml_status map_file(struct model *model, struct job *job, const char *path)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), code = 0;
    if (fd < 0 || fstat(fd, &info) != 0)
        code = errno;
    else if (!S_ISREG(info.st_mode))
        code = S_ISDIR(info.st_mode) ? EISDIR : EINVAL;
    else if ((uint64_t)info.st_size >= sizeof(struct header)) {
        model->map_bytes = (size_t)info.st_size;
        model->map = mmap(NULL, model->map_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        code = model->map == MAP_FAILED ? errno : 0;
    }
    if (fd >= 0)
        close(fd);
    if (code != 0) {
        model->map = NULL;
        return job_fail(job, DML_EIO,
                        "cannot read the model %.300s: %s; give --model a file written "
                        "by dml-crf train",
                        path, strerror(code));
    }
    return model->map ? DML_OK : malformed(job, path, "it is too short");
}

/* The sizes that the header's numbers ask for are those of the sections. */
static bool sizes_fit(const struct header *header, size_t file_bytes)
{
    const uint64_t most = (uint64_t)1 << 32;
    if (header->nlabels == 0 || header->nlabels > MAX_LABELS ||
        header->nattrs >= most || header->nstate >= most || header->npairs >= most ||
        header->ntrans > header->nlabels * header->nlabels ||
        header->hash_bits > MAX_HASHBITS || header->format > READER_ITEMS ||
        header->label < LABEL_LAST || header->label > 4096)
        return false;
    const uint64_t need[NSECTIONS] = {
        [LABEL_OFFSETS] = (header->nlabels + 1) * 8,
        [ROWS] = (header->nattrs + 1) * 8,
        [ROW_LABELS] = header->nstate * 2,
        [FROM] = header->ntrans * 2,
        [TO] = header->ntrans * 2,
        [PAIR_ROWS] = header->npairs > 0 ? (header->nattrs + 1) * 8 : 0,
        [PAIR_FROM] = header->npairs * 2,
        [PAIR_TO] = header->npairs * 2,
        [WEIGHTS] = (header->nstate + header->ntrans + header->npairs) * 4,
    };
    for (int i = 0; i < NSECTIONS; i++) {
        uint64_t offset = header->section[i].offset, bytes = header->section[i].bytes;
        if (offset % SECTION_ALIGN != 0 || offset > file_bytes ||
            bytes > file_bytes - offset || (need[i] > 0 && bytes != need[i]))
            return false;
    }
    if (header->hash_bits > 0)
        return header->nattrs == (uint64_t)1 << header->hash_bits;
    return header->section[ATTR_OFFSETS].bytes == (header->nattrs + 1) * 8;
}

/* Offsets ascend, texts end in zero bytes, slots name texts and some are empty. */
static bool dict_sound(const struct dict *dict, size_t text_bytes, size_t slot_bytes)
{
    if (dict->nslots == 0 || (dict->nslots & (dict->nslots - 1)) != 0 ||
        slot_bytes != dict->nslots * 8 || dict->nslots <= dict->count ||
        dict->offsets[0] != 0 || dict->offsets[dict->count] != text_bytes)
        return false;
    for (size_t i = 0; i < dict->count; i++)
        if (dict->offsets[i + 1] <= dict->offsets[i] ||
            dict->offsets[i + 1] > text_bytes ||
            dict->text[dict->offsets[i + 1] - 1] != '\0')
            return false;
    size_t empty = 0;
    for (size_t i = 0; i < dict->nslots; i++) {
        empty += dict->slots[i] == 0;
        if ((uint32_t)dict->slots[i] > dict->count ||
            (dict->slots[i] != 0 && (uint32_t)dict->slots[i] == 0))
            return false;
    }
    return empty > 0;
}

/* From 0 to the number of features, nowhere falling. */
static bool rows_sound(const size_t *row, size_t nattrs, size_t count)
{
    if (row[0] != 0 || row[nattrs] != count)
        return false;
    for (size_t a = 0; a < nattrs; a++)
        if (row[a + 1] < row[a] || row[a + 1] > count)
            return false;
    return true;
}

static bool labels_sound(const uint16_t *label, size_t count, size_t nlabels)
{
    for (size_t i = 0; i < count; i++)
        if (label[i] >= nlabels)
            return false;
    return true;
}

static bool features_sound(const struct features *features, const float *weights)
{
    size_t n = features->nlabels;
    if (!rows_sound(features->row, features->nattrs, features->nstate) ||
        (features->npairs > 0 &&
         !rows_sound(features->pair_row, features->nattrs, features->npairs)) ||
        !labels_sound(features->label, features->nstate, n) ||
        !labels_sound(features->from, features->ntrans, n) ||
        !labels_sound(features->to, features->ntrans, n) ||
        !labels_sound(features->pair_from, features->npairs, n) ||
        !labels_sound(features->pair_to, features->npairs, n))
        return false;
    for (size_t i = 0; i < features_count(features); i++)
        if (!isfinite(weights[i]))
            return false;
    return true;
}

static void *at(const struct model *model, enum section section)
{
    const struct header *header = model->map;
    return (char *)model->map + header->section[section].offset;
}

static const char unfit[] = "its parts do not fit together";

static dml_status view_labels(struct model *model, struct job *job,
                              const struct header *header, const char *path)
{
    struct dict view = {.slots = at(model, LABEL_SLOTS),
                        .offsets = at(model, LABEL_OFFSETS),
                        .text = at(model, LABEL_TEXT),
                        .nslots = header->section[LABEL_SLOTS].bytes / 8,
                        .count = header->nlabels};
    if (!dict_sound(&view, header->section[LABEL_TEXT].bytes,
                    header->section[LABEL_SLOTS].bytes))
        return malformed(job, path, unfit);
    if (!dict_init(&model->vocabulary.labels))
        return job_fail(job, DML_ENOMEM, "%.300s: no memory for its labels", path);
    for (uint32_t i = 0; i < view.count; i++) {
        const char *text = dict_text(&view, i);
        uint32_t number = dict_put(&model->vocabulary.labels, text, strlen(text));
        if (number == DICT_NONE)
            return job_fail(job, DML_ENOMEM, "%.300s: no memory for its labels", path);
        if (number != i)
            return malformed(job, path, unfit);
    }
    return DML_OK;
}

static bool view_attributes(struct model *model, const struct header *header)
{
    model->vocabulary.frozen = true;
    model->vocabulary.hash_bits = (int)header->hash_bits;
    if (header->hash_bits > 0)
        return true;
    struct dict *dict = &model->vocabulary.attributes;
    *dict = (struct dict){.slots = at(model, ATTR_SLOTS),
                          .offsets = at(model, ATTR_OFFSETS),
                          .text = at(model, ATTR_TEXT),
                          .nslots = header->section[ATTR_SLOTS].bytes / 8,
                          .count = header->nattrs};
    return dict_sound(dict, header->section[ATTR_TEXT].bytes,
                      header->section[ATTR_SLOTS].bytes);
}

static dml_status view(struct model *model, struct job *job, const char *path)
{
    const struct header *header = model->map;
    model->nlabels = header->nlabels;
    model->source = (struct source){.format = (enum reader_format)header->format,
                                    .label = (long)header->label};
    model->features = (struct features){.nattrs = header->nattrs,
                                        .nlabels = header->nlabels,
                                        .nstate = header->nstate,
                                        .ntrans = header->ntrans,
                                        .row = at(model, ROWS),
                                        .label = at(model, ROW_LABELS),
                                        .from = at(model, FROM),
                                        .to = at(model, TO),
                                        .npairs = header->npairs,
                                        .pair_row = at(model, PAIR_ROWS),
                                        .pair_from = at(model, PAIR_FROM),
                                        .pair_to = at(model, PAIR_TO)};
    model->weights = at(model, WEIGHTS);
    dml_status status = view_labels(model, job, header, path);
    if (status != DML_OK)
        return status;
    if (!view_attributes(model, header) ||
        !features_sound(&model->features, model->weights))
        return malformed(job, path, unfit);
    if (!header->has_template)
        return header->format == READER_ITEMS
                   ? DML_OK
                   : malformed(job, path, "its template is missing");
    model->source.template = &model->template;
    return template_parse(&model->template, job, at(model, TEMPLATE),
                          header->section[TEMPLATE].bytes, path);
}

dml_status model_open(struct model *model, struct job *job, const char *path)
{
    *model = (struct model){0};
    dml_status status = map_file(model, job, path);
    if (status != DML_OK)
        return status;
    const struct header *header = model->map;
    if (memcmp(header->magic, MODEL_MAGIC, sizeof header->magic) != 0)
        return malformed(job, path, "wrong first bytes");
    if (header->version != MODEL_VERSION)
        return malformed(job, path, "written by another version of dml-crf");
    if (header->bytes != model->map_bytes ||
        header->checksum != model_checksum(model->map, model->map_bytes))
        return malformed(job, path,
                         "its checksum is wrong (cut short, longer or damaged)");
    if (!sizes_fit(header, model->map_bytes))
        return malformed(job, path, "a bad header");
    return view(model, job, path);
}

void model_close(struct model *model)
{
    dict_free(&model->vocabulary.labels);
    if (model->map) {
        munmap(model->map, model->map_bytes);
    } else {
        dict_free(&model->vocabulary.attributes);
        features_free(&model->features);
        free(model->weights);
    }
    template_free(&model->template);
    *model = (struct model){0};
}
