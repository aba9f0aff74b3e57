/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sentences from files: one token a line, an empty line between sentences. A line that
 * holds nothing but blanks is empty.
 */
#include "reader.h"

#include <stdlib.h>
#include <string.h>

#define MAX_TOKENS ((size_t)1 << 22) /* of a sentence */

enum reader_format reader_format(const char *name, const char *path)
{
    if (strcmp(name, "items") == 0)
        return READER_ITEMS;
    if (strcmp(name, "columns") == 0)
        return READER_COLUMNS;
    bool by_name = strstr(path, ".conllu") || strstr(path, ".iob2");
    return strcmp(name, "conllu") == 0 || by_name ? READER_CONLLU : READER_COLUMNS;
}

dml_status reader_open(struct reader *reader, struct job *job, const char *path,
                       enum reader_format format)
{
    *reader = (struct reader){.format = format, .separator = '\t'};
    return lines_open(&reader->lines, job, path);
}

void reader_close(struct reader *reader)
{
    lines_close(&reader->lines);
    free(reader->text);
    free(reader->offsets);
    free(reader->cells);
    free(reader->first);
    *reader = (struct reader){0};
}

/* Room for "need" elements of an array that grows by doubling. */
static bool make_room(void **array, size_t *room, size_t need, size_t bytes)
{
    if (need <= *room)
        return true;
    size_t wanted = *room ? *room : 256;
    while (wanted < need)
        wanted *= 2;
    void *grown = realloc(*array, wanted * bytes);
    if (!grown)
        return false;
    *array = grown;
    *room = wanted;
    return true;
}

static dml_status no_memory(struct reader *reader)
{
    return job_fail(reader->lines.job, DML_ENOMEM, "out of memory");
}

static dml_status add_cell(struct reader *reader, const char *text, size_t bytes)
{
    size_t room = reader->cells_room;
    if (!make_room((void **)&reader->text, &reader->text_room,
                   reader->bytes + bytes + 1, 1) ||
        !make_room((void **)&reader->offsets, &reader->cells_room, reader->ncells + 1,
                   sizeof *reader->offsets))
        return no_memory(reader);
    if (room != reader->cells_room) {
        const char **cells = realloc(reader->cells, reader->cells_room * sizeof *cells);
        if (!cells)
            return no_memory(reader);
        reader->cells = cells;
    }
    reader->offsets[reader->ncells++] = reader->bytes;
    memcpy(reader->text + reader->bytes, text, bytes);
    reader->text[reader->bytes + bytes] = '\0';
    reader->bytes += bytes + 1;
    return DML_OK;
}

static dml_status add_cells(struct reader *reader, const char *text)
{
    const char *separators = reader->format == READER_COLUMNS ? " \t" : "\t";
    for (;;) {
        if (reader->format == READER_COLUMNS)
            text += strspn(text, separators);
        if (reader->format == READER_COLUMNS && *text == '\0')
            return DML_OK;
        size_t bytes = strcspn(text, separators);
        dml_status status = add_cell(reader, text, bytes);
        if (status != DML_OK)
            return status;
        text += bytes;
        if (*text == '\0')
            return DML_OK;
        text++;
    }
}

/* A token that has as many cells as the first one of the file. */
static dml_status check_columns(struct reader *reader, size_t before)
{
    size_t columns = reader->ncells - before;
    if (reader->columns == 0) {
        reader->columns = columns;
        reader->separator = strchr(reader->lines.text, '\t') ? '\t' : ' ';
    }
    if (columns == reader->columns)
        return DML_OK;
    return job_fail(reader->lines.job, DML_EFORMAT,
                    "%.300s:%llu: %zu cells, but the tokens before have %zu; mend this "
                    "line",
                    reader->lines.path, (unsigned long long)reader->lines.number,
                    columns, reader->columns);
}

static dml_status add_token(struct reader *reader, const char *text)
{
    size_t before = reader->ncells;
    dml_status status = add_cells(reader, text);
    if (status != DML_OK)
        return status;
    const char *id = reader->text + reader->offsets[before];
    if (reader->format == READER_CONLLU && strpbrk(id, "-.") && *id >= '0' &&
        *id <= '9') {
        reader->bytes = reader->offsets[before];
        reader->ncells = before;
        return DML_OK;
    }
    if (reader->format != READER_ITEMS)
        status = check_columns(reader, before);
    if (status != DML_OK)
        return status;
    if (reader->tokens == MAX_TOKENS)
        return job_fail(reader->lines.job, DML_EFORMAT,
                        "%.300s:%llu: a sentence of more than %zu tokens; put empty "
                        "lines between sentences",
                        reader->lines.path, (unsigned long long)reader->lines.number,
                        MAX_TOKENS);
    if (!make_room((void **)&reader->first, &reader->tokens_room, reader->tokens + 2,
                   sizeof *reader->first))
        return no_memory(reader);
    reader->first[reader->tokens++] = before;
    reader->first[reader->tokens] = reader->ncells;
    return DML_OK;
}

dml_status reader_next(struct reader *reader, struct sentence *sentence)
{
    struct lines *lines = &reader->lines;
    uint64_t line = 0;
    reader->bytes = reader->ncells = reader->tokens = 0;
    for (;;) {
        dml_status status = lines_next(lines);
        if (status == DML_EEND && reader->tokens > 0)
            break;
        if (status != DML_OK)
            return status;
        bool blank = lines->text[strspn(lines->text, " \t")] == '\0';
        if (blank && reader->tokens > 0)
            break;
        if (blank || (reader->format == READER_CONLLU && lines->text[0] == '#'))
            continue;
        status = add_token(reader, lines->text);
        if (status != DML_OK)
            return status;
        if (line == 0 && reader->tokens > 0)
            line = lines->number;
    }
    for (size_t i = 0; i < reader->ncells; i++)
        reader->cells[i] = reader->text + reader->offsets[i];
    *sentence = (struct sentence){.tokens = reader->tokens,
                                  .first = reader->first,
                                  .cells = reader->cells,
                                  .line = line,
                                  .separator = reader->separator};
    return DML_OK;
}
