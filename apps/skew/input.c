/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keys from files; see input.h. The library's readers do the reading, and say what is
 * wrong with file and line.
 */
#include "input.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- texts ---------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

bool next_word(const char **at, dml_text *word)
{
    const char *from = *at;
    while (is_blank(*from))
        from++;
    const char *to = from;
    while (*to != '\0' && !is_blank(*to))
        to++;
    *at = to;
    *word = (dml_text){.data = from, .bytes = (size_t)(to - from)};
    return to > from;
}

bool parse_cell(const char *key, const char *all, long *number)
{
    char *end;
    *number = 0;
    if (strcmp(key, all) == 0)
        return true;
    errno = 0;
    *number = strtol(key, &end, 10);
    return *number != 0 && *end == '\0' && errno == 0;
}

/* -1 and so on as numbers from 1 on; below 1 where there are fewer cells. */
static long from_first(dml_text line, long number)
{
    number += 2; /* of the cells, there is one more than tabs */
    for (size_t i = 0; i < line.bytes; i++)
        number += line.data[i] == '\t';
    return number;
}

bool find_cell(dml_text line, long number, dml_text *cell)
{
    const char *from = line.data, *end = line.data + line.bytes;
    *cell = line;
    if (number == 0)
        return true;
    if (number < 0)
        number = from_first(line, number);
    if (number < 1)
        return false;
    for (long k = 1;; k++) {
        const char *tab = memchr(from, '\t', (size_t)(end - from));
        const char *to = tab ? tab : end;
        if (k == number) {
            *cell = (dml_text){.data = from, .bytes = (size_t)(to - from)};
            return true;
        }
        if (!tab)
            return false;
        from = tab + 1;
    }
}

bool parse_number(dml_text text, double *value)
{
    char room[64], *end;
    char *copy = text.bytes < sizeof room ? room : malloc(text.bytes + 1);
    if (text.bytes == 0 || !copy)
        return false;
    memcpy(copy, text.data, text.bytes);
    copy[text.bytes] = '\0';
    *value = strtod(copy, &end);
    bool good = end == copy + text.bytes && !is_blank(copy[0]);
    if (copy != room)
        free(copy);
    return good;
}

bool number_key(dml_text text, uint64_t *key)
{
    double value;
    if (!parse_number(text, &value))
        return false;
    *key = dml_key_of_f64(value);
    return true;
}

bool grow(void **items, size_t *room, size_t needed, size_t item_bytes)
{
    if (needed <= *room)
        return true;
    size_t more = *room < 512 ? 1024 : 2 * *room;
    more = more < needed ? needed : more;
    void *larger =
        more > SIZE_MAX / item_bytes ? NULL : realloc(*items, more * item_bytes);
    if (!larger)
        return false;
    *items = larger;
    *room = more;
    return true;
}

/* ---- lists ---------------------------------------------------------------------- */

static dml_status no_memory(struct job *job, const struct key_list *list)
{
    return job_fail(job, DML_ENOMEM, "no memory after %zu keys; give a smaller file",
                    list->count);
}

static bool grow_numbers(struct key_list *list)
{
    void *items = list->u64;
    bool good = grow(&items, &list->room, list->count + 1, sizeof *list->u64);
    list->u64 = items;
    return good;
}

static bool grow_texts(struct key_list *list, size_t bytes)
{
    void *items = list->ends, *text = list->text;
    bool good = grow(&items, &list->room, list->count + 1, sizeof *list->ends) &&
                grow(&text, &list->text_room, list->text_bytes + bytes, 1);
    list->ends = items;
    list->text = text;
    return good;
}

dml_status key_list_add(struct job *job, const struct skew_options *options,
                        struct key_list *list, dml_text text, uint64_t row)
{
    if (strcmp(options->as, "number") == 0) {
        list->kind = DML_KEY_U64;
        if (!grow_numbers(list))
            return no_memory(job, list);
        if (!number_key(text, &list->u64[list->count]))
            return job_fail(
                job, DML_EFORMAT,
                "%.300s, row %llu: the key \"%.*s\" is not a number; use --as text",
                options->data, (unsigned long long)row,
                (int)(text.bytes < 40 ? text.bytes : 40), text.data);
        list->count++;
        return DML_OK;
    }
    list->kind = DML_KEY_BYTES;
    if (!grow_texts(list, text.bytes))
        return no_memory(job, list);
    memcpy(list->text + list->text_bytes, text.data, text.bytes);
    list->text_bytes += text.bytes;
    list->ends[list->count++] = list->text_bytes;
    return DML_OK;
}

static bool is_squared(const struct skew_options *options)
{
    return options->cost && strcmp(options->cost, "square") == 0;
}

dml_status key_list_weigh(struct job *job, const struct skew_options *options,
                          struct key_list *list, dml_text text, uint64_t row)
{
    double value;
    void *items = list->values;
    bool good = grow(&items, &list->values_room, list->count, sizeof *list->values);
    list->values = items;
    if (!good)
        return no_memory(job, list);
    bool squared = is_squared(options);
    if (!parse_number(text, &value) || !(value >= 0) ||
        !isfinite(squared ? value * value : value))
        return job_fail(
            job, DML_EFORMAT,
            "%.300s, row %llu: the weight \"%.*s\"%s is not a finite number "
            "of 0 or more",
            options->data, (unsigned long long)row,
            (int)(text.bytes < 40 ? text.bytes : 40), text.data,
            squared ? ", squared," : "");
    list->weight = squared ? DML_WEIGHT_SQUARE : DML_WEIGHT_VALUE;
    list->values[list->count - 1] = value;
    list->heaviest = value > list->heaviest ? value : list->heaviest;
    return DML_OK;
}

double key_list_cost(const struct key_list *list, size_t i)
{
    if (list->weight == DML_WEIGHT_COUNT)
        return 1;
    double value = list->values[i];
    return list->weight == DML_WEIGHT_SQUARE ? value * value : value;
}

dml_status key_list_close(struct job *job, struct key_list *list)
{
    if (list->kind == DML_KEY_U64)
        return DML_OK;
    list->bytes = malloc((list->count + 1) * sizeof *list->bytes);
    if (!list->bytes)
        return no_memory(job, list);
    for (size_t i = 0; i < list->count; i++) {
        size_t begin = i > 0 ? list->ends[i - 1] : 0;
        list->bytes[i] =
            (dml_bytes){.data = list->text + begin, .count = list->ends[i] - begin};
    }
    return DML_OK;
}

void key_list_free(struct key_list *list)
{
    free(list->ends);
    free(list->text);
    free(list->u64);
    free(list->bytes);
    free(list->values);
    *list = (struct key_list){0};
}

dml_keys key_list_part(const struct key_list *list, size_t first, size_t count)
{
    return (dml_keys){.kind = list->kind,
                      .count = count,
                      .u64 = list->u64 ? list->u64 + first : NULL,
                      .bytes = list->bytes ? list->bytes + first : NULL};
}

dml_sampler_opts sampling_opts(const struct skew_options *options, dml_key_kind kind)
{
    dml_sampler_opts opts;
    dml_sampler_opts_init(&opts);
    opts.kind = kind;
    opts.rate = options->rate;
    opts.seed = (uint64_t)options->seed;
    const char *name;
    for (int m = 0; (name = dml_sample_method_name((dml_sample_method)m)) != NULL; m++)
        if (strcmp(name, options->sample) == 0)
            opts.method = (dml_sample_method)m;
    return opts;
}

/* ---- readers -------------------------------------------------------------------- */

/* The columns of the key and the weight, which may be one; no other is read. */
static dml_status find_columns(struct job *job, const struct skew_options *options,
                               dml_table *table, size_t *key, size_t *weight)
{
    SKEW_TRY(job_note(job, dml_table_find(table, options->key, key)));
    *weight = *key;
    if (options->weight)
        SKEW_TRY(job_note(job, dml_table_find(table, options->weight, weight)));
    for (size_t i = 0; i < dml_table_columns(table); i++)
        SKEW_TRY(job_note(job, dml_table_set_type(table, i,
                                                  i == *key || i == *weight
                                                      ? DML_COLUMN_TEXT
                                                      : DML_COLUMN_SKIP)));
    return DML_OK;
}

static dml_status read_table(struct job *job, const struct skew_options *options,
                             struct key_list *list)
{
    dml_table *table = NULL;
    dml_table_opts opts;
    dml_table_opts_init(&opts);
    opts.text.max_line_bytes = (size_t)options->max_bytes;
    SKEW_TRY(job_note(job, dml_table_open(job->ctx, options->data, &opts, &table)));
    size_t key = 0, weight = 0;
    dml_status status = find_columns(job, options, table, &key, &weight);
    dml_table_block block;
    dml_status next = DML_OK;
    while (status == DML_OK && (next = dml_table_next(table, &block)) == DML_OK)
        for (size_t i = 0; status == DML_OK && i < block.rows; i++) {
            uint64_t row = block.first + i + 1;
            status = key_list_add(job, options, list, block.columns[key].text[i], row);
            if (status == DML_OK && options->weight)
                status = key_list_weigh(job, options, list,
                                        block.columns[weight].text[i], row);
        }
    if (status == DML_OK && next != DML_EEND)
        status = job_note(job, next);
    dml_table_close(table);
    if (status == DML_OK && options->weight && list->count > 0 && list->heaviest <= 0)
        status =
            job_fail(job, DML_EFORMAT, "%.300s: all weights in column %.100s are 0",
                     options->data, options->weight);
    return status;
}

/* The column of a corpus by number; -1 is the last. */
static dml_status find_column(struct job *job, const struct skew_options *options,
                              size_t columns, size_t *column)
{
    char *end;
    long number = strtol(options->key, &end, 10);
    if (number < 0)
        number += (long)columns + 1;
    if (*end != '\0' || number < 1 || number > (long)columns)
        return job_fail(job, DML_EINVAL,
                        "%s: --key %.40s is no column; give a number from 1 to %zu",
                        options->data, options->key, columns);
    *column = (size_t)number - 1;
    return DML_OK;
}

static dml_status read_corpus(struct job *job, const struct skew_options *options,
                              struct key_list *list, dml_conll_format format)
{
    dml_conll_opts opts;
    dml_conll_opts_init(&opts);
    opts.format = format;
    opts.text.max_line_bytes = (size_t)options->max_bytes;
    dml_conll *corpus = NULL;
    SKEW_TRY(job_note(job, dml_conll_open(job->ctx, options->data, &opts, &corpus)));
    dml_sentence s;
    dml_status status = DML_OK, next = DML_OK;
    while (status == DML_OK && (next = dml_conll_next(corpus, &s)) == DML_OK) {
        size_t column = 0;
        status = find_column(job, options, s.columns, &column);
        for (size_t i = 0; status == DML_OK && i < s.tokens; i++)
            status = key_list_add(job, options, list, s.cells[i * s.columns + column],
                                  s.line + i);
    }
    if (status == DML_OK && next != DML_EEND)
        status = job_note(job, next);
    dml_conll_close(corpus);
    return status;
}

static dml_status read_words(struct job *job, const struct skew_options *options,
                             struct key_list *list)
{
    dml_text_opts opts;
    dml_text_opts_init(&opts);
    opts.max_line_bytes = (size_t)options->max_bytes;
    dml_lines *lines = NULL;
    SKEW_TRY(job_note(job, dml_lines_open(job->ctx, options->data, &opts, &lines)));
    dml_line line;
    dml_status status = DML_OK, next = DML_OK;
    while (status == DML_OK && (next = dml_lines_next(lines, &line)) == DML_OK) {
        const char *at = line.text.data;
        for (dml_text word; status == DML_OK && next_word(&at, &word);)
            status = key_list_add(job, options, list, word, line.number);
    }
    if (status == DML_OK && next != DML_EEND)
        status = job_note(job, next);
    dml_lines_close(lines);
    return status;
}

/* Does the name, without ".gz", end like this? */
static bool ends_in(const char *name, const char *ending)
{
    size_t n = strlen(name), e = strlen(ending);
    if (n > 3 && strcmp(name + n - 3, ".gz") == 0)
        n -= 3;
    return n > e && strncmp(name + n - e, ending, e) == 0;
}

dml_status key_list_read(struct job *job, const struct skew_options *options,
                         struct key_list *list)
{
    const char *format = options->format, *data = options->data;
    dml_status status;
    if (!data)
        return job_fail(job, DML_EINVAL, "which file? give --data FILE");
    if (options->cost && !options->weight)
        return job_fail(job, DML_EINVAL, "--cost needs --weight COLUMN");
    bool is_auto = strcmp(format, "auto") == 0;
    if (strcmp(format, "table") == 0 ||
        (is_auto && (ends_in(data, ".csv") || ends_in(data, ".tsv"))))
        status = read_table(job, options, list);
    else if (options->weight)
        status =
            job_fail(job, DML_EINVAL,
                     "%s is not read as a table, whose column --weight could name; "
                     "give --format table",
                     data);
    else if (strcmp(format, "words") == 0)
        status = read_words(job, options, list);
    else
        status = read_corpus(job, options, list,
                             is_auto && ends_in(data, ".conllu") ? DML_CONLL_U
                                                                 : DML_CONLL_COLUMNS);
    return status == DML_OK ? key_list_close(job, list) : status;
}
