/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The options of dml-cnn's commands.
 */
#include "options.h"

#include <stdlib.h>

#define AT(member) offsetof(struct cnn_options, member)

static const struct cli_option train_options[] = {
    {"data and net", "data", CLI_STRING, AT(data), NULL, "DIR", 0, 0,
     "folder of idx or CIFAR-10 files; without it $DML_DATA, ../shared/data and "
     "/usr/share/datasets are searched for Fashion-MNIST"},
    {NULL, "net", CLI_CHOICE, AT(net), "small", "small|vgg|resnet20", 0, 0,
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

    {"optimizer", "lr", CLI_REAL, AT(lr), "0.05", "RATE", 0, 1e6,
     "learning rate at the end of the warm-up"},
    {NULL, "momentum", CLI_REAL, AT(momentum), "0.9", "MU", 0, 0.9999,
     "of stochastic gradient descent"},
    {NULL, "nesterov", CLI_FLAG, AT(nesterov), NULL, NULL, 0, 0,
     "look ahead along the momentum"},
    {NULL, "weight-decay", CLI_REAL, AT(weight_decay), "5e-4", "L", 0, 1e3,
     "pulls weights (not biases, not batch norm) to zero"},
    {NULL, "schedule", CLI_CHOICE, AT(schedule), "cosine", "constant|step|cosine|poly",
     0, 0, "how the rate goes down after the warm-up"},
    {NULL, "warmup-epochs", CLI_REAL, AT(warmup_epochs), "0.2", "E", 0, 1e6,
     "linear rise of the rate from 0 at the start"},
    {NULL, "milestones", CLI_STRING, AT(milestones), "auto", "E,E,...", 0, 0,
     "epochs at which schedule step divides the rate by 10; auto: after 1/2 and 3/4"},

    {"running", "threads", CLI_INT, AT(threads), "auto", "N", 1, 4096,
     "threads of each rank; auto: its share of the processors it may use"},
    {NULL, "report", CLI_STRING, AT(report), NULL, "FILE", 0, 0,
     "write figures of the run as JSON"},
    {NULL, "curve", CLI_STRING, AT(curve), NULL, "FILE", 0, 0,
     "write loss and accuracy as JSON lines"},
    {NULL, "model", CLI_STRING, AT(model), NULL, "FILE", 0, 0,
     "write the trained weights"},
    {NULL, "quiet", CLI_FLAG, AT(quiet), NULL, NULL, 0, 0, "print nothing but errors"},
};

static const struct cli_option test_options[] = {
    {"data and model", "data", CLI_STRING, AT(data), NULL, "DIR", 0, 0,
     "as for dml-cnn train; only the test set is read"},
    {NULL, "model", CLI_STRING, AT(model), NULL, "FILE", 0, 0,
     "weights written by dml-cnn train (needed)"},

    {"running", "batch", CLI_INT, AT(batch), "128", "N", 1, 1e7,
     "images of one pass over all ranks; divisible by the ranks"},
    {NULL, "threads", CLI_INT, AT(threads), "auto", "N", 1, 4096,
     "threads of each rank; auto: its share of the processors it may use"},
    {NULL, "report", CLI_STRING, AT(report), NULL, "FILE", 0, 0,
     "write figures of the run as JSON"},
    {NULL, "quiet", CLI_FLAG, AT(quiet), NULL, NULL, 0, 0, "print nothing but errors"},
};

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
        "  mpirun -n 4 dml-cnn train --data cifar10-subset --net resnet20 --epochs 30 "
        "--augment\n",
};

const struct cli_command cnn_test_command = {
    .app = "dml-cnn",
    .name = "test",
    .summary = "Test a trained network on a test set.",
    .options = test_options,
    .noptions = sizeof test_options / sizeof test_options[0],
    .examples = "  mpirun -n 2 dml-cnn test --model net.dml\n",
};

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
