/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The options of dml-cnn's commands.
 */
#include "options.h"

#include <stdlib.h>
#include <string.h>

#define AT(member) offsetof(struct cnn_options, member)

/* "|a|b|c" from one of the library's tables; the first bar is stepped over. */
#define BAR_NAME(NAME, number, name) "|" name
#define OPTIMIZERS                   (&("" DML_OPTIM_MAP(BAR_NAME))[1])
#define SCHEDULES                    (&("" DML_LR_MAP(BAR_NAME))[1])

#define DEVICE_OPTIONS                                                               \
    {NULL,       "device", CLI_CHOICE,                                               \
     AT(device), "cpu",    "cpu|gpu",                                                \
     0,          0,        "where the net is; gpu: one for each rank, the nearest"}, \
    {                                                                                \
        NULL, "kernels", CLI_CHOICE, AT(kernels), "auto",                            \
            "auto|cudnn|cudnn-measured|cudnn-gemm|plain", 0, 0,                      \
            "who computes convolutions on a GPU; plain: by definition, slow, to "    \
            "check by; cudnn-measured: the fastest of its algorithms, tried at "     \
            "the start; cudnn-gemm: those of 1 x 1 pixels by cuBLAS; auto: cudnn, "  \
            "plain on the fake device"                                               \
    }

static const struct cli_option train_options[] = {
    {"data and net", "data", CLI_STRING, AT(data), NULL, "DIR", 0, 0,
     "folder of idx, CIFAR-10 or record files; without it $DML_DATA, ../shared/data "
     "and "
     "/usr/share/datasets are searched for Fashion-MNIST; "
     "synthetic:IMAGESxCxHxWxCLASSES makes images up"},
    {NULL, "net", CLI_CHOICE, AT(net), "small", "small|vgg|resnet20|resnet50", 0, 0,
     "what is trained"},
    {NULL, "dropout", CLI_REAL, AT(dropout), "auto", "P", 0, 0.95,
     "probability in the net's dropout layers; auto: the net's own"},
    {NULL, "augment", CLI_FLAG, AT(augment), NULL, NULL, 0, 0,
     "random shifts by up to 2 pixels (4 at 32 x 32) and left-right flips"},

    {"training", "epochs", CLI_INT, AT(epochs), "4", "N", 1, 1e6,
     "passes over the training set"},
    {NULL, "max-steps", CLI_INT, AT(max_steps), "auto", "N", 1, 1e12,
     "stop after so many steps; auto: at the end of the epochs"},
    {NULL, "batch", CLI_INT, AT(batch), "128", "N", 1, 1e7,
     "images of one step over all ranks; divisible by ranks x accumulate"},
    {NULL, "accumulate", CLI_INT, AT(accumulate), "1", "N", 1, 1e6,
     "passes whose gradients are added up before the ranks average them"},
    {NULL, "seed", CLI_INT, AT(seed), "1", "N", 0, 9e15,
     "of initial weights, shuffling, augmentation and dropout"},

    {"optimizer", "optimizer", CLI_CHOICE, AT(optimizer), "sgd", OPTIMIZERS, 0, 0,
     "update rule"},
    {NULL, "lr", CLI_REAL, AT(lr), "auto", "RATE", 0, 1e6,
     "learning rate at the end of the warm-up; auto: sgd 0.05, adam and adamw 0.001, "
     "lars 0.02, lamb 0.005, adagrad 0.01 (not tuned)"},
    {NULL, "scale-lr", CLI_CHOICE, AT(scale_lr), "none", "none|linear|sqrt", 0, 0,
     "the rate is meant for --base-batch: multiply it by batch / base batch, or its "
     "root"},
    {NULL, "base-batch", CLI_INT, AT(base_batch), "256", "N", 1, 1e7,
     "what --scale-lr scales from"},
    {NULL, "momentum", CLI_REAL, AT(momentum), "0.9", "MU", 0, 0.9999,
     "of sgd and lars, and of the codec dgc"},
    {NULL, "nesterov", CLI_FLAG, AT(nesterov), NULL, NULL, 0, 0,
     "look ahead along the momentum (sgd, lars)"},
    {NULL, "weight-decay", CLI_REAL, AT(weight_decay), "auto", "L", 0, 1e3,
     "pulls weights (not biases, not batch norm) to zero; auto: sgd 5e-4, lars 1e-4, "
     "adam and adagrad 0, adamw and lamb 0.01"},
    {NULL, "beta1", CLI_REAL, AT(beta1), "auto", "B", 0, 0.999999,
     "of adam, adamw, lamb: memory of the mean; auto: 0.9"},
    {NULL, "beta2", CLI_REAL, AT(beta2), "auto", "B", 0, 0.999999,
     "likewise of the square; auto: 0.999"},
    {NULL, "eps", CLI_REAL, AT(eps), "auto", "EPS", 0, 1,
     "added to a divisor; auto: adam, adamw 1e-8, lamb 1e-6, lars 0, adagrad 1e-10"},
    {NULL, "trust", CLI_REAL, AT(trust), "0.1", "T", 0, 1e6,
     "trust coefficient of lars, by which the rate is multiplied where a tensor is "
     "adapted; biases get the rate as it is"},
    {NULL, "trust-max", CLI_REAL, AT(trust_max), "auto", "T", 0, 1e6,
     "upper bound on a tensor's ratio (lars, lamb); auto: none"},
    {NULL, "clip-norm", CLI_REAL, AT(clip_norm), "0", "NORM", 0, 1e9,
     "scale averaged gradients down to this norm over all tensors; 0: off"},
    {NULL, "schedule", CLI_CHOICE, AT(schedule), "cosine", SCHEDULES, 0, 0,
     "how the rate goes down after the warm-up; onecycle: the warm-up is the way up, "
     "as "
     "many epochs lead down, the rest lead to the end"},
    {NULL, "warmup-epochs", CLI_REAL, AT(warmup_epochs), "0.2", "E", 0, 1e6,
     "linear rise of the rate from 0 at the start"},
    {NULL, "power", CLI_REAL, AT(power), "1", "P", 1e-3, 100,
     "of schedule poly: 1 is a line, 2 a parabola"},
    {NULL, "end-lr", CLI_REAL, AT(end_lr), "0", "RATE", 0, 1e6,
     "rate at the end of cosine, poly and onecycle"},
    {NULL, "low-momentum", CLI_REAL, AT(low_momentum), "auto", "MU", 0, 0.9999,
     "of schedule onecycle: momentum (sgd, lars) where the rate is highest; it goes "
     "against the rate; auto: --momentum, always"},
    {NULL, "milestones", CLI_STRING, AT(milestones), "auto", "E,E,...", 0, 0,
     "epochs at which schedule step divides the rate by 10; auto: after 1/2 and 3/4"},

    {"communication", "compress", CLI_STRING, AT(compress), NULL, "CODEC", 0, 0,
     "send gradients in fewer bytes where that is measured to be faster: "
     "NAME[:NUMBER][,KEY=VALUE]...[,force], such as onebit, topk:0.01 or "
     "powersgd:2; codecs below, numbers and keys in doc/compression.md"},
    {NULL, "precision", CLI_CHOICE, AT(precision), "f32", "f32|tf32|bf16", 0, 0,
     "bf16: parameters and averaged gradients are bf16 (half to three quarters of the "
     "bytes sent), the optimizer keeps f32 masters; convolutions and matrix products "
     "round their inputs "
     "to bf16 where the processor has instructions for it, other layers compute in "
     "f32. On a GPU bf16 is for activations and gradients, the parameters are f32; "
     "tf32: f32 numbers, products may round them to tf32"},
    {NULL, "shard-optimizer", CLI_FLAG, AT(shard_optimizer), NULL, NULL, 0, 0,
     "spread the optimizer's state over the ranks: each holds 1/ranks of it"},

    {"ranks' data", "layout", CLI_STRING, AT(layout), "even", "NAME[:S]", 0, 0,
     "even: all ranks share every batch; size-skew[:S]: rank k holds a share of 1/k^S "
     "of the images; class-skew[:S]: of each class; S is 1 if not given"},
    {NULL, "balance", CLI_CHOICE, AT(balance), "none", "none|krhp|ksrp|libra|scid", 0,
     0, "even out what the ranks hold by this partition plan, before training"},
    {NULL, "capacity", CLI_STRING, AT(capacity), NULL, "C,C,...", 0, 0,
     "what each rank can do relative to the others, for --balance; one number a rank"},
    {NULL, "uneven", CLI_CHOICE, AT(uneven), "share", "share|join|drop", 0, 0,
     "ranks that hold unequal numbers of images share: take part in every step in "
     "proportion; join: take equal parts, and those that run out go on with none; "
     "drop: end an epoch with the shortest"},

    CHECKPOINT_OPTIONS(AT(checkpoint)),
    CHECKPOINT_SHRINK_OPTION(AT(checkpoint)),
    MONITOR_OPTIONS(AT(monitor)),

    {"running", "options", CLI_STRING, AT(options), NULL, "FILE", 0, 0,
     "read options from a file, as they would be typed, # begins a comment; those "
     "after "
     "it win (recipes: apps/cnn/recipes)"},
    DEVICE_OPTIONS,
    {NULL, "graph", CLI_CHOICE, AT(graph), "auto", "auto|on|off", 0, 0,
     "on a GPU, launch a step as one CUDA graph, captured after 3 steps; auto: where "
     "that can be done (one rank, or gradients by NCCL; no --low-momentum)"},
    {NULL, "threads", CLI_INT, AT(threads), "auto", "N", 1, 4096,
     "threads of each rank; auto: its share of the processors it may use"},
    {NULL, "report", CLI_OUTPUT, AT(report), NULL, "FILE", 0, 0,
     "write figures of the run as JSON"},
    {NULL, "curve", CLI_OUTPUT, AT(curve), NULL, "FILE", 0, 0,
     "write loss and accuracy as JSON lines"},
    {NULL, "model", CLI_OUTPUT, AT(model), NULL, "FILE", 0, 0,
     "write the trained weights"},
    {NULL, "quiet", CLI_FLAG, AT(quiet), NULL, NULL, 0, 0, "print nothing but errors"},
};

static const struct cli_option test_options[] = {
    {"data and model", "data", CLI_STRING, AT(data), NULL, "DIR", 0, 0,
     "as for dml-cnn train; only the test set is read"},
    {NULL, "model", CLI_INPUT, AT(model), NULL, "FILE", 0, 0,
     "weights written by dml-cnn train (needed)"},

    {"running", "batch", CLI_INT, AT(batch), "128", "N", 1, 1e7,
     "images of one pass over all ranks; divisible by the ranks"},
    DEVICE_OPTIONS,
    {NULL, "threads", CLI_INT, AT(threads), "auto", "N", 1, 4096,
     "threads of each rank; auto: its share of the processors it may use"},
    {NULL, "report", CLI_OUTPUT, AT(report), NULL, "FILE", 0, 0,
     "write figures of the run as JSON"},
    {NULL, "quiet", CLI_FLAG, AT(quiet), NULL, NULL, 0, 0, "print nothing but errors"},
};

static void list_codecs(FILE *out)
{
    fprintf(out, "codecs:\n");
    for (size_t i = 0; dml_codec_name(i); i++)
        fprintf(out, "  %-9s %s\n", dml_codec_name(i), dml_codec_description(i));
}

const struct cli_command cnn_train_command = {
    .app = "dml-cnn",
    .name = "train",
    .summary =
        "Train a convolutional network on labelled images, data-parallel over MPI.",
    .options = train_options,
    .noptions = sizeof train_options / sizeof train_options[0],
    .examples =
        "  mpirun -n 2 dml-cnn train\n"
        "  mpirun -n 2 dml-cnn train --epochs 20 --augment --curve curve.jsonl\n"
        "  mpirun -n 4 dml-cnn train --data cifar-10-batches-bin --net resnet20 "
        "--augment\n"
        "  mpirun -n 4 dml-cnn train --options apps/cnn/recipes/lamb-8192.txt\n"
        "  mpirun -n 4 dml-cnn train --layout size-skew:1.2 --balance ksrp\n",
    .more = list_codecs,
};

const struct cli_command cnn_test_command = {
    .app = "dml-cnn",
    .name = "test",
    .summary = "Test a trained network on a test set.",
    .options = test_options,
    .noptions = sizeof test_options / sizeof test_options[0],
    .examples = "  mpirun -n 2 dml-cnn test --model net.model\n",
};

/* ---- what options stand for ----------------------------------------------------- */

/* "auto" of --lr and --weight-decay, tuned on the net small but for AdaGrad's; -1:
 * libdml's own. */
static const struct {
    double lr, weight_decay;
} automatic[] = {
    [DML_OPTIM_SGD] = {0.05, 5e-4},  [DML_OPTIM_ADAM] = {0.001, -1},
    [DML_OPTIM_ADAMW] = {0.001, -1}, [DML_OPTIM_LARS] = {0.02, -1},
    [DML_OPTIM_LAMB] = {0.005, -1},  [DML_OPTIM_ADAGRAD] = {0.01, -1},
};

/* The number of a name in one of the library's tables; the parser has checked it. */
static int find(const char *const *names, int count, const char *name)
{
    int i = 0;
    while (i < count - 1 && strcmp(names[i], name) != 0)
        i++;
    return i;
}

#define TABLE_NAME(NAME, number, name) [number] = (name),

dml_optim_rule cnn_rule(const struct cnn_options *options)
{
    static const char *const names[] = {DML_OPTIM_MAP(TABLE_NAME)};
    return (dml_optim_rule)find(names, sizeof names / sizeof *names,
                                options->optimizer);
}

dml_lr_shape cnn_shape(const struct cnn_options *options)
{
    static const char *const names[] = {DML_LR_MAP(TABLE_NAME)};
    return (dml_lr_shape)find(names, sizeof names / sizeof *names, options->schedule);
}

double cnn_weight_decay(const struct cnn_options *options)
{
    return options->weight_decay != CLI_AUTO
               ? options->weight_decay
               : automatic[cnn_rule(options)].weight_decay;
}

double cnn_rate(const struct cnn_options *options)
{
    double rate =
        options->lr != CLI_AUTO ? options->lr : automatic[cnn_rule(options)].lr;
    double factor = (double)options->batch / (double)options->base_batch;
    if (strcmp(options->scale_lr, "linear") == 0)
        return dml_lr_scale_linear(rate, factor);
    if (strcmp(options->scale_lr, "sqrt") == 0)
        return dml_lr_scale_sqrt(rate, factor);
    return rate;
}

int cnn_parse_milestones(const char *text, double *milestones, int room)
{
    int count = 0;
    for (const char *at = text; *at;) {
        char *end = NULL;
        double epoch = strtod(at, &end);
        bool good = end != at && (*end == ',' || *end == '\0') && epoch > 0 &&
                    epoch <= 1e6 && (count == 0 || epoch > milestones[count - 1]);
        if (!good || count == room)
            return -1;
        milestones[count++] = epoch;
        at = *end == ',' ? end + 1 : end;
    }
    return count;
}
