/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What dml-cnn reads of its state at --resume, with optimizers, codecs and state that
 * is shared out: it says what makes no sense, or goes on to its end.
 */
#include "commands.h"
#include "going_on.h"

#define DATA "--data synthetic:8x1x12x12x2 --batch 4 --epochs 2 --seed 3 "

static const char *const variants[] = {
    DATA "--schedule constant",
    DATA "--optimizer adam --accumulate 2",
    DATA "--optimizer lamb --shard-optimizer",
    DATA "--compress onebit,force",
    DATA "--compress topk:0.1,force",
};

static struct cnn_options options;

static dml_status train(struct job *job)
{
    const struct cnn_run run = {.job = job, .options = &options, .threads = 1};
    return cnn_train(&run);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct going_on app = {.command = &cnn_train_command,
                                 .options = &options,
                                 .variants = variants,
                                 .nvariants = sizeof variants / sizeof *variants,
                                 .train = train};
    going_on_run(&app, data, size);
    return 0;
}
