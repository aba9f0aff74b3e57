/* SPDX-License-Identifier: BSD-3-Clause */
/* Which attributes a token has: templates over the cells around it; see template.c. */
#ifndef CRF_TEMPLATE_H
#define CRF_TEMPLATE_H

#include "reader.h"

/* A piece of a macro: literal text, or a function of one cell. */
struct piece {
    char kind;     /* 't' text; 'x' the cell; 'l' in lower case; 'p' prefix; 's' suffix;
                      'h' shape */
    int row;       /* token, counted from the current one */
    size_t column; /* of the cell, from 0 */
    size_t letters; /* of a prefix or suffix */
    const char *text;
    size_t bytes;
};

struct macro {
    size_t first, count; /* pieces */
    bool pair;           /* of a line B: meets pairs of labels */
};

struct template
{
    char *text; /* as read, kept for the model file */
    size_t text_bytes;
    char *copy; /* what pieces of kind 't' point into */
    struct piece *pieces;
    struct macro *macros;
    size_t npieces, nmacros;
    size_t columns;    /* that a token must have */
    bool transitions;  /* there is a line that begins with B and names no cell */
    bool pairs;        /* there is one that does */
    bool skip_outside; /* an attribute that reaches outside the sentence is left out */
    bool ends;         /* attributes __BOS__ and __EOS__ */
};

/* Columns of labels that have no number. */
#define LABEL_ABSENT (-1)
#define LABEL_LAST   (-2)

/* Attributes of one token; attribute i ends at ends[i] in text, and begins where the
 * one before ends. */
struct attributes {
    char *text;
    size_t bytes, text_room;
    size_t *ends;
    double *values; /* 1 but for items */
    size_t count, room;
};

/* "name" is a built-in template (see template_builtin()) or a file. On failure the job
 * holds one line. */
dml_status template_load(struct template *template, struct job *job, const char *name);

/* From text in memory; "from" is named in messages. */
dml_status template_parse(struct template *template, struct job *job, const char *text,
                          size_t bytes, const char *from);
void template_free(struct template *template);

/* The i-th built-in template, or NULL. */
struct template_builtin {
    const char *name, *help, *text;
};
const struct template_builtin *template_builtin(size_t i);

/* A sentence's first token has the columns that the template names, and the column
 * "label" (or LABEL_LAST, LABEL_ABSENT) is none of them; or the job holds one line. */
dml_status template_check(const struct template *template, struct job *job,
                          const struct sentence *sentence, long label,
                          const char *path);

/* Attributes of token t that meet its label or, with "pairs", pairs of labels; false
 * when memory is short. */
bool template_expand(const struct template *template, const struct sentence *sentence,
                     size_t t, bool pairs, struct attributes *out);

/* Attributes of token t of a sentence of items, from cell "skip" on: "text",
 * "text:value", with "\:" and "\\" for a colon and a backslash. NULL, or what is wrong.
 */
const char *items_expand(const struct sentence *sentence, size_t t, size_t skip,
                         struct attributes *out);

void attributes_free(struct attributes *attributes);

#endif
