/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Labelling by a model: weights laid out for the kernels, then Viterbi.
 */
#include "model.h"

#include <stdlib.h>

dml_status labeller_create(struct labeller *labeller, struct job *job,
                           const struct model *model, const struct kernels *kernels,
                           int threads)
{
    size_t n = features_count(&model->features);
    double *weights = malloc((n + 1) * sizeof *weights);
    *labeller = (struct labeller){.model = model};
    if (!weights || !layout_build(&labeller->layout, &model->features,
                                  kernels_pad(kernels, model->nlabels), NULL)) {
        free(weights);
        return job_fail(job, DML_ENOMEM, "out of memory for %zu weights", n);
    }
    dml_status status = objective_create(&labeller->objective, job, kernels,
                                         &labeller->layout, NULL, threads);
    for (size_t i = 0; i < n; i++)
        weights[i] = (double)model->weights[i];
    if (status == DML_OK)
        objective_set(&labeller->objective, weights);
    free(weights);
    return status;
}

void labeller_destroy(struct labeller *labeller)
{
    objective_destroy(&labeller->objective);
    layout_free(&labeller->layout);
}

dml_status labeller_run(struct labeller *labeller, const struct corpus *corpus,
                        uint16_t *labels)
{
    struct shard shard = {0};
    struct job *job = labeller->objective.job;
    uint32_t *list = malloc((corpus->nsentences + 1) * sizeof *list);
    dml_status status = DML_OK;
    for (size_t i = 0; list && i < corpus->nsentences; i++)
        list[i] = (uint32_t)i;
    if (!list ||
        !shard_build(&shard, corpus, &labeller->layout, list, corpus->nsentences))
        status = job_fail(job, DML_ENOMEM, "out of memory");
    else
        status = objective_label(&labeller->objective, &shard, labels);
    shard_free(&shard);
    free(list);
    return status;
}
