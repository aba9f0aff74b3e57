/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reference answers for chains: enumeration of labellings, and a recursion on
 * logarithms in f64. Nothing is shared with the kernels but the list of features.
 */
#include "crf_reference.h"

#include "dml/rng.h"

#include "unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double uniform(uint64_t seed, uint64_t *counter)
{
    return dml_rng_uniform(seed, 1, (*counter)++);
}

/* What a token uses: fewer than "each". Few attributes are frequent, so that rows and
 * cells both occur. */
static void add_uses(struct uses *uses, uint64_t seed, uint64_t *counter, size_t token,
                     size_t each, const struct problem_kind *kind)
{
    size_t count = (size_t)(uniform(seed, counter) * (double)each);
    for (size_t k = 0; k < count; k++) {
        double u = uniform(seed, counter);
        size_t at = uses->count++;
        uses->attrs[at] = (uint32_t)(u * u * u * (double)kind->nattrs);
        if (kind->valued)
            uses->values[at] = (float)(2 * uniform(seed, counter) - 1);
    }
    uses->at[token + 1] = uses->count;
}

static void reserve_uses(struct uses *uses, size_t ntokens, size_t each, bool valued)
{
    uses->at = calloc(ntokens + 1, sizeof *uses->at);
    uses->attrs = calloc(ntokens * each, sizeof *uses->attrs);
    uses->values = valued ? calloc(ntokens * each, sizeof(float)) : NULL;
}

static void make_corpus(struct corpus *corpus, uint64_t seed,
                        const struct problem_kind *kind)
{
    enum { STATE = 6, PAIRS = 4 };
    uint64_t counter = 0;
    size_t nsentences = kind->nsentences, ntokens = nsentences * kind->longest;
    *corpus = (struct corpus){.nsentences = nsentences};
    corpus->token_at = calloc(nsentences + 1, sizeof *corpus->token_at);
    corpus->labels = calloc(ntokens, sizeof *corpus->labels);
    reserve_uses(&corpus->state, ntokens, STATE, kind->valued);
    if (kind->pairs)
        reserve_uses(&corpus->pairs, ntokens, PAIRS, kind->valued);
    for (size_t i = 0; i < nsentences; i++) {
        size_t length = 1 + (size_t)(uniform(seed, &counter) * (double)kind->longest);
        for (size_t t = 0; t < length && t < kind->longest; t++) {
            size_t now = corpus->ntokens++;
            corpus->labels[now] =
                (uint16_t)(uniform(seed, &counter) * (double)kind->nlabels);
            add_uses(&corpus->state, seed, &counter, now, STATE, kind);
            if (kind->pairs)
                add_uses(&corpus->pairs, seed, &counter, now, t > 0 ? PAIRS : 0, kind);
        }
        corpus->token_at[i + 1] = corpus->ntokens;
    }
}

void problem_make(struct problem *problem, uint64_t seed,
                  const struct problem_kind *kind, const struct kernels *kernels,
                  int threads)
{
    size_t nsentences = kind->nsentences;
    *problem = (struct problem){0};
    make_corpus(&problem->corpus, seed, kind);
    assert_true(features_build(&problem->features, &problem->corpus, kind->nattrs,
                               kind->nlabels, true, 0));
    assert_true(layout_build(&problem->layout, &problem->features,
                             kernels_pad(kernels, kind->nlabels), NULL));
    uint32_t *list = calloc(nsentences, sizeof *list);
    for (size_t i = 0; i < nsentences; i++)
        list[i] = (uint32_t)i;
    assert_true(shard_build(&problem->shard, &problem->corpus, &problem->layout, list,
                            nsentences));
    free(list);
    assert_int_equal(objective_create(&problem->objective, &problem->job, kernels,
                                      &problem->layout, &problem->shard, threads),
                     DML_OK);
    size_t n = features_count(&problem->features);
    problem->weights = calloc(n + 1, sizeof *problem->weights);
    for (size_t i = 0; i < n; i++)
        problem->weights[i] = kind->scale * (2 * dml_rng_uniform(seed, 2, i) - 1);
    objective_set(&problem->objective, problem->weights);
}

void problem_free(struct problem *problem)
{
    objective_destroy(&problem->objective);
    shard_free(&problem->shard);
    layout_free(&problem->layout);
    features_free(&problem->features);
    corpus_free(&problem->corpus);
    free(problem->weights);
}

/* Score of a label at a token of the corpus. */
static double state(const struct problem *problem, size_t token, size_t label)
{
    const struct features *features = &problem->features;
    const struct corpus *corpus = &problem->corpus;
    double sum = 0;
    for (size_t i = corpus->state.at[token]; i < corpus->state.at[token + 1]; i++) {
        uint32_t a = corpus->state.attrs[i];
        double value = corpus->state.values ? (double)corpus->state.values[i] : 1;
        for (size_t f = features->row[a]; f < features->row[a + 1]; f++)
            if (features->label[f] == label)
                sum += value * problem->weights[f];
    }
    return sum;
}

/* Score of a label and the one before it at a token of the corpus. */
static double trans(const struct problem *problem, size_t token, size_t from, size_t to)
{
    const struct features *features = &problem->features;
    const struct uses *uses = &problem->corpus.pairs;
    const double *weights = problem->weights + features->nstate;
    double sum = 0;
    for (size_t i = 0; i < features->ntrans; i++)
        if (features->from[i] == from && features->to[i] == to)
            sum += weights[i];
    for (size_t i = uses->at ? uses->at[token] : 0; uses->at && i < uses->at[token + 1];
         i++) {
        uint32_t a = uses->attrs[i];
        double value = uses->values ? (double)uses->values[i] : 1;
        for (size_t f = features->pair_row[a]; f < features->pair_row[a + 1]; f++)
            if (features->pair_from[f] == from && features->pair_to[f] == to)
                sum += value * weights[features->ntrans + f];
    }
    return sum;
}

double reference_score(const struct problem *problem, size_t sentence,
                       const uint16_t *labels)
{
    size_t first = problem->corpus.token_at[sentence];
    size_t count = problem->corpus.token_at[sentence + 1] - first;
    double sum = 0;
    for (size_t t = 0; t < count; t++) {
        sum += state(problem, first + t, labels[t]);
        if (t > 0)
            sum += trans(problem, first + t, labels[t - 1], labels[t]);
    }
    return sum;
}

static double log_sum(const double *x, size_t n)
{
    double most = x[0], sum = 0;
    for (size_t i = 1; i < n; i++)
        most = fmax(most, x[i]);
    for (size_t i = 0; i < n; i++)
        sum += exp(x[i] - most);
    return most + log(sum);
}

static double log_z(const struct problem *problem, size_t sentence)
{
    size_t n = problem->features.nlabels;
    size_t first = problem->corpus.token_at[sentence];
    size_t count = problem->corpus.token_at[sentence + 1] - first;
    double *alpha = calloc(3 * n, sizeof *alpha), *next = alpha + n;
    double *terms = alpha + 2 * n;
    for (size_t t = 0; t < count; t++) {
        for (size_t j = 0; j < n; j++) {
            for (size_t i = 0; i < n; i++)
                terms[i] = t > 0 ? alpha[i] + trans(problem, first + t, i, j) : 0;
            next[j] = (t > 0 ? log_sum(terms, n) : 0) + state(problem, first + t, j);
        }
        memcpy(alpha, next, n * sizeof *alpha);
    }
    double z = log_sum(alpha, n);
    free(alpha);
    return z;
}

double reference_loss(const struct problem *problem)
{
    double loss = 0;
    for (size_t i = 0; i < problem->corpus.nsentences; i++)
        loss += log_z(problem, i) -
                reference_score(problem, i,
                                problem->corpus.labels + problem->corpus.token_at[i]);
    return loss;
}

/* The next labelling; false after the last. */
static bool advance(uint16_t *labels, size_t count, size_t n)
{
    for (size_t t = 0; t < count; t++) {
        if (++labels[t] < n)
            return true;
        labels[t] = 0;
    }
    return false;
}

/* Adds "times" a labelling's features to counts. */
static void count_features(const struct problem *problem, size_t sentence,
                           const uint16_t *labels, double times, double *counts)
{
    const struct features *features = &problem->features;
    const struct corpus *corpus = &problem->corpus;
    size_t first = corpus->token_at[sentence], pairs = features->nstate;
    for (size_t t = first; t < corpus->token_at[sentence + 1]; t++) {
        const struct uses *uses = &corpus->state;
        uint16_t label = labels[t - first];
        for (size_t i = uses->at[t]; i < uses->at[t + 1]; i++)
            for (size_t f = features->row[uses->attrs[i]];
                 f < features->row[uses->attrs[i] + 1]; f++)
                if (features->label[f] == label)
                    counts[f] += times * (uses->values ? (double)uses->values[i] : 1);
        for (size_t f = 0; t > first && f < features->ntrans; f++)
            if (features->from[f] == labels[t - first - 1] && features->to[f] == label)
                counts[pairs + f] += times;
        uses = &corpus->pairs;
        for (size_t i = uses->at && t > first ? uses->at[t] : 0;
             uses->at && t > first && i < uses->at[t + 1]; i++)
            for (size_t f = features->pair_row[uses->attrs[i]];
                 f < features->pair_row[uses->attrs[i] + 1]; f++)
                if (features->pair_from[f] == labels[t - first - 1] &&
                    features->pair_to[f] == label)
                    counts[pairs + features->ntrans + f] +=
                        times * (uses->values ? (double)uses->values[i] : 1);
    }
}

double reference_enumerate(const struct problem *problem, size_t sentence,
                           uint16_t *best, double *marginals, double *gradient)
{
    size_t n = problem->features.nlabels;
    size_t count =
        problem->corpus.token_at[sentence + 1] - problem->corpus.token_at[sentence];
    uint16_t labels[16] = {0};
    double sum = 0, most = -INFINITY;
    assert_true(count <= 16);
    memset(marginals, 0, count * n * sizeof *marginals);
    memset(gradient, 0, features_count(&problem->features) * sizeof *gradient);
    do {
        double score = reference_score(problem, sentence, labels);
        sum += exp(score);
        count_features(problem, sentence, labels, exp(score), gradient);
        for (size_t t = 0; t < count; t++)
            marginals[t * n + labels[t]] += exp(score);
        if (score > most) {
            most = score;
            memcpy(best, labels, count * sizeof *best);
        }
    } while (advance(labels, count, n));
    for (size_t i = 0; i < count * n; i++)
        marginals[i] /= sum;
    for (size_t i = 0; i < features_count(&problem->features); i++)
        gradient[i] /= sum;
    count_features(problem, sentence,
                   problem->corpus.labels + problem->corpus.token_at[sentence], -1,
                   gradient);
    return log(sum);
}
