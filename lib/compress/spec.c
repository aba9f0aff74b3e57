/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The text of a codec: NAME[:NUMBER][,KEY=VALUE]...[,force]. Every mistake is told from
 * what was written and what could stand there.
 */
#include "compress/codec.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A text being read; "copy" is cut into words in place. */
struct reading {
    const dml_ctx *ctx;
    const char *text, *where;
    char copy[DML_CODEC_TEXT_MAX];
};

static const struct dml__codec_kind *find(const char *name)
{
    const struct dml__codec_kind *kind;
    for (size_t i = 0; (kind = dml__codec_kind(i)) != NULL; i++)
        if (strcmp(kind->name, name) == 0)
            return kind;
    return NULL;
}

static dml_status unknown(const struct reading *r, const char *name)
{
    char known[160] = "none";
    size_t used = strlen(known);
    for (size_t i = 0; dml__codec_kind(i) != NULL && used < sizeof known; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, ", %s",
                                 dml__codec_kind(i)->name);
    return dml__fail(r->ctx, DML_EINVAL, r->where,
                     "codec \"%s\": there is no \"%s\"; use one of %s", r->text, name,
                     known);
}

static dml_status read_number(const struct reading *r, const char *word,
                              struct dml__codec_spec *spec)
{
    const struct dml__codec_kind *kind = spec->kind;
    if (kind->number == NULL && word != NULL)
        return dml__fail(r->ctx, DML_EINVAL, r->where,
                         "codec \"%s\": %s takes no number", r->text, kind->name);
    spec->number = kind->usual;
    if (kind->number == NULL || (word == NULL && kind->usual > 0))
        return DML_OK;
    double value = 0;
    if (word == NULL)
        return dml__fail(r->ctx, DML_EINVAL, r->where,
                         "codec \"%s\": %s needs its %s, as in %s:%g", r->text,
                         kind->name, kind->number, kind->name, kind->whole ? 2 : 0.01);
    if (!dml__number(word, &value) || value < kind->least || value > kind->most ||
        (kind->whole && value != floor(value)))
        return dml__fail(r->ctx, DML_EINVAL, r->where,
                         "codec \"%s\": %s is \"%s\"; it must be a %snumber from %g to "
                         "%g",
                         r->text, kind->number, word, kind->whole ? "whole " : "",
                         kind->least, kind->most);
    spec->number = value;
    return DML_OK;
}

static dml_status read_key(const struct reading *r, char *word,
                           struct dml__codec_spec *spec)
{
    if (strcmp(word, "force") == 0) {
        spec->force = true;
        return DML_OK;
    }
    char *equals = strchr(word, '=');
    char padded[DML_CODEC_TEXT_MAX + 2];
    if (equals != NULL)
        *equals = '\0';
    snprintf(padded, sizeof padded, " %s ", word);
    if (equals == NULL || strstr(spec->kind->keys, padded) == NULL)
        return dml__fail(r->ctx, DML_EINVAL, r->where,
                         "codec \"%s\": \"%s\" is unknown to %s; it knows force and "
                         "KEY=VALUE with the keys%.*s",
                         r->text, word, spec->kind->name,
                         (int)strlen(spec->kind->keys) - 1, spec->kind->keys);
    const struct {
        const char *key;
        double *real;
        uint64_t *whole;
        double most;
    } keys[] = {
        {"momentum", &spec->momentum, NULL, 0.9999}, {"clip", &spec->clip, NULL, 1e30},
        {"warmup", NULL, &spec->warmup, 1e15},       {"seed", NULL, &spec->seed, 9e15},
        {"start", NULL, &spec->start, 1e15},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        double value = 0;
        if (strcmp(keys[i].key, word) != 0)
            continue;
        if (!dml__number(equals + 1, &value) || value < 0 || value > keys[i].most ||
            (keys[i].whole != NULL && value != floor(value)))
            return dml__fail(r->ctx, DML_EINVAL, r->where,
                             "codec \"%s\": %s is \"%s\"; it must be a %snumber from 0 "
                             "to %g",
                             r->text, word, equals + 1,
                             keys[i].whole != NULL ? "whole " : "", keys[i].most);
        if (keys[i].whole != NULL)
            *keys[i].whole = (uint64_t)value;
        else
            *keys[i].real = value;
    }
    return DML_OK;
}

dml_status dml__codec_parse(const dml_ctx *ctx, const char *text, const char *where,
                            struct dml__codec_spec *spec)
{
    struct reading r = {.ctx = ctx, .text = text, .where = where};
    struct dml__codec_spec read = {.momentum = 0.9};
    *spec = (struct dml__codec_spec){0};
    if (text == NULL || text[0] == '\0' || strcmp(text, "none") == 0)
        return DML_OK;
    if (strlen(text) >= sizeof r.copy)
        return dml__fail(ctx, DML_EINVAL, where,
                         "the codec's text is longer than %zu characters",
                         sizeof r.copy - 1);
    memcpy(r.copy, text, strlen(text) + 1);
    char *rest = strchr(r.copy, ',');
    if (rest != NULL)
        *rest++ = '\0';
    char *number = strchr(r.copy, ':');
    if (number != NULL)
        *number++ = '\0';
    if (strcmp(r.copy, "none") == 0)
        return dml__fail(ctx, DML_EINVAL, where,
                         "codec \"%s\": none takes no number and no keys", text);
    read.kind = find(r.copy);
    if (read.kind == NULL)
        return unknown(&r, r.copy);
    DML_TRY(read_number(&r, number, &read));
    while (rest != NULL) {
        char *word = rest;
        rest = strchr(rest, ',');
        if (rest != NULL)
            *rest++ = '\0';
        DML_TRY(read_key(&r, word, &read));
    }
    *spec = read;
    return DML_OK;
}

dml_status dml_codec_check(const dml_ctx *ctx, const char *spec)
{
    struct dml__codec_spec read;
    return dml__codec_parse(ctx, spec, __func__, &read);
}
