/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Scores by the rules of the CoNLL-2000 evaluation. A chunk begins at B, and at I, E or
 * S after another type or after a chunk's end; S and E end one. A chunk is right when
 * begin, end and type are. Labels without "-" have no type: O is outside of chunks.
 */
#include "score.h"

#include "grow.h"

#include <string.h>

bool score_init(struct score *score)
{
    *score = (struct score){0};
    return dict_init(&score->types);
}

void score_free(struct score *score)
{
    dict_free(&score->types);
    free(score->by_type);
    *score = (struct score){0};
}

/* A label taken apart: 'B', 'I', 'E', 'S' or 'O', and the type. */
struct tag {
    char place;
    const char *type;
};

static struct tag take_apart(const char *label)
{
    if (label[0] != '\0' && label[1] == '-')
        return (struct tag){label[0], label + 2};
    if (label[1] == '\0' && label[0] != '\0' && strchr("BIESO", label[0]))
        return (struct tag){label[0], ""};
    return (struct tag){'O', ""};
}

static bool ends(struct tag before, struct tag now)
{
    if (before.place == 'O')
        return false;
    return before.place == 'E' || before.place == 'S' || now.place == 'O' ||
           now.place == 'B' || now.place == 'S' || strcmp(before.type, now.type) != 0;
}

static bool begins(struct tag before, struct tag now)
{
    if (now.place == 'O')
        return false;
    return now.place == 'B' || now.place == 'S' || before.place == 'O' ||
           before.place == 'E' || before.place == 'S' ||
           strcmp(before.type, now.type) != 0;
}

static struct counts *counts_of(struct score *score, const char *type)
{
    uint32_t number = dict_put(&score->types, type, strlen(type));
    size_t room = score->types_room;
    if (number == DICT_NONE || !GROW(score->by_type, score->types_room, number + 1))
        return NULL;
    for (size_t i = room; i < score->types_room; i++)
        score->by_type[i] = (struct counts){0};
    return &score->by_type[number];
}

/* One sentence: given[t] and found[t] are the labels' texts. */
static bool add_sentence(struct score *score, const char *const *given,
                         const char *const *found, size_t count)
{
    struct tag outside = {'O', ""}, given_before = outside, found_before = outside;
    bool inside = false; /* a chunk that is given and found alike so far */
    struct counts *current = NULL;
    for (size_t t = 0; t <= count; t++) {
        struct tag g = t < count ? take_apart(given[t]) : outside;
        struct tag f = t < count ? take_apart(found[t]) : outside;
        bool given_ends = ends(given_before, g), found_ends = ends(found_before, f);
        if (inside && given_ends && found_ends) {
            current->right++;
            score->all.right++;
            inside = false;
        } else if (inside &&
                   (given_ends != found_ends || strcmp(g.type, f.type) != 0)) {
            inside = false;
        }
        bool given_begins = begins(given_before, g),
             found_begins = begins(found_before, f);
        if (given_begins) {
            if (!(current = counts_of(score, g.type)))
                return false;
            current->given++;
            score->all.given++;
        }
        if (found_begins) {
            struct counts *counts = counts_of(score, f.type);
            if (!counts)
                return false;
            counts->found++;
            score->all.found++;
            if (given_begins && strcmp(g.type, f.type) == 0) {
                inside = true;
                current = counts;
            }
        }
        if (t < count) {
            score->tokens++;
            score->right += strcmp(given[t], found[t]) == 0;
            score->chunked |=
                strncmp(given[t], "B-", 2) == 0 || strncmp(given[t], "I-", 2) == 0;
        }
        given_before = g;
        found_before = f;
    }
    return true;
}

static const char *name_of(const struct dict *names, uint16_t label)
{
    return label == LABEL_NONE ? "" : dict_text(names, label);
}

bool score_add(struct score *score, const struct corpus *corpus,
               const struct dict *names, const uint16_t *labels)
{
    size_t longest = 0;
    for (size_t i = 0; i < corpus->nsentences; i++) {
        size_t length = corpus->token_at[i + 1] - corpus->token_at[i];
        longest = length > longest ? length : longest;
    }
    const char **texts = malloc((2 * longest + 1) * sizeof *texts);
    bool good = texts != NULL;
    for (size_t i = 0; good && i < corpus->nsentences; i++) {
        size_t first = corpus->token_at[i], n = corpus->token_at[i + 1] - first;
        for (size_t t = 0; t < n; t++) {
            texts[t] = name_of(names, corpus->labels[first + t]);
            texts[longest + t] = name_of(names, labels[first + t]);
        }
        good = add_sentence(score, texts, texts + longest, n);
    }
    free(texts);
    return good;
}

/* ---- figures -------------------------------------------------------------------- */

static double ratio(size_t part, size_t whole)
{
    return whole > 0 ? (double)part / (double)whole : 0;
}

double score_accuracy(const struct score *score)
{
    return ratio(score->right, score->tokens);
}

double score_precision(const struct counts *counts)
{
    return ratio(counts->right, counts->found);
}

double score_recall(const struct counts *counts)
{
    return ratio(counts->right, counts->given);
}

double score_f1(const struct counts *counts)
{
    return ratio(2 * counts->right, counts->given + counts->found);
}

const char *score_metric(const struct score *score, const char *metric)
{
    if (strcmp(metric, "auto") != 0)
        return metric;
    return score->chunked ? "f1" : "accuracy";
}

double score_value(const struct score *score, const char *metric)
{
    return strcmp(score_metric(score, metric), "f1") == 0 ? score_f1(&score->all)
                                                          : score_accuracy(score);
}

void score_print(const struct score *score, FILE *out)
{
    const struct counts *all = &score->all;
    fprintf(out,
            "processed %zu tokens with %zu phrases; found: %zu phrases; correct: %zu.\n"
            "accuracy: %6.2f%%; precision: %6.2f%%; recall: %6.2f%%; FB1: %6.2f\n",
            score->tokens, all->given, all->found, all->right,
            100 * score_accuracy(score), 100 * score_precision(all),
            100 * score_recall(all), 100 * score_f1(all));
    for (uint32_t i = 0; i < score->types.count; i++)
        fprintf(out, "%17s: precision: %6.2f%%; recall: %6.2f%%; FB1: %6.2f  %zu\n",
                dict_text(&score->types, i), 100 * score_precision(&score->by_type[i]),
                100 * score_recall(&score->by_type[i]),
                100 * score_f1(&score->by_type[i]), score->by_type[i].found);
}

static json_t *counts_json(const struct counts *counts)
{
    return json_pack("{s:I, s:I, s:I, s:f, s:f, s:f}", "given",
                     (json_int_t)counts->given, "found", (json_int_t)counts->found,
                     "right", (json_int_t)counts->right, "precision",
                     score_precision(counts), "recall", score_recall(counts), "f1",
                     score_f1(counts));
}

json_t *score_json(const struct score *score)
{
    json_t *types = json_object();
    for (uint32_t i = 0; i < score->types.count; i++)
        json_object_set_new(types, dict_text(&score->types, i),
                            counts_json(&score->by_type[i]));
    return json_pack("{s:I, s:f, s:o, s:o}", "tokens", (json_int_t)score->tokens,
                     "accuracy", score_accuracy(score), "chunks",
                     counts_json(&score->all), "types", types);
}
