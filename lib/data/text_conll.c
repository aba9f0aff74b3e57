/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sentences in columns, one token a line: CoNLL's shared tasks, and CoNLL-U of the
 * Universal Dependencies with its comments, ranges of words written as one ("1-2") and
 * nodes that are not written ("1.1"). Source: https://universaldependencies.org/
 * format.html.
 */
#include "data/decimal.h"
#include "data/source.h"

#include <string.h>

#define CONLLU_COLUMNS 10
#define MOST_TOKENS    ((size_t)1 << 20)

/* Text within the arena, which moves as it grows. */
typedef struct span {
    size_t at, bytes;
} span;

/* An array of spans, and what is handed out for them. */
typedef struct spans {
    span *span;     /* [capacity] */
    dml_text *text; /* [capacity] */
    size_t count, capacity;
} spans;

struct dml_conll {
    dml__source source;
    dml_conll_opts opts;
    char *arena; /* the lines of this sentence, each ended by a zero */
    size_t used, capacity;
    spans cells, comments;
    size_t columns; /* 0: not known yet */
    uint64_t words; /* CoNLL-U: id of the last word */
    uint64_t empty; /* ... and number of the last empty node behind it */
    uint64_t skipped;
};

void dml_conll_opts_init(dml_conll_opts *opts)
{
    *opts = (dml_conll_opts){.size = sizeof *opts, .max_tokens = MOST_TOKENS};
    dml_text_opts_init(&opts->text);
}

static dml_status check_opts(dml_ctx *ctx, const char *where, const dml_conll_opts *o)
{
    DML_TRY(dml__check_size(ctx, where, o->size, sizeof *o, "dml_conll_opts_init"));
    if (o->format > DML_CONLL_U || o->max_tokens == 0)
        return dml__fail(ctx, DML_EINVAL, where,
                         "format %d or max_tokens %zu is out of range", (int)o->format,
                         o->max_tokens);
    if (o->text.nranks != 1)
        return dml__fail(ctx, DML_EINVAL, where,
                         "a sentence has several lines: such files cannot be shared "
                         "out by bytes; set nranks to 1");
    if (o->format == DML_CONLL_U && o->columns != 0 && o->columns != CONLLU_COLUMNS)
        return dml__fail(ctx, DML_EINVAL, where, "CoNLL-U has %d columns, not %zu",
                         CONLLU_COLUMNS, o->columns);
    return DML_OK;
}

dml_status dml_conll_open(dml_ctx *ctx, const char *path, const dml_conll_opts *opts,
                          dml_conll **out)
{
    dml_conll_opts defaults;
    dml_conll_opts_init(&defaults);
    opts = opts != NULL ? opts : &defaults;
    if (path == NULL || out == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "the path or the result is NULL");
    DML_TRY(check_opts(ctx, __func__, opts));
    dml_conll *c = dml__alloc(ctx, sizeof *c);
    if (c == NULL)
        return dml__fail(ctx, DML_ENOMEM, __func__,
                         "no memory for a reader of sentences");
    c->opts = *opts;
    c->columns = opts->format == DML_CONLL_U ? CONLLU_COLUMNS : opts->columns;
    dml_status status = dml__source_open(&c->source, ctx, __func__, path, &opts->text);
    if (status != DML_OK)
        dml_conll_close(c);
    else
        *out = c;
    return status;
}

static dml_status no_memory(const dml_conll *c)
{
    return dml__fail(c->source.ctx, DML_ENOMEM, c->source.reader.where,
                     "%s:%llu: no memory for a sentence that long",
                     c->source.reader.path, (unsigned long long)c->source.lines);
}

/* A line into the arena; *at is where. */
static dml_status keep(dml_conll *c, dml_text line, size_t *at)
{
    if (line.bytes >= c->capacity - c->used) {
        size_t capacity = 2 * (c->used + line.bytes) + 4096;
        char *arena = dml__alloc(c->source.ctx, capacity);
        if (arena == NULL)
            return no_memory(c);
        if (c->used > 0)
            memcpy(arena, c->arena, c->used);
        dml__free(c->arena);
        c->arena = arena;
        c->capacity = capacity;
    }
    memcpy(c->arena + c->used, line.data, line.bytes + 1);
    *at = c->used;
    c->used += line.bytes + 1;
    return DML_OK;
}

static dml_status add_span(dml_conll *c, spans *list, span added)
{
    if (list->count == list->capacity) {
        size_t capacity = 2 * list->capacity + 64;
        span *bigger = dml__alloc(c->source.ctx, dml__mul(capacity, sizeof *bigger));
        dml_text *text = dml__alloc(c->source.ctx, dml__mul(capacity, sizeof *text));
        if (bigger == NULL || text == NULL) {
            dml__free(bigger);
            dml__free(text);
            return no_memory(c);
        }
        if (list->count > 0)
            memcpy(bigger, list->span, list->count * sizeof *bigger);
        dml__free(list->span);
        dml__free(list->text);
        list->span = bigger;
        list->text = text;
        list->capacity = capacity;
    }
    list->span[list->count++] = added;
    return DML_OK;
}

/* Cuts the kept line at "at" into cells, in place. */
static dml_status split(dml_conll *c, size_t at, size_t bytes)
{
    bool tabs = c->opts.format != DML_CONLL_COLUMNS;
    size_t end = at + bytes;
    while (at <= end) {
        const char *from = c->arena + at;
        size_t length = tabs ? strcspn(from, "\t") : strcspn(from, " \t");
        c->arena[at + length] = '\0';
        if (tabs || length > 0)
            DML_TRY(add_span(c, &c->cells, (span){at, length}));
        at += length + 1;
    }
    return DML_OK;
}

/* Reads a CoNLL-U id and checks its order; *word: it is a plain one. */
static bool take_id(dml_conll *c, dml_text id, bool *word)
{
    size_t digits = strspn(id.data, "0123456789");
    const char *rest = id.data + digits;
    uint64_t first, second;
    *word = *rest == '\0';
    if (!dml__decimal_uint(id.data, digits, UINT32_MAX, &first))
        return false;
    if (*word) {
        c->empty = 0;
        return first == ++c->words;
    }
    if (!dml__decimal_uint(rest + 1, strlen(rest + 1), UINT32_MAX, &second))
        return false;
    if (*rest == '-')
        return first == c->words + 1 && second >= first;
    return *rest == '.' && first == c->words && second == ++c->empty;
}

/* One line with a token. *good is false when it was reported as bad, and counted. */
static dml_status add_token(dml_conll *c, const dml_line *line, bool *good)
{
    size_t at, before = c->cells.count;
    bool word = true;
    DML_TRY(keep(c, line->text, &at));
    DML_TRY(split(c, at, line->text.bytes));
    size_t cells = c->cells.count - before;
    if (c->columns == 0)
        c->columns = cells;
    *good = false;
    if (cells != c->columns)
        return dml__source_bad(&c->source, line->number,
                               "%zu columns found, %zu expected as in the first token",
                               cells, c->columns);
    span id = c->cells.span[before];
    if (c->opts.format == DML_CONLL_U &&
        !take_id(c, (dml_text){c->arena + id.at, id.bytes}, &word))
        return dml__source_bad(&c->source, line->number,
                               "id \"%.20s\" is malformed or out of order",
                               c->arena + id.at);
    if (before / c->columns >= c->opts.max_tokens)
        return dml__source_bad(&c->source, line->number,
                               "a sentence of more than %zu tokens; check that empty "
                               "lines separate sentences",
                               c->opts.max_tokens);
    *good = true;
    if (!word && !c->opts.all_nodes)
        c->cells.count = before;
    return DML_OK;
}

static bool is_empty(const dml_conll *c, dml_text line)
{
    return line.bytes == 0 || (c->opts.format == DML_CONLL_COLUMNS &&
                               strspn(line.data, " \t") == line.bytes);
}

static void begin_sentence(dml_conll *c)
{
    c->used = c->cells.count = c->comments.count = 0;
    c->words = c->empty = 0;
}

static dml_text *texts_of(spans *list, const char *arena)
{
    for (size_t i = 0; i < list->count; i++)
        list->text[i] = (dml_text){arena + list->span[i].at, list->span[i].bytes};
    return list->text;
}

/* A line that is not empty. */
static dml_status add_line(dml_conll *c, const dml_line *line, bool *good)
{
    if (c->opts.format != DML_CONLL_U || line->text.data[0] != '#' || c->words > 0 ||
        c->cells.count > 0)
        return add_token(c, line, good);
    size_t at;
    DML_TRY(keep(c, line->text, &at));
    return add_span(c, &c->comments, (span){at, line->text.bytes});
}

/* One sentence's lines, up to an empty one; *good is false if one of them was bad, and
 * *first is the first token's line, or 0. */
static dml_status read_block(dml_conll *c, const char *where, bool *good,
                             uint64_t *first)
{
    dml_line line;
    uint64_t faults = c->source.skipped;
    bool some = false;
    *good = true;
    *first = 0;
    begin_sentence(c);
    for (;;) {
        dml_status status = dml__source_line(&c->source, where, &line);
        if (status == DML_EEND && some)
            break;
        if (status != DML_OK)
            return status;
        if (is_empty(c, line.text) && some)
            break;
        if (is_empty(c, line.text))
            continue;
        some = true;
        if (*good)
            DML_TRY(add_line(c, &line, good));
        if (*first == 0 && c->cells.count > 0)
            *first = line.number;
    }
    *good = *good && c->source.skipped == faults;
    return DML_OK;
}

dml_status dml_conll_next(dml_conll *c, dml_sentence *sentence)
{
    for (;;) {
        bool good;
        uint64_t first;
        dml_status status = read_block(c, __func__, &good, &first);
        if (status != DML_OK)
            return status;
        c->skipped += !good;
        if (!good || c->cells.count == 0)
            continue;
        *sentence = (dml_sentence){
            .tokens = c->cells.count / c->columns,
            .columns = c->columns,
            .cells = texts_of(&c->cells, c->arena),
            .comments = c->comments.count,
            .comment = texts_of(&c->comments, c->arena),
            .line = first,
        };
        return DML_OK;
    }
}

uint64_t dml_conll_skipped(const dml_conll *conll)
{
    return conll->skipped;
}

void dml_conll_close(dml_conll *c)
{
    if (c == NULL)
        return;
    dml__source_close(&c->source);
    dml__free(c->arena);
    dml__free(c->cells.span);
    dml__free(c->cells.text);
    dml__free(c->comments.span);
    dml__free(c->comments.text);
    dml__free(c);
}
