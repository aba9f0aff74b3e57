/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-cnn test: loss and accuracy of a model file on a test set.
 */
#include "../common/progress.h"
#include "../common/report.h"
#include "commands.h"
#include "evaluate.h"
#include "model.h"

#include <stdlib.h>

struct testing {
    const struct cnn_run *run;
    struct model model;
    struct dataset set;
    struct gpu gpu;
    struct net *net;
    struct evaluation evaluation;
    struct outfile report;
    struct test_result result;
    double seconds;
};

/* What can fail on one rank alone, before anything collective. */
static dml_status open_inputs(struct testing *testing)
{
    struct job *job = testing->run->job;
    const struct cnn_options *options = testing->run->options;
    if (!options->model)
        return job_fail(job, DML_EINVAL,
                        "--model FILE is needed: the net to be tested");
    if (options->batch % job->nranks != 0)
        return job_fail(job, DML_EINVAL,
                        "--batch %lld cannot be divided by %d ranks: take a multiple",
                        (long long)options->batch, job->nranks);
    CNN_TRY(dataset_keep(job, &cnn_test_command, options));
    if (options->report && job->rank == 0)
        CNN_TRY(outfile_open(&testing->report, options->report, job->error,
                             sizeof job->error));
    CNN_TRY(model_open(options->model, &testing->model, job->error, sizeof job->error));
    CNN_TRY(dataset_open(job, options->data, false, &testing->set));
    const struct net_shape *shape = &testing->model.info.shape;
    const dml_images_info *info = &testing->set.info;
    if (shape->channels != info->channels || shape->height != info->height ||
        shape->width != info->width || shape->classes < info->nclasses)
        return job_fail(
            job, DML_EINVAL,
            "the model is for %zu x %zu x %zu images of %zu classes, the data "
            "are %zu x %zu x %zu of %zu: give the data it was trained for",
            shape->channels, shape->height, shape->width, shape->classes,
            info->channels, info->height, info->width, info->nclasses);
    return DML_OK;
}

static dml_status run_test(struct testing *testing)
{
    struct job *job = testing->run->job;
    size_t batch = (size_t)testing->run->options->batch;
    size_t rows = batch / (size_t)job->nranks;
    struct model_info *info = &testing->model.info;
    CNN_TRY(job_agree(job, replica_gpu_check_kernels(job, testing->run->options)));
    CNN_TRY(job_agree(job, open_inputs(testing)));
    info->shape.rows = rows;
    struct gpu *gpu = NULL;
    CNN_TRY(trainer_open_device(job, testing->run->options, &testing->gpu, &gpu));
    CNN_TRY(trainer_make_net(job, gpu, info->net, &info->shape, 0, CLI_AUTO,
                             &testing->net));
    dml_status status =
        model_load(&testing->model, testing->net, job->error, sizeof job->error);
    if (status == DML_OK)
        status = evaluate_open(job, testing->net, testing->set.test, batch, info->mean,
                               info->stddev, &testing->evaluation);
    CNN_TRY(job_agree(job, status));
    double start = trainer_now_s();
    CNN_TRY(evaluate(&testing->evaluation, &testing->result));
    testing->seconds = trainer_now_s() - start;
    return DML_OK;
}

static dml_status write_report(struct testing *testing)
{
    struct job *job = testing->run->job;
    dml_comm_stats stats;
    dml_comm_get_stats(job->comm, &stats);
    double sums[] = {(double)stats.bytes_sent, stats.wait_s};
    int64_t peak = report_peak_rss_bytes();
    dml_status status =
        dml_allreduce(DML_IN_PLACE, sums, 2, DML_F64, DML_SUM, job->comm);
    if (status == DML_OK)
        status = dml_allreduce(DML_IN_PLACE, &peak, 1, DML_I64, DML_MAX, job->comm);
    CNN_TRY(job_note(job, status));
    if (!testing->report.file)
        return DML_OK;
    double wait = sums[1] / job->nranks;
    const struct report report = {
        .app = "dml-cnn",
        .ranks = job->nranks,
        .threads = testing->run->threads,
        .samples_per_second = (double)testing->set.info.count / testing->seconds,
        .test_metric = "accuracy",
        .test_value = testing->result.accuracy,
        .bytes_sent = sums[0],
        .comm_seconds = wait,
        .wait_seconds = wait,
        .compute_seconds = testing->seconds,
        .peak_rss_bytes = peak,
    };
    json_t *extra = json_pack("{s:s, s:f}", "net", testing->model.info.net, "test_loss",
                              testing->result.loss);
    return report_write(&testing->report, &report, extra, job->error,
                        sizeof job->error);
}

dml_status cnn_test(const struct cnn_run *run)
{
    struct testing testing = {.run = run};
    struct progress progress;
    progress_init(&progress, run->job->rank == 0 && !run->options->quiet);
    dml_status status = run_test(&testing);
    if (status == DML_OK)
        status = job_agree(run->job, write_report(&testing));
    if (status == DML_OK)
        progress_line(&progress, "test loss %.4f, test accuracy %.4f",
                      testing.result.loss, testing.result.accuracy);
    outfile_cancel(&testing.report);
    evaluate_close(&testing.evaluation);
    net_destroy(testing.net);
    gpu_close(&testing.gpu);
    dataset_close(&testing.set);
    model_close(&testing.model);
    return status;
}
