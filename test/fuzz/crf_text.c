/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-crf's templates, sentences in its formats, and items: a template up to the first
 * zero byte, then the text.
 */
#include "corpus.h"
#include "fuzz.h"

#include <string.h>

static void read_corpus(struct job *job, const struct source *source, const char *path,
                        int hash_bits)
{
    struct corpus corpus = {0};
    struct vocabulary vocabulary = {.hash_bits = hash_bits};
    fuzz_require(dict_init(&vocabulary.labels) && dict_init(&vocabulary.attributes));
    dml_status status = corpus_read(&corpus, job, &vocabulary, source, path);
    fuzz_require(status == DML_OK || status == DML_EFORMAT);
    for (size_t i = 0; i < corpus.state.count && hash_bits == 0; i++)
        fuzz_require(corpus.state.attrs[i] < vocabulary.attributes.count);
    for (size_t i = 0; i < corpus.pairs.count && hash_bits == 0; i++)
        fuzz_require(corpus.pairs.attrs[i] < vocabulary.attributes.count);
    for (size_t t = 0; t < corpus.ntokens; t++)
        fuzz_require(corpus.labels[t] < vocabulary.labels.count);
    corpus_free(&corpus);
    vocabulary_free(&vocabulary);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t choice = fuzz_take(&data, &size);
    struct job job = {.app = "fuzz", .ctx = fuzz_ctx()};
    struct template template = {0};
    const uint8_t *end = size > 0 ? memchr(data, 0, size) : NULL;
    size_t bytes = end ? (size_t)(end - data) : size;
    struct source source = {.format = (enum reader_format)(choice % 3),
                            .label = LABEL_LAST};
    dml_status status =
        template_parse(&template, &job, (const char *)data, bytes, "template");
    fuzz_require(status == DML_OK || status == DML_EFORMAT);
    if (source.format == READER_ITEMS)
        source.label = 0;
    else
        source.template = &template;
    bytes += end != NULL;
    if (status == DML_OK || source.format == READER_ITEMS)
        read_corpus(&job, &source, fuzz_file("", data + bytes, size - bytes),
                    choice & 4 ? 8 : 0);
    template_free(&template);
    return 0;
}
