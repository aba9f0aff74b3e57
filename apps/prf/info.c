/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-prf info: what a model file holds.
 */
#include "commands.h"
#include "model.h"

#include <stdlib.h>

#define SHOWN 10 /* features */

/* Numbers of the features by falling importance. */
static size_t *rank_features(const struct model *model)
{
    size_t n = model->schema.nfeatures;
    size_t *order = malloc(n * sizeof *order);
    for (size_t f = 0; order && f < n; f++) {
        size_t at = f < SHOWN ? f : SHOWN;
        while (at > 0 && model->importance[order[at - 1]] < model->importance[f]) {
            if (at < SHOWN)
                order[at] = order[at - 1];
            at--;
        }
        if (at < SHOWN)
            order[at] = f;
    }
    return order;
}

static void print_model(const struct model *model)
{
    static const char *const criteria[] = {"gini", "entropy", "gain-ratio", "squares"};
    const struct schema *schema = &model->schema;
    size_t nodes = 0, deepest = 0;
    for (size_t t = 0; t < model->ntrees; t++) {
        nodes += model->trees[t].nnodes;
        if (model->trees[t].depth > deepest)
            deepest = model->trees[t].depth;
    }
    printf("trees       %zu, %zu nodes, depth at most %zu\n", model->ntrees, nodes,
           deepest);
    printf("features    %zu\n", schema->nfeatures);
    if (schema->nclasses > 0)
        printf("classes     %zu\n", schema->nclasses);
    else
        printf("target      a number\n");
    printf("label       %s\n", schema->label_name ? schema->label_name : "(no name)");
    printf("criterion   %s, mtry %u, min-leaf %g, max-depth %u\n",
           model->criterion < 4 ? criteria[model->criterion] : "?", model->mtry,
           model->min_leaf, model->max_depth);
    printf("drawn       %g of the rows for each tree, seed %llu\n",
           model->sample_fraction, (unsigned long long)model->seed);
    printf("out of bag  %s %.6f\n", schema->nclasses > 0 ? "accuracy" : "R2",
           model->oob);
    size_t *order = rank_features(model);
    for (size_t i = 0; order && i < SHOWN && i < schema->nfeatures; i++) {
        const char *name = schema->column[order[i]].name;
        printf("%s  %7.4f  %zu %s\n", i == 0 ? "importance" : "          ",
               model->importance[order[i]], order[i] + 1, name ? name : "");
    }
    free(order);
}

dml_status prf_info(const struct prf_run *run)
{
    struct model model = {0};
    dml_status status = DML_OK;
    if (run->job->rank == 0)
        status = model_read(run->job, run->options->model, &model);
    if (run->job->rank == 0 && status == DML_OK)
        print_model(&model);
    model_free(&model);
    return job_agree(run->job, status);
}
