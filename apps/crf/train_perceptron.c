/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The averaged structured perceptron. Each rank walks over its sentences and corrects
 * its own weights after each wrong one; after an epoch weights and averages of all
 * ranks are mixed. The result depends on the number of ranks. Sources: Collins 2002;
 * McDonald, Hall and Mann 2010 (mixing).
 */
#include "nbest.h"
#include "state.h"

#include <stdlib.h>
#include <string.h>

struct perceptron {
    struct training *training;
    double *weights; /* [count] */
    double *total;   /* [count] the sum over corrections c of c.step * change */
    double *mean;    /* [count] of all weights so far */
    size_t *where;   /* [nslots] feature of a slot, or count */
    size_t *pair;    /* [L][L] feature of a transition, or count */
    uint32_t *order;
    uint16_t *found;
    struct bench bench;
    size_t steps, longest;
};

static dml_status no_memory(struct perceptron *perceptron)
{
    return job_fail(perceptron->training->run->job, DML_ENOMEM, "out of memory");
}

static dml_status prepare(struct perceptron *perceptron)
{
    const struct trainer *trainer = &perceptron->training->trainer;
    const struct features *features = &trainer->model.features;
    const struct shard *shard = &trainer->shard;
    size_t n = trainer->count, labels = features->nlabels;
    for (size_t i = 0; i < shard->nsentences; i++) {
        struct tokens tokens = shard_tokens(shard, i);
        if (tokens.count > perceptron->longest)
            perceptron->longest = tokens.count;
        if (!bench_reserve(&perceptron->bench, trainer->kernels, trainer->layout.pad,
                           &tokens))
            return no_memory(perceptron);
    }
    perceptron->weights = calloc(n + 1, sizeof(double));
    perceptron->total = calloc(n + 1, sizeof(double));
    perceptron->mean = calloc(n + 1, sizeof(double));
    perceptron->where = malloc((trainer->layout.nslots + 1) * sizeof(size_t));
    perceptron->pair = malloc(labels * labels * sizeof(size_t));
    perceptron->order = calloc(shard->nsentences + 1, sizeof(uint32_t));
    perceptron->found = calloc(perceptron->longest + 1, sizeof(uint16_t));
    if (!perceptron->weights || !perceptron->total || !perceptron->mean ||
        !perceptron->where || !perceptron->pair || !perceptron->order ||
        !perceptron->found)
        return no_memory(perceptron);
    for (size_t i = 0; i < trainer->layout.nslots; i++)
        perceptron->where[i] = n;
    for (size_t i = 0; i < features->nstate; i++)
        perceptron->where[trainer->layout.slot[i]] = i;
    for (size_t i = 0; i < features->npairs; i++)
        perceptron->where[trainer->layout.first_pair + i] =
            features->nstate + features->ntrans + i;
    for (size_t i = 0; i < labels * labels; i++)
        perceptron->pair[i] = n;
    for (size_t i = 0; i < features->ntrans; i++)
        perceptron->pair[features->from[i] * labels + features->to[i]] =
            features->nstate + i;
    memcpy(perceptron->weights, trainer->weights, n * sizeof(double));
    return DML_OK;
}

static void correct(struct perceptron *perceptron, size_t feature, size_t slot,
                    double change)
{
    struct trainer *trainer = &perceptron->training->trainer;
    if (feature == trainer->count)
        return;
    perceptron->weights[feature] += change;
    perceptron->total[feature] += (double)perceptron->steps * change;
    objective_change(&trainer->objective, slot, perceptron->weights[feature]);
}

/* Add "change" to the weights of a token's attributes with one label. */
static void correct_token(struct perceptron *perceptron, const struct tokens *tokens,
                          size_t t, uint16_t label, double change)
{
    const struct layout *layout = &perceptron->training->trainer.layout;
    for (size_t i = tokens->row_at[t]; i < tokens->row_at[t + 1]; i++) {
        size_t slot = tokens->rows[i] * layout->pad + label;
        double value = tokens->row_values ? (double)tokens->row_values[i] : 1;
        correct(perceptron, perceptron->where[slot], slot, change * value);
    }
    for (size_t i = tokens->cell_at[t]; i < tokens->cell_at[t + 1]; i++) {
        size_t slot = tokens->cells[i];
        double value = tokens->cell_values ? (double)tokens->cell_values[i] : 1;
        if (tokens->cell_labels[i] == label)
            correct(perceptron, perceptron->where[slot], slot, change * value);
    }
}

static void correct_pair(struct perceptron *perceptron, uint16_t from, uint16_t to,
                         double change)
{
    struct trainer *trainer = &perceptron->training->trainer;
    size_t feature = perceptron->pair[from * trainer->model.nlabels + to];
    if (feature == trainer->count)
        return;
    perceptron->weights[feature] += change;
    perceptron->total[feature] += (double)perceptron->steps * change;
    objective_change_pair(&trainer->objective, from, to, perceptron->weights[feature]);
}

/* Add "change" to the weights of a token's attributes with one pair of labels. */
static void correct_edges(struct perceptron *perceptron, const struct tokens *tokens,
                          size_t t, const uint16_t *labels, double change)
{
    if (!tokens->edge_at)
        return;
    for (size_t i = tokens->edge_at[t]; i < tokens->edge_at[t + 1]; i++) {
        const struct edge *edge = &tokens->edges[i];
        double value = tokens->edge_values ? (double)tokens->edge_values[i] : 1;
        if (edge->from == labels[t - 1] && edge->to == labels[t])
            correct(perceptron, perceptron->where[edge->slot], edge->slot,
                    change * value);
    }
}

/* One sentence; the number of wrong labels. */
static size_t learn(struct perceptron *perceptron, size_t sentence)
{
    struct trainer *trainer = &perceptron->training->trainer;
    const struct kernels *kernels = trainer->kernels;
    const struct chain *chain = &trainer->objective.chain;
    const uint16_t *given = trainer->shard.labels + trainer->shard.token_at[sentence];
    struct tokens tokens = shard_tokens(&trainer->shard, sentence);
    uint16_t *found = perceptron->found;
    size_t wrong = 0;
    perceptron->steps++;
    bench_scores(&perceptron->bench, kernels, chain, &tokens);
    bench_best(&perceptron->bench, kernels, chain, &tokens, found);
    for (size_t t = 0; t < tokens.count; t++) {
        if (found[t] != given[t]) {
            wrong++;
            correct_token(perceptron, &tokens, t, given[t], 1);
            correct_token(perceptron, &tokens, t, found[t], -1);
        }
        if (t > 0 && (found[t] != given[t] || found[t - 1] != given[t - 1])) {
            correct_pair(perceptron, given[t - 1], given[t], 1);
            correct_pair(perceptron, found[t - 1], found[t], -1);
            correct_edges(perceptron, &tokens, t, given, 1);
            correct_edges(perceptron, &tokens, t, found, -1);
        }
    }
    return wrong;
}

/* Weights and averages become the means over the ranks; the averages are put in use. */
static dml_status mix(struct perceptron *perceptron, double *wrong)
{
    struct trainer *trainer = &perceptron->training->trainer;
    struct job *job = perceptron->training->run->job;
    size_t n = trainer->count;
    double steps = (double)perceptron->steps + 1, start = trainer_now_s();
    for (size_t i = 0; i < n; i++)
        perceptron->mean[i] = perceptron->weights[i] - perceptron->total[i] / steps;
    dml_status status = dml_allreduce(perceptron->mean, trainer->weights, n, DML_F64,
                                      DML_AVG, job->comm);
    memcpy(perceptron->mean, perceptron->weights, n * sizeof(double));
    if (status == DML_OK)
        status = dml_allreduce(DML_IN_PLACE, perceptron->weights, n, DML_F64, DML_AVG,
                               job->comm);
    if (status == DML_OK)
        status = dml_allreduce(DML_IN_PLACE, wrong, 1, DML_F64, DML_SUM, job->comm);
    /* Mixing changes weights outside of the sum: put it in as a correction. */
    for (size_t i = 0; i < n; i++)
        perceptron->total[i] += ((double)perceptron->steps + 1) *
                                (perceptron->weights[i] - perceptron->mean[i]);
    trainer->comm_s += trainer_now_s() - start;
    return status == DML_OK ? DML_OK : job_agree(job, job_note(job, status));
}

/* ---- snapshots --------------------------------------------------------------------
 */

/* Between epochs weights and averages are the same on all ranks, but the sums and their
 * counts are each rank's own. */
static dml_status save(void *user, dml_ckpt *writer)
{
    const struct perceptron *perceptron = user;
    const struct training *training = perceptron->training;
    const uint64_t steps = perceptron->steps;
    dml_status status = state_put(training, writer, "weights", perceptron->weights);
    if (status == DML_OK)
        status = state_put(training, writer, "average", training->trainer.weights);
    if (status != DML_OK)
        return status;
    status = dml_ckpt_add_own(writer, "steps", &steps, sizeof steps);
    if (status == DML_OK)
        status = dml_ckpt_add_own(writer, "total", perceptron->total,
                                  training->trainer.count * sizeof(double));
    return job_note(training->run->job, status);
}

/* This rank's own; another number of ranks goes on as if each had seen its sentences in
 * the epochs so far, with the average that all had together. */
static dml_status load_sums(struct perceptron *perceptron)
{
    const struct training *training = perceptron->training;
    const struct trainer *trainer = &training->trainer;
    const dml_snapshot *snapshot = training->snapshot;
    struct job *job = training->run->job;
    uint64_t steps;
    dml_snapshot_info info;
    dml_snapshot_get_info(snapshot, &info);
    if (info.ranks == job->nranks) {
        dml_status status =
            dml_snapshot_get_own(snapshot, "total", job->rank, perceptron->total,
                                 trainer->count * sizeof(double));
        if (status == DML_OK)
            status = dml_snapshot_get_own(snapshot, "steps", job->rank, &steps,
                                          sizeof steps);
        if (status == DML_OK)
            perceptron->steps = (size_t)steps;
        return job_note(job, status);
    }
    perceptron->steps = training->iterations * trainer->shard.nsentences;
    for (size_t i = 0; i < trainer->count; i++)
        perceptron->total[i] = ((double)perceptron->steps + 1) *
                               (perceptron->weights[i] - trainer->weights[i]);
    return DML_OK;
}

static dml_status load(struct perceptron *perceptron)
{
    struct training *training = perceptron->training;
    CRF_TRY(state_get(training, "weights", perceptron->weights));
    CRF_TRY(state_get(training, "average", training->trainer.weights));
    CRF_TRY(load_sums(perceptron));
    const size_t epochs = training->iterations;
    const struct checkpoint_counter counters[] = {
        {"epochs", (double)epochs, 0, (double)training->run->options->epochs},
        {"sentences so far", (double)perceptron->steps, 0,
         (double)epochs * (double)training->trainer.shard.nsentences},
    };
    return checkpoint_counters(training->run->job, training->snapshot, counters,
                               sizeof counters / sizeof *counters);
}

/* ---- epochs -----------------------------------------------------------------------
 */

static dml_status epoch(struct perceptron *perceptron, uint64_t number, bool *stop)
{
    struct training *training = perceptron->training;
    struct trainer *trainer = &training->trainer;
    const struct crf_options *options = training->run->options;
    size_t mine = trainer->shard.nsentences;
    double wrong = 0, start = trainer_now_s();
    objective_set(&trainer->objective, perceptron->weights);
    dml_rng_permutation((uint64_t)options->seed,
                        number * 4096 + (uint64_t)training->run->job->rank,
                        (uint32_t)mine, perceptron->order);
    for (size_t i = 0; i < mine; i++)
        wrong += (double)learn(perceptron, perceptron->order[i]);
    trainer->compute_s += trainer_now_s() - start;
    CRF_TRY(mix(perceptron, &wrong));
    objective_set(&trainer->objective, trainer->weights);
    trainer->loss = training->objective = wrong;
    training->iterations = training->evaluations = training->step = number + 1;
    return training_epoch(training, (double)number + 1, (double)options->epochs, true,
                          stop);
}

dml_status train_perceptron(struct training *training)
{
    struct perceptron perceptron = {.training = training};
    bool stop = false;
    const struct crf_options *options = training->run->options;
    struct job *job = training->run->job;
    dml_status status = prepare(&perceptron);
    if (status == DML_OK && training->snapshot)
        status = load(&perceptron);
    status = job_agree(job, status);
    training->end = "epochs";
    uint64_t number = training->iterations, nepochs = (uint64_t)options->epochs;
    training_publish(training, number, nepochs, (double)number, (double)nepochs);
    for (; status == DML_OK && number < nepochs && !stop; number++) {
        status = epoch(&perceptron, number, &stop);
        if (stop)
            training->end = "patience";
        else if (status == DML_OK && number + 1 < nepochs)
            status = state_after_step(training, number + 1, save, &perceptron, &stop);
    }
    free(perceptron.weights);
    free(perceptron.total);
    free(perceptron.mean);
    free(perceptron.where);
    free(perceptron.pair);
    free(perceptron.order);
    free(perceptron.found);
    bench_free(&perceptron.bench);
    return status;
}
