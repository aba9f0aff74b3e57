/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tuning table: one rule a line, five words each,
 *
 *     collective  ranks  nodes  bytes  algorithm
 *     allreduce   2-8    1      64K-   ring        # the rest of a line is a comment
 *
 * ranks, nodes and bytes are a number, a range N-M, an open range N-, or * for any;
 * bytes take K, M and G. The first rule that fits holds.
 */
#include "collectives/table.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { WORDS = 5, LONGEST = 40 };

struct line {
    char word[WORDS + 1][LONGEST]; /* one more, to see that there are too many */
    int n;
};

/* Cuts one line into words; false when one of them is too long for any. */
static bool cut(const char *text, size_t length, struct line *line)
{
    line->n = 0;
    for (size_t i = 0; i < length && text[i] != '#';) {
        size_t begin = i;
        if (isspace((unsigned char)text[i])) {
            i++;
            continue;
        }
        while (i < length && !isspace((unsigned char)text[i]) && text[i] != '#')
            i++;
        if (i - begin >= LONGEST)
            return false;
        if (line->n > WORDS)
            return true;
        memcpy(line->word[line->n], text + begin, i - begin);
        line->word[line->n++][i - begin] = '\0';
    }
    return true;
}

/* "64K" of a text; false when there is no number, or one beyond 2^62. */
static bool number(const char **text, bool units, uint64_t *value)
{
    const char *p = *text;
    *value = 0;
    for (; isdigit((unsigned char)*p); p++) {
        if (*value > UINT64_MAX / 1000)
            return false;
        *value = *value * 10 + (uint64_t)(*p - '0');
    }
    if (p == *text)
        return false;
    const char *unit =
        units && *p != '\0' ? strchr("KMG", toupper((unsigned char)*p)) : NULL;
    int shift = unit == NULL ? 0 : *unit == 'K' ? 10 : *unit == 'M' ? 20 : 30;
    p += unit != NULL;
    if (*value > (uint64_t)1 << 62 >> shift)
        return false;
    *value <<= shift;
    *text = p;
    return true;
}

static bool span(const char *text, bool units, struct dml__span *span)
{
    *span = (struct dml__span){0, UINT64_MAX};
    if (strcmp(text, "*") == 0)
        return true;
    if (!number(&text, units, &span->first))
        return false;
    if (*text == '\0') {
        span->last = span->first;
        return true;
    }
    if (*text++ != '-')
        return false;
    if (*text == '\0')
        return true;
    return number(&text, units, &span->last) && *text == '\0' &&
           span->first <= span->last;
}

/* Number of a collective, or -1. */
static int find_coll(const char *name)
{
    for (int c = 0; c < DML_NCOLLS; c++)
        if (strcmp(name, dml_coll_name((dml_coll)c)) == 0)
            return c;
    return -1;
}

/* The rule of a line with words; NULL, or what is wrong with it. */
static const char *make_rule(struct line *line, struct dml__rule *rule,
                             const char **culprit)
{
    *culprit = "";
    if (line->n != WORDS)
        return "a rule has five words: collective ranks nodes bytes algorithm";
    int coll = find_coll(*culprit = line->word[0]);
    if (coll < 0)
        return "no such collective";
    rule->coll = (dml_coll)coll;
    if (!span(*culprit = line->word[1], false, &rule->ranks))
        return "ranks are N, N-M, N- or *";
    if (!span(*culprit = line->word[2], false, &rule->nodes))
        return "nodes are N, N-M, N- or *";
    if (!span(*culprit = line->word[3], true, &rule->bytes))
        return "bytes are N, N-M, N- or *, with K, M or G";
    rule->alg = dml__alg_find(rule->coll, *culprit = line->word[4]);
    if (rule->alg == NULL && strcmp(*culprit, "auto") != 0)
        return "the collective has no such algorithm";
    return NULL;
}

static size_t count_lines(const char *text)
{
    size_t n = 1;
    for (; *text != '\0'; text++)
        n += *text == '\n';
    return n;
}

dml_status dml__table_parse(dml_ctx *ctx, const char *name, const char *text,
                            struct dml__rule **out, size_t *nrules)
{
    struct dml__rule *rules =
        dml__alloc(ctx, dml__mul(count_lines(text), sizeof *rules));
    if (rules == NULL)
        return dml__fail(ctx, DML_ENOMEM, "DML_TUNING", "no memory for the table");
    size_t n = 0;
    int number = 0;
    while (*text != '\0') {
        struct line line;
        const char *culprit = "";
        size_t length = strcspn(text, "\n");
        number++;
        const char *wrong = "a word is too long";
        if (cut(text, length, &line))
            wrong = line.n > 0 ? make_rule(&line, &rules[n], &culprit) : NULL;
        if (wrong != NULL) {
            dml__free(rules);
            return dml__fail(ctx, DML_EINVAL, "DML_TUNING", "%.200s, line %d: %s%s%s%s",
                             name, number, *culprit != '\0' ? "\"" : "", culprit,
                             *culprit != '\0' ? "\": " : "", wrong);
        }
        rules[n].line = number;
        n += line.n > 0;
        text += length + (text[length] == '\n');
    }
    *out = rules;
    *nrules = n;
    return DML_OK;
}

static bool within(const struct dml__span *span, uint64_t value)
{
    return span->first <= value && value <= span->last;
}

size_t dml__table_find(const struct dml__rule *rules, size_t nrules, size_t from,
                       dml_coll coll, const dml_comm *comm, double bytes)
{
    int nnodes;
    uint64_t nranks = (uint64_t)dml_comm_size(comm);
    dml__comm_nodes(comm, &nnodes);
    for (size_t i = from; i < nrules; i++)
        if (rules[i].coll == coll && within(&rules[i].ranks, nranks) &&
            within(&rules[i].nodes, (uint64_t)nnodes) &&
            within(&rules[i].bytes, (uint64_t)bytes))
            return i;
    return nrules;
}
