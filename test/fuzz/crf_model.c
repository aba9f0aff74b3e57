/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Model files of dml-crf: a good one with bytes changed by the input, three bytes a
 * change (place, value), and its checksum made right again, so that what is behind the
 * checksum is met. What is taken for a model must label a sentence.
 */
#include "fuzz.h"
#include "model.h"
#include "model_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *image;
static size_t image_bytes;

static void make_image(void)
{
    static const char text[] = "a X\nb Y\n\nb Y\na Z\nc X\n";
    static const char template[] = "U%x[0,0]\nB\nB%x[0,0]\n";
    struct job job = {.app = "fuzz", .ctx = fuzz_ctx()};
    struct corpus corpus = {0};
    struct model model = {.nlabels = 3};
    double weights[64];
    fuzz_require(dict_init(&model.vocabulary.labels) &&
                 dict_init(&model.vocabulary.attributes));
    fuzz_require(template_parse(&model.template, &job, template, sizeof template - 1,
                                "t") == DML_OK);
    model.source = (struct source){
        .format = READER_COLUMNS, .template = &model.template, .label = LABEL_LAST};
    fuzz_require(corpus_read(&corpus, &job, &model.vocabulary, &model.source,
                             fuzz_file("", (const uint8_t *)text, sizeof text - 1)) ==
                 DML_OK);
    fuzz_require(features_build(&model.features, &corpus,
                                model.vocabulary.attributes.count, 3, true, 0));
    for (size_t i = 0; i < 64; i++)
        weights[i] = (double)i - 3.5;
    FILE *file = open_memstream(&image, &image_bytes);
    fuzz_require(file && model_write(file, &model, weights, &job) == DML_OK);
    fclose(file);
    corpus_free(&corpus);
    model_close(&model);
}

static void label(const struct model *model, struct job *job)
{
    static const size_t first[] = {0, 1, 2};
    static const char *const cells[] = {"a", "b"};
    const struct sentence sentence = {.tokens = 2, .first = first, .cells = cells};
    struct vocabulary vocabulary = model->vocabulary;
    struct source source = {.format = model->source.format, .label = -1};
    struct corpus corpus = {0};
    struct attributes scratch = {0};
    struct labeller labeller;
    uint16_t labels[2];
    if (model->source.template && model->template.columns <= 1)
        source.template = &model->template;
    fuzz_require(corpus_add(&corpus, job, &vocabulary, &source, &sentence, "cells",
                            &scratch) == DML_OK);
    if (labeller_create(&labeller, job, model, kernels_find("c", 4), 1) == DML_OK) {
        fuzz_require(labeller_run(&labeller, &corpus, labels) == DML_OK);
        fuzz_require(labels[0] < model->nlabels && labels[1] < model->nlabels);
    }
    labeller_destroy(&labeller);
    attributes_free(&scratch);
    corpus_free(&corpus);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct job job = {.app = "fuzz", .ctx = fuzz_ctx()};
    struct model model;
    if (!image)
        make_image();
    char *copy = malloc(image_bytes);
    fuzz_require(copy != NULL);
    memcpy(copy, image, image_bytes);
    for (; size >= 3; data += 3, size -= 3)
        copy[(data[0] + 256u * data[1]) % image_bytes] = (char)data[2];
    struct header header;
    memcpy(&header, copy, sizeof header);
    header.checksum = model_checksum(copy, image_bytes);
    memcpy(copy, &header, sizeof header);
    if (model_open(&model, &job, fuzz_file("", (uint8_t *)copy, image_bytes)) == DML_OK)
        label(&model, &job);
    model_close(&model);
    free(copy);
    return 0;
}
