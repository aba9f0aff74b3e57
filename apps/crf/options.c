/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The options of dml-crf's commands.
 */
#include "options.h"

#include "template.h"

#define AT(member) offsetof(struct crf_options, member)

#define FORMATS "auto|columns|conllu|items"

static const struct cli_option train_options[] = {
    {"data", "data", CLI_INPUT, AT(data), NULL, "DIR", 0, 0,
     "folder with files that have train, and may have dev and test, in their names; "
     "without it $DML_DATA and ../shared/data are searched for conll2000"},
    {NULL, "train", CLI_INPUT, AT(train), NULL, "FILE", 0, 0,
     "training sentences, plain or gzip; in place of --data"},
    {NULL, "dev", CLI_INPUT, AT(dev), NULL, "FILE", 0, 0,
     "sentences by which training is watched and stopped"},
    {NULL, "test", CLI_INPUT, AT(test), NULL, "FILE", 0, 0,
     "sentences on which the result is measured"},
    {NULL, "format", CLI_CHOICE, AT(format), "auto", FORMATS, 0, 0,
     "columns: cells between blanks; conllu: between tabs, with # comments; items: "
     "CRFsuite's; auto: conllu for names with .conllu or .iob2, else columns"},
    {NULL, "label", CLI_INT, AT(label), "auto", "N", 1, 1000,
     "column of the labels; auto: the last, 4 of CoNLL-U, 1 of items"},
    {NULL, "template", CLI_INPUT, AT(template), "auto", "NAME", 0, 0,
     "a template below or a file in the language of CRF++; auto: chunk for three "
     "columns, tag for conllu, else word"},

    {"features", "min-count", CLI_REAL, AT(min_count), "0", "N", 0, 1e9,
     "leave out pairs of attribute and label that are seen less often"},
    {NULL, "hash-bits", CLI_INT, AT(hash_bits), "0", "B", 0, 30,
     "number attributes by B bits of their hash, with a sign, and keep no texts; 0: a "
     "dictionary"},

    {"training", "trainer", CLI_CHOICE, AT(trainer), "lbfgs",
     "lbfgs|sgd|adagrad|adam|adamw|lamb|perceptron", 0, 0,
     "lbfgs (OWL-QN with --c1); sgd to lamb: by batches; perceptron: averaged, each "
     "rank for itself during an epoch"},
    {NULL, "c1", CLI_REAL, AT(c1), "0", "C", 0, 1e9,
     "adds C times the sum of |weight| (lbfgs alone)"},
    {NULL, "c2", CLI_REAL, AT(c2), "1", "C", 0, 1e9,
     "adds C times the sum of weight^2, as CRFsuite's c2"},
    {NULL, "max-iterations", CLI_INT, AT(max_iterations), "0", "N", 0, 1e9,
     "of lbfgs; 0: until it has converged"},
    {NULL, "memory", CLI_INT, AT(memory), "6", "M", 1, 60, "steps that lbfgs keeps"},
    {NULL, "period", CLI_INT, AT(period), "10", "N", 1, 60,
     "lbfgs ends by --delta over so many iterations"},
    {NULL, "delta", CLI_REAL, AT(delta), "1e-5", "D", 0, 1,
     "lbfgs ends when the objective fell by less than this part of it over --period "
     "iterations; 0: not looked at"},
    {NULL, "epsilon", CLI_REAL, AT(epsilon), "1e-5", "E", 0, 1,
     "lbfgs ends when the gradient's norm is below E times that of the weights"},
    {NULL, "epochs", CLI_INT, AT(epochs), "20", "N", 1, 1e6,
     "passes over the training set (not lbfgs)"},
    {NULL, "batch", CLI_INT, AT(batch), "64", "N", 1, 1e7,
     "sentences of one step over all ranks (sgd to lamb)"},
    {NULL, "exchange", CLI_CHOICE, AT(exchange), "auto", "auto|dense|sparse", 0, 0,
     "gradients of batches as vectors, or as entries that are not 0; auto: what sends "
     "fewer bytes"},
    {NULL, "rate", CLI_REAL, AT(rate), "auto", "RATE", 0, 1e6,
     "learning rate at the start, falling to 0; auto: sgd 0.2, adagrad 1, adam and "
     "adamw 0.01, lamb 0.02"},
    {NULL, "patience", CLI_INT, AT(patience), "0", "N", 0, 1e6,
     "end when the dev set got no better over so many epochs (5 iterations of lbfgs "
     "each), and keep the best weights; 0: off"},
    {NULL, "metric", CLI_CHOICE, AT(metric), "auto", "auto|f1|accuracy", 0, 0,
     "of dev and test; auto: f1 of chunks where labels begin with B- or I-"},
    {NULL, "start", CLI_INPUT, AT(start), NULL, "FILE", 0, 0,
     "begin at the weights of this model"},
    {NULL, "seed", CLI_INT, AT(seed), "1", "N", 0, 9e15, "of the sentences' order"},

    CHECKPOINT_OPTIONS(AT(checkpoint)),
    MONITOR_OPTIONS(AT(monitor)),

    {"running", "precision", CLI_CHOICE, AT(precision), "f32", "f32|f64", 0, 0,
     "of scores and probabilities; sums are f64 always"},
    {NULL, "threads", CLI_INT, AT(threads), "auto", "N", 1, 4096,
     "threads of each rank; auto: its share of the processors it may use"},
    {NULL, "model", CLI_OUTPUT, AT(model), NULL, "FILE", 0, 0, "write the model"},
    {NULL, "report", CLI_OUTPUT, AT(report), NULL, "FILE", 0, 0,
     "write figures of the run as JSON"},
    {NULL, "curve", CLI_OUTPUT, AT(curve), NULL, "FILE", 0, 0,
     "write loss and dev figures as JSON lines"},
    {NULL, "quiet", CLI_FLAG, AT(quiet), NULL, NULL, 0, 0, "print nothing but errors"},
};

#define MODEL_OPTION                                                         \
    {                                                                        \
        "data and model", "model", CLI_INPUT, AT(model), NULL, "FILE", 0, 0, \
            "written by dml-crf train (needed)"                              \
    }
#define THREADS_OPTION                                            \
    {                                                             \
        NULL, "threads", CLI_INT, AT(threads), "1", "N", 1, 4096, \
            "threads that label sentences"                        \
    }
#define PRECISION_OPTION                                                      \
    {                                                                         \
        NULL, "precision", CLI_CHOICE, AT(precision), "f32", "f32|f64", 0, 0, \
            "of scores and probabilities"                                     \
    }
#define FORMAT_OPTION                                                  \
    {                                                                  \
        NULL, "format", CLI_CHOICE, AT(format), "auto", FORMATS, 0, 0, \
            "of the input; auto: as the model's training set"          \
    }

static const struct cli_option tag_options[] = {
    MODEL_OPTION,
    {NULL, "data", CLI_INPUT, AT(data), "-", "FILE", 0, 0,
     "sentences, plain or gzip; the label's column may be missing; -: standard input"},
    FORMAT_OPTION,
    {"output", "nbest", CLI_INT, AT(nbest), "1", "N", 1, 1000,
     "labellings of each sentence, the best first, each headed by \"# RANK "
     "PROBABILITY\""},
    {NULL, "marginals", CLI_FLAG, AT(marginals), NULL, NULL, 0, 0,
     "append the probability of each label"},
    PRECISION_OPTION,
    {NULL, "report", CLI_OUTPUT, AT(report), NULL, "FILE", 0, 0,
     "write figures of the run as JSON"},
};

static const struct cli_option eval_options[] = {
    {"data and model", "model", CLI_INPUT, AT(model), NULL, "FILE", 0, 0,
     "written by dml-crf train; without it the last two columns are compared: given "
     "and "
     "found labels"},
    {NULL, "data", CLI_INPUT, AT(data), "-", "FILE", 0, 0,
     "sentences with labels, plain or gzip; -: standard input"},
    FORMAT_OPTION,
    {"running", "precision", CLI_CHOICE, AT(precision), "f32", "f32|f64", 0, 0,
     "of scores"},
    THREADS_OPTION,
    {NULL, "report", CLI_OUTPUT, AT(report), NULL, "FILE", 0, 0,
     "write figures of the run as JSON"},
    {NULL, "quiet", CLI_FLAG, AT(quiet), NULL, NULL, 0, 0, "print nothing but errors"},
};

static const struct cli_option dump_options[] = {MODEL_OPTION};

static const struct cli_option convert_options[] = {
    {"data", "data", CLI_INPUT, AT(data), "-", "FILE", 0, 0,
     "sentences, plain or gzip; -: standard input"},
    {NULL, "format", CLI_CHOICE, AT(format), "auto", FORMATS, 0, 0,
     "as for dml-crf train"},
    {NULL, "label", CLI_INT, AT(label), "auto", "N", 1, 1000,
     "column of the labels; auto: the last"},
    {NULL, "template", CLI_INPUT, AT(template), "chunk", "NAME", 0, 0,
     "a template below or a file"},
};

static void list_templates(FILE *out)
{
    const struct template_builtin *builtin;
    fprintf(out, "templates:\n");
    for (size_t i = 0; (builtin = template_builtin(i)); i++)
        fprintf(out, "  %-10s %s\n", builtin->name, builtin->help);
}

#define OPTIONS(table) .options = (table), .noptions = sizeof(table) / sizeof *(table)

const struct cli_command crf_train_command = {
    .app = "dml-crf",
    .name = "train",
    .summary = "Train a conditional random field, data-parallel over MPI.",
    OPTIONS(train_options),
    .examples = "  mpirun -n 2 dml-crf train --model chunk.crf\n"
                "  mpirun -n 2 dml-crf train --data ud-english-ewt --patience 3\n"
                "  mpirun -n 2 dml-crf train --train my.txt --template my.template\n",
    .more = list_templates,
};

const struct cli_command crf_tag_command = {
    .app = "dml-crf",
    .name = "tag",
    .summary = "Label sentences: standard input to standard output.",
    OPTIONS(tag_options),
    .examples = "  dml-crf tag --model chunk.crf < in.txt > out.txt\n",
};

const struct cli_command crf_eval_command = {
    .app = "dml-crf",
    .name = "eval",
    .summary = "Compare labels: accuracy, and precision, recall and F1 of chunks.",
    OPTIONS(eval_options),
    .examples = "  dml-crf eval --model chunk.crf --data test.txt.gz\n"
                "  dml-crf tag --model chunk.crf < test.txt | dml-crf eval\n",
};

const struct cli_command crf_dump_command = {
    .app = "dml-crf",
    .name = "dump",
    .summary = "Print a model's labels and weights as text.",
    OPTIONS(dump_options),
    .examples = "  dml-crf dump --model chunk.crf | sort -k4 -g | tail\n",
};

const struct cli_command crf_convert_command = {
    .app = "dml-crf",
    .name = "convert",
    .summary = "Print the attributes that a template makes, as CRFsuite's items.",
    OPTIONS(convert_options),
    .examples = "  dml-crf convert --data train.txt.gz --template chunk > items.txt\n",
    .more = list_templates,
};
