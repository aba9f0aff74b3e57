/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-cnn train: the epochs, the curve, and what is written at the end.
 */
#include "../common/progress.h"
#include "../common/report.h"
#include "commands.h"
#include "model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CURVE_STEPS 20 /* between two lines of the curve */
#define BLOCK_STEPS 50 /* over which one figure of speed is taken */

struct training {
    const struct cnn_run *run;
    struct trainer trainer;
    struct dataset set;
    dml_loader *test_loader;
    struct progress progress;
    struct outfile curve, report, model; /* open on rank 0 where asked for */
    uint64_t nsteps;
    double *block_speeds; /* [nblocks_room] images/s over all ranks */
    size_t nblocks, nblocks_room;
    double block_start_s;    /* trainer.step_s when the block began */
    double start_s;          /* clock at the first step */
    uint64_t tested_samples; /* samples done, and trainer.step_s, at the last test */
    double tested_step_s;
    struct test_result result;
};

/* ---- curve and progress --------------------------------------------------------- */

static uint64_t samples_done(const struct training *training)
{
    return training->trainer.step * (uint64_t)training->run->options->batch;
}

static double epochs_done(const struct training *training)
{
    return (double)training->trainer.step / (double)training->trainer.epoch_steps;
}

static void curve_step(struct training *training, double loss)
{
    if (training->curve.file)
        fprintf(training->curve.file,
                "{\"epoch\":%.4f,\"step\":%llu,\"samples\":%llu,\"seconds\":%.3f,"
                "\"lr\":%.6g,\"train_loss\":%.6g}\n",
                epochs_done(training), (unsigned long long)training->trainer.step,
                (unsigned long long)samples_done(training),
                trainer_now_s() - training->start_s, training->trainer.rate, loss);
}

static void curve_test(struct training *training)
{
    if (training->curve.file)
        fprintf(training->curve.file,
                "{\"epoch\":%.4f,\"seconds\":%.3f,\"test_loss\":%.6g,"
                "\"test_accuracy\":%.6g}\n",
                epochs_done(training), trainer_now_s() - training->start_s,
                training->result.loss, training->result.accuracy);
}

static void show_step(struct training *training, double loss)
{
    if (!training->progress.bar)
        return;
    char text[128];
    const struct trainer *trainer = &training->trainer;
    snprintf(text, sizeof text, "epoch %.2f of %lld  loss %.4f  %.0f images/s",
             epochs_done(training), (long long)training->run->options->epochs, loss,
             (double)samples_done(training) / trainer->step_s);
    progress_bar(&training->progress, trainer->step, training->nsteps, text);
}

/* ---- the loop ------------------------------------------------------------------- */

static void end_block(struct training *training)
{
    const struct trainer *trainer = &training->trainer;
    if (trainer->step % BLOCK_STEPS != 0 || training->nblocks == training->nblocks_room)
        return;
    double seconds = trainer->step_s - training->block_start_s;
    training->block_start_s = trainer->step_s;
    training->block_speeds[training->nblocks++] =
        BLOCK_STEPS * (double)training->run->options->batch / seconds;
}

static dml_status test_now(struct training *training)
{
    struct trainer *trainer = &training->trainer;
    CNN_TRY(job_agree(training->run->job, replica_settle(&trainer->replica)));
    CNN_TRY(evaluate(training->run->job, trainer->net, training->test_loader,
                     trainer->rows, &training->result));
    curve_test(training);
    progress_line(
        &training->progress,
        "epoch %.2f of %lld: test loss %.4f, test accuracy %.4f  (%.1f s so far, %.0f "
        "images/s in this epoch)",
        epochs_done(training), (long long)training->run->options->epochs,
        training->result.loss, training->result.accuracy,
        trainer_now_s() - training->start_s,
        (double)(samples_done(training) - training->tested_samples) /
            (trainer->step_s - training->tested_step_s));
    training->tested_samples = samples_done(training);
    training->tested_step_s = trainer->step_s;
    return DML_OK;
}

static dml_status run_steps(struct training *training)
{
    struct trainer *trainer = &training->trainer;
    double loss_sum = 0;
    int loss_count = 0;
    training->start_s = trainer_now_s();
    while (trainer->step < training->nsteps) {
        /* The loss is known to all ranks, so its failure needs no agreement; any other
         * one is of this rank or of the network, and ends the job. */
        dml_status status = trainer_step(trainer);
        if (status != DML_OK && status != DML_ENUMERIC && status != DML_ETIMEOUT)
            status = DML_ECOMM;
        if (status != DML_OK)
            return job_agree(training->run->job, status);
        loss_sum += trainer->loss;
        loss_count++;
        end_block(training);
        bool ends = trainer->step == training->nsteps;
        if (trainer->step % CURVE_STEPS == 0 || ends) {
            curve_step(training, loss_sum / loss_count);
            show_step(training, loss_sum / loss_count);
            loss_sum = 0;
            loss_count = 0;
        }
        if (trainer->step % trainer->epoch_steps == 0 || ends)
            CNN_TRY(test_now(training));
    }
    return DML_OK;
}

/* ---- results -------------------------------------------------------------------- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The first block, in which memory is touched for the first time, is left out. */
static double median_speed(struct training *training)
{
    if (training->nblocks < 2)
        return (double)samples_done(training) / training->trainer.step_s;
    double *blocks = training->block_speeds + 1;
    size_t count = training->nblocks - 1;
    qsort(blocks, count, sizeof *blocks, compare_doubles);
    return count % 2 ? blocks[count / 2]
                     : (blocks[count / 2 - 1] + blocks[count / 2]) / 2;
}

static dml_status write_report(struct training *training, const struct report *report)
{
    const struct cnn_options *options = training->run->options;
    struct trainer *trainer = &training->trainer;
    json_t *extra = json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:f, s:s, s:f, s:f, s:f, s:f, s:f, s:I, s:I}", "net",
        options->net, "epochs", (json_int_t)options->epochs, "steps",
        (json_int_t)trainer->step, "batch", (json_int_t)options->batch, "accumulate",
        (json_int_t)options->accumulate, "lr", trainer->schedule.base, "schedule",
        options->schedule, "warmup_epochs", options->warmup_epochs,
        "samples_per_second_median", median_speed(training), "train_loss",
        trainer->loss, "test_loss", training->result.loss, "data_seconds",
        trainer->data_s, "parameters", (json_int_t)net_count_params(trainer->net),
        "activation_bytes", (json_int_t)trainer->net->activation_bytes);
    json_t *chosen = replica_report(&trainer->replica);
    json_object_update(extra, chosen);
    json_decref(chosen);
    struct job *job = training->run->job;
    return report_write(&training->report, report, extra, job->error,
                        sizeof job->error);
}

/* Figures over all ranks; collective. */
static dml_status gather_report(struct training *training, struct report *report)
{
    const struct trainer *trainer = &training->trainer;
    const struct cnn_run *run = training->run;
    dml_comm_stats stats;
    dml_comm_get_stats(run->job->comm, &stats);
    double comm_s = trainer->replica.comm_s;
    double sums[] = {(double)stats.bytes_sent, comm_s,
                     replica_wait_s(&trainer->replica),
                     trainer->step_s - comm_s - trainer->data_s};
    int64_t peak = report_peak_rss_bytes();
    dml_status status =
        dml_allreduce(DML_IN_PLACE, sums, 4, DML_F64, DML_SUM, run->job->comm);
    if (status == DML_OK)
        status =
            dml_allreduce(DML_IN_PLACE, &peak, 1, DML_I64, DML_MAX, run->job->comm);
    double nranks = run->job->nranks;
    *report = (struct report){
        .app = "dml-cnn",
        .ranks = run->job->nranks,
        .threads = run->threads,
        .seed = (uint64_t)run->options->seed,
        .train_seconds = trainer->step_s,
        .samples_per_second = (double)samples_done(training) / trainer->step_s,
        .test_metric = "accuracy",
        .test_value = training->result.accuracy,
        .bytes_sent = sums[0],
        .comm_seconds = sums[1] / nranks,
        .wait_seconds = sums[2] / nranks,
        .compute_seconds = sums[3] / nranks,
        .peak_rss_bytes = peak,
    };
    return job_note(run->job, status);
}

static dml_status write_model(struct training *training)
{
    struct job *job = training->run->job;
    struct model_info info = {.shape = training->trainer.net->shape};
    snprintf(info.net, sizeof info.net, "%s", training->run->options->net);
    memcpy(info.mean, training->set.mean, sizeof training->set.mean);
    memcpy(info.stddev, training->set.stddev, sizeof training->set.stddev);
    CNN_TRY(model_write(training->model.file, training->trainer.net, &info, job->error,
                        sizeof job->error));
    return outfile_commit(&training->model, job->error, sizeof job->error);
}

static dml_status write_results(struct training *training)
{
    struct job *job = training->run->job;
    struct report report;
    CNN_TRY(job_agree(job, gather_report(training, &report)));
    dml_status status = DML_OK;
    if (training->model.file)
        status = write_model(training);
    if (status == DML_OK && training->report.file)
        status = write_report(training, &report);
    if (status == DML_OK && training->curve.file)
        status = outfile_commit(&training->curve, job->error, sizeof job->error);
    progress_line(&training->progress, "test accuracy %.4f", training->result.accuracy);
    return job_agree(job, status);
}

/* ---- begin and end -------------------------------------------------------------- */

static dml_status open_outputs(struct training *training)
{
    struct job *job = training->run->job;
    const struct cnn_options *options = training->run->options;
    const char *const paths[] = {options->curve, options->report, options->model};
    struct outfile *const files[] = {&training->curve, &training->report,
                                     &training->model};
    for (int i = 0; i < 3; i++)
        if (paths[i] && job->rank == 0)
            CNN_TRY(outfile_open(files[i], paths[i], job->error, sizeof job->error));
    return DML_OK;
}

static dml_status check_options(const struct cnn_run *run)
{
    const struct cnn_options *options = run->options;
    int64_t parts = run->job->nranks * options->accumulate;
    if (options->batch % parts == 0)
        return replica_check(run->job, options);
    int64_t above = (options->batch / parts + 1) * parts;
    return job_fail(
        run->job, DML_EINVAL,
        "--batch %lld cannot be divided by %d ranks x --accumulate %lld: take "
        "a multiple of %lld, such as %lld",
        (long long)options->batch, run->job->nranks, (long long)options->accumulate,
        (long long)parts, (long long)above);
}

static dml_status prepare(struct training *training)
{
    const struct cnn_run *run = training->run;
    const struct cnn_options *options = run->options;
    struct dataset *set = &training->set;
    struct trainer *trainer = &training->trainer;
    CNN_TRY(job_agree(run->job, check_options(run)));
    CNN_TRY(job_agree(run->job, open_outputs(training)));
    CNN_TRY(job_agree(run->job, dataset_open(run->job, options->data, true, set)));
    CNN_TRY(job_same_value(run->job, set->info.count,
                           "the training set has another number of images than on rank "
                           "0: give all ranks the same data"));
    CNN_TRY(trainer_create(run->job, options, set, trainer));

    training->nsteps = trainer->nsteps;
    training->nblocks_room = training->nsteps / BLOCK_STEPS + 1;
    training->block_speeds =
        calloc(training->nblocks_room, sizeof *training->block_speeds);
    dml_status status =
        training->block_speeds
            ? evaluate_loader(run->job, set->test,
                              (size_t)(options->batch / options->accumulate), set->mean,
                              set->stddev, &training->test_loader)
            : job_fail(run->job, DML_ENOMEM, "out of memory");
    CNN_TRY(job_agree(run->job, status));

    progress_line(
        &training->progress,
        "%s: %zu parameters; %zu training images of %zu x %zu x %zu; %d rank%s x "
        "%d thread%s; batch %lld",
        options->net, net_count_params(trainer->net), set->info.count,
        set->info.channels, set->info.height, set->info.width, run->job->nranks,
        run->job->nranks > 1 ? "s" : "", run->threads, run->threads > 1 ? "s" : "",
        (long long)options->batch);
    return DML_OK;
}

dml_status cnn_train(const struct cnn_run *run)
{
    struct training *training = calloc(1, sizeof *training);
    dml_status status =
        training ? DML_OK : job_fail(run->job, DML_ENOMEM, "out of memory");
    CNN_TRY(job_agree(run->job, status));
    training->run = run;
    progress_init(&training->progress, run->job->rank == 0 && !run->options->quiet);
    status = prepare(training);
    if (status == DML_OK)
        status = run_steps(training);
    if (status == DML_OK)
        status = write_results(training);

    /* A curve is worth having when training failed, too; that failure is the one told.
     */
    char ignored[CLI_TEXT];
    if (training->curve.file && ftell(training->curve.file) > 0)
        (void)outfile_commit(&training->curve, ignored, sizeof ignored);
    outfile_cancel(&training->curve);
    outfile_cancel(&training->report);
    outfile_cancel(&training->model);
    dml_loader_destroy(training->test_loader);
    trainer_destroy(&training->trainer);
    dataset_close(&training->set);
    free(training->block_speeds);
    free(training);
    return status;
}
