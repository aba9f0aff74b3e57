/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rows of libsvm and svmlight files: a label, an optional query id, then pairs of index
 * and value with ascending indices; "#" begins a comment. Source: Chang and Lin, LIBSVM
 * (README), and Joachims, SVMlight.
 */
#include "data/decimal.h"
#include "data/source.h"

#include <string.h>

struct dml_svm {
    dml__source source;
    uint32_t *index; /* [capacity] */
    float *value;    /* [capacity] */
    size_t capacity;
};

dml_status dml_svm_open(dml_ctx *ctx, const char *path, const dml_text_opts *opts,
                        dml_svm **out)
{
    if (path == NULL || out == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "the path or the result is NULL");
    dml_svm *svm = dml__alloc(ctx, sizeof *svm);
    if (svm == NULL)
        return dml__fail(ctx, DML_ENOMEM, __func__, "no memory for a reader of rows");
    dml_status status = dml__source_open(&svm->source, ctx, __func__, path, opts);
    if (status != DML_OK)
        dml_svm_close(svm);
    else
        *out = svm;
    return status;
}

/* Room for all the pairs that a line of so many bytes can hold: three bytes each. */
static dml_status reserve(dml_svm *svm, size_t bytes)
{
    size_t wanted = bytes / 3 + 1;
    if (wanted <= svm->capacity)
        return DML_OK;
    size_t capacity = wanted + wanted / 2;
    uint32_t *index = dml__alloc(svm->source.ctx, dml__mul(capacity, sizeof *index));
    float *value = dml__alloc(svm->source.ctx, dml__mul(capacity, sizeof *value));
    if (index == NULL || value == NULL) {
        dml__free(index);
        dml__free(value);
        return dml__fail(svm->source.ctx, DML_ENOMEM, svm->source.reader.where,
                         "%s: no memory for %zu pairs", svm->source.reader.path,
                         capacity);
    }
    dml__free(svm->index);
    dml__free(svm->value);
    svm->index = index;
    svm->value = value;
    svm->capacity = capacity;
    return DML_OK;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The next word up to "end"; false when there is none. */
static bool next_word(const char **at, const char *end, dml_text *word)
{
    const char *from = *at;
    while (from < end && is_blank(*from))
        from++;
    const char *to = from;
    while (to < end && !is_blank(*to))
        to++;
    *at = to;
    *word = (dml_text){from, (size_t)(to - from)};
    return to > from;
}

/* "INDEX:VALUE" as the row's next pair; returns what is wrong, or NULL. */
static const char *add_pair(dml_svm *svm, dml_svm_row *row, dml_text word)
{
    const char *colon = memchr(word.data, ':', word.bytes);
    uint64_t index = 0;
    if (colon == NULL)
        return "INDEX:VALUE expected";
    size_t before = (size_t)(colon - word.data);
    if (!dml__decimal_uint(word.data, before, UINT32_MAX, &index))
        return "the index is no whole number up to 4294967295";
    if (!dml__decimal_f32(colon + 1, word.bytes - before - 1, &svm->value[row->count]))
        return "the value is no number";
    if (row->count > 0 && index <= svm->index[row->count - 1])
        return "indices must ascend";
    svm->index[row->count++] = (uint32_t)index;
    return NULL;
}

static const char *read_qid(dml_text word, int64_t *qid)
{
    uint64_t number = 0;
    if (!dml__decimal_uint(word.data + 4, word.bytes - 4, INT64_MAX, &number))
        return "qid is no whole number";
    *qid = (int64_t)number;
    return NULL;
}

/* What is wrong with a row, and with which of its words; NULL if nothing. */
static const char *read_row(dml_svm *svm, const char *at, const char *end,
                            dml_svm_row *row, dml_text *word)
{
    const char *fault = NULL;
    if (!dml__decimal_f64(word->data, word->bytes, &row->label))
        return "the label is no number";
    for (bool first = true; fault == NULL && next_word(&at, end, word); first = false) {
        if (first && word->bytes > 4 && memcmp(word->data, "qid:", 4) == 0)
            fault = read_qid(*word, &row->qid);
        else
            fault = add_pair(svm, row, *word);
    }
    return fault;
}

dml_status dml_svm_next(dml_svm *svm, dml_svm_row *row)
{
    for (;;) {
        dml_line line;
        dml_status status = dml__source_line(&svm->source, __func__, &line);
        if (status != DML_OK)
            return status;
        const char *at = line.text.data;
        const char *comment = memchr(at, '#', line.text.bytes);
        const char *end = comment != NULL ? comment : at + line.text.bytes;
        dml_text word;
        DML_TRY(reserve(svm, line.text.bytes));
        if (!next_word(&at, end, &word))
            continue;
        *row = (dml_svm_row){.qid = -1, .line = line.number};
        const char *fault = read_row(svm, at, end, row, &word);
        row->index = svm->index;
        row->value = svm->value;
        if (fault == NULL)
            return DML_OK;
        DML_TRY(dml__source_bad(&svm->source, line.number, "\"%.*s\": %s",
                                word.bytes > 40 ? 40 : (int)word.bytes, word.data,
                                fault));
    }
}

uint64_t dml_svm_skipped(const dml_svm *svm)
{
    return svm->source.skipped;
}

void dml_svm_close(dml_svm *svm)
{
    if (svm == NULL)
        return;
    dml__source_close(&svm->source);
    dml__free(svm->index);
    dml__free(svm->value);
    dml__free(svm);
}
