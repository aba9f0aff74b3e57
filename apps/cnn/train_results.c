/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What dml-cnn train writes at its end.
 */
#include "../common/report.h"
#include "model.h"
#include "train.h"

#include <stdlib.h>
#include <string.h>

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The first block, in which memory is touched for the first time, is left out. */
static double median_speed(struct training *training)
{
    if (training->nblocks < 2)
        return (double)training->trainer.samples / training->trainer.step_s;
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
    struct job *job = training->run->job;
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
    if (training->checkpoint.writer)
        json_object_set_new(extra, "checkpoint",
                            checkpoint_report(&training->checkpoint));
    if (trainer->net->gpu) {
        char graph[640];
        trainer_graph_tell(trainer, graph, sizeof graph);
        json_object_set_new(extra, "graph", json_string(graph));
    }
    if (job->goes_on) {
        json_object_set_new(extra, "lost_ranks", json_integer(job->lost));
        json_object_set_new(extra, "interrupted_seconds",
                            json_real(training->course->lost_s));
    }
    json_object_set_new(extra, "images_per_epoch",
                        json_integer((json_int_t)trainer->epoch_samples));
    json_t *const parts[] = {replica_report(&trainer->replica),
                             layout_report(&trainer->layout, options)};
    for (int i = 0; i < 2; i++) {
        json_object_update(extra, parts[i]);
        json_decref(parts[i]);
    }
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
        .samples_per_second = (double)training->trainer.samples / trainer->step_s,
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
    memcpy(info.mean, training->course->set.mean, sizeof training->course->set.mean);
    memcpy(info.stddev, training->course->set.stddev,
           sizeof training->course->set.stddev);
    CNN_TRY(model_write(training->model.file, training->trainer.net, &info, job->error,
                        sizeof job->error));
    return outfile_commit(&training->model, job->error, sizeof job->error);
}

dml_status training_write(struct training *training)
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
