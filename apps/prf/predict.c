/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-prf predict. Rank 0 reads the rows, because they may come from standard input;
 * all ranks and threads let the trees vote on a share of them.
 */
#include "predict.h"

#include "../common/report.h"
#include "commands.h"
#include "vote.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Rows that stay in cache while all trees go over them; many, because the last walks of
 * each tree are few at a time. */
#define BLOCK_BYTES ((size_t)256 << 10)
#define LEAST_BLOCK ((size_t)512)
#define MOST_BLOCK  ((size_t)4096)

static size_t block_rows(size_t nfeatures)
{
    size_t fit = BLOCK_BYTES / nfeatures;
    return fit < LEAST_BLOCK ? LEAST_BLOCK : fit > MOST_BLOCK ? MOST_BLOCK : fit;
}

double predict_whole(const struct model *model, bool weighted)
{
    double trees =
        weighted && model->weight_sum > 0 ? model->weight_sum : (double)model->ntrees;
    return model->schema.nclasses > 0 ? trees * UINT16_MAX : trees;
}

/* One tree's votes. */
static void add_votes(const struct tree *tree, size_t nclasses, int64_t weight,
                      const uint32_t *leaves, size_t n, int64_t *sum)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t link = tree->nodes[leaves[i]].link;
        if (nclasses == 0) {
            sum[i] += weight * (int32_t)link;
        } else if (link < nclasses) {
            sum[i * nclasses + link] += weight * UINT16_MAX;
        } else {
            const uint16_t *share = tree->shares + (link - nclasses) * nclasses;
            for (size_t c = 0; c < nclasses; c++)
                sum[i * nclasses + c] += weight * share[c];
        }
    }
}

bool predict_rows(const struct model *model, const uint8_t *bins, size_t n,
                  bool weighted, int threads, apply_fn *apply, int64_t *sum)
{
    size_t nclasses = model->schema.nclasses, width = nclasses ? nclasses : 1;
    size_t block = block_rows(model->schema.nfeatures);
    size_t nblocks = (n + block - 1) / block;
    bool weighs = weighted && model->weight_sum > 0;
    uint32_t *rows = malloc((n + 1) * sizeof *rows);
    uint32_t *leaves = malloc((n + 1) * sizeof *leaves);
    bool good = rows && leaves;
    for (size_t i = 0; good && i < n; i++)
        rows[i] = (uint32_t)i;
    memset(sum, 0, n * width * sizeof *sum);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (size_t b = 0; b < nblocks; b++) {
        size_t first = b * block, count = n - first < block ? n - first : block;
        for (size_t t = 0; good && t < model->ntrees; t++) {
            const struct tree *tree = &model->trees[t];
            apply(tree, bins, model->schema.nfeatures, rows + first, count,
                  leaves + first);
            add_votes(tree, nclasses, weighs ? model->weight[t] : 1, leaves + first,
                      count, sum + first * width);
        }
    }
    free(rows);
    free(leaves);
    return good;
}

/* ---- the command ---------------------------------------------------------------- */

struct prediction {
    struct job *job;
    const struct prf_options *options;
    int threads;
    struct model model;
    struct raw raw;     /* rank 0 */
    struct outfile out; /* likewise */
    struct outfile report;
    size_t nrows;
    uint8_t *bins; /* [n][F] */
    int64_t *sum;  /* [n][K] on rank 0 */
    double seconds;
    bool has_labels;
};

static dml_status read_rows(struct prediction *p)
{
    char path[PRF_PATH];
    dml_status status =
        options_find_data(p->job, &prf_predict_command, p->options, path);
    struct raw_source source = {.path = path,
                                .format = p->options->format,
                                .label = p->options->label,
                                .part = "t10k"};
    if (status == DML_OK)
        status = schema_prepare_raw(p->job, &p->model.schema, &p->raw);
    if (status == DML_OK)
        status = raw_read(p->job, &source, &p->raw);
    if (status != DML_OK)
        return status;
    p->nrows = p->raw.kept.nrows;
    p->has_labels = p->nrows > 0;
    for (size_t r = 0; r < p->nrows; r++)
        p->has_labels &= isfinite(p->raw.kept.label[r]);
    p->bins = malloc(p->nrows * p->raw.nfeatures + 1);
    if (!p->bins)
        return job_fail(p->job, DML_ENOMEM, "out of memory for %zu rows", p->nrows);
    return schema_encode(p->job, &p->model.schema, &p->raw, &p->raw.kept, NULL,
                         p->nrows,
                         &(struct schema_bins){.by_row = p->bins, .nrows = p->nrows});
}

static dml_status open_files(struct prediction *p)
{
    dml_status status =
        outfile_open(&p->out, p->options->out, p->job->error, sizeof p->job->error);
    if (status == DML_OK && p->options->report)
        status = outfile_open(&p->report, p->options->report, p->job->error,
                              sizeof p->job->error);
    return status;
}

/* Rows of one rank. */
static size_t first_row(const struct prediction *p, int rank)
{
    return p->nrows * (size_t)rank / (size_t)p->job->nranks;
}

static dml_status share_rows(struct prediction *p)
{
    struct job *job = p->job;
    uint64_t n = p->nrows;
    dml_status status = job_note(job, dml_bcast(&n, 1, DML_U64, 0, job->comm));
    p->nrows = n;
    if (status != DML_OK)
        return job_agree(job, status);
    size_t width = p->model.schema.nclasses ? p->model.schema.nclasses : 1;
    if (job->rank != 0)
        p->bins = malloc(n * p->model.schema.nfeatures + 1);
    p->sum = malloc(n * width * sizeof *p->sum + 1);
    if (!p->bins || !p->sum)
        status = job_fail(job, DML_ENOMEM, "out of memory for %zu rows", p->nrows);
    status = job_agree(job, status);
    if (status == DML_OK)
        status = job_note(job, dml_bcast(p->bins, n * p->model.schema.nfeatures, DML_U8,
                                         0, job->comm));
    return job_agree(job, status);
}

static dml_status vote(struct prediction *p)
{
    struct job *job = p->job;
    size_t width = p->model.schema.nclasses ? p->model.schema.nclasses : 1;
    size_t first = first_row(p, job->rank), end = first_row(p, job->rank + 1);
    size_t *counts = calloc((size_t)job->nranks, sizeof *counts);
    bool weighted = strcmp(p->options->vote, "weighted") == 0;
    double begin = forest_now_s();
    bool good = counts &&
                predict_rows(&p->model, p->bins + first * p->model.schema.nfeatures,
                             end - first, weighted, p->threads,
                             apply_for(dml_ctx_isa(job->ctx)), p->sum + first * width);
    p->seconds = forest_now_s() - begin;
    dml_status status =
        job_agree(job, good ? DML_OK : job_fail(job, DML_ENOMEM, "out of memory"));
    for (int r = 0; status == DML_OK && r < job->nranks; r++)
        counts[r] = (first_row(p, r + 1) - first_row(p, r)) * width;
    if (status == DML_OK)
        status = job_note(
            job, dml_gatherv(job->rank == 0 ? DML_IN_PLACE : p->sum + first * width,
                             p->sum, counts, NULL, DML_I64, 0, job->comm));
    free(counts);
    return job_agree(job, status);
}

/* ---- output --------------------------------------------------------------------- */

static size_t winner(const int64_t *sum, size_t nclasses)
{
    size_t best = 0;
    for (size_t c = 1; c < nclasses; c++)
        if (sum[c] > sum[best])
            best = c;
    return best;
}

static double number_of(const struct prediction *p, size_t r, double whole)
{
    const struct schema *schema = &p->model.schema;
    return schema->target_offset + schema->target_scale * ((double)p->sum[r] / whole);
}

static void write_rows(const struct prediction *p, double whole)
{
    const struct schema *schema = &p->model.schema;
    size_t nclasses = schema->nclasses;
    if (p->options->probabilities && nclasses > 0) {
        fprintf(p->out.file, "class");
        for (size_t c = 0; c < nclasses; c++)
            fprintf(p->out.file, ",%s", schema->class_name[c]);
        fprintf(p->out.file, "\n");
    }
    for (size_t r = 0; r < p->nrows; r++) {
        const int64_t *sum = p->sum + r * nclasses;
        if (nclasses == 0) {
            fprintf(p->out.file, "%.9g\n", number_of(p, r, whole));
            continue;
        }
        fprintf(p->out.file, "%s", schema->class_name[winner(sum, nclasses)]);
        for (size_t c = 0; p->options->probabilities && c < nclasses; c++)
            fprintf(p->out.file, ",%.6f", (double)sum[c] / whole);
        fprintf(p->out.file, "\n");
    }
}

/* Accuracy or R2, where the rows have labels. */
static double score(const struct prediction *p, double whole)
{
    size_t nclasses = p->model.schema.nclasses, right = 0;
    double mean = 0, errors = 0, spread = 0;
    for (size_t r = 0; r < p->nrows; r++) {
        if (nclasses > 0)
            right += winner(p->sum + r * nclasses, nclasses) ==
                     schema_class(&p->model.schema, &p->raw, p->raw.kept.label[r]);
        else
            mean += p->raw.kept.label[r] / (double)p->nrows;
    }
    if (nclasses > 0)
        return (double)right / (double)p->nrows;
    for (size_t r = 0; r < p->nrows; r++) {
        double error = number_of(p, r, whole) - p->raw.kept.label[r];
        double away = p->raw.kept.label[r] - mean;
        errors += error * error;
        spread += away * away;
    }
    return spread > 0 ? 1 - errors / spread : 0;
}

static dml_status write_report(struct prediction *p, double value)
{
    bool classes = p->model.schema.nclasses > 0;
    struct report report = {
        .app = "dml-prf",
        .ranks = p->job->nranks,
        .threads = p->threads,
        .seed = p->model.seed,
        .samples_per_second = (double)p->nrows / p->seconds,
        .test_metric = !p->has_labels ? "none"
                       : classes      ? "accuracy"
                                      : "r2",
        .test_value = value,
        .peak_rss_bytes = report_peak_rss_bytes(),
    };
    json_t *extra =
        json_pack("{s:f, s:I, s:I}", "predict_seconds", p->seconds, "rows",
                  (json_int_t)p->nrows, "trees", (json_int_t)p->model.ntrees);
    return report_write(&p->report, &report, extra, p->job->error,
                        sizeof p->job->error);
}

static dml_status write_all(struct prediction *p)
{
    double whole = predict_whole(&p->model, strcmp(p->options->vote, "weighted") == 0);
    write_rows(p, whole);
    bool to_file = !p->out.in_place;
    dml_status status = outfile_commit(&p->out, p->job->error, sizeof p->job->error);
    double value = p->has_labels ? score(p, whole) : 0;
    if (status == DML_OK && p->report.file)
        status = write_report(p, value);
    if (status == DML_OK && to_file && !p->options->quiet && p->has_labels)
        printf("%zu rows, %s %.4f\n", p->nrows,
               p->model.schema.nclasses ? "accuracy" : "R2", value);
    return status;
}

dml_status prf_predict(const struct prf_run *run)
{
    struct job *job = run->job;
    struct prediction p = {
        .job = job, .options = run->options, .threads = run->threads};
    dml_status status = model_read(job, run->options->model, &p.model);
    if (status == DML_OK && job->rank == 0)
        status = open_files(&p);
    if (status == DML_OK && job->rank == 0)
        status = read_rows(&p);
    status = job_agree(job, status);
    if (status == DML_OK)
        status = share_rows(&p);
    if (status == DML_OK)
        status = vote(&p);
    if (status == DML_OK)
        status = job_agree(job, job->rank == 0 ? write_all(&p) : DML_OK);
    outfile_cancel(&p.out);
    outfile_cancel(&p.report);
    raw_free(&p.raw);
    model_free(&p.model);
    free(p.bins);
    free(p.sum);
    return status;
}
