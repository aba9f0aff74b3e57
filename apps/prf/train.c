/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-prf train: read, grow, test, write.
 */
#include "../common/outfile.h"
#include "../common/report.h"
#include "commands.h"
#include "forest.h"
#include "model.h"
#include "state.h"
#include "together.h"
#include "vote.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct training {
    struct job *job;
    const struct prf_options *options;
    struct group group;
    struct dataset set;
    struct forest forest;
    struct progress progress;
    struct checkpoint checkpoint;
    dml_snapshot *snapshot;                   /* to go on from; NULL: begin anew */
    struct outfile model, report, importance; /* open on rank 0 where asked for */
    int threads;
    const char *partition;
    double read_s, test_s;
    int64_t moved; /* bytes of rows sent from rank to rank */
    /* Rank 0: accuracy or R2. */
    struct vote_score oob, plain, weighted;
    double *share; /* [F] importance; sums to 1 */
};

/* ---- files ---------------------------------------------------------------------- */

static dml_status open_files(struct training *t)
{
    const struct prf_options *options = t->options;
    const char *const paths[] = {options->model, options->report,
                                 options->importance_file};
    struct outfile *const files[] = {&t->model, &t->report, &t->importance};
    dml_status status = DML_OK;
    for (int i = 0; t->job->rank == 0 && status == DML_OK && i < 3; i++)
        if (paths[i])
            status =
                outfile_open(files[i], paths[i], t->job->error, sizeof t->job->error);
    return job_agree(t->job, status);
}

static const char *feature_name(const struct schema *schema, size_t f, char text[32])
{
    snprintf(text, 32, "%zu", f + 1);
    return schema->column[f].name ? schema->column[f].name : text;
}

static dml_status write_importance(struct training *t)
{
    const struct schema *schema = &t->set.schema;
    char text[32];
    for (size_t f = 0; f < schema->nfeatures; f++) {
        json_t *line =
            json_pack("{s:s, s:I, s:f}", "feature", feature_name(schema, f, text),
                      "number", (json_int_t)f + 1, "importance", t->share[f]);
        char *dump = line ? json_dumps(line, JSON_REAL_PRECISION(9)) : NULL;
        json_decref(line);
        if (!dump)
            return job_fail(t->job, DML_ENOMEM, "out of memory for --importance-file");
        fprintf(t->importance.file, "%s\n", dump);
        free(dump);
    }
    return outfile_commit(&t->importance, t->job->error, sizeof t->job->error);
}

static dml_status write_model(struct training *t)
{
    const struct forest *forest = &t->forest;
    struct model about = {.schema = t->set.schema,
                          .seed = forest->params.seed,
                          .criterion = forest->params.criterion,
                          .mtry = (uint32_t)forest->params.mtry,
                          .max_depth = (uint32_t)forest->params.max_depth,
                          .min_leaf = (double)t->options->min_leaf,
                          .sample_fraction = t->options->sample_fraction,
                          .oob = t->oob.value,
                          .importance = t->share};
    dml_status status = model_write(&t->forest, &about, t->model.file);
    if (status == DML_OK && t->job->rank == 0)
        status = outfile_commit(&t->model, t->job->error, sizeof t->job->error);
    return job_agree(t->job, status);
}

/* ---- stages --------------------------------------------------------------------- */

/* --min-leaf in units of the table's weights. */
static int64_t least_weight(const struct training *t)
{
    double weight = (double)t->options->min_leaf / t->set.weight_scale;
    return weight < 1 ? 1 : (int64_t)ceil(weight);
}

static void set_params(struct training *t)
{
    const struct prf_options *options = t->options;
    const struct table *train = &t->set.train;
    bool regression = train->nclasses == 0;
    size_t mtry = (size_t)options->mtry;
    if (options->mtry == CLI_AUTO)
        mtry = regression ? (train->nfeatures + 2) / 3
                          : (size_t)sqrt((double)train->nfeatures);
    if (mtry > train->nfeatures)
        mtry = train->nfeatures;
    double draws = options->sample_fraction * (double)train->all_rows;
    enum criterion criterion = options_criterion(options, regression);
    double units[] = {[CRITERION_GINI] = 1,
                      [CRITERION_ENTROPY] = 1 << 20,
                      [CRITERION_RATIO] = 1 << 20,
                      [CRITERION_SQUARES] = t->set.target_variance};
    t->forest = (struct forest){
        .job = t->job,
        .group = &t->group,
        .set = &t->set,
        .params = {.seed = (uint64_t)options->seed,
                   .criterion = criterion,
                   .mtry = mtry > 0 ? mtry : 1,
                   .max_depth = (size_t)options->max_depth,
                   .min_leaf = least_weight(t),
                   .draws = draws < 1 ? 1 : (uint64_t)draws,
                   .impurity = units[criterion],
                   .lanes = lanes_for(dml_ctx_isa(t->job->ctx)),
                   .bins = bins_for(dml_ctx_isa(t->job->ctx)),
                   .apply = apply_for(dml_ctx_isa(t->job->ctx))},
        .ntrees = (size_t)options->trees,
        .permutes = strcmp(options->importance, "permutation") == 0,
        .progress = &t->progress,
        .checkpoint = &t->checkpoint,
        .parts = {.command = &prf_train_command,
                  .values = options,
                  .progress = &t->progress,
                  .save = state_save,
                  .user = &t->forest},
        .snapshot = t->snapshot,
    };
}

/* Of votes on the rows of all ranks: where rows are shared, of one rank. */
static dml_status score_of(struct training *t, const struct votes *votes, bool weighted,
                           const struct vote_truth *truth, struct vote_score *score)
{
    int64_t sums[VOTE_SUMS];
    dml_status status = DML_OK;
    vote_sum(votes, weighted, t->forest.weight_sum, truth, sums);
    if (t->set.sharded)
        status = dml_allreduce(DML_IN_PLACE, sums, VOTE_SUMS, DML_I64, DML_SUM,
                               t->job->comm);
    *score = vote_score(sums, truth->nclasses > 0);
    return job_note(t->job, status);
}

/* What votes amount to, on rank 0. */
static dml_status score_votes(struct training *t)
{
    const struct dataset *set = &t->set;
    if (t->job->rank != 0 && !set->sharded)
        return DML_OK;
    dml_status status = score_of(t, &set->oob, false, &set->train_truth, &t->oob);
    if (status == DML_OK)
        status = score_of(t, &set->test_votes, false, &set->test_truth, &t->plain);
    t->weighted = t->plain;
    if (status == DML_OK && t->forest.weight_sum > 0)
        status = score_of(t, &set->test_votes, true, &set->test_truth, &t->weighted);
    return status;
}

/* Rank 0: importance as shares. */
static dml_status share_importance(struct training *t)
{
    size_t width = t->set.train.nfeatures;
    if (t->job->rank != 0)
        return DML_OK;
    t->share = calloc(width, sizeof *t->share);
    if (!t->share)
        return job_fail(t->job, DML_ENOMEM, "out of memory");
    double sum = 0;
    for (size_t f = 0; f < width; f++)
        sum += fabs((double)t->forest.importance[f]);
    for (size_t f = 0; f < width; f++)
        t->share[f] = sum > 0 ? (double)t->forest.importance[f] / sum : 0;
    return DML_OK;
}

/* Before the data are read, which may take long. */
static dml_status open_checkpoint(struct training *t)
{
    const struct checkpoint_options *options = &t->options->checkpoint;
    dml_status status = job_agree(t->job, checkpoint_check(t->job, options));
    if (status == DML_OK)
        status = checkpoint_open(t->job, options, &t->checkpoint, &t->snapshot);
    if (status == DML_OK && t->snapshot)
        status =
            job_agree(t->job, checkpoint_same_options(t->job, t->snapshot,
                                                      &prf_train_command, t->options));
    return status;
}

/* How trees are shared over ranks. */
static void set_partition(struct training *t)
{
    t->forest.threads = t->threads;
    enum partition partition = together_choose(&t->forest, t->options->partition);
    together_team(&t->forest, partition);
    if (partition != PARTITION_TREES && t->job->nranks > 1)
        t->forest.params.team = &t->forest.team;
    t->partition = together_name(partition);
}

static dml_status run_stages(struct training *t)
{
    struct job *job = t->job;
    double begin = forest_now_s();
    dml_status status =
        job_agree(job, group_open(&t->group, job, (int)t->options->table_ranks));
    if (status == DML_OK)
        status = dataset_open(&t->group, t->options, &t->set);
    if (status != DML_OK)
        return status;
    t->read_s = forest_now_s() - begin;
    set_params(t);
    set_partition(t);
    progress_line(&t->progress,
                  "%zu rows, %zu features, %s, %zu test rows; %d ranks, "
                  "%d thread%s each",
                  t->set.train.all_rows, t->set.train.nfeatures,
                  t->set.train.nclasses ? "classes" : "regression",
                  t->set.test.all_rows, job->nranks, t->threads,
                  t->threads == 1 ? "" : "s");
    status = checkpoint_go_on(&t->checkpoint, &t->forest.parts, t->snapshot);
    if (status == DML_OK)
        status = forest_grow(&t->forest);
    if (status != DML_OK || job->requeue)
        return status;
    begin = forest_now_s();
    status = forest_test(&t->forest);
    t->test_s = forest_now_s() - begin;
    if (status == DML_OK)
        status = job_agree(job, score_votes(t));
    if (status == DML_OK)
        status = job_agree(job, share_importance(t));
    return status;
}

/* ---- report --------------------------------------------------------------------- */

static dml_status gather_report(struct training *t, struct report *report)
{
    struct job *job = t->job;
    dml_comm_stats stats;
    dml_comm_get_stats(job->comm, &stats);
    double idle = t->forest.seconds - t->forest.busy_s;
    double sums[4] = {(double)stats.bytes_sent, idle > 0 ? idle : 0, t->forest.busy_s,
                      idle > 0 ? idle : 0};
    int64_t peaks[] = {report_peak_rss_bytes(), t->forest.private_bytes};
    t->moved = (int64_t)together_moved(&t->forest.together);
    dml_status status =
        dml_allreduce(DML_IN_PLACE, sums, 4, DML_F64, DML_SUM, job->comm);
    if (status == DML_OK)
        status = dml_allreduce(DML_IN_PLACE, peaks, 2, DML_I64, DML_MAX, job->comm);
    if (status == DML_OK)
        status = dml_allreduce(DML_IN_PLACE, &t->moved, 1, DML_I64, DML_SUM, job->comm);
    t->forest.private_bytes = peaks[1];
    bool tested = t->set.test.all_rows > 0, classes = t->set.train.nclasses > 0;
    *report = (struct report){
        .app = "dml-prf",
        .ranks = job->nranks,
        .threads = t->threads,
        .seed = t->forest.params.seed,
        .train_seconds = t->forest.seconds,
        .samples_per_second =
            (double)t->set.train.all_rows * (double)t->forest.ntodo / t->forest.seconds,
        .test_metric = tested    ? classes ? "accuracy" : "r2"
                       : classes ? "oob_accuracy"
                                 : "oob_r2",
        .test_value = tested ? t->weighted.value : t->oob.value,
        .bytes_sent = sums[0],
        .comm_seconds = sums[1] / job->nranks,
        .compute_seconds = sums[2] / job->nranks,
        .wait_seconds = sums[3] / job->nranks,
        .peak_rss_bytes = peaks[0],
    };
    return job_note(job, status);
}

static dml_status write_report(struct training *t, const struct report *report)
{
    const struct table *train = &t->set.train;
    json_t *extra = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:I, s:I, "
        "s:I, s:I, s:I, s:I}",
        "partition", t->partition, "rows_mode", t->set.sharded ? "sharded" : "shared",
        "rows", (json_int_t)train->all_rows, "features", (json_int_t)train->nfeatures,
        "classes", (json_int_t)train->nclasses, "trees", (json_int_t)t->forest.ntrees,
        "mtry", (json_int_t)t->forest.params.mtry, "test_rows",
        (json_int_t)t->set.test.all_rows, "oob_value", t->oob.value, "test_plain",
        t->plain.value, "test_weighted", t->weighted.value, "read_seconds", t->read_s,
        "test_seconds", t->test_s, "table_bytes",
        (json_int_t)(2 * train->nrows * train->nfeatures), "private_bytes",
        (json_int_t)t->forest.private_bytes, "shared_nodes",
        (json_int_t)t->forest.shared.nodes, "shared_classes",
        (json_int_t)t->forest.shared.classes, "entries_alone",
        (json_int_t)t->forest.team.alone, "moved_bytes", (json_int_t)t->moved);
    if (t->checkpoint.writer)
        json_object_set_new(extra, "checkpoint", checkpoint_report(&t->checkpoint));
    return report_write(&t->report, report, extra, t->job->error, sizeof t->job->error);
}

static dml_status finish(struct training *t)
{
    struct report report;
    forest_publish(&t->forest, t->forest.seconds, t->oob.value);
    monitor_log_step(t->job, "epoch");
    dml_status status = job_agree(t->job, gather_report(t, &report));
    if (status == DML_OK && t->options->model)
        status = write_model(t);
    if (status != DML_OK)
        return status;
    if (t->job->rank == 0 && t->importance.file)
        status = write_importance(t);
    if (status == DML_OK && t->job->rank == 0 && t->report.file)
        status = write_report(t, &report);
    const char *what = t->set.train.nclasses ? "accuracy" : "R2";
    progress_line(&t->progress, "%zu trees in %.2f s; out of bag: %s %.4f",
                  t->forest.ntrees, t->forest.seconds, what, t->oob.value);
    if (t->set.test.all_rows > 0)
        progress_line(&t->progress, "test: %s %.4f (plain vote %.4f)", what,
                      t->weighted.value, t->plain.value);
    return job_agree(t->job, status);
}

dml_status prf_train(const struct prf_run *run)
{
    struct training t = {.job = run->job,
                         .options = run->options,
                         .threads = run->threads,
                         .group = {.comm = MPI_COMM_NULL, .window = MPI_WIN_NULL}};
    progress_init(&t.progress, run->job->rank == 0 && !run->options->quiet &&
                                   monitor_leaves_stdout(&run->options->monitor));
    dml_status status = monitor_open(run->job, &prf_train_command, run->options,
                                     &run->options->monitor);
    if (status == DML_OK)
        status = open_files(&t);
    if (status == DML_OK)
        status = open_checkpoint(&t);
    if (status == DML_OK)
        status = run_stages(&t);
    if (status == DML_OK && !t.job->requeue)
        status = finish(&t);
    outfile_cancel(&t.model);
    outfile_cancel(&t.report);
    outfile_cancel(&t.importance);
    free(t.share);
    checkpoint_close(&t.checkpoint);
    dml_snapshot_close(t.snapshot);
    forest_free(&t.forest);
    dataset_close(&t.set);
    group_close(&t.group);
    return status;
}
