/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Training by batches of sentences: each rank takes its part of a batch, gradients are
 * summed (exchange.c), and libdml's optimizers update the same weights on all ranks.
 * The rate falls to 0 over the epochs along a cosine.
 *
 * State weights, transitions and pairs' features are three tensors, for the norms of
 * LAMB. The c2 term is
 * that of the whole objective: per sentence, c2 / sentences times the sum of squares.
 */
#include "exchange.h"
#include "state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NPARAMS 3 /* tensors */

struct batches {
    struct training *training;
    float *weights, *gradient; /* [count] */
    double *sums;              /* [count] of the batch */
    struct exchange exchange;
    uint32_t *order; /* [sentences of this rank] */
    dml_optim *optim;
    dml_lr rate;
    size_t epoch_steps, batch; /* sentences of one step on all ranks */
    uint64_t step;
    double loss; /* of this epoch's batches so far */
};

static const struct {
    const char *name;
    dml_optim_rule rule;
    double rate;
} rules[] = {
    {"sgd", DML_OPTIM_SGD, 0.2},       {"adam", DML_OPTIM_ADAM, 0.01},
    {"adamw", DML_OPTIM_ADAMW, 0.01},  {"lamb", DML_OPTIM_LAMB, 0.02},
    {"adagrad", DML_OPTIM_ADAGRAD, 1},
};

static size_t rule_of(const char *name)
{
    size_t i = 0;
    while (i + 1 < sizeof rules / sizeof rules[0] && strcmp(rules[i].name, name) != 0)
        i++;
    return i;
}

static dml_status make_optimizer(struct batches *batches)
{
    const struct training *training = batches->training;
    const struct trainer *trainer = &training->trainer;
    const struct crf_options *options = training->run->options;
    struct job *job = training->run->job;
    size_t rule = rule_of(options->trainer), nstate = trainer->model.features.nstate;
    size_t ntrans = trainer->model.features.ntrans;
    const dml_param params[NPARAMS] = {
        {.param = batches->weights,
         .grad = batches->gradient,
         .count = nstate,
         .name = "state"},
        {.param = batches->weights + nstate,
         .grad = batches->gradient + nstate,
         .count = ntrans,
         .name = "transitions"},
        {.param = batches->weights + nstate + ntrans,
         .grad = batches->gradient + nstate + ntrans,
         .count = trainer->model.features.npairs,
         .name = "pairs"},
    };
    dml_optim_opts opts;
    dml_optim_opts_init(&opts, rules[rule].rule);
    /* Decay is in the gradient; only AdamW takes it apart from that. */
    opts.weight_decay = rules[rule].rule == DML_OPTIM_ADAMW
                            ? 2 * options->c2 / (double)trainer->nsentences
                            : 0;
    opts.threads = training->run->threads;
    opts.rank = job->rank;
    dml_lr_init(&batches->rate);
    batches->rate.shape = DML_LR_COSINE;
    batches->rate.base = options->rate != CLI_AUTO ? options->rate : rules[rule].rate;
    batches->rate.total_steps = batches->epoch_steps * (uint64_t)options->epochs;
    return job_note(job, dml_optim_create(job->ctx, rules[rule].rule, params, NPARAMS,
                                          &opts, &batches->optim));
}

static dml_status prepare(struct batches *batches)
{
    const struct training *training = batches->training;
    const struct trainer *trainer = &training->trainer;
    const struct crf_options *options = training->run->options;
    size_t n = trainer->count;
    batches->batch = (size_t)options->batch < trainer->nsentences
                         ? (size_t)options->batch
                         : trainer->nsentences;
    batches->epoch_steps = (trainer->nsentences + batches->batch - 1) / batches->batch;
    batches->weights = calloc(n + 1, sizeof *batches->weights);
    batches->gradient = calloc(n + 1, sizeof *batches->gradient);
    batches->sums = calloc(n + 1, sizeof *batches->sums);
    CRF_TRY(exchange_create(&batches->exchange, training->run->job,
                            training->run->options, n));
    batches->order = calloc(trainer->shard.nsentences + 1, sizeof *batches->order);
    if (!batches->weights || !batches->gradient || !batches->sums || !batches->order)
        return job_fail(training->run->job, DML_ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        batches->weights[i] = (float)trainer->weights[i];
    return make_optimizer(batches);
}

/* The gradient of the objective per sentence, from the batch's sums over all ranks. */
static void make_gradient(struct batches *batches)
{
    const struct trainer *trainer = &batches->training->trainer;
    const struct crf_options *options = batches->training->run->options;
    double scale = 1 / (double)batches->batch;
    double decay = 2 * options->c2 / (double)trainer->nsentences;
    if (strcmp(options->trainer, "adamw") == 0)
        decay = 0;
    for (size_t i = 0; i < trainer->count; i++)
        batches->gradient[i] =
            (float)(batches->sums[i] * scale + decay * (double)batches->weights[i]);
}

static dml_status step(struct batches *batches, size_t index)
{
    struct training *training = batches->training;
    struct trainer *trainer = &training->trainer;
    struct job *job = training->run->job;
    size_t mine = trainer->shard.nsentences, n = trainer->count;
    size_t begin = mine * index / batches->epoch_steps;
    size_t end = mine * (index + 1) / batches->epoch_steps;
    double start = trainer_now_s();
    for (size_t i = 0; i < n; i++)
        trainer->weights[i] = (double)batches->weights[i];
    objective_set(&trainer->objective, trainer->weights);
    double sum;
    dml_status status = objective_run(&trainer->objective, batches->order + begin,
                                      end - begin, &sum, batches->sums);
    double middle = trainer_now_s();
    trainer->compute_s += middle - start;
    /* A rank that failed sends a loss that is no number: all see it. */
    if (status != DML_OK)
        sum = NAN;
    CRF_TRY(exchange_sum(&batches->exchange, batches->sums, &sum));
    trainer->comm_s += trainer_now_s() - middle;
    if (isnan(sum))
        return job_agree(job, status);
    batches->loss += sum;
    make_gradient(batches);
    batches->step++;
    status =
        dml_optim_step(batches->optim, dml_lr_at(&batches->rate, batches->step - 1));
    return status == DML_OK ? DML_OK : job_agree(job, job_note(job, status));
}

/* ---- snapshots --------------------------------------------------------------------
 */

/* Numbers beside those that all trainers keep, 8 bytes each. */
struct words {
    uint64_t step;
    double loss;
    dml_optim_counters counters;
};

static const char words_section[] = "batches", weights_section[] = "weights";

/* A vector of the optimizer's state, one part for each tensor. */
struct slot {
    char name[DML_CKPT_NAME_MAX];
    float *data;
    size_t first, count; /* among all weights */
};

static dml_status get_slot(const struct batches *batches, size_t param, size_t index,
                           struct slot *out)
{
    const struct features *features = &batches->training->trainer.model.features;
    const size_t firsts[] = {0, features->nstate, features->nstate + features->ntrans};
    dml_optim_slot slot;
    dml_status status = dml_optim_get_slot(batches->optim, param, index, &slot);
    if (status != DML_OK)
        return status;
    *out =
        (struct slot){.data = slot.data, .first = firsts[param], .count = slot.count};
    snprintf(out->name, sizeof out->name, "slot:%s", slot.name);
    return DML_OK;
}

/* This rank's block of a slot, as far as it lies in the tensor. */
static dml_status save_slot(const struct batches *batches, const struct slot *slot,
                            dml_ckpt *writer)
{
    const struct trainer *trainer = &batches->training->trainer;
    size_t begin = trainer->first, end = slot->first + slot->count;
    size_t last = begin + trainer->blocks[batches->training->run->job->rank];
    begin = begin > slot->first ? begin : slot->first;
    end = end < last ? end : last;
    if (begin >= end)
        return DML_OK;
    return dml_ckpt_add_vector(writer, slot->name, slot->data + (begin - slot->first),
                               DML_F32, begin, end - begin, trainer->count);
}

static dml_status save(void *user, dml_ckpt *writer)
{
    const struct batches *batches = user;
    const struct training *training = batches->training;
    const struct trainer *trainer = &training->trainer;
    struct job *job = training->run->job;
    struct words words = {.step = batches->step, .loss = batches->loss};
    struct slot slot;
    dml_optim_get_counters(batches->optim, &words.counters);
    dml_status status =
        dml_ckpt_add_shared(writer, words_section, &words, sizeof words);
    if (status == DML_OK)
        status = dml_ckpt_add_vector(
            writer, weights_section, batches->weights + trainer->first, DML_F32,
            trainer->first, trainer->blocks[job->rank], trainer->count);
    for (size_t p = 0; p < NPARAMS; p++)
        for (size_t i = 0; i < dml_optim_nslots(batches->optim); i++) {
            if (status == DML_OK)
                status = get_slot(batches, p, i, &slot);
            if (status == DML_OK)
                status = save_slot(batches, &slot, writer);
        }
    return job_note(job, status);
}

static dml_status load(struct batches *batches)
{
    const struct training *training = batches->training;
    const dml_snapshot *snapshot = training->snapshot;
    const size_t n = training->trainer.count;
    struct words words;
    struct slot slot;
    dml_status status =
        dml_snapshot_get_shared(snapshot, words_section, &words, sizeof words);
    if (status == DML_OK)
        status = dml_snapshot_get_vector(snapshot, weights_section, batches->weights,
                                         DML_F32, 0, n, n);
    for (size_t p = 0; p < NPARAMS; p++)
        for (size_t i = 0; i < dml_optim_nslots(batches->optim); i++) {
            if (status == DML_OK)
                status = get_slot(batches, p, i, &slot);
            if (status == DML_OK && slot.count > 0)
                status = dml_snapshot_get_vector(snapshot, slot.name, slot.data,
                                                 DML_F32, slot.first, slot.count, n);
        }
    if (status == DML_OK)
        status = dml_optim_set_counters(batches->optim, &words.counters);
    if (status != DML_OK)
        return job_note(training->run->job, status);
    const struct checkpoint_counter counter = {"steps", (double)words.step, 0,
                                               (double)batches->rate.total_steps};
    CRF_TRY(checkpoint_counters(training->run->job, snapshot, &counter, 1));
    batches->step = words.step;
    batches->loss = words.loss;
    batches->exchange.dense = training->dense_steps;
    batches->exchange.sparse = training->sparse_steps;
    return DML_OK;
}

static void publish(struct batches *batches)
{
    struct training *training = batches->training;
    const int64_t epochs = training->run->options->epochs;
    training_publish(training, batches->step, (uint64_t)epochs * batches->epoch_steps,
                     (double)batches->step / (double)batches->epoch_steps,
                     (double)epochs);
}

static dml_status after_step(struct batches *batches, bool *stop)
{
    struct training *training = batches->training;
    training->dense_steps = batches->exchange.dense;
    training->sparse_steps = batches->exchange.sparse;
    publish(batches);
    return state_after_step(training, batches->step, save, batches, stop);
}

/* ---- epochs -----------------------------------------------------------------------
 */

static dml_status end_epoch(struct batches *batches, uint64_t number, bool *stop)
{
    struct training *training = batches->training;
    struct trainer *trainer = &training->trainer;
    const struct crf_options *options = training->run->options;
    for (size_t i = 0; i < trainer->count; i++)
        trainer->weights[i] = (double)batches->weights[i];
    objective_set(&trainer->objective, trainer->weights);
    double norm =
        trainer->kernels->dot(trainer->count, trainer->weights, trainer->weights);
    trainer->loss = batches->loss;
    training->objective = batches->loss + options->c2 * norm;
    training->iterations = number + 1;
    training->evaluations = number + 1;
    training->step = batches->step;
    batches->loss = 0;
    return training_epoch(training, (double)number + 1, (double)options->epochs, true,
                          stop);
}

/* From the step that is next; it may lie in the middle. */
static dml_status epoch(struct batches *batches, bool *stop)
{
    struct training *training = batches->training;
    const struct crf_options *options = training->run->options;
    uint64_t number = batches->step / batches->epoch_steps;
    dml_rng_permutation((uint64_t)options->seed,
                        number * 4096 + (uint64_t)training->run->job->rank,
                        (uint32_t)training->trainer.shard.nsentences, batches->order);
    for (size_t i = batches->step % batches->epoch_steps; i < batches->epoch_steps;
         i++) {
        bool ends = i + 1 == batches->epoch_steps;
        CRF_TRY(step(batches, i));
        if (ends)
            CRF_TRY(end_epoch(batches, number, stop));
        if (*stop) { /* by --patience */
            training->end = "patience";
            return DML_OK;
        }
        if (!ends || number + 1 < (uint64_t)options->epochs)
            CRF_TRY(after_step(batches, stop));
        if (*stop)
            return DML_OK;
    }
    return DML_OK;
}

dml_status train_batches(struct training *training)
{
    struct batches batches = {.training = training};
    struct job *job = training->run->job;
    const struct crf_options *options = training->run->options;
    bool stop = false;
    dml_status status = DML_OK;
    if (options->c1 > 0)
        status = job_fail(job, DML_EINVAL, "--c1 is for --trainer lbfgs alone");
    if (status == DML_OK)
        status = prepare(&batches);
    if (status == DML_OK && training->snapshot)
        status = load(&batches);
    status = job_agree(job, status);
    training->end = "epochs";
    uint64_t nsteps = batches.epoch_steps * (uint64_t)options->epochs;
    if (status == DML_OK)
        publish(&batches);
    while (status == DML_OK && batches.step < nsteps && !stop)
        status = epoch(&batches, &stop);
    training->dense_steps = batches.exchange.dense;
    training->sparse_steps = batches.exchange.sparse;
    exchange_destroy(&batches.exchange);
    dml_optim_destroy(batches.optim);
    free(batches.weights);
    free(batches.gradient);
    free(batches.sums);
    free(batches.order);
    /* The objective of the weights themselves, as lbfgs tells it. */
    if (status == DML_OK && !job->requeue)
        status = trainer_measure(&training->trainer, &training->objective,
                                 &training->gradient_norm);
    return status;
}
