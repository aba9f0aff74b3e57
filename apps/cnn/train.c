/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-cnn train: the epochs, the curve, and what is written at the end.
 */
#include "train.h"

#include "state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CURVE_STEPS 20 /* between two lines of the curve */
#define BLOCK_STEPS 50 /* over which one figure of speed is taken */

/* ---- curve and progress --------------------------------------------------------- */

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
                (unsigned long long)training->trainer.samples,
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
             (double)training->trainer.samples / trainer->step_s);
    progress_bar(&training->progress, trainer->step, training->nsteps, text);
}

/* ---- monitoring ----------------------------------------------------------------- */

static void publish(struct training *training)
{
    const struct trainer *trainer = &training->trainer;
    struct monitor_values values;
    monitor_values_init(&values);
    values.step = trainer->step;
    values.nsteps = training->nsteps;
    values.samples = trainer->samples;
    values.train_s = trainer->step_s;
    values.epoch = epochs_done(training);
    values.progress = (double)trainer->step / (double)training->nsteps;
    if (trainer->step > training->first_step) {
        values.loss = trainer->loss;
        values.rate = trainer->rate;
    }
    if (training->tested)
        values.test_value = training->result.accuracy;
    monitor_step(training->run->job, &values);
}

/* ---- the loop ------------------------------------------------------------------- */

static void end_block(struct training *training)
{
    const struct trainer *trainer = &training->trainer;
    if (trainer->step % BLOCK_STEPS != 0 || training->nblocks == training->nblocks_room)
        return;
    double seconds = trainer->step_s - training->block_start_s;
    training->block_speeds[training->nblocks++] =
        (double)(trainer->samples - training->block_samples) / seconds;
    training->block_start_s = trainer->step_s;
    training->block_samples = trainer->samples;
}

static dml_status test_now(struct training *training)
{
    struct trainer *trainer = &training->trainer;
    CNN_TRY(job_agree(training->run->job, replica_settle(&trainer->replica)));
    CNN_TRY(evaluate(&training->evaluation, &training->result));
    curve_test(training);
    training->tested = true;
    publish(training);
    monitor_log_step(training->run->job, "epoch");
    progress_line(
        &training->progress,
        "epoch %.2f of %lld: test loss %.4f, test accuracy %.4f  (%.1f s so far, %.0f "
        "images/s in this epoch)",
        epochs_done(training), (long long)training->run->options->epochs,
        training->result.loss, training->result.accuracy,
        trainer_now_s() - training->start_s,
        (double)(training->trainer.samples - training->tested_samples) /
            (trainer->step_s - training->tested_step_s));
    training->tested_samples = training->trainer.samples;
    training->tested_step_s = trainer->step_s;
    return DML_OK;
}

static dml_status save(void *user, dml_ckpt *writer)
{
    struct training *training = user;
    struct progress_state p = {.loss_sum = training->loss_sum,
                               .loss_count = training->loss_count,
                               .elapsed_s = trainer_now_s() - training->start_s,
                               .result = training->result};
    return state_save(&training->trainer, writer, p);
}

static struct checkpoint_parts parts_of(struct training *training)
{
    return (struct checkpoint_parts){.command = &cnn_train_command,
                                     .values = training->run->options,
                                     .curve = &training->curve,
                                     .progress = &training->progress,
                                     .save = save,
                                     .user = training};
}

static void end_interruption(struct training *training)
{
    struct course *course = training->course;
    const struct job *job = training->run->job;
    double now = trainer_now_s(), seconds = now - course->last_step_s;
    if (course->interrupted && course->last_step_s > 0) {
        course->lost_s += seconds;
        progress_line(
            &training->progress,
            "step %llu is done by %d rank%s, %.2f s after the last one of all",
            (unsigned long long)training->trainer.step, job->nranks,
            job->nranks > 1 ? "s" : "", seconds);
    }
    course->interrupted = false;
    course->last_step_s = now;
}

static dml_status one_step(struct training *training)
{
    struct trainer *trainer = &training->trainer;
    /* All ranks know the loss, and what cannot be captured; else the job ends. */
    dml_status status = trainer_step(trainer);
    bool common = status == DML_ENUMERIC || status == DML_EUNSUPPORTED;
    bool told = common || status == DML_ETIMEOUT || status == DML_EPEER;
    if (status != DML_OK)
        return job_agree(training->run->job, told ? status : DML_ECOMM);
    end_interruption(training);
    training->loss_sum += trainer->loss;
    training->loss_count++;
    end_block(training);
    publish(training);
    bool ends = trainer->step == training->nsteps;
    if (trainer->step % CURVE_STEPS == 0 || ends) {
        double loss = training->loss_sum / training->loss_count;
        curve_step(training, loss);
        show_step(training, loss);
        monitor_log_step(training->run->job, "step");
        training->loss_sum = 0;
        training->loss_count = 0;
    }
    if (trainer->step % trainer->epoch_steps == 0 || ends)
        return test_now(training);
    return DML_OK;
}

static dml_status run_steps(struct training *training)
{
    struct trainer *trainer = &training->trainer;
    const struct checkpoint_parts parts = parts_of(training);
    bool stop = false;
    if (trainer->step >= training->nsteps) /* the snapshot is beyond --max-steps */
        return test_now(training);
    while (trainer->step < training->nsteps && !stop) {
        CNN_TRY(one_step(training));
        if (trainer->step < training->nsteps)
            CNN_TRY(checkpoint_after_step(&training->checkpoint, &parts, trainer->step,
                                          &stop));
    }
    return checkpoint_wait(&training->checkpoint, false);
}

/* ---- begin and end -------------------------------------------------------------- */

/* On rank 0, which writes them. */
static dml_status open_outputs(struct training *training)
{
    struct job *job = training->run->job;
    const struct cnn_options *options = training->run->options;
    const char *const paths[] = {options->curve, options->report, options->model};
    struct outfile *const files[] = {&training->curve, &training->report,
                                     &training->model};
    if (job->rank != 0)
        return DML_OK;
    CNN_TRY(dataset_keep(job, &cnn_train_command, options));
    for (int i = 0; i < 3; i++)
        if (paths[i])
            CNN_TRY(outfile_open(files[i], paths[i], job->error, sizeof job->error));
    return DML_OK;
}

/* What would end the job when it has one rank less is told at its start. */
static dml_status check_shrink(const struct cnn_run *run)
{
    struct job *job = run->job;
    const struct cnn_options *options = run->options;
    int64_t fewer = job->nranks - 1, accumulate = options->accumulate;
    CNN_TRY(job_keep_going(job));
    if (replica_has_codec(options))
        return job_fail(job, DML_EINVAL,
                        "--on-failure shrink: with --compress %.60s each rank holds "
                        "back its own part of the gradients, which is lost with it",
                        options->compress);
    if (job->lost == 0 && fewer > 0 && options->batch % (fewer * accumulate) != 0)
        return job_fail(job, DML_EINVAL,
                        "--on-failure shrink: --batch %lld must be a multiple of %lld, "
                        "too, for %lld ranks",
                        (long long)options->batch, (long long)(fewer * accumulate),
                        (long long)fewer);
    return DML_OK;
}

static dml_status check_options(const struct cnn_run *run)
{
    const struct cnn_options *options = run->options;
    int64_t parts = run->job->nranks * options->accumulate;
    CNN_TRY(layout_check(run->job, options));
    CNN_TRY(checkpoint_check(run->job, &options->checkpoint));
    if (checkpoint_shrinks(&options->checkpoint))
        CNN_TRY(check_shrink(run));
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

static void show_layout(struct training *training)
{
    const struct layout *layout = &training->trainer.layout;
    const struct cnn_options *options = training->run->options;
    if (!layout->owner)
        return;
    progress_line(&training->progress,
                  "layout %s: the busiest rank has %.3f times its share%s",
                  options->layout, layout->imbalance_before,
                  layout->imbalance_before > 1.05 && !layout->moved
                      ? "; --balance ksrp would even it out"
                      : "");
    if (layout->moved)
        progress_line(&training->progress,
                      "balanced by %s: %.3f times; %llu images change their rank",
                      options->balance, layout->imbalance_after,
                      (unsigned long long)layout->moved);
}

/* What was kept beside the trainer's state, for a job that goes on. */
static dml_status go_on(struct training *training)
{
    struct trainer *trainer = &training->trainer;
    struct job *job = training->run->job;
    const struct checkpoint_parts parts = parts_of(training);
    struct progress_state p = {0};
    if (training->snapshot)
        CNN_TRY(job_agree(job, state_progress(job, training->snapshot, &p)));
    CNN_TRY(checkpoint_go_on(&training->checkpoint, &parts, training->snapshot));
    dml_snapshot_close(training->snapshot);
    training->snapshot = NULL;
    training->loss_sum = p.loss_sum;
    training->loss_count = (int)p.loss_count;
    training->result = p.result;
    training->start_s = trainer_now_s() - p.elapsed_s;
    training->block_start_s = training->tested_step_s = trainer->step_s;
    training->block_samples = training->tested_samples = trainer->samples;
    training->first_step = trainer->step;
    publish(training);
    return DML_OK;
}

static dml_status open_checkpoint(struct training *training)
{
    const struct cnn_run *run = training->run;
    CNN_TRY(checkpoint_open(run->job, &run->options->checkpoint, &training->checkpoint,
                            &training->snapshot));
    if (!training->snapshot)
        return DML_OK;
    return job_agree(run->job,
                     checkpoint_same_options(run->job, training->snapshot,
                                             &cnn_train_command, run->options));
}

static dml_status prepare(struct training *training)
{
    const struct cnn_run *run = training->run;
    const struct cnn_options *options = run->options;
    struct dataset *set = &training->course->set;
    struct trainer *trainer = &training->trainer;
    CNN_TRY(job_agree(run->job, check_options(run)));
    CNN_TRY(job_agree(run->job, open_outputs(training)));
    if (!set->train)
        CNN_TRY(job_agree(run->job, dataset_open(run->job, options->data, true, set)));
    CNN_TRY(job_same_value(run->job, set->info.count,
                           "the training set has another number of images than on rank "
                           "0: give all ranks the same data"));
    CNN_TRY(open_checkpoint(training));
    CNN_TRY(trainer_create(run->job, options, set, training->snapshot, trainer));

    training->nsteps = trainer->nsteps;
    training->nblocks_room = training->nsteps / BLOCK_STEPS + 1;
    training->block_speeds =
        calloc(training->nblocks_room, sizeof *training->block_speeds);
    dml_status status =
        training->block_speeds
            ? evaluate_open(run->job, trainer->net, set->test,
                            trainer->least_rows * (size_t)run->job->nranks, set->mean,
                            set->stddev, &training->evaluation)
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
    show_layout(training);
    return go_on(training);
}

static dml_status train(const struct cnn_run *run, struct course *course)
{
    struct training *training = calloc(1, sizeof *training);
    dml_status status =
        training ? DML_OK : job_fail(run->job, DML_ENOMEM, "out of memory");
    CNN_TRY(job_agree(run->job, status));
    training->run = run;
    training->course = course;
    progress_init(&training->progress,
                  run->job->rank == 0 && !run->options->quiet &&
                      monitor_leaves_stdout(&run->options->monitor));
    status = monitor_open(run->job, &cnn_train_command, run->options,
                          &run->options->monitor);
    if (status == DML_OK)
        status = prepare(training);
    if (status == DML_OK)
        status = run_steps(training);
    if (status == DML_OK && !run->job->requeue)
        status = training_write(training);

    /* A curve is worth having when training failed, too; that is the failure told. */
    char ignored[CLI_TEXT];
    if (training->curve.file && ftell(training->curve.file) > 0 && !run->job->left)
        (void)outfile_commit(&training->curve, ignored, sizeof ignored);
    outfile_cancel(&training->curve);
    outfile_cancel(&training->report);
    outfile_cancel(&training->model);
    checkpoint_close(&training->checkpoint);
    dml_snapshot_close(training->snapshot);
    evaluate_close(&training->evaluation);
    trainer_destroy(&training->trainer);
    free(training->block_speeds);
    free(training);
    return status;
}

dml_status cnn_train(const struct cnn_run *run)
{
    struct course course = {0};
    struct cnn_options options = *run->options;
    struct cnn_run again = *run;
    dml_status status = train(run, &course);
    again.options = &options;
    options.checkpoint.resume = "auto";
    while (job_go_on(run->job, status)) {
        course.interrupted = true;
        status = train(&again, &course);
    }
    dataset_close(&course.set);
    return status;
}
