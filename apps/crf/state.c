/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The state of a training between two steps, to and from snapshots: here what all
 * trainers share, and each trainer puts its own beside it. The order of the sentences
 * is a function of seed, epoch and rank, and is not saved.
 *
 * Vectors over the features are put in blocks, one of each rank, and read by any number
 * of ranks.
 */
#include "state.h"

#include <stdlib.h>

#define TRAINING     "training"
#define BEST         "best"
#define MOST_COUNTED UINT32_MAX /* iterations that a job can have done */

/* Numbers of a training, equal on all ranks, 8 bytes each. */
struct words {
    uint64_t mark, sentences, features; /* of the data */
    uint64_t iterations, evaluations, stale, has_best, dense_steps, sparse_steps;
    double best_value, dev_value, objective, gradient_norm, loss;
    double elapsed_s; /* since the first step, of all parts of the job together */
};

/* ---- saving -----------------------------------------------------------------------
 */

dml_status state_put(const struct training *training, dml_ckpt *writer,
                     const char *name, const double *whole)
{
    const struct trainer *trainer = &training->trainer;
    struct job *job = training->run->job;
    return job_note(job,
                    dml_ckpt_add_vector(writer, name, whole + trainer->first, DML_F64,
                                        trainer->first, trainer->blocks[job->rank],
                                        trainer->count));
}

struct saving {
    struct training *training;
    state_save_fn *save; /* the trainer's */
    void *user;
};

static dml_status save_shared(struct training *training, dml_ckpt *writer)
{
    const struct trainer *trainer = &training->trainer;
    const struct words words = {
        .mark = trainer->mark,
        .sentences = trainer->nsentences,
        .features = trainer->count,
        .iterations = training->iterations,
        .evaluations = training->evaluations,
        .stale = training->stale,
        .has_best = training->best != NULL,
        .dense_steps = training->dense_steps,
        .sparse_steps = training->sparse_steps,
        .best_value = training->best_value,
        .dev_value = training->dev_value,
        .objective = training->objective,
        .gradient_norm = training->gradient_norm,
        .loss = trainer->loss,
        .elapsed_s = trainer_now_s() - training->start_s,
    };
    CRF_TRY(job_note(training->run->job,
                     dml_ckpt_add_shared(writer, TRAINING, &words, sizeof words)));
    if (!training->best)
        return DML_OK;
    return state_put(training, writer, BEST, training->best);
}

static dml_status save(void *user, dml_ckpt *writer)
{
    const struct saving *saving = user;
    dml_status status = save_shared(saving->training, writer);
    if (status == DML_OK)
        status = saving->save(saving->user, writer);
    return job_agree(saving->training->run->job, status);
}

static struct checkpoint_parts parts_of(struct training *training)
{
    return (struct checkpoint_parts){.command = &crf_train_command,
                                     .values = training->run->options,
                                     .curve = &training->curve,
                                     .progress = &training->progress,
                                     .save = save};
}

dml_status state_after_step(struct training *training, uint64_t step,
                            state_save_fn *trainers, void *user, bool *stop)
{
    struct saving saving = {.training = training, .save = trainers, .user = user};
    struct checkpoint_parts parts = parts_of(training);
    parts.user = &saving;
    return checkpoint_after_step(&training->checkpoint, &parts, step, stop);
}

/* ---- going on ---------------------------------------------------------------------
 */

dml_status state_open(struct training *training)
{
    const struct crf_run *run = training->run;
    CRF_TRY(checkpoint_open(run->job, &run->options->checkpoint, &training->checkpoint,
                            &training->snapshot));
    if (!training->snapshot)
        return DML_OK;
    return job_agree(run->job,
                     checkpoint_same_options(run->job, training->snapshot,
                                             &crf_train_command, run->options));
}

dml_status state_get(const struct training *training, const char *name, double *whole)
{
    size_t n = training->trainer.count;
    return job_note(
        training->run->job,
        dml_snapshot_get_vector(training->snapshot, name, whole, DML_F64, 0, n, n));
}

static dml_status get_words(const struct training *training, struct words *words)
{
    const struct trainer *trainer = &training->trainer;
    struct job *job = training->run->job;
    dml_status status =
        dml_snapshot_get_shared(training->snapshot, TRAINING, words, sizeof *words);
    if (status == DML_EINVAL)
        return job_fail(job, DML_EFORMAT,
                        "--resume: the snapshot is not one of this version of dml-crf");
    CRF_TRY(job_note(job, status));
    if (words->sentences != trainer->nsentences || words->features != trainer->count)
        return job_fail(job, DML_EMISMATCH,
                        "--resume: the snapshot was made with %llu sentences and %llu "
                        "features, and now it is %zu and %zu: give the same --data",
                        (unsigned long long)words->sentences,
                        (unsigned long long)words->features, trainer->nsentences,
                        trainer->count);
    if (words->mark != trainer->mark)
        return job_fail(job, DML_EMISMATCH,
                        "--resume: the snapshot was made with other sentences to train "
                        "by, or to watch it by: give the same --data");
    const struct checkpoint_counter counters[] = {
        {"iterations", (double)words->iterations, 0, MOST_COUNTED},
        {"evaluations", (double)words->evaluations, 0, MOST_COUNTED},
        {"epochs without a better one", (double)words->stale, 0, MOST_COUNTED},
        {"seconds so far", words->elapsed_s, -CHECKPOINT_MOST_S, CHECKPOINT_MOST_S},
    };
    return checkpoint_counters(job, training->snapshot, counters,
                               sizeof counters / sizeof *counters);
}

static dml_status load_shared(struct training *training)
{
    struct words words;
    CRF_TRY(get_words(training, &words));
    training->iterations = (size_t)words.iterations;
    training->evaluations = (size_t)words.evaluations;
    training->stale = (size_t)words.stale;
    training->dense_steps = words.dense_steps;
    training->sparse_steps = words.sparse_steps;
    training->best_value = words.best_value;
    training->dev_value = words.dev_value;
    training->objective = words.objective;
    training->gradient_norm = words.gradient_norm;
    training->trainer.loss = words.loss;
    training->before_s = words.elapsed_s;
    if (!words.has_best)
        return DML_OK;
    training->best = malloc(training->trainer.count * sizeof *training->best);
    if (!training->best)
        return job_fail(training->run->job, DML_ENOMEM, "out of memory");
    return state_get(training, BEST, training->best);
}

dml_status state_load(struct training *training)
{
    const struct checkpoint_parts parts = parts_of(training);
    if (training->snapshot)
        CRF_TRY(job_agree(training->run->job, load_shared(training)));
    return checkpoint_go_on(&training->checkpoint, &parts, training->snapshot);
}
