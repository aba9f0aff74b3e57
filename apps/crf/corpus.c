/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From sentences to numbers. With hashing, an attribute's number is the lower bits of
 * its hash and its value has the sign of the hash's top bit, so that what collides
 * cancels on average. Source: Weinberger et al. 2009 (arXiv 0902.2206).
 */
#include "corpus.h"

#include "grow.h"

#include <string.h>

void vocabulary_free(struct vocabulary *vocabulary)
{
    dict_free(&vocabulary->labels);
    dict_free(&vocabulary->attributes);
}

void corpus_clear(struct corpus *corpus)
{
    corpus->nsentences = corpus->ntokens = 0;
    corpus->state.count = corpus->pairs.count = 0;
}

static void uses_free(struct uses *uses)
{
    free(uses->at);
    free(uses->attrs);
    free(uses->values);
    *uses = (struct uses){0};
}

void corpus_drop_uses(struct corpus *corpus)
{
    uses_free(&corpus->state);
    uses_free(&corpus->pairs);
}

static uint64_t add_mark(uint64_t mark, const void *array, size_t bytes)
{
    uint64_t own = array ? dict_hash(array, bytes) : 0;
    return dml_rng_u64(mark, own, array ? bytes : UINT64_MAX);
}

static uint64_t uses_mark(const struct uses *uses, size_t ntokens, uint64_t mark)
{
    size_t n = uses->count;
    mark = add_mark(mark, uses->at, (ntokens + 1) * sizeof *uses->at);
    mark = add_mark(mark, uses->attrs, n * sizeof *uses->attrs);
    return add_mark(mark, uses->values, n * sizeof *uses->values);
}

uint64_t vocabulary_mark(const struct vocabulary *vocabulary)
{
    const struct dict *labels = &vocabulary->labels;
    const struct dict *attributes = &vocabulary->attributes;
    uint64_t mark = add_mark((uint64_t)vocabulary->hash_bits, labels->text,
                             labels->offsets[labels->count]);
    return add_mark(mark, attributes->text, attributes->offsets[attributes->count]);
}

uint64_t corpus_mark(const struct corpus *corpus, uint64_t mark)
{
    size_t n = corpus->nsentences + 1;
    mark = add_mark(mark, corpus->token_at, n * sizeof *corpus->token_at);
    mark = add_mark(mark, corpus->labels, corpus->ntokens * sizeof *corpus->labels);
    mark = uses_mark(&corpus->state, corpus->ntokens, mark);
    return uses_mark(&corpus->pairs, corpus->ntokens, mark);
}

void corpus_free(struct corpus *corpus)
{
    corpus_drop_uses(corpus);
    free(corpus->token_at);
    free(corpus->labels);
    *corpus = (struct corpus){0};
}

/* Values are kept from the first one on that is not 1. */
static bool put_attribute(struct uses *uses, uint32_t attr, float value)
{
    size_t n = uses->count;
    if (!GROW(uses->attrs, uses->attrs_room, n + 1))
        return false;
    if (value != 1 || uses->values) {
        bool first = !uses->values;
        if (!GROW(uses->values, uses->values_room, n + 1))
            return false;
        for (size_t i = 0; first && i < n; i++)
            uses->values[i] = 1;
        uses->values[n] = value;
    }
    uses->attrs[uses->count++] = attr;
    return true;
}

/* Attributes that the vocabulary knows; the others are left out. */
static bool put_known(struct uses *uses, const struct vocabulary *vocabulary,
                      const struct attributes *attributes)
{
    uint32_t numbers[DICT_GROUP];
    size_t begin = 0, group;
    for (size_t at = 0; at < attributes->count; at += group) {
        size_t left = attributes->count - at;
        group = left < DICT_GROUP ? left : DICT_GROUP;
        dict_find_group(&vocabulary->attributes, attributes->text, begin,
                        attributes->ends + at, group, numbers);
        begin = attributes->ends[at + group - 1];
        for (size_t i = 0; i < group; i++)
            if (numbers[i] != DICT_NONE &&
                !put_attribute(uses, numbers[i], (float)attributes->values[at + i]))
                return false;
    }
    return true;
}

static bool put_attributes(struct uses *uses, struct vocabulary *vocabulary,
                           const struct attributes *attributes)
{
    if (vocabulary->frozen && vocabulary->hash_bits == 0)
        return put_known(uses, vocabulary, attributes);
    size_t begin = 0;
    for (size_t i = 0; i < attributes->count; i++) {
        const char *text = attributes->text + begin;
        size_t bytes = attributes->ends[i] - begin;
        float value = (float)attributes->values[i];
        uint32_t attr;
        begin = attributes->ends[i];
        if (vocabulary->hash_bits > 0) {
            uint64_t hash = dict_hash(text, bytes);
            attr = (uint32_t)(hash & ((1u << vocabulary->hash_bits) - 1));
            value = hash >> 63 ? -value : value;
        } else {
            attr = dict_put(&vocabulary->attributes, text, bytes);
            if (attr == DICT_NONE)
                return false;
        }
        if (!put_attribute(uses, attr, value))
            return false;
    }
    return true;
}

/* The number of a token's label, in *label. */
static dml_status find_label(struct job *job, struct vocabulary *vocabulary,
                             const char *text, const struct sentence *sentence,
                             const char *path, uint16_t *label)
{
    uint32_t number = dict_put(&vocabulary->labels, text, strlen(text));
    if (number == DICT_NONE)
        return job_fail(job, DML_ENOMEM, "out of memory");
    *label = (uint16_t)number;
    if (number < MAX_LABELS)
        return DML_OK;
    return job_fail(job, DML_EFORMAT,
                    "%.300s:%llu: more than %d labels; is --label the right column?",
                    path, (unsigned long long)sentence->line, MAX_LABELS);
}

/* The attributes of a token; NULL, or what is wrong. */
static const char *add_attributes(struct corpus *corpus, struct vocabulary *vocabulary,
                                  const struct source *source,
                                  const struct sentence *sentence, size_t t,
                                  struct attributes *scratch)
{
    static const char no_memory[] = "out of memory";
    const struct template *template = source->template;
    size_t now = corpus->ntokens;
    if (!template) {
        const char *wrong =
            items_expand(sentence, t, source->label >= 0 ? 1 : 0, scratch);
        if (wrong)
            return wrong;
    } else if (!template_expand(template, sentence, t, false, scratch)) {
        return no_memory;
    }
    if (!put_attributes(&corpus->state, vocabulary, scratch))
        return no_memory;
    corpus->state.at[now + 1] = corpus->state.count;
    if (!template || !template->pairs)
        return NULL;
    /* The first token has no label before. */
    if (t > 0 && (!template_expand(template, sentence, t, true, scratch) ||
                  !put_attributes(&corpus->pairs, vocabulary, scratch)))
        return no_memory;
    corpus->pairs.at[now + 1] = corpus->pairs.count;
    return NULL;
}

static dml_status add_token(struct corpus *corpus, struct job *job,
                            struct vocabulary *vocabulary, const struct source *source,
                            const struct sentence *sentence, size_t t, const char *path,
                            struct attributes *scratch)
{
    long column = source->label;
    size_t columns = sentence_columns(sentence, t);
    if (column == LABEL_LAST)
        column = (long)columns - 1;
    if (column >= (long)columns)
        return job_fail(job, DML_EFORMAT, "%.300s:%llu: no column %ld for the label",
                        path, (unsigned long long)(sentence->line + t), column + 1);
    uint16_t *label = &corpus->labels[corpus->ntokens];
    *label = LABEL_NONE;
    if (column >= 0) {
        const char *text = sentence_cell(sentence, t, (size_t)column);
        dml_status status = find_label(job, vocabulary, text, sentence, path, label);
        if (status != DML_OK)
            return status;
    }
    const char *wrong =
        add_attributes(corpus, vocabulary, source, sentence, t, scratch);
    if (wrong)
        return job_fail(job, DML_EFORMAT, "%.300s:%llu: %s", path,
                        (unsigned long long)(sentence->line + t), wrong);
    corpus->ntokens++;
    return DML_OK;
}

/* Room for a sentence's tokens. */
static bool uses_reserve(struct uses *uses, size_t ntokens)
{
    bool first = !uses->at;
    if (!GROW(uses->at, uses->tokens_room, ntokens + 1))
        return false;
    if (first)
        uses->at[0] = 0;
    return true;
}

dml_status corpus_add(struct corpus *corpus, struct job *job,
                      struct vocabulary *vocabulary, const struct source *source,
                      const struct sentence *sentence, const char *path,
                      struct attributes *scratch)
{
    size_t ntokens = corpus->ntokens + sentence->tokens;
    const struct template *template = source->template;
    if (!GROW(corpus->token_at, corpus->sentences_room, corpus->nsentences + 2) ||
        !GROW(corpus->labels, corpus->labels_room, ntokens) ||
        !uses_reserve(&corpus->state, ntokens) ||
        (template && template->pairs && !uses_reserve(&corpus->pairs, ntokens)))
        return job_fail(job, DML_ENOMEM, "out of memory");
    if (template) {
        dml_status status =
            template_check(template, job, sentence, source->label, path);
        if (status != DML_OK)
            return status;
    }
    corpus->token_at[corpus->nsentences] = corpus->ntokens;
    for (size_t t = 0; t < sentence->tokens; t++) {
        dml_status status =
            add_token(corpus, job, vocabulary, source, sentence, t, path, scratch);
        if (status != DML_OK)
            return status;
    }
    corpus->token_at[++corpus->nsentences] = corpus->ntokens;
    return DML_OK;
}

dml_status corpus_read(struct corpus *corpus, struct job *job,
                       struct vocabulary *vocabulary, const struct source *source,
                       const char *path)
{
    struct reader reader;
    struct sentence sentence;
    struct attributes scratch = {0};
    dml_status status = reader_open(&reader, job, path, source->format);
    while (status == DML_OK) {
        status = reader_next(&reader, &sentence);
        if (status == DML_OK)
            status =
                corpus_add(corpus, job, vocabulary, source, &sentence, path, &scratch);
    }
    attributes_free(&scratch);
    reader_close(&reader);
    return status == DML_EEND ? DML_OK : status;
}
