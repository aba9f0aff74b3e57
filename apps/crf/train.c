/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-crf train: begin, progress, and what is written at the end.
 */
#include "state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- progress -------------------------------------------------------------------- */

static dml_status keep_if_best(struct training *training, bool *stop)
{
    struct trainer *trainer = &training->trainer;
    struct job *job = training->run->job;
    size_t bytes = trainer->count * sizeof(double);
    int64_t patience = training->run->options->patience;
    bool better = training->dev_value > training->best_value;
    training->stale = better ? 0 : training->stale + 1;
    if (!better) {
        *stop = patience > 0 && training->stale >= (size_t)patience;
        return DML_OK;
    }
    training->best_value = training->dev_value;
    if (patience == 0)
        return DML_OK;
    dml_status status = DML_OK;
    if (!training->best && !(training->best = malloc(bytes)))
        status = job_fail(job, DML_ENOMEM, "out of memory");
    CRF_TRY(job_agree(job, status));
    memcpy(training->best, trainer->weights, bytes);
    return DML_OK;
}

static void curve_line(struct training *training, double done, bool dev)
{
    FILE *file = training->curve.file;
    if (!file)
        return;
    fprintf(file, "{\"epoch\":%.4f,\"seconds\":%.3f,\"train_loss\":%.17g", done,
            trainer_now_s() - training->start_s,
            training->objective / (double)training->trainer.ntokens);
    if (isfinite(training->gradient_norm))
        fprintf(file, ",\"gradient_norm\":%.17g", training->gradient_norm);
    fprintf(file, "}\n");
    if (dev)
        fprintf(file, "{\"epoch\":%.4f,\"test_accuracy\":%.6g}\n", done,
                training->dev_value);
}

void training_publish(struct training *training, uint64_t step, uint64_t nsteps,
                      double done, double total)
{
    struct monitor_values values;
    monitor_values_init(&values);
    training->step = values.step = step;
    training->nsteps = values.nsteps = nsteps;
    training->done = done;
    training->total = total;
    values.samples = (uint64_t)(done * (double)training->trainer.nsentences);
    values.train_s = trainer_now_s() - training->start_s;
    values.epoch = done;
    if (total > 0)
        values.progress = done / total;
    if (training->evaluations > 0)
        values.loss = training->objective;
    if (training->evaluations > 0 && training->trainer.dev_set.nsentences > 0)
        values.test_value = training->dev_value;
    monitor_step(training->run->job, &values);
}

dml_status training_epoch(struct training *training, double done, double total,
                          bool look_at_dev, bool *stop)
{
    const struct crf_options *options = training->run->options;
    struct trainer *trainer = &training->trainer;
    double elapsed = trainer_now_s() - training->start_s;
    char dev[64] = "", left[64] = "";
    bool has_dev = look_at_dev && trainer->dev_set.nsentences > 0;
    if (has_dev) {
        struct score score = {0};
        double before = trainer_now_s();
        CRF_TRY(job_agree(training->run->job, trainer_score(trainer, false, &score)));
        training->dev_value = score_value(&score, options->metric);
        snprintf(dev, sizeof dev, ", dev %s %.4f",
                 score_metric(&score, options->metric), training->dev_value);
        score_free(&score);
        CRF_TRY(keep_if_best(training, stop));
        training->start_s += trainer_now_s() - before; /* not part of training */
    }
    if (total > 0 && done > 0)
        snprintf(left, sizeof left, ", %.0f s left", elapsed / done * (total - done));
    curve_line(training, done, has_dev);
    /* Iterations of lbfgs, and else epochs; their number is known to the latter alone.
     */
    training_publish(training, total > 0 ? training->step : training->iterations,
                     training->nsteps, done, total);
    monitor_log_step(training->run->job, "epoch");
    if (isfinite(training->gradient_norm))
        progress_line(&training->progress,
                      "%5.0f: objective %.4f, gradient %.4g%s  (%.1f s%s)", done,
                      training->objective, training->gradient_norm, dev, elapsed, left);
    else
        progress_line(&training->progress, "%5.0f: loss %.4f%s  (%.1f s%s)", done,
                      training->objective, dev, elapsed, left);
    return DML_OK;
}

/* ---- results --------------------------------------------------------------------- */

static dml_status gather_report(struct training *training, struct report *report)
{
    const struct trainer *trainer = &training->trainer;
    const struct crf_run *run = training->run;
    struct job *job = run->job;
    dml_comm_stats stats;
    dml_comm_get_stats(job->comm, &stats);
    double sums[] = {(double)stats.bytes_sent, trainer->comm_s, stats.wait_s,
                     trainer->compute_s};
    int64_t peak = report_peak_rss_bytes();
    dml_status status =
        dml_allreduce(DML_IN_PLACE, sums, 4, DML_F64, DML_SUM, job->comm);
    if (status == DML_OK)
        status = dml_allreduce(DML_IN_PLACE, &peak, 1, DML_I64, DML_MAX, job->comm);
    double nranks = job->nranks, seconds = training->train_s;
    *report = (struct report){
        .app = "dml-crf",
        .ranks = job->nranks,
        .threads = run->threads,
        .seed = (uint64_t)run->options->seed,
        .train_seconds = seconds,
        .samples_per_second = seconds > 0 ? (double)trainer->ntokens *
                                                (double)training->evaluations / seconds
                                          : 0,
        .bytes_sent = sums[0],
        .comm_seconds = sums[1] / nranks,
        .wait_seconds = sums[2] / nranks,
        .compute_seconds = sums[3] / nranks,
        .peak_rss_bytes = peak,
    };
    return job_note(job, status);
}

static dml_status write_report(struct training *training, struct report *report,
                               const struct score *score)
{
    const struct trainer *trainer = &training->trainer;
    const struct crf_options *options = training->run->options;
    struct job *job = training->run->job;
    json_t *extra = json_pack(
        "{s:s, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:s, s:s}",
        "trainer", options->trainer, "objective", training->objective, "loss",
        trainer->loss, "iterations", (json_int_t)training->iterations, "evaluations",
        (json_int_t)training->evaluations, "labels", (json_int_t)trainer->model.nlabels,
        "attributes", (json_int_t)trainer->model.features.nattrs, "features",
        (json_int_t)trainer->count, "sentences", (json_int_t)trainer->nsentences, "c1",
        options->c1, "c2", options->c2, "read_seconds", trainer->read_s, "precision",
        options->precision, "end", training->end);
    if (training->dense_steps + training->sparse_steps > 0)
        json_object_set_new(extra, "exchange",
                            json_pack("{s:I, s:I}", "dense_steps",
                                      (json_int_t)training->dense_steps, "sparse_steps",
                                      (json_int_t)training->sparse_steps));
    if (isfinite(training->gradient_norm))
        json_object_set_new(extra, "gradient_norm", json_real(training->gradient_norm));
    json_object_set_new(extra, "pair_features",
                        json_integer((json_int_t)trainer->model.features.npairs));
    json_object_set_new(extra, "tokens", json_integer((json_int_t)trainer->ntokens));
    if (training->checkpoint.writer)
        json_object_set_new(extra, "checkpoint",
                            checkpoint_report(&training->checkpoint));
    if (trainer->dev_set.nsentences > 0)
        json_object_set_new(extra, "dev_value", json_real(training->dev_value));
    if (trainer->test_set.nsentences > 0)
        json_object_set_new(extra, "test", score_json(score));
    return report_write(&training->report, report, extra, job->error,
                        sizeof job->error);
}

static dml_status write_files(struct training *training, struct report *report,
                              const struct score *score)
{
    struct trainer *trainer = &training->trainer;
    struct job *job = training->run->job;
    dml_status status = DML_OK;
    if (training->model.file) {
        status =
            model_write(training->model.file, &trainer->model, trainer->weights, job);
        if (status == DML_OK)
            status = outfile_commit(&training->model, job->error, sizeof job->error);
    }
    if (status == DML_OK && training->report.file)
        status = write_report(training, report, score);
    if (status == DML_OK && training->curve.file)
        status = outfile_commit(&training->curve, job->error, sizeof job->error);
    return status;
}

static dml_status write_results(struct training *training)
{
    struct trainer *trainer = &training->trainer;
    const struct crf_options *options = training->run->options;
    struct job *job = training->run->job;
    struct report report;
    struct score score = {0};
    training_publish(training, training->step, training->nsteps, training->done,
                     training->total);
    CRF_TRY(job_agree(job, gather_report(training, &report)));
    report.test_metric = "none";
    if (trainer->test_set.nsentences > 0) {
        CRF_TRY(job_agree(job, trainer_score(trainer, true, &score)));
        report.test_metric = score_metric(&score, options->metric);
        report.test_value = score_value(&score, options->metric);
        progress_line(&training->progress, "test: accuracy %.4f, F1 %.4f",
                      score_accuracy(&score), score_f1(&score.all));
    }
    dml_status status = write_files(training, &report, &score);
    score_free(&score);
    return job_agree(job, status);
}

/* ---- begin and end --------------------------------------------------------------- */

static dml_status open_outputs(struct training *training)
{
    struct job *job = training->run->job;
    const struct crf_options *options = training->run->options;
    const char *const paths[] = {options->curve, options->report, options->model};
    struct outfile *const files[] = {&training->curve, &training->report,
                                     &training->model};
    for (int i = 0; i < 3; i++)
        if (paths[i] && job->rank == 0)
            CRF_TRY(outfile_open(files[i], paths[i], job->error, sizeof job->error));
    return DML_OK;
}

/* Weights of the model that --start names, for the features that both have. */
static dml_status start_from(struct training *training, const char *path)
{
    struct trainer *trainer = &training->trainer;
    struct model old;
    dml_status status = model_open(&old, training->run->job, path);
    if (status == DML_OK &&
        old.vocabulary.hash_bits != trainer->model.vocabulary.hash_bits)
        status = job_fail(training->run->job, DML_EINVAL,
                          "%.300s: made with --hash-bits %d: give the same", path,
                          old.vocabulary.hash_bits);
    if (status == DML_OK)
        model_copy_weights(&old, &trainer->model, trainer->weights);
    model_close(&old);
    return status;
}

static dml_status prepare(struct training *training)
{
    const struct crf_run *run = training->run;
    struct trainer *trainer = &training->trainer;
    struct job *job = run->job;
    CRF_TRY(job_agree(job, checkpoint_check(job, &run->options->checkpoint)));
    CRF_TRY(job_agree(job, open_outputs(training)));
    CRF_TRY(state_open(training));
    CRF_TRY(trainer_create(trainer, run));
    training->x = calloc(trainer->blocks[job->rank] + 1, sizeof *training->x);
    dml_status status =
        training->x ? DML_OK : job_fail(job, DML_ENOMEM, "out of memory");
    if (status == DML_OK && run->options->start && !training->snapshot)
        status = start_from(training, run->options->start);
    CRF_TRY(job_agree(job, status));
    memcpy(training->x, trainer->weights + trainer->first,
           trainer->blocks[job->rank] * sizeof *training->x);
    progress_line(
        &training->progress,
        "%zu sentences, %zu tokens; %zu labels, %zu attributes, %zu features (%zu of "
        "pairs); "
        "%d rank%s x %d thread%s, %s; read in %.1f s",
        trainer->nsentences, trainer->ntokens, trainer->model.nlabels,
        trainer->model.features.nattrs, trainer->count, trainer->model.features.npairs,
        job->nranks, job->nranks > 1 ? "s" : "", run->threads,
        run->threads > 1 ? "s" : "", trainer->kernels->isa, trainer->read_s);
    return state_load(training);
}

static dml_status train(struct training *training)
{
    const char *name = training->run->options->trainer;
    training->start_s = trainer_now_s() - training->before_s;
    if (strcmp(name, "lbfgs") == 0)
        CRF_TRY(train_lbfgs(training));
    else if (strcmp(name, "perceptron") == 0)
        CRF_TRY(train_perceptron(training));
    else
        CRF_TRY(train_batches(training));
    CRF_TRY(checkpoint_wait(&training->checkpoint, false));
    training->train_s = trainer_now_s() - training->start_s;
    if (training->run->job->requeue)
        return DML_OK;
    struct trainer *trainer = &training->trainer;
    if (training->best) {
        memcpy(trainer->weights, training->best, trainer->count * sizeof(double));
        training->dev_value = training->best_value;
    }
    objective_set(&trainer->objective, trainer->weights);
    return DML_OK;
}

dml_status crf_train(const struct crf_run *run)
{
    struct training *training = calloc(1, sizeof *training);
    dml_status status =
        training ? DML_OK : job_fail(run->job, DML_ENOMEM, "out of memory");
    CRF_TRY(job_agree(run->job, status));
    training->run = run;
    training->end = "converged";
    training->best_value = -1;
    training->gradient_norm = NAN;
    progress_init(&training->progress,
                  run->job->rank == 0 && !run->options->quiet &&
                      monitor_leaves_stdout(&run->options->monitor));
    status = monitor_open(run->job, &crf_train_command, run->options,
                          &run->options->monitor);
    if (status == DML_OK)
        status = prepare(training);
    if (status == DML_OK)
        status = train(training);
    if (status == DML_OK && !run->job->requeue)
        status = write_results(training);
    outfile_cancel(&training->curve);
    outfile_cancel(&training->report);
    outfile_cancel(&training->model);
    checkpoint_close(&training->checkpoint);
    dml_snapshot_close(training->snapshot);
    trainer_destroy(&training->trainer);
    free(training->x);
    free(training->best);
    free(training);
    return status;
}
