/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-crf tag: sentences in, sentences with one column more out, one at a time.
 */
#include "../common/report.h"
#include "commands.h"
#include "model.h"
#include "nbest.h"
#include "trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct tagging {
    const struct crf_run *run;
    struct model model;
    struct labeller labeller;
    struct reader reader;
    struct corpus corpus; /* the sentence at hand */
    struct shard shard;
    struct attributes scratch;
    struct bench bench;
    struct nbest nbest;
    uint16_t *labels; /* [labels_room] */
    size_t labels_room;
    size_t nsentences, ntokens;
};

/* A token of the input, then its label and, with --marginals, that label's probability.
 * One thread writes; locks and formats would cost as much as the labels. */
static void put_token(const struct tagging *tagging, const struct sentence *sentence,
                      size_t t, uint16_t label)
{
    const struct chain *chain = &tagging->labeller.objective.chain;
    for (size_t i = 0; i < sentence_columns(sentence, t); i++) {
        fputs_unlocked(sentence_cell(sentence, t, i), stdout);
        putc_unlocked(sentence->separator, stdout);
    }
    fputs_unlocked(dict_text(&tagging->model.vocabulary.labels, label), stdout);
    if (tagging->run->options->marginals)
        printf("%c%.6f", sentence->separator,
               bench_number(tagging->labeller.objective.kernels, tagging->bench.beta,
                            t * chain->pad + label));
    putc_unlocked('\n', stdout);
}

static void put_sentence(const struct tagging *tagging, const struct sentence *sentence,
                         const uint16_t *labels)
{
    for (size_t t = 0; t < sentence->tokens; t++)
        put_token(tagging, sentence, t, labels[t]);
    putc_unlocked('\n', stdout);
}

static dml_status no_memory(struct tagging *tagging)
{
    return job_fail(tagging->run->job, DML_ENOMEM, "out of memory");
}

/* The N best labellings, each with its probability. "scores" were copied before the
 * forward pass overwrote them. */
static dml_status put_best(struct tagging *tagging, const struct sentence *sentence,
                           const struct tokens *tokens, double z)
{
    const struct objective *objective = &tagging->labeller.objective;
    if (!nbest_run(&tagging->nbest, objective->trans, tokens, objective->chain.labels,
                   (size_t)tagging->run->options->nbest))
        return no_memory(tagging);
    for (size_t k = 0; k < tagging->nbest.found; k++) {
        printf("# %zu %.6f\n", k, exp(tagging->nbest.score[k] - z));
        put_sentence(tagging, sentence, tagging->nbest.labels + k * sentence->tokens);
    }
    return DML_OK;
}

static dml_status label_sentence(struct tagging *tagging,
                                 const struct sentence *sentence)
{
    const struct objective *objective = &tagging->labeller.objective;
    const struct kernels *kernels = objective->kernels;
    const struct chain *chain = &objective->chain;
    const struct crf_options *options = tagging->run->options;
    const uint32_t first = 0;
    struct bench *bench = &tagging->bench;
    shard_free(&tagging->shard);
    if (!shard_build(&tagging->shard, &tagging->corpus, &tagging->labeller.layout,
                     &first, 1))
        return no_memory(tagging);
    struct tokens tokens = shard_tokens(&tagging->shard, 0);
    if (!bench_reserve(bench, kernels, chain->pad, &tokens) ||
        !GROW(tagging->labels, tagging->labels_room, sentence->tokens))
        return no_memory(tagging);
    bench_scores(bench, kernels, chain, &tokens);
    bench_best(bench, kernels, chain, &tokens, tagging->labels);
    double z = 0;
    if (options->nbest > 1 &&
        !nbest_copy(&tagging->nbest, kernels, chain, &tokens, bench))
        return no_memory(tagging);
    if (options->nbest > 1 || options->marginals)
        z = bench_sum(bench, kernels, chain, &tokens, NULL);
    if (options->nbest > 1)
        return put_best(tagging, sentence, &tokens, z);
    put_sentence(tagging, sentence, tagging->labels);
    return DML_OK;
}

static dml_status tag_all(struct tagging *tagging)
{
    struct job *job = tagging->run->job;
    const char *path = tagging->run->options->data;
    struct sentence sentence;
    for (;;) {
        dml_status status = reader_next(&tagging->reader, &sentence);
        if (status != DML_OK)
            return status == DML_EEND ? DML_OK : status;
        corpus_clear(&tagging->corpus);
        CRF_TRY(corpus_add(&tagging->corpus, job, &tagging->model.vocabulary,
                           &tagging->model.source, &sentence, path, &tagging->scratch));
        CRF_TRY(label_sentence(tagging, &sentence));
        tagging->nsentences++;
        tagging->ntokens += sentence.tokens;
        if (ferror(stdout))
            return job_fail(job, DML_EIO, "cannot write to standard output");
    }
}

static dml_status start(struct tagging *tagging)
{
    const struct crf_options *options = tagging->run->options;
    struct job *job = tagging->run->job;
    struct model *model = &tagging->model;
    size_t bytes = strcmp(options->precision, "f64") == 0 ? 8 : 4;
    if (!options->model)
        return job_fail(job, DML_EINVAL,
                        "--model FILE is needed: written by dml-crf "
                        "train");
    CRF_TRY(model_open(model, job, options->model));
    if (strcmp(options->format, "auto") != 0)
        model->source.format = reader_format(options->format, "");
    /* Labels of the input, if any, are not looked at; items may begin with one. */
    if (model->source.template)
        model->source.label = LABEL_ABSENT;
    CRF_TRY(labeller_create(&tagging->labeller, job, model,
                            kernels_find(dml_ctx_isa(job->ctx), bytes), 1));
    return reader_open(&tagging->reader, job, options->data, model->source.format);
}

static dml_status write_report(const struct tagging *tagging, double seconds)
{
    struct job *job = tagging->run->job;
    struct outfile out = {0};
    const struct report report = {
        .app = "dml-crf",
        .ranks = 1,
        .threads = 1,
        .samples_per_second = seconds > 0 ? (double)tagging->ntokens / seconds : 0,
        .test_metric = "none",
        .compute_seconds = seconds,
        .peak_rss_bytes = report_peak_rss_bytes(),
    };
    CRF_TRY(outfile_open(&out, tagging->run->options->report, job->error,
                         sizeof job->error));
    return report_write(&out, &report,
                        json_pack("{s:I, s:I, s:f}", "sentences",
                                  (json_int_t)tagging->nsentences, "tokens",
                                  (json_int_t)tagging->ntokens, "tag_seconds", seconds),
                        job->error, sizeof job->error);
}

static dml_status tag(struct tagging *tagging)
{
    CRF_TRY(start(tagging));
    double begin = trainer_now_s();
    CRF_TRY(tag_all(tagging));
    if (fflush(stdout) != 0)
        return job_fail(tagging->run->job, DML_EIO, "cannot write to standard output");
    if (tagging->run->options->report)
        return write_report(tagging, trainer_now_s() - begin);
    return DML_OK;
}

dml_status crf_tag(const struct crf_run *run)
{
    struct tagging *tagging = calloc(1, sizeof *tagging);
    dml_status status = DML_OK;
    if (run->job->nranks > 1)
        status = job_fail(run->job, DML_EINVAL,
                          "tag works on one rank: start it without "
                          "mpirun");
    else if (!tagging)
        status = job_fail(run->job, DML_ENOMEM, "out of memory");
    if (status == DML_OK) {
        tagging->run = run;
        status = tag(tagging);
        reader_close(&tagging->reader);
        corpus_free(&tagging->corpus);
        shard_free(&tagging->shard);
        attributes_free(&tagging->scratch);
        bench_free(&tagging->bench);
        nbest_free(&tagging->nbest);
        labeller_destroy(&tagging->labeller);
        model_close(&tagging->model);
        free(tagging->labels);
    }
    free(tagging);
    return job_agree(run->job, status);
}
