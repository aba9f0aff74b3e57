/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loss and gradient over the sentences of one rank, by threads. Every thread has a
 * fixed part of the sentences and sums of its own, which are added up in the threads'
 * order: two runs give the same bits.
 */
#include "objective.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

struct worker {
    struct bench bench;
    double *gradient; /* [nslots] */
    double *edges;    /* [P][P] as the kernels leave them */
    double *pairs;    /* [L][L] pairs of labels seen */
    double loss;
    size_t failed; /* a sentence that could not be summed, or SIZE_MAX */
    bool no_memory;
};

/* ---- begin and end --------------------------------------------------------------- */

/* Four matrices and the bias, one after the other. */
static bool create_matrices(struct objective *objective)
{
    size_t pad = objective->chain.pad, bytes = objective->kernels->bytes;
    size_t matrix = pad * pad * bytes;
    char *at = objective->memory = bench_alloc(4 * matrix + pad * bytes);
    if (!at)
        return false;
    objective->chain.trans = at;
    objective->chain.trans_t = at + matrix;
    objective->chain.exp_trans = at + 2 * matrix;
    objective->chain.exp_trans_t = at + 3 * matrix;
    at += 4 * matrix;
    objective->chain.bias = at;
    for (size_t i = objective->chain.labels; i < pad; i++)
        if (bytes == sizeof(float))
            ((float *)(void *)at)[i] = -1e30f;
        else
            ((double *)(void *)at)[i] = -1e30;
    return true;
}

dml_status objective_create(struct objective *objective, struct job *job,
                            const struct kernels *kernels, const struct layout *layout,
                            const struct shard *shard, int threads)
{
    const struct features *features = layout->features;
    *objective = (struct objective){.job = job,
                                    .kernels = kernels,
                                    .layout = layout,
                                    .shard = shard,
                                    .threads = threads,
                                    .count = features_count(features)};
    objective->chain = (struct chain){.labels = features->nlabels, .pad = layout->pad};
    objective->weights = bench_alloc(layout->nslots * kernels->bytes);
    objective->trans =
        bench_alloc(features->nlabels * features->nlabels * sizeof(double));
    objective->workers = calloc((size_t)threads, sizeof *objective->workers);
    if (!objective->weights || !objective->trans || !objective->workers ||
        !create_matrices(objective))
        return job_fail(job, DML_ENOMEM, "out of memory for %zu weights",
                        objective->count);
    objective->chain.weights = objective->weights;
    return DML_OK;
}

void objective_destroy(struct objective *objective)
{
    for (int i = 0; objective->workers && i < objective->threads; i++) {
        bench_free(&objective->workers[i].bench);
        free(objective->workers[i].gradient);
        free(objective->workers[i].edges);
        free(objective->workers[i].pairs);
    }
    free(objective->workers);
    free(objective->weights);
    free(objective->memory);
    free(objective->trans);
    *objective = (struct objective){0};
}

/* ---- weights --------------------------------------------------------------------- */

static void put(const struct objective *objective, const void *array, size_t i,
                double value)
{
    if (objective->kernels->bytes == sizeof(float))
        ((float *)(uintptr_t)array)[i] = (float)value;
    else
        ((double *)(uintptr_t)array)[i] = value;
}

static void set_matrices(struct objective *objective)
{
    struct chain *chain = &objective->chain;
    size_t n = chain->labels, pad = chain->pad;
    chain->shift = n > 0 ? objective->trans[0] : 0;
    for (size_t i = 0; i < n * n; i++)
        chain->shift = fmax(chain->shift, objective->trans[i]);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double score = objective->trans[i * n + j];
            double factor = exp(score - chain->shift);
            put(objective, chain->trans, i * pad + j, score);
            put(objective, chain->trans_t, j * pad + i, score);
            put(objective, chain->exp_trans, i * pad + j, factor);
            put(objective, chain->exp_trans_t, j * pad + i, factor);
        }
}

void objective_set(struct objective *objective, const double *weights)
{
    const struct layout *layout = objective->layout;
    const struct features *features = layout->features;
    float *single = objective->weights;
    double *twice = objective->weights;
    if (objective->kernels->bytes == sizeof(float)) {
#pragma omp parallel for num_threads(objective->threads)
        for (size_t i = 0; i < features->nstate; i++)
            single[layout->slot[i]] = (float)weights[i];
    } else {
#pragma omp parallel for num_threads(objective->threads)
        for (size_t i = 0; i < features->nstate; i++)
            twice[layout->slot[i]] = weights[i];
    }
    const double *pairs = weights + features->nstate + features->ntrans;
    for (size_t i = 0; i < features->npairs; i++)
        put(objective, objective->weights, layout->first_pair + i, pairs[i]);
    const double *trans = weights + features->nstate;
    for (size_t i = 0; i < features->ntrans; i++)
        objective->trans[features->from[i] * features->nlabels + features->to[i]] =
            trans[i];
    set_matrices(objective);
}

void objective_change(struct objective *objective, size_t slot, double weight)
{
    put(objective, objective->weights, slot, weight);
}

void objective_change_pair(struct objective *objective, size_t from, size_t to,
                           double weight)
{
    size_t pad = objective->chain.pad;
    objective->trans[from * objective->chain.labels + to] = weight;
    put(objective, objective->chain.trans, from * pad + to, weight);
    put(objective, objective->chain.trans_t, to * pad + from, weight);
}

/* ---- loss and gradient ----------------------------------------------------------- */

/* The transitions' part of a labelling's score; pairs are counted where asked for. */
static double score_pairs(const struct objective *objective, const uint16_t *labels,
                          size_t count, double *pairs)
{
    size_t n = objective->chain.labels;
    double sum = 0;
    for (size_t t = 1; t < count; t++) {
        if (labels[t - 1] == LABEL_NONE || labels[t] == LABEL_NONE)
            continue;
        size_t pair = labels[t - 1] * n + labels[t];
        sum += objective->trans[pair];
        if (pairs)
            pairs[pair]++;
    }
    return sum;
}

static bool run_sentence(const struct objective *objective, struct worker *worker,
                         size_t sentence, bool gradient)
{
    const struct kernels *kernels = objective->kernels;
    const struct chain *chain = &objective->chain;
    const uint16_t *labels =
        objective->shard->labels + objective->shard->token_at[sentence];
    struct tokens tokens = shard_tokens(objective->shard, sentence);
    struct bench *bench = &worker->bench;
    if (!bench_reserve(bench, kernels, chain->pad, &tokens)) {
        worker->no_memory = true;
        return false;
    }
    bench_scores(bench, kernels, chain, &tokens);
    double gold = bench_gold(bench, kernels, chain, &tokens, labels);
    gold +=
        score_pairs(objective, labels, tokens.count, gradient ? worker->pairs : NULL);
    double z =
        bench_sum(bench, kernels, chain, &tokens, gradient ? worker->edges : NULL);
    worker->loss += z - gold;
    if (!isfinite(z - gold))
        return false;
    if (gradient)
        bench_scatter(bench, kernels, chain, &tokens, labels, worker->gradient);
    return true;
}

/* Memory for the gradient: not needed for labelling, so taken when first used. */
static bool reserve_sums(const struct objective *objective, struct worker *worker)
{
    size_t pad = objective->chain.pad, labels = objective->chain.labels;
    if (!worker->gradient)
        worker->gradient = bench_alloc(objective->layout->nslots * sizeof(double));
    if (!worker->edges)
        worker->edges = bench_alloc(pad * pad * sizeof(double));
    if (!worker->pairs)
        worker->pairs = bench_alloc(labels * labels * sizeof(double));
    return worker->gradient && worker->edges && worker->pairs;
}

/* Part i of the work: the list is cut where the tokens are. */
static void run_part(const struct objective *objective, int part, const uint32_t *list,
                     size_t n, size_t ntokens, bool gradient)
{
    struct worker *worker = &objective->workers[part];
    const size_t *token_at = objective->shard->token_at;
    size_t pad = objective->chain.pad, labels = objective->chain.labels;
    size_t parts = (size_t)objective->threads, at = 0;
    size_t begin = ntokens * (size_t)part / parts;
    size_t end = ntokens * ((size_t)part + 1) / parts;
    worker->loss = 0;
    worker->failed = SIZE_MAX;
    worker->no_memory = gradient && !reserve_sums(objective, worker);
    if (worker->no_memory)
        return;
    if (gradient) {
        memset(worker->gradient, 0, objective->layout->nslots * sizeof(double));
        memset(worker->edges, 0, pad * pad * sizeof(double));
        memset(worker->pairs, 0, labels * labels * sizeof(double));
    }
    for (size_t i = 0; i < n && at < end; i++) {
        size_t sentence = list ? list[i] : i;
        if (at >= begin && !run_sentence(objective, worker, sentence, gradient)) {
            worker->failed = sentence;
            return;
        }
        at += token_at[sentence + 1] - token_at[sentence];
    }
}

/* Sums over the workers, in their order, of a slot. */
static double add_up(const struct objective *objective, size_t slot)
{
    double sum = objective->workers[0].gradient[slot];
    for (int w = 1; w < objective->threads; w++)
        sum += objective->workers[w].gradient[slot];
    return sum;
}

static void gather(struct objective *objective, double *gradient)
{
    const struct layout *layout = objective->layout;
    const struct features *features = layout->features;
    const struct worker *workers = objective->workers;
    int threads = objective->threads;
    size_t n = features->nlabels, pad = layout->pad;
#pragma omp parallel for num_threads(threads)
    for (size_t i = 0; i < features->nstate; i++)
        gradient[i] = add_up(objective, layout->slot[i]);
#pragma omp parallel for num_threads(threads)
    for (size_t i = 0; i < features->npairs; i++)
        gradient[features->nstate + features->ntrans + i] =
            add_up(objective, layout->first_pair + i);
    for (size_t i = 0; i < features->ntrans; i++) {
        size_t at = features->from[i] * pad + features->to[i], bytes;
        double sum = 0, seen = 0, factor;
        for (int w = 0; w < threads; w++) {
            sum += workers[w].edges[at];
            seen += workers[w].pairs[features->from[i] * n + features->to[i]];
        }
        bytes = objective->kernels->bytes;
        factor = bytes == sizeof(float)
                     ? (double)((const float *)objective->chain.exp_trans)[at]
                     : ((const double *)objective->chain.exp_trans)[at];
        gradient[features->nstate + i] = sum * factor - seen;
    }
}

dml_status objective_run(struct objective *objective, const uint32_t *list, size_t n,
                         double *loss, double *gradient)
{
    const struct shard *shard = objective->shard;
    size_t ntokens = 0;
    for (size_t i = 0; i < n; i++) {
        size_t sentence = list ? list[i] : i;
        ntokens += shard->token_at[sentence + 1] - shard->token_at[sentence];
    }
#pragma omp parallel for num_threads(objective->threads) schedule(static, 1)
    for (int part = 0; part < objective->threads; part++)
        run_part(objective, part, list, n, ntokens, gradient != NULL);
    *loss = 0;
    for (int i = 0; i < objective->threads; i++) {
        const struct worker *worker = &objective->workers[i];
        if (worker->no_memory)
            return job_fail(objective->job, DML_ENOMEM, "out of memory");
        if (worker->failed != SIZE_MAX)
            return job_fail(objective->job, DML_ENUMERIC,
                            "the scores of a sentence of %zu tokens are too far apart "
                            "for %s: give a larger --c2, or --precision f64",
                            shard->token_at[worker->failed + 1] -
                                shard->token_at[worker->failed],
                            objective->kernels->bytes == 4 ? "f32" : "f64");
        *loss += worker->loss;
    }
    if (gradient)
        gather(objective, gradient);
    return DML_OK;
}

/* ---- labelling ------------------------------------------------------------------- */

dml_status objective_label(struct objective *objective, const struct shard *shard,
                           uint16_t *labels)
{
    const struct kernels *kernels = objective->kernels;
    const struct chain *chain = &objective->chain;
    bool good = true;
#pragma omp parallel for num_threads(objective->threads) schedule(dynamic, 16) \
    reduction(&& : good)
    for (size_t i = 0; i < shard->nsentences; i++) {
        struct bench *bench = &objective->workers[omp_get_thread_num()].bench;
        struct tokens tokens = shard_tokens(shard, i);
        good = good && bench_reserve(bench, kernels, chain->pad, &tokens);
        if (!good)
            continue;
        bench_scores(bench, kernels, chain, &tokens);
        bench_best(bench, kernels, chain, &tokens, labels + shard->token_at[i]);
    }
    return good ? DML_OK : job_fail(objective->job, DML_ENOMEM, "out of memory");
}
