/* SPDX-License-Identifier: BSD-3-Clause */
/* Sentences from files in the field's formats; see reader.c. */
#ifndef CRF_READER_H
#define CRF_READER_H

#include "lines.h"

enum reader_format {
    READER_COLUMNS, /* cells separated by blanks or tabs, an empty line in between */
    READER_CONLLU,  /* cells separated by single tabs, "#" comments, ranges left out */
    READER_ITEMS    /* CRFsuite's: LABEL TAB ATTRIBUTE[:VALUE] TAB ... */
};

/* T tokens; token t has the cells first[t] .. first[t + 1] - 1. Borrowed until the next
 * sentence is read. */
struct sentence {
    size_t tokens;
    const size_t *first; /* [T + 1] */
    const char *const *cells;
    uint64_t line;  /* number of the first token's line */
    char separator; /* between cells: a tab or a blank */
};

struct reader {
    struct lines lines;
    enum reader_format format;
    size_t columns; /* of every token; 0 before the first one */
    char separator; /* of the first token's cells */
    char *text;     /* of the sentence */
    size_t bytes, text_room;
    size_t *offsets; /* of cells, in text */
    const char **cells;
    size_t ncells, cells_room;
    size_t *first;
    size_t tokens, tokens_room;
};

/* Close in any case. On failure the job holds one line with file and line. */
dml_status reader_open(struct reader *reader, struct job *job, const char *path,
                       enum reader_format format);
dml_status reader_next(struct reader *reader, struct sentence *sentence);
void reader_close(struct reader *reader);

/* "columns", "conllu" or "items"; "auto" goes by the file's name. */
enum reader_format reader_format(const char *name, const char *path);

/* Cell of a token, which must have it. */
static inline const char *sentence_cell(const struct sentence *sentence, size_t token,
                                        size_t column)
{
    return sentence->cells[sentence->first[token] + column];
}

static inline size_t sentence_columns(const struct sentence *sentence, size_t token)
{
    return sentence->first[token + 1] - sentence->first[token];
}

#endif
