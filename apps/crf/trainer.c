/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The objective over all ranks. Each has some of the sentences, and updates a block of
 * the weights: gradients are summed block by block (reduce-scatter), new weights are
 * collected (all-gather), which together cost what an all-reduce does.
 *
 * All ranks read the whole training set, so that they number attributes and features
 * alike without talking; each keeps its share of it.
 */
#include "trainer.h"

#include "shares.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

double trainer_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static struct job *job_of(const struct trainer *trainer)
{
    return trainer->run->job;
}

static dml_status no_memory(struct trainer *trainer)
{
    return job_fail(job_of(trainer), DML_ENOMEM, "out of memory");
}

/* ---- data ------------------------------------------------------------------------ */

/* What "auto" stands for depends on the data's first sentence. */
static dml_status choose_template(struct trainer *trainer)
{
    const struct crf_options *options = trainer->run->options;
    struct source *source = &trainer->model.source;
    struct job *job = job_of(trainer);
    const char *path = trainer->files.train, *name = options->template;
    source->format = reader_format(options->format, path);
    source->label = options->label != CLI_AUTO ? (long)options->label - 1 : LABEL_LAST;
    if (source->format == READER_ITEMS) {
        source->label = 0;
        return DML_OK;
    }
    struct reader reader;
    struct sentence sentence;
    dml_status status = reader_open(&reader, job, path, source->format);
    if (status == DML_OK)
        status = reader_next(&reader, &sentence);
    if (status == DML_EEND)
        status = job_fail(job, DML_EFORMAT, "%.300s: no sentence in it", path);
    if (status == DML_OK) {
        size_t columns = sentence_columns(&sentence, 0);
        bool conllu = source->format == READER_CONLLU;
        if (conllu && options->label == CLI_AUTO)
            source->label = 3;
        if (strcmp(name, "auto") == 0)
            name = conllu ? "tag" : columns == 3 ? "chunk" : "word";
        status = template_load(&trainer->model.template, job, name);
    }
    source->template = &trainer->model.template;
    if (status == DML_OK)
        status = template_check(source->template, job, &sentence, source->label, path);
    reader_close(&reader);
    return status;
}

/* Sentences *first .. *last - 1 of a corpus are this rank's. */
static dml_status cut(const struct trainer *trainer, const struct corpus *corpus,
                      size_t *first, size_t *last)
{
    struct job *job = job_of(trainer);
    size_t parts = (size_t)job->nranks;
    size_t *bounds = malloc((parts + 1) * sizeof *bounds);
    dml_status status =
        bounds ? shares_cut(job, corpus, trainer->model.nlabels, parts, bounds)
               : job_fail(job, DML_ENOMEM, "out of memory");
    if (status == DML_OK) {
        *first = bounds[job->rank];
        *last = bounds[job->rank + 1];
    }
    free(bounds);
    return status;
}

static dml_status build_shard(struct trainer *trainer, const struct corpus *corpus,
                              struct shard *shard, size_t first, size_t last)
{
    uint32_t *list = malloc((last - first + 1) * sizeof *list);
    for (size_t i = first; list && i < last; i++)
        list[i - first] = (uint32_t)i;
    bool good =
        list && shard_build(shard, corpus, &trainer->layout, list, last - first);
    free(list);
    return good ? DML_OK : no_memory(trainer);
}

/* How often the sentences first .. last - 1 use each attribute. */
static void count_uses(const struct corpus *corpus, size_t first, size_t last,
                       uint32_t *uses)
{
    size_t end = corpus->state.at[corpus->token_at[last]];
    for (size_t i = corpus->state.at[corpus->token_at[first]]; i < end; i++)
        uses[corpus->state.attrs[i]]++;
}

static dml_status build_features(struct trainer *trainer, const struct corpus *corpus,
                                 size_t *first, size_t *last)
{
    struct model *model = &trainer->model;
    const struct vocabulary *vocabulary = &model->vocabulary;
    const struct crf_options *options = trainer->run->options;
    bool transitions = !model->source.template || model->template.transitions;
    size_t nattrs = vocabulary->hash_bits > 0 ? (size_t)1 << vocabulary->hash_bits
                                              : vocabulary->attributes.count;
    model->nlabels = vocabulary->labels.count;
    model->vocabulary.frozen = true;
    CRF_TRY(cut(trainer, corpus, first, last));
    uint32_t *uses = calloc(nattrs + 1, sizeof *uses);
    bool good = uses && features_build(&model->features, corpus, nattrs, model->nlabels,
                                       transitions, options->min_count);
    if (good) {
        count_uses(corpus, *first, *last, uses);
        good = layout_build(&trainer->layout, &model->features,
                            kernels_pad(trainer->kernels, model->nlabels), uses);
    }
    free(uses);
    if (!good)
        return no_memory(trainer);
    trainer->count = features_count(&model->features);
    trainer->nsentences = corpus->nsentences;
    trainer->ntokens = corpus->ntokens;
    if (trainer->count > 0)
        return DML_OK;
    return job_fail(job_of(trainer), DML_EINVAL,
                    "no feature is seen --min-count times: give a smaller one");
}

static dml_status read_other(struct trainer *trainer, const char *path,
                             struct corpus *corpus, struct shard *shard, size_t *first)
{
    struct model *model = &trainer->model;
    if (path[0] == '\0')
        return DML_OK;
    CRF_TRY(
        corpus_read(corpus, job_of(trainer), &model->vocabulary, &model->source, path));
    size_t last;
    CRF_TRY(cut(trainer, corpus, first, &last));
    CRF_TRY(build_shard(trainer, corpus, shard, *first, last));
    if (corpus == &trainer->dev_set)
        trainer->mark = corpus_mark(corpus, trainer->mark);
    /* Scores need the labels alone. */
    corpus_drop_uses(corpus);
    return DML_OK;
}

/* Tables of 2^B places, of every rank on this node: said, rather than taken until the
 * system kills something. */
static dml_status check_hash_bits(struct trainer *trainer)
{
    enum { PLACE_BYTES = 12 }; /* a row's begin, and its uses */
    struct job *job = job_of(trainer);
    int bits = (int)trainer->run->options->hash_bits, node_ranks = 1;
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    if (bits == 0 || pages <= 0 || page_bytes <= 0)
        return DML_OK;
    dml_comm_node(job->comm, NULL, &node_ranks);
    const double gib = 1024.0 * 1024 * 1024;
    double each = (double)((uint64_t)PLACE_BYTES << bits) / gib;
    double there = (double)pages * (double)page_bytes / gib;
    if (each >= 1 && job->rank == 0 && !trainer->run->options->quiet)
        printf("--hash-bits %d takes %.1f GiB on each rank\n", bits, each);
    if (each * node_ranks <= there)
        return DML_OK;
    return job_fail(job, DML_ENOMEM,
                    "--hash-bits %d takes %.1f GiB on each of %d rank(s) of this node, "
                    "which has %.1f GiB; give fewer bits",
                    bits, each, node_ranks, there);
}

static dml_status read_data(struct trainer *trainer)
{
    struct model *model = &trainer->model;
    CRF_TRY(check_hash_bits(trainer));
    struct job *job = job_of(trainer);
    struct corpus corpus = {0};
    size_t first = 0, last = 0;
    double start = trainer_now_s();
    CRF_TRY(files_find(&trainer->files, job, trainer->run->options));
    CRF_TRY(choose_template(trainer));
    model->vocabulary.hash_bits = (int)trainer->run->options->hash_bits;
    if (!dict_init(&model->vocabulary.labels) ||
        !dict_init(&model->vocabulary.attributes))
        return no_memory(trainer);
    dml_status status = corpus_read(&corpus, job, &model->vocabulary, &model->source,
                                    trainer->files.train);
    if (status == DML_OK && corpus.nsentences == 0)
        status = job_fail(job, DML_EFORMAT, "%.300s: no sentence in it",
                          trainer->files.train);
    if (status == DML_OK)
        status = build_features(trainer, &corpus, &first, &last);
    if (status == DML_OK)
        trainer->mark = corpus_mark(&corpus, vocabulary_mark(&model->vocabulary));
    if (status == DML_OK)
        status = build_shard(trainer, &corpus, &trainer->shard, first, last);
    corpus_free(&corpus);
    if (status == DML_OK)
        status = read_other(trainer, trainer->files.dev, &trainer->dev_set,
                            &trainer->dev, &trainer->dev_first);
    if (status == DML_OK)
        status = read_other(trainer, trainer->files.test, &trainer->test_set,
                            &trainer->test, &trainer->test_first);
    trainer->read_s = trainer_now_s() - start;
    return status;
}

/* ---- begin and end --------------------------------------------------------------- */

static dml_status share_weights(struct trainer *trainer)
{
    struct job *job = job_of(trainer);
    size_t n = trainer->count, nranks = (size_t)job->nranks;
    trainer->blocks = calloc(nranks, sizeof *trainer->blocks);
    CRF_TRY(job_agree(job, trainer->blocks ? DML_OK : no_memory(trainer)));
    for (size_t r = 0; r < nranks; r++) {
        trainer->blocks[r] = n * (r + 1) / nranks - n * r / nranks;
        trainer->first += r < (size_t)job->rank ? trainer->blocks[r] : 0;
    }
    void *weights = NULL, *gradient = NULL;
    dml_status status = dml_alloc(job->comm, n * sizeof(double), &weights);
    if (status == DML_OK)
        status = dml_alloc(job->comm, n * sizeof(double), &gradient);
    trainer->weights = weights;
    trainer->gradient = gradient;
    return job_agree(job, job_note(job, status));
}

dml_status trainer_create(struct trainer *trainer, const struct crf_run *run)
{
    const struct crf_options *options = run->options;
    size_t bytes = strcmp(options->precision, "f64") == 0 ? 8 : 4;
    *trainer = (struct trainer){.run = run};
    trainer->kernels = kernels_find(dml_ctx_isa(run->job->ctx), bytes);
    CRF_TRY(job_agree(run->job, read_data(trainer)));
    CRF_TRY(job_same_value(run->job, trainer->count,
                           "the data make another number of features than on rank 0: "
                           "give all ranks the same data"));
    CRF_TRY(share_weights(trainer));
    return job_agree(run->job,
                     objective_create(&trainer->objective, run->job, trainer->kernels,
                                      &trainer->layout, &trainer->shard, run->threads));
}

void trainer_destroy(struct trainer *trainer)
{
    objective_destroy(&trainer->objective);
    if (trainer->run) {
        (void)dml_free(job_of(trainer)->comm, trainer->gradient);
        (void)dml_free(job_of(trainer)->comm, trainer->weights);
    }
    free(trainer->blocks);
    shard_free(&trainer->shard);
    shard_free(&trainer->dev);
    shard_free(&trainer->test);
    corpus_free(&trainer->dev_set);
    corpus_free(&trainer->test_set);
    layout_free(&trainer->layout);
    model_close(&trainer->model);
    *trainer = (struct trainer){0};
}

/* ---- objective ------------------------------------------------------------------- */

dml_status trainer_set(struct trainer *trainer, const double *x)
{
    struct job *job = job_of(trainer);
    const size_t *blocks = trainer->blocks;
    memcpy(trainer->weights + trainer->first, x, blocks[job->rank] * sizeof *x);
    double start = trainer_now_s();
    dml_status status = dml_allgatherv(DML_IN_PLACE, trainer->weights, blocks, NULL,
                                       DML_F64, job->comm);
    trainer->comm_s += trainer_now_s() - start;
    if (status != DML_OK)
        return job_agree(job, job_note(job, status));
    objective_set(&trainer->objective, trainer->weights);
    return DML_OK;
}

dml_status trainer_evaluate(struct trainer *trainer, const double *x, double *value,
                            double *gradient)
{
    struct job *job = job_of(trainer);
    size_t n = trainer->blocks[job->rank];
    double c2 = trainer->run->options->c2, sums[3], start = trainer_now_s();
    double comm_before = trainer->comm_s;
    CRF_TRY(trainer_set(trainer, x));
    dml_status mine =
        objective_run(&trainer->objective, NULL, trainer->shard.nsentences, &sums[0],
                      trainer->gradient);
    double end = trainer_now_s();
    trainer->compute_s += end - start - (trainer->comm_s - comm_before);
    sums[1] = trainer->kernels->dot(n, x, x);
    sums[2] = mine != DML_OK;
    dml_status status =
        dml_allreduce(DML_IN_PLACE, sums, 3, DML_F64, DML_SUM, job->comm);
    if (status == DML_OK && sums[2] > 0)
        return job_agree(job, mine);
    if (status == DML_OK)
        status = dml_reduce_scatterv(trainer->gradient, gradient, trainer->blocks,
                                     DML_F64, DML_SUM, job->comm);
    trainer->comm_s += trainer_now_s() - end;
    if (status != DML_OK)
        return job_agree(job, job_note(job, status));
    trainer->loss = sums[0];
    trainer->kernels->axpy(n, 2 * c2, x, gradient);
    *value = sums[0] + c2 * sums[1];
    return DML_OK;
}

dml_status trainer_measure(struct trainer *trainer, double *value, double *norm)
{
    struct job *job = job_of(trainer);
    size_t n = trainer->blocks[job->rank];
    double *x = calloc(2 * n + 1, sizeof *x), sum = 0;
    dml_status status = job_agree(job, x ? DML_OK : no_memory(trainer));
    if (status == DML_OK) {
        memcpy(x, trainer->weights + trainer->first, n * sizeof *x);
        status = trainer_evaluate(trainer, x, value, x + n);
        sum = trainer->kernels->dot(n, x + n, x + n);
    }
    free(x);
    CRF_TRY(status);
    status = dml_allreduce(DML_IN_PLACE, &sum, 1, DML_F64, DML_SUM, job->comm);
    *norm = sqrt(sum);
    return job_agree(job, job_note(job, status));
}

/* ---- scores ---------------------------------------------------------------------- */

dml_status trainer_score(struct trainer *trainer, bool test, struct score *score)
{
    struct job *job = job_of(trainer);
    const struct corpus *corpus = test ? &trainer->test_set : &trainer->dev_set;
    const struct shard *shard = test ? &trainer->test : &trainer->dev;
    size_t first = corpus->token_at[test ? trainer->test_first : trainer->dev_first];
    /* Labels of all sentences, 0 where another rank finds them: their sum is all. */
    int32_t *all = calloc(corpus->ntokens + 1, sizeof *all);
    uint16_t *labels = malloc((corpus->ntokens + 1) * sizeof *labels);
    bool good = all && labels && score_init(score);
    dml_status status =
        good ? objective_label(&trainer->objective, shard, labels) : no_memory(trainer);
    status = job_agree(job, status);
    for (size_t t = 0; status == DML_OK && t < shard->ntokens; t++)
        all[first + t] = labels[t];
    if (status == DML_OK)
        status = job_agree(
            job, job_note(job, dml_allreduce(DML_IN_PLACE, all, corpus->ntokens,
                                             DML_I32, DML_SUM, job->comm)));
    for (size_t t = 0; status == DML_OK && t < corpus->ntokens; t++)
        labels[t] = (uint16_t)all[t];
    if (status == DML_OK &&
        !score_add(score, corpus, &trainer->model.vocabulary.labels, labels))
        status = no_memory(trainer);
    free(all);
    free(labels);
    return status;
}
