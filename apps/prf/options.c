/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The options of dml-prf's commands.
 */
#include "options.h"

#include "../common/app.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define AT(member) offsetof(struct prf_options, member)

static const struct cli_option train_options[] = {
    {"data", "data", CLI_INPUT, AT(data), NULL, "PATH", 0, 0,
     "a table (CSV, TSV; plain or gzip), a libsvm file with --format libsvm, or a "
     "folder "
     "of idx images with their test set; without it $DML_DATA, ../shared/data and "
     "/usr/share/datasets are searched for Fashion-MNIST"},
    {NULL, "test", CLI_INPUT, AT(test), NULL, "FILE", 0, 0, "test rows"},
    {NULL, "test-every", CLI_INT, AT(test_every), "0", "N", 0, 1e9,
     "every N-th row of --data is a test row; 0: none"},
    {NULL, "train-rows", CLI_INT, AT(train_rows), "auto", "N", 1, 1e10,
     "the first N rows of --data are trained on, the others are test rows; auto: all"},
    {NULL, "format", CLI_CHOICE, AT(format), "table", "table|libsvm", 0, 0, "of files"},
    {NULL, "label", CLI_STRING, AT(label), "-1", "COLUMN", 0, 0,
     "by name or number; -1 is the last"},
    {NULL, "task", CLI_CHOICE, AT(task), "auto", "auto|class|regression", 0, 0,
     "auto: classes where labels are words or at most 256 different whole numbers"},
    {NULL, "categories", CLI_STRING, AT(categories), NULL, "COLUMN,...", 0, 0,
     "columns of numbers that stand for categories; columns of words do anyway"},
    {NULL, "weights", CLI_STRING, AT(weights), NULL, "COLUMN", 0, 0,
     "weight of each row"},

    {"forest", "trees", CLI_INT, AT(trees), "100", "N", 1, 32768, "number of trees"},
    {NULL, "mtry", CLI_INT, AT(mtry), "auto", "N", 1, 1e7,
     "features that compete in a node, of those that are not constant there; auto: "
     "the root of their number, for regression a third"},
    {NULL, "min-leaf", CLI_INT, AT(min_leaf), "1", "N", 1, 1e9,
     "least weight of a leaf: rows, counted as often as they were drawn"},
    {NULL, "max-depth", CLI_INT, AT(max_depth), "0", "N", 0, 1e6, "0: no limit"},
    {NULL, "sample-fraction", CLI_REAL, AT(sample_fraction), "1", "X", 1e-9, 1,
     "rows drawn for each tree, with replacement, as a part of all"},
    {NULL, "criterion", CLI_CHOICE, AT(criterion), "gini", "gini|entropy|gain-ratio", 0,
     0, "of classification; regression minimises squares"},
    {NULL, "seed", CLI_INT, AT(seed), "1", "N", 0, 9e15,
     "of everything random; the forest depends on nothing else but data and options"},
    {NULL, "importance", CLI_CHOICE, AT(importance), "impurity", "impurity|permutation",
     0, 0,
     "of features: impurity that their splits remove, or out-of-bag error that arises "
     "when their cells are exchanged (slow)"},

    CHECKPOINT_OPTIONS(AT(checkpoint)),
    MONITOR_OPTIONS(AT(monitor)),

    {"running", "partition", CLI_CHOICE, AT(partition), "auto",
     "auto|trees|rows|features", 0, 0,
     "what ranks share: whole trees, or each tree's rows or features (then with one "
     "thread a rank); auto: trees if there is one for every thread"},
    {NULL, "rows", CLI_CHOICE, AT(rows), "auto", "auto|shared|sharded", 0, 0,
     "shared: every node holds the whole table; sharded: each rank holds a part of the "
     "rows, and all grow each tree together (with one thread a rank); auto: sharded if "
     "the table is larger than --table-mib"},
    {NULL, "table-mib", CLI_INT, AT(table_mib), "auto", "N", 0, 1e12,
     "MiB that one table may take in memory before --rows auto shards it; auto: half "
     "of "
     "the node's memory, divided by the tables on it"},
    {NULL, "table-ranks", CLI_INT, AT(table_ranks), "0", "N", 0, 1e6,
     "at most N ranks share one table in memory; 0: all of a node"},
    {NULL, "threads", CLI_INT, AT(threads), "auto", "N", 1, 4096,
     "threads of each rank; auto: its share of the processors it may use"},
    {NULL, "model", CLI_OUTPUT, AT(model), NULL, "FILE", 0, 0, "write the forest"},
    {NULL, "report", CLI_OUTPUT, AT(report), NULL, "FILE", 0, 0,
     "write figures of the run as JSON"},
    {NULL, "importance-file", CLI_OUTPUT, AT(importance_file), NULL, "FILE", 0, 0,
     "write the importance of features as JSON lines"},
    {NULL, "quiet", CLI_FLAG, AT(quiet), NULL, NULL, 0, 0, "print nothing but errors"},
};

static const struct cli_option predict_options[] = {
    {"data and model", "data", CLI_INPUT, AT(data), "-", "PATH", 0, 0,
     "rows as for training, with or without label; - is standard input; a folder: its "
     "test images"},
    {NULL, "model", CLI_INPUT, AT(model), NULL, "FILE", 0, 0,
     "forest written by dml-prf train (needed)"},
    {NULL, "format", CLI_CHOICE, AT(format), "table", "table|libsvm", 0, 0, "of files"},
    {NULL, "label", CLI_STRING, AT(label), "-1", "COLUMN", 0, 0,
     "where the rows have one; tables with a header need no hint"},
    {NULL, "vote", CLI_CHOICE, AT(vote), "weighted", "weighted|plain", 0, 0,
     "weighted: by the out-of-bag accuracy of each tree"},

    {"running", "out", CLI_OUTPUT, AT(out), "/dev/stdout", "FILE", 0, 0,
     "predictions, one a line"},
    {NULL, "probabilities", CLI_FLAG, AT(probabilities), NULL, NULL, 0, 0,
     "after the class a column for each class's probability"},
    {NULL, "threads", CLI_INT, AT(threads), "auto", "N", 1, 4096,
     "threads of each rank; auto: its share of the processors it may use"},
    {NULL, "report", CLI_OUTPUT, AT(report), NULL, "FILE", 0, 0,
     "write figures of the run as JSON"},
    {NULL, "quiet", CLI_FLAG, AT(quiet), NULL, NULL, 0, 0, "print no summary"},
};

static const struct cli_option info_options[] = {
    {NULL, "model", CLI_INPUT, AT(model), NULL, "FILE", 0, 0,
     "forest written by dml-prf train (needed)"},
};

static const struct cli_option export_options[] = {
    {NULL, "model", CLI_INPUT, AT(model), NULL, "FILE", 0, 0,
     "forest written by dml-prf train (needed)"},
    {NULL, "out", CLI_OUTPUT, AT(out), NULL, "FILE", 0, 0,
     "XGBoost's JSON, for its load_model (needed)"},
};

#define OPTIONS(list) .options = list, .noptions = sizeof list / sizeof list[0]

const struct cli_command prf_train_command = {
    .app = "dml-prf",
    .name = "train",
    .summary =
        "Train a random forest on all ranks; the same one for any number of them.",
    OPTIONS(train_options),
    .examples =
        "  mpirun -n 2 dml-prf train --model forest.dml\n"
        "  mpirun -n 2 dml-prf train --data covertype.csv.gz --train-rows 80000\n"
        "  mpirun -n 4 dml-prf train --data houses.tsv.gz --test-every 5 --task "
        "regression\n",
};

const struct cli_command prf_predict_command = {
    .app = "dml-prf",
    .name = "predict",
    .summary = "Predict classes or numbers for rows.",
    OPTIONS(predict_options),
    .examples =
        "  dml-prf predict --model forest.dml --data new.csv --out classes.txt\n"
        "  dml-prf predict --model forest.dml --probabilities < new.csv\n",
};

const struct cli_command prf_info_command = {
    .app = "dml-prf",
    .name = "info",
    .summary = "Tell what a model file holds.",
    OPTIONS(info_options),
    .examples = "  dml-prf info --model forest.dml\n",
};

const struct cli_command prf_export_command = {
    .app = "dml-prf",
    .name = "export",
    .summary = "Write a forest as XGBoost JSON, which other tools read.",
    OPTIONS(export_options),
    .examples = "  dml-prf export --model forest.dml --out forest.json\n",
};

/* ---- what options stand for ----------------------------------------------------- */

enum task_kind options_task(const struct prf_options *options)
{
    if (strcmp(options->task, "class") == 0)
        return TASK_CLASS;
    return strcmp(options->task, "regression") == 0 ? TASK_REGRESSION : TASK_AUTO;
}

enum criterion options_criterion(const struct prf_options *options, bool regression)
{
    if (regression)
        return CRITERION_SQUARES;
    if (strcmp(options->criterion, "entropy") == 0)
        return CRITERION_ENTROPY;
    return strcmp(options->criterion, "gain-ratio") == 0 ? CRITERION_RATIO
                                                         : CRITERION_GINI;
}

/* A file, or a folder that holds images. */
static bool is_data(const char *path)
{
    struct stat info;
    char images[PRF_PATH + 40];
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))
        return access(path, F_OK) == 0;
    snprintf(images, sizeof images, "%s/train-images-idx3-ubyte.gz", path);
    if (access(images, F_OK) == 0)
        return true;
    images[strlen(images) - 3] = '\0';
    return access(images, F_OK) == 0;
}

/* No output is a file of the data. */
static dml_status keep_data(struct job *job, const struct cli_command *command,
                            const struct prf_options *options, const char *path)
{
    static const char *const images[] = {
        "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte"};
    char file[PRF_PATH + 64];
    dml_status status =
        app_keep(job, command, options, strcmp(path, "-") ? path : NULL, "--data, too");
    for (int i = 0; i < 8 && status == DML_OK; i++) {
        snprintf(file, sizeof file, "%s/%s%s", path, images[i / 2], i % 2 ? ".gz" : "");
        status = app_keep(job, command, options, file, "part of the data");
    }
    return status;
}

static dml_status find_data(struct job *job, const char *data, char path[PRF_PATH])
{
    const char *const roots[] = {getenv("DML_DATA"), "../shared/data",
                                 "/usr/share/datasets"};
    const char *name = data ? data : "fashion-mnist";
    snprintf(path, PRF_PATH, "%s", name);
    if (strcmp(name, "-") == 0 || (data && access(path, F_OK) == 0))
        return DML_OK;
    for (size_t i = 0; i < 3; i++) {
        if (!roots[i] || name[0] == '/')
            continue;
        snprintf(path, PRF_PATH, "%s/%s", roots[i], name);
        if (is_data(path))
            return DML_OK;
    }
    return job_fail(job, DML_EIO,
                    "%.200s is not there, nor in $DML_DATA, ../shared/data or "
                    "/usr/share/datasets; give --data PATH",
                    name);
}

dml_status options_find_data(struct job *job, const struct cli_command *command,
                             const struct prf_options *options, char path[PRF_PATH])
{
    dml_status status = find_data(job, options->data, path);
    return status == DML_OK ? keep_data(job, command, options, path) : status;
}
