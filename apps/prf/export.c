/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-prf export: a forest as XGBoost's JSON, which XGBoost, treelite and others read.
 *
 * XGBoost adds up trees of one number each. A tree becomes one of its trees per class,
 * whose leaves hold the class's share times the tree's part of all votes; subtrees in
 * which it is the same everywhere become a leaf. So the sums, which XGBoost calls
 * margins (output_margin=True), are this forest's probabilities, and their largest is
 * its class. For regression the sum is the prediction.
 *
 * XGBoost goes left where x < s in 32 bits, this forest where x <= cut: s is the next
 * 32-bit number above the cut, which is the same for all x of 32 bits.
 */
#include "commands.h"
#include "model.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One tree of one class while it is written. */
struct slim {
    size_t n;
    double *value;   /* [nodes] of leaves, and of subtrees that are like one */
    bool *leaf;      /* [nodes] */
    uint32_t *list;  /* [n] nodes that are kept; a parent before its children */
    int32_t *number; /* [nodes] their place in the list */
    int32_t *parent; /* [n] */
};

static double leaf_value(const struct model *model, size_t t, size_t c, uint32_t link)
{
    size_t nclasses = model->schema.nclasses;
    const struct tree *tree = &model->trees[t];
    bool weighs = model->weight_sum > 0;
    double part =
        weighs ? model->weight[t] / model->weight_sum : 1 / (double)model->ntrees;
    if (nclasses == 0)
        return part * model->schema.target_scale * (double)(int32_t)link;
    if (link < nclasses)
        return link == c ? part : 0;
    return part * tree->shares[(link - nclasses) * nclasses + c] / UINT16_MAX;
}

static void slim_down(const struct model *model, size_t t, size_t c, struct slim *slim)
{
    const struct tree *tree = &model->trees[t];
    for (size_t i = tree->nnodes; i-- > 0;) {
        const struct node *node = &tree->nodes[i];
        slim->leaf[i] = node->kind == NODE_LEAF;
        if (slim->leaf[i]) {
            slim->value[i] = leaf_value(model, t, c, node->link);
            continue;
        }
        uint32_t left = node->link;
        slim->value[i] = slim->value[left];
        slim->leaf[i] = slim->leaf[left] && slim->leaf[left + 1] &&
                        !(slim->value[left] < slim->value[left + 1]) &&
                        !(slim->value[left] > slim->value[left + 1]);
    }
    slim->n = 1;
    slim->list[0] = 0;
    slim->parent[0] = INT32_MAX; /* XGBoost's mark of the root */
    for (size_t i = 0; i < slim->n; i++) {
        uint32_t at = slim->list[i];
        slim->number[at] = (int32_t)i;
        for (uint32_t side = 0; !slim->leaf[at] && side < 2; side++) {
            slim->parent[slim->n] = (int32_t)i;
            slim->list[slim->n++] = tree->nodes[at].link + side;
        }
    }
}

/* The number s for which x < s goes left. */
static float condition(const struct schema_column *column, const struct node *node)
{
    if (node->threshold + 1u >= column->nbins)
        return FLT_MAX; /* all but missing ones */
    double cut = column->cut[node->threshold];
    float below = (float)cut;
    if ((double)below > cut)
        below = nextafterf(below, -INFINITY);
    return nextafterf(below, INFINITY);
}

/* XGBoost tells numbers from whole numbers by how they are written. */
static void put_number(double number, FILE *out)
{
    char text[40];
    snprintf(text, sizeof text, "%.9g", number);
    fprintf(out, "%s%s", text, strpbrk(text, ".e") ? "" : ".0");
}

enum array {
    BASE,
    DEFAULT_LEFT,
    LEFT,
    RIGHT,
    PARENTS,
    CONDITIONS,
    INDICES,
    ZERO,
    REAL_ZERO,
    REAL_ONE
};

static void put_cell(const struct model *model, const struct tree *tree,
                     const struct slim *slim, size_t i, enum array array, FILE *out)
{
    uint32_t at = slim->list[i];
    const struct node *node = &tree->nodes[at];
    bool leaf = slim->leaf[at];
    const struct schema_column *column = &model->schema.column[node->feature];
    bool missing = column->flags & COLUMN_MISSING;
    bool left = missing ? node->missing_left : column->common <= node->threshold;
    switch (array) {
    case DEFAULT_LEFT:
        fprintf(out, "%d", !leaf && left);
        return;
    case LEFT:
    case RIGHT:
        fprintf(out, "%d", leaf ? -1 : slim->number[node->link + (array == RIGHT)]);
        return;
    case PARENTS:
        fprintf(out, "%d", slim->parent[i]);
        return;
    case CONDITIONS:
    case BASE:
        put_number(leaf            ? slim->value[at]
                   : array == BASE ? 0
                                   : (double)condition(column, node),
                   out);
        return;
    case INDICES:
        fprintf(out, "%u", leaf ? 0 : node->feature);
        return;
    case ZERO:
        fprintf(out, "0");
        return;
    case REAL_ZERO:
    case REAL_ONE:
        put_number(array == REAL_ONE, out);
        return;
    }
}

static void put_tree(const struct model *model, size_t t, const struct slim *slim,
                     size_t id, FILE *out)
{
    static const struct {
        const char *name;
        enum array array;
    } arrays[] = {
        {"base_weights", BASE},      {"default_left", DEFAULT_LEFT},
        {"left_children", LEFT},     {"right_children", RIGHT},
        {"parents", PARENTS},        {"split_conditions", CONDITIONS},
        {"split_indices", INDICES},  {"split_type", ZERO},
        {"loss_changes", REAL_ZERO}, {"sum_hessian", REAL_ONE},
    };
    fprintf(out,
            "%s{\"id\":%zu,\"categories\":[],\"categories_nodes\":[],"
            "\"categories_segments\":[],\"categories_sizes\":[]",
            id ? "," : "", id);
    for (size_t a = 0; a < sizeof arrays / sizeof *arrays; a++) {
        fprintf(out, ",\"%s\":[", arrays[a].name);
        for (size_t i = 0; i < slim->n; i++) {
            if (i > 0)
                fputc(',', out);
            put_cell(model, &model->trees[t], slim, i, arrays[a].array, out);
        }
        fputc(']', out);
    }
    fprintf(out,
            ",\"tree_param\":{\"num_deleted\":\"0\",\"num_feature\":\"%zu\","
            "\"num_nodes\":\"%zu\",\"size_leaf_vector\":\"1\"}}",
            model->schema.nfeatures, slim->n);
}

static dml_status put_trees(struct job *job, const struct model *model, FILE *out)
{
    size_t nclasses = model->schema.nclasses ? model->schema.nclasses : 1, most = 0;
    for (size_t t = 0; t < model->ntrees; t++)
        if (model->trees[t].nnodes > most)
            most = model->trees[t].nnodes;
    struct slim slim = {.value = malloc(most * sizeof *slim.value),
                        .leaf = malloc(most * sizeof *slim.leaf),
                        .list = malloc(most * sizeof *slim.list),
                        .number = malloc(most * sizeof *slim.number),
                        .parent = malloc(most * sizeof *slim.parent)};
    bool good = slim.value && slim.leaf && slim.list && slim.number && slim.parent;
    for (size_t t = 0; good && t < model->ntrees; t++)
        for (size_t c = 0; c < nclasses; c++) {
            slim_down(model, t, c, &slim);
            put_tree(model, t, &slim, t * nclasses + c, out);
        }
    free(slim.value);
    free(slim.leaf);
    free(slim.list);
    free(slim.number);
    free(slim.parent);
    return good ? DML_OK : job_fail(job, DML_ENOMEM, "out of memory");
}

static dml_status put_model(struct job *job, const struct model *model, FILE *out)
{
    const struct schema *schema = &model->schema;
    size_t nclasses = schema->nclasses ? schema->nclasses : 1;
    size_t ntrees = model->ntrees * nclasses;
    fprintf(out,
            "{\"version\":[1,7,0],\"learner\":{\"attributes\":{},"
            "\"feature_names\":[],\"feature_types\":[],"
            "\"gradient_booster\":{\"name\":\"gbtree\",\"model\":{"
            "\"gbtree_model_param\":{\"num_parallel_tree\":\"%zu\","
            "\"num_trees\":\"%zu\",\"size_leaf_vector\":\"0\"},"
            "\"iteration_indptr\":[0,%zu],\"tree_info\":[",
            model->ntrees, ntrees, ntrees);
    for (size_t i = 0; i < ntrees; i++)
        fprintf(out, "%s%zu", i ? "," : "", i % nclasses);
    fprintf(out, "],\"trees\":[");
    dml_status status = put_trees(job, model, out);
    fprintf(out,
            "]}},\"learner_model_param\":{\"base_score\":\"%.9g\","
            "\"num_class\":\"%zu\",\"num_feature\":\"%zu\",\"num_target\":\"1\"},",
            schema->nclasses ? 0 : schema->target_offset, schema->nclasses,
            schema->nfeatures);
    if (schema->nclasses > 0)
        fprintf(out,
                "\"objective\":{\"name\":\"multi:softprob\","
                "\"softmax_multiclass_param\":{\"num_class\":\"%zu\"}}}}\n",
                schema->nclasses);
    else
        fprintf(out, "\"objective\":{\"name\":\"reg:squarederror\","
                     "\"reg_loss_param\":{\"scale_pos_weight\":\"1\"}}}}\n");
    return status;
}

static dml_status export_file(struct job *job, const struct prf_options *options)
{
    struct model model = {0};
    struct outfile out = {0};
    dml_status status = model_read(job, options->model, &model);
    if (status == DML_OK && !options->out)
        status = job_fail(job, DML_EINVAL, "no --out given: where shall it go?");
    for (size_t f = 0; status == DML_OK && f < model.schema.nfeatures; f++)
        if (model.schema.column[f].flags & COLUMN_CATEGORY)
            status = job_fail(job, DML_EUNSUPPORTED,
                              "column %zu is of words, which the exported form cannot "
                              "hold; train on numbers",
                              f + 1);
    if (status == DML_OK)
        status = outfile_open(&out, options->out, job->error, sizeof job->error);
    if (status == DML_OK)
        status = put_model(job, &model, out.file);
    if (status == DML_OK)
        status = outfile_commit(&out, job->error, sizeof job->error);
    outfile_cancel(&out);
    model_free(&model);
    return status;
}

dml_status prf_export(const struct prf_run *run)
{
    return job_agree(run->job, run->job->rank == 0 ? export_file(run->job, run->options)
                                                   : DML_OK);
}
