/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Training by L-BFGS: the whole training set at each step.
 */
#include "lbfgs.h"
#include "state.h"

#define DEV_ITERATIONS 5 /* between two looks at the dev set */

static dml_status evaluate(void *user, const double *x, double *value, double *gradient)
{
    struct training *training = user;
    return trainer_evaluate(&training->trainer, x, value, gradient);
}

static dml_status sum(void *user, double *values, size_t n)
{
    struct training *training = user;
    struct job *job = training->run->job;
    double start = trainer_now_s();
    dml_status status =
        dml_allreduce(DML_IN_PLACE, values, n, DML_F64, DML_SUM, job->comm);
    training->trainer.comm_s += trainer_now_s() - start;
    return status == DML_OK ? DML_OK : job_agree(job, job_note(job, status));
}

/* The weights in use are those of the accepted step: it was evaluated last. */
static dml_status progress(void *user, const struct lbfgs_state *state, const double *x,
                           bool *stop)
{
    struct training *training = user;
    (void)x;
    training->objective = state->value;
    training->gradient_norm = state->gradient;
    training->iterations = state->iteration;
    training->evaluations = state->evaluations;
    return training_epoch(training, (double)state->iteration, 0,
                          state->iteration % DEV_ITERATIONS == 0, stop);
}

static dml_status save(void *user, dml_ckpt *writer)
{
    return lbfgs_save(user, writer);
}

static dml_status between(void *user, struct lbfgs_search *search, bool *stop)
{
    struct training *training = user;
    return state_after_step(training, training->iterations, save, search, stop);
}

dml_status train_lbfgs(struct training *training)
{
    static const char *const ends[] = {[LBFGS_CONVERGED] = "converged",
                                       [LBFGS_LIMIT] = "iterations",
                                       [LBFGS_STOPPED] = "patience",
                                       [LBFGS_STUCK] = "rounding"};
    const struct crf_options *options = training->run->options;
    struct trainer *trainer = &training->trainer;
    const struct lbfgs_problem problem = {
        .user = training,
        .count = trainer->blocks[training->run->job->rank],
        .evaluate = evaluate,
        .sum = sum,
        .progress = progress,
        .between = between,
        .first = trainer->first,
        .total = trainer->count,
        .snapshot = training->snapshot,
    };
    const struct lbfgs_opts opts = {
        .memory = (size_t)options->memory,
        .max_iterations = (size_t)options->max_iterations,
        .epsilon = options->epsilon,
        .period = (size_t)options->period,
        .delta = options->delta,
        .l1 = options->c1,
    };
    struct lbfgs_state state;
    training_publish(training, training->iterations, 0, (double)training->iterations,
                     0);
    CRF_TRY(lbfgs_minimise(&problem, &opts, trainer->kernels, training->run->job,
                           training->x, &state));
    training->objective = state.value;
    training->gradient_norm = state.gradient;
    training->iterations = state.iteration;
    training->evaluations = state.evaluations;
    training->end = ends[state.end];
    return trainer_set(trainer, training->x);
}
