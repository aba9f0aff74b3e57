/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-crf dump: a model as text, one line a weight, tabs between the cells.
 */
#include "commands.h"
#include "model.h"

static const char *label(const struct model *model, uint16_t number)
{
    return dict_text(&model->vocabulary.labels, number);
}

/* What kind of feature, and its attribute: a number with hashing. */
static void print_attribute(const struct model *model, const char *kind, size_t attr)
{
    if (model->vocabulary.hash_bits > 0)
        printf("%s\t%zu", kind, attr);
    else
        printf("%s\t%s", kind,
               dict_text(&model->vocabulary.attributes, (uint32_t)attr));
}

static void print_pairs(const struct model *model)
{
    const struct features *features = &model->features;
    const float *weights = model->weights + features->nstate + features->ntrans;
    for (size_t a = 0; features->npairs > 0 && a < features->nattrs; a++)
        for (size_t i = features->pair_row[a]; i < features->pair_row[a + 1]; i++) {
            print_attribute(model, "pair", a);
            printf("\t%s\t%s\t%.9g\n", label(model, features->pair_from[i]),
                   label(model, features->pair_to[i]), (double)weights[i]);
        }
}

static void print_model(const struct model *model)
{
    const struct features *features = &model->features;
    printf("# labels %zu, attributes %zu, state features %zu, transitions %zu, pair "
           "features %zu, hash bits %d\n",
           model->nlabels, features->nattrs, features->nstate, features->ntrans,
           features->npairs, model->vocabulary.hash_bits);
    for (size_t i = 0; i < model->nlabels; i++)
        printf("label\t%s\n", label(model, (uint16_t)i));
    for (size_t i = 0; i < features->ntrans; i++)
        printf("transition\t%s\t%s\t%.9g\n", label(model, features->from[i]),
               label(model, features->to[i]),
               (double)model->weights[features->nstate + i]);
    for (size_t a = 0; a < features->nattrs; a++)
        for (size_t i = features->row[a]; i < features->row[a + 1]; i++) {
            print_attribute(model, "state", a);
            printf("\t%s\t%.9g\n", label(model, features->label[i]),
                   (double)model->weights[i]);
        }
    print_pairs(model);
}

dml_status crf_dump(const struct crf_run *run)
{
    struct model model = {0};
    dml_status status;
    if (!run->options->model)
        status = job_fail(run->job, DML_EINVAL,
                          "--model FILE is needed: written by "
                          "dml-crf train");
    else
        status = model_open(&model, run->job, run->options->model);
    if (status == DML_OK && run->job->rank == 0) {
        print_model(&model);
        if (fflush(stdout) != 0)
            status = job_fail(run->job, DML_EIO, "cannot write to standard output");
    }
    model_close(&model);
    return job_agree(run->job, status);
}
