/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-crf eval: label a file by a model and compare, or compare two columns.
 */
#include "../common/report.h"
#include "commands.h"
#include "grow.h"
#include "model.h"
#include "score.h"
#include "trainer.h"

#include <stdlib.h>
#include <string.h>

struct evaluation {
    const struct crf_run *run;
    struct score score;
    struct corpus corpus;
    double seconds; /* of labelling */
};

static dml_status no_memory(const struct evaluation *evaluation)
{
    return job_fail(evaluation->run->job, DML_ENOMEM, "out of memory");
}

/* ---- by a model ------------------------------------------------------------------ */

static dml_status label_and_score(struct evaluation *evaluation, struct model *model)
{
    const struct crf_run *run = evaluation->run;
    const struct corpus *corpus = &evaluation->corpus;
    size_t bytes = strcmp(run->options->precision, "f64") == 0 ? 8 : 4;
    struct labeller labeller = {0};
    uint16_t *labels = malloc((corpus->ntokens + 1) * sizeof *labels);
    dml_status status = labels ? DML_OK : no_memory(evaluation);
    if (status == DML_OK)
        status = labeller_create(&labeller, run->job, model,
                                 kernels_find(dml_ctx_isa(run->job->ctx), bytes),
                                 (int)run->options->threads);
    double begin = trainer_now_s();
    if (status == DML_OK)
        status = labeller_run(&labeller, corpus, labels);
    evaluation->seconds = trainer_now_s() - begin;
    if (status == DML_OK &&
        !score_add(&evaluation->score, corpus, &model->vocabulary.labels, labels))
        status = no_memory(evaluation);
    labeller_destroy(&labeller);
    free(labels);
    return status;
}

static dml_status by_model(struct evaluation *evaluation)
{
    const struct crf_options *options = evaluation->run->options;
    struct job *job = evaluation->run->job;
    struct model model;
    dml_status status = model_open(&model, job, options->model);
    if (status == DML_OK && strcmp(options->format, "auto") != 0)
        model.source.format = reader_format(options->format, "");
    if (status == DML_OK)
        status = corpus_read(&evaluation->corpus, job, &model.vocabulary, &model.source,
                             options->data);
    if (status == DML_OK)
        status = label_and_score(evaluation, &model);
    model_close(&model);
    return status;
}

/* ---- by columns ------------------------------------------------------------------ */

/* The last column into found[], the one before into the corpus, as numbers of names. */
static dml_status add_columns(struct evaluation *evaluation, struct dict *names,
                              const struct sentence *sentence)
{
    struct corpus *corpus = &evaluation->corpus;
    struct job *job = evaluation->run->job;
    uint16_t *found = NULL;
    size_t room = 0;
    if (!GROW(found, room, sentence->tokens) ||
        !GROW(corpus->labels, corpus->labels_room, sentence->tokens) ||
        !GROW(corpus->token_at, corpus->sentences_room, 2)) {
        free(found);
        return no_memory(evaluation);
    }
    corpus->nsentences = 1;
    corpus->token_at[0] = 0;
    corpus->token_at[1] = corpus->ntokens = sentence->tokens;
    dml_status status = DML_OK;
    for (size_t t = 0; t < sentence->tokens && status == DML_OK; t++) {
        size_t columns = sentence_columns(sentence, t);
        uint32_t pair[2] = {DICT_NONE, DICT_NONE};
        for (size_t i = 0; i < 2 && columns >= 2; i++) {
            const char *text = sentence_cell(sentence, t, columns - 2 + i);
            pair[i] = dict_put(names, text, strlen(text));
        }
        if (pair[0] >= MAX_LABELS || pair[1] >= MAX_LABELS)
            status = job_fail(job, DML_EFORMAT,
                              "%.300s:%llu: the last two columns must be labels: give "
                              "tagged sentences, or --model FILE",
                              evaluation->run->options->data,
                              (unsigned long long)(sentence->line + t));
        corpus->labels[t] = (uint16_t)pair[0];
        found[t] = (uint16_t)pair[1];
    }
    if (status == DML_OK && !score_add(&evaluation->score, corpus, names, found))
        status = no_memory(evaluation);
    free(found);
    return status;
}

static dml_status by_columns(struct evaluation *evaluation)
{
    const struct crf_options *options = evaluation->run->options;
    struct reader reader;
    struct sentence sentence;
    struct dict names = {0};
    dml_status status = reader_open(&reader, evaluation->run->job, options->data,
                                    reader_format(options->format, options->data));
    if (status == DML_OK && !dict_init(&names))
        status = no_memory(evaluation);
    while (status == DML_OK) {
        status = reader_next(&reader, &sentence);
        if (status == DML_OK)
            status = add_columns(evaluation, &names, &sentence);
    }
    dict_free(&names);
    reader_close(&reader);
    return status == DML_EEND ? DML_OK : status;
}

/* ---- the command ----------------------------------------------------------------- */

static dml_status write_report(const struct evaluation *evaluation)
{
    const struct crf_run *run = evaluation->run;
    struct job *job = run->job;
    const struct score *score = &evaluation->score;
    struct outfile out = {0};
    const struct report report = {
        .app = "dml-crf",
        .ranks = 1,
        .threads = (int)run->options->threads,
        .samples_per_second =
            evaluation->seconds > 0 ? (double)score->tokens / evaluation->seconds : 0,
        .test_metric = score_metric(score, "auto"),
        .test_value = score_value(score, "auto"),
        .compute_seconds = evaluation->seconds,
        .peak_rss_bytes = report_peak_rss_bytes(),
    };
    CRF_TRY(outfile_open(&out, run->options->report, job->error, sizeof job->error));
    return report_write(&out, &report, json_pack("{s:o}", "test", score_json(score)),
                        job->error, sizeof job->error);
}

dml_status crf_eval(const struct crf_run *run)
{
    struct evaluation evaluation = {.run = run};
    dml_status status = DML_OK;
    if (run->job->nranks > 1)
        status = job_fail(run->job, DML_EINVAL,
                          "eval works on one rank: start it "
                          "without mpirun");
    else if (!score_init(&evaluation.score))
        status = no_memory(&evaluation);
    if (status == DML_OK)
        status = run->options->model ? by_model(&evaluation) : by_columns(&evaluation);
    if (status == DML_OK && !run->options->quiet)
        score_print(&evaluation.score, stdout);
    if (status == DML_OK && run->options->report)
        status = write_report(&evaluation);
    corpus_free(&evaluation.corpus);
    score_free(&evaluation.score);
    return job_agree(run->job, status);
}
