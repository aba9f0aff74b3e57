/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Attributes of a token: templates put in, or items read as they are. Bytes that are
 * not UTF-8 count as letters of their own.
 */
#include "template.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool room_for(struct attributes *out, size_t bytes)
{
    if (out->bytes + bytes > out->text_room) {
        size_t room = 2 * (out->bytes + bytes) + 1024;
        char *text = realloc(out->text, room);
        if (!text)
            return false;
        out->text = text;
        out->text_room = room;
    }
    if (out->count == out->room) {
        size_t room = 2 * out->room + 32;
        size_t *ends = realloc(out->ends, room * sizeof *ends);
        if (ends)
            out->ends = ends;
        double *values = realloc(out->values, room * sizeof *values);
        if (values)
            out->values = values;
        if (!ends || !values)
            return false;
        out->room = room;
    }
    return true;
}

static void end_attribute(struct attributes *out, double value)
{
    out->values[out->count] = value;
    out->ends[out->count++] = out->bytes;
}

void attributes_free(struct attributes *attributes)
{
    free(attributes->text);
    free(attributes->ends);
    free(attributes->values);
    *attributes = (struct attributes){0};
}

/* ---- functions of a cell -------------------------------------------------------- */

static bool starts_letter(char byte)
{
    return ((unsigned char)byte & 0xc0) != 0x80;
}

/* Bytes of the first n letters, or SIZE_MAX when there are fewer. */
static size_t prefix_bytes(const char *text, size_t bytes, size_t n)
{
    size_t at = 0;
    for (; n > 0 && at < bytes; n--)
        do
            at++;
        while (at < bytes && !starts_letter(text[at]));
    return n == 0 ? at : SIZE_MAX;
}

static size_t suffix_bytes(const char *text, size_t bytes, size_t n)
{
    size_t at = bytes;
    for (; n > 0 && at > 0; n--)
        do
            at--;
        while (at > 0 && !starts_letter(text[at]));
    return n == 0 ? bytes - at : SIZE_MAX;
}

static char lower(char byte)
{
    return byte >= 'A' && byte <= 'Z' ? (char)(byte + 'a' - 'A') : byte;
}

/* Class of a letter: A, a, 0, "x" above ASCII, or itself. */
static char shape_of(char byte)
{
    if (byte >= 'A' && byte <= 'Z')
        return 'A';
    if (byte >= 'a' && byte <= 'z')
        return 'a';
    if (byte >= '0' && byte <= '9')
        return '0';
    return (unsigned char)byte >= 0x80 ? 'x' : byte;
}

/* Runs of one class count once. Bytes written. */
static size_t put_shape(char *out, const char *text, size_t bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++) {
        char class = shape_of(text[i]);
        if (n == 0 || out[n - 1] != class)
            out[n++] = class;
    }
    return n;
}

/* ---- templates ------------------------------------------------------------------ */

static bool put_text(struct attributes *out, const char *text, size_t bytes)
{
    if (!room_for(out, bytes))
        return false;
    memcpy(out->text + out->bytes, text, bytes);
    out->bytes += bytes;
    return true;
}

/* CRF++'s names for what lies outside a sentence. */
static bool put_outside(struct attributes *out, long at, size_t tokens)
{
    char name[32];
    int bytes = at < 0 ? snprintf(name, sizeof name, "_B%ld", at)
                       : snprintf(name, sizeof name, "_B+%ld", at - (long)tokens + 1);
    return put_text(out, name, (size_t)bytes);
}

/* 1: done; 0: the attribute is left out; -1: memory is short. */
static int put_cell(struct attributes *out, const struct piece *piece, const char *cell)
{
    size_t bytes = strlen(cell);
    if (piece->kind == 'p' || piece->kind == 's') {
        size_t cut = piece->kind == 'p' ? prefix_bytes(cell, bytes, piece->letters)
                                        : suffix_bytes(cell, bytes, piece->letters);
        if (cut == SIZE_MAX)
            return 0;
        return put_text(out, piece->kind == 'p' ? cell : cell + bytes - cut, cut) ? 1
                                                                                  : -1;
    }
    if (!room_for(out, bytes))
        return -1;
    char *to = out->text + out->bytes;
    if (piece->kind == 'x')
        memcpy(to, cell, bytes);
    else if (piece->kind == 'l')
        for (size_t i = 0; i < bytes; i++)
            to[i] = lower(cell[i]);
    else
        bytes = put_shape(to, cell, bytes);
    out->bytes += bytes;
    return 1;
}

static int put_piece(const struct template *template, const struct piece *piece,
                     const struct sentence *sentence, size_t t, struct attributes *out)
{
    if (piece->kind == 't')
        return put_text(out, piece->text, piece->bytes) ? 1 : -1;
    long at = (long)t + piece->row;
    if (at >= 0 && at < (long)sentence->tokens)
        return put_cell(out, piece, sentence_cell(sentence, (size_t)at, piece->column));
    if (template->skip_outside)
        return 0;
    return put_outside(out, at, sentence->tokens) ? 1 : -1;
}

static bool put_macro(const struct template *template, const struct macro *macro,
                      const struct sentence *sentence, size_t t, struct attributes *out)
{
    size_t begin = out->bytes;
    int done = room_for(out, 0) ? 1 : -1;
    for (size_t i = 0; i < macro->count && done == 1; i++)
        done =
            put_piece(template, &template->pieces[macro->first + i], sentence, t, out);
    if (done == 1)
        end_attribute(out, 1);
    else
        out->bytes = begin;
    return done >= 0;
}

bool template_expand(const struct template *template, const struct sentence *sentence,
                     size_t t, bool pairs, struct attributes *out)
{
    out->bytes = out->count = 0;
    for (size_t i = 0; i < template->nmacros; i++)
        if (template->macros[i].pair == pairs &&
            !put_macro(template, &template->macros[i], sentence, t, out))
            return false;
    for (int end = 0; end < 2 && template->ends && !pairs; end++) {
        if (t != (end ? sentence->tokens - 1 : 0))
            continue;
        if (!put_text(out, end ? "__EOS__" : "__BOS__", 7))
            return false;
        end_attribute(out, 1);
    }
    return true;
}

/* ---- items ---------------------------------------------------------------------- */

const char *items_expand(const struct sentence *sentence, size_t t, size_t skip,
                         struct attributes *out)
{
    out->bytes = out->count = 0;
    for (size_t i = skip; i < sentence_columns(sentence, t); i++) {
        const char *cell = sentence_cell(sentence, t, i);
        double value = 1;
        if (*cell == '\0')
            continue;
        if (!room_for(out, strlen(cell)))
            return "out of memory";
        for (; *cell && *cell != ':'; cell++) {
            if (*cell == '\\' && (cell[1] == ':' || cell[1] == '\\'))
                cell++;
            out->text[out->bytes++] = *cell;
        }
        if (*cell == ':') {
            char *end = NULL;
            value = strtod(cell + 1, &end);
            if (end == cell + 1 || *end != '\0' || !isfinite(value))
                return "the text behind \":\" is no number; write \"\\:\" for a colon "
                       "in an attribute";
        }
        end_attribute(out, value);
    }
    return NULL;
}
