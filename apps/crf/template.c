/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Templates: the language of CRF++ and Wapiti, "U01:%x[-1,0]/%x[0,0]", with functions
 * of cells on top. Each line that begins with U makes one attribute per token, and so
 * does a line that begins with B and names cells: one that meets pairs of labels. The
 * line B makes transitions from label to label. doc/crf.md describes the language.
 */
#include "template.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TEXT ((size_t)1 << 20) /* of a template */
#define MAX_ROW  64                /* how far a template may look */
#define MAX_COLS 1024

struct parser {
    struct job *job;
    struct template *template;
    const char *from;
    unsigned long line;
    size_t pieces_room, macros_room;
};

static dml_status bad(struct parser *parser, const char *what)
{
    return job_fail(parser->job, DML_EFORMAT, "%.300s:%lu: %s", parser->from,
                    parser->line, what);
}

static struct piece *add_piece(struct parser *parser)
{
    struct template *template = parser->template;
    if (template->npieces == parser->pieces_room) {
        size_t room = parser->pieces_room ? 2 * parser->pieces_room : 64;
        struct piece *pieces = realloc(template->pieces, room * sizeof *pieces);
        if (!pieces)
            return NULL;
        template->pieces = pieces;
        parser->pieces_room = room;
    }
    struct piece *piece = &template->pieces[template->npieces++];
    *piece = (struct piece){.kind = 't'};
    return piece;
}

/* A whole number at *at; false if there is none in [least, most]. */
static bool number(const char **at, long least, long most, long *value)
{
    char *end = NULL;
    const char *text = *at + strspn(*at, " ");
    if (*text != '-' && *text != '+' && !isdigit((unsigned char)*text))
        return false;
    *value = strtol(text, &end, 10);
    if (end == text || *value < least || *value > most)
        return false;
    *at = end + strspn(end, " ");
    return true;
}

/* "x[row,column]" or "p[row,column,letters]"; *at is behind the "%". */
static dml_status parse_function(struct parser *parser, const char **at)
{
    long row = 0, column = 0, letters = 0;
    char kind = **at;
    if (kind == '\0' || !strchr("xlpsh", kind))
        return bad(parser, "after % comes x, l, p, s or h; see doc/crf.md");
    const char *text = *at + 1;
    bool cut = kind == 'p' || kind == 's';
    if (*text++ != '[' || !number(&text, -MAX_ROW, MAX_ROW, &row) || *text++ != ',' ||
        !number(&text, 0, MAX_COLS - 1, &column))
        return bad(parser, "write %x[row,column], row from -64 to 64, column from 0");
    if (cut && (*text++ != ',' || !number(&text, 1, 64, &letters)))
        return bad(parser, "write %p[row,column,letters] or %s[...], letters from 1");
    if (*text++ != ']')
        return bad(parser, "a \"]\" is missing");
    struct piece *piece = add_piece(parser);
    if (!piece)
        return job_fail(parser->job, DML_ENOMEM, "out of memory");
    piece->kind = kind;
    piece->row = (int)row;
    piece->column = (size_t)column;
    piece->letters = (size_t)letters;
    if (piece->column + 1 > parser->template->columns)
        parser->template->columns = piece->column + 1;
    *at = text;
    return DML_OK;
}

static dml_status parse_macro(struct parser *parser, const char *text, bool pair)
{
    struct template *template = parser->template;
    if (template->nmacros == parser->macros_room) {
        size_t room = parser->macros_room ? 2 * parser->macros_room : 64;
        struct macro *macros = realloc(template->macros, room * sizeof *macros);
        if (!macros)
            return job_fail(parser->job, DML_ENOMEM, "out of memory");
        template->macros = macros;
        parser->macros_room = room;
    }
    struct macro macro = {.first = template->npieces, .pair = pair};
    while (*text) {
        size_t bytes = strcspn(text, "%");
        if (bytes > 0) {
            struct piece *piece = add_piece(parser);
            if (!piece)
                return job_fail(parser->job, DML_ENOMEM, "out of memory");
            piece->text = text;
            piece->bytes = bytes;
            text += bytes;
        }
        if (*text == '%') {
            text++;
            dml_status status = parse_function(parser, &text);
            if (status != DML_OK)
                return status;
        }
    }
    macro.count = template->npieces - macro.first;
    template->macros[template->nmacros++] = macro;
    return DML_OK;
}

static dml_status parse_line(struct parser *parser, char *text)
{
    struct template *template = parser->template;
    size_t bytes = strlen(text);
    while (bytes > 0 && strchr(" \t\r", text[bytes - 1]))
        text[--bytes] = '\0';
    if (bytes == 0 || text[0] == '#')
        return DML_OK;
    if (text[0] == 'U' || text[0] == 'u')
        return parse_macro(parser, text, false);
    if (text[0] == 'B' || text[0] == 'b') {
        bool pairs = strchr(text, '%') != NULL;
        template->pairs = template->pairs || pairs;
        template->transitions = template->transitions || !pairs;
        return pairs ? parse_macro(parser, text, true) : DML_OK;
    }
    if (strcmp(text, "!outside skip") == 0)
        template->skip_outside = true;
    else if (strcmp(text, "!ends") == 0)
        template->ends = true;
    else
        return bad(parser,
                   "a line begins with U, B or #, or is \"!ends\" or \"!outside "
                   "skip\"; see doc/crf.md");
    return DML_OK;
}

dml_status template_parse(struct template *template, struct job *job, const char *text,
                          size_t bytes, const char *from)
{
    struct parser parser = {.job = job, .template = template, .from = from};
    *template = (struct template){.text_bytes = bytes};
    template->text = malloc(bytes + 1);
    template->copy = malloc(bytes + 1);
    if (!template->text || !template->copy)
        return job_fail(job, DML_ENOMEM, "out of memory");
    memcpy(template->text, text, bytes);
    template->text[bytes] = '\0';
    memcpy(template->copy, template->text, bytes + 1);
    for (char *at = template->copy, *next; at; at = next) {
        next = strchr(at, '\n');
        if (next)
            *next++ = '\0';
        parser.line++;
        dml_status status = parse_line(&parser, at);
        if (status != DML_OK)
            return status;
    }
    if (template->nmacros == 0)
        return job_fail(job, DML_EFORMAT, "%.300s: no line begins with U", from);
    return DML_OK;
}

static dml_status load_file(struct template *template, struct job *job,
                            const char *path)
{
    struct lines lines;
    char *text = malloc(MAX_TEXT);
    size_t bytes = 0;
    dml_status status = lines_open(&lines, job, path);
    if (status == DML_OK && !text)
        status = job_fail(job, DML_ENOMEM, "out of memory");
    while (status == DML_OK) {
        status = lines_next(&lines);
        if (status != DML_OK)
            break;
        if (bytes + lines.bytes + 1 >= MAX_TEXT) {
            status =
                job_fail(job, DML_EFORMAT, "%.300s: a template of more than %zu bytes",
                         path, MAX_TEXT);
            break;
        }
        memcpy(text + bytes, lines.text, lines.bytes);
        bytes += lines.bytes;
        text[bytes++] = '\n';
    }
    if (status == DML_EEND)
        status = template_parse(template, job, text, bytes, path);
    free(text);
    lines_close(&lines);
    return status;
}

dml_status template_load(struct template *template, struct job *job, const char *name)
{
    const struct template_builtin *builtin;
    *template = (struct template){0};
    for (size_t i = 0; (builtin = template_builtin(i)); i++)
        if (strcmp(builtin->name, name) == 0)
            return template_parse(template, job, builtin->text, strlen(builtin->text),
                                  name);
    return load_file(template, job, name);
}

void template_free(struct template *template)
{
    free(template->text);
    free(template->copy);
    free(template->pieces);
    free(template->macros);
    *template = (struct template){0};
}

/* Is the label's column one of a template's? Then a model would learn to copy it. */
static bool names_column(const struct template *template, size_t column)
{
    for (size_t i = 0; i < template->npieces; i++)
        if (template->pieces[i].kind != 't' && template->pieces[i].column == column)
            return true;
    return false;
}

dml_status template_check(const struct template *template, struct job *job,
                          const struct sentence *sentence, long label, const char *path)
{
    size_t columns = sentence_columns(sentence, 0);
    size_t of_label = label == LABEL_LAST ? columns - 1 : (size_t)label;
    if (columns < template->columns)
        return job_fail(job, DML_EFORMAT,
                        "%.300s:%llu: %zu column%s, but the template (of training) "
                        "names columns 0 to %zu: give every line so many, or train "
                        "with another --template",
                        path, (unsigned long long)sentence->line, columns,
                        columns == 1 ? "" : "s", template->columns - 1);
    if (label != LABEL_ABSENT && names_column(template, of_label))
        return job_fail(job, DML_EFORMAT,
                        "%.300s:%llu: the template names column %zu (counted from 0), "
                        "which is the label's; give --label or another --template",
                        path, (unsigned long long)sentence->line, of_label);
    return DML_OK;
}
