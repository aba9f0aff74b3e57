/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What dml-crf reads of its state at --resume, with every kind of trainer: it says what
 * makes no sense, or goes on to its end.
 */
#include "commands.h"
#include "going_on.h"

#include <string.h>

#define DATA "--train %s --dev %s --seed 3 --c2 0.5 "

static const char corpus[] = "The DT B\ncat NN I\nsat VB O\n\nA DT B\ndog NN I\n\n"
                             "dogs NN B\nsat VB O\n\nA DT B\ncat NN I\nsat VB O\n\n";

static const char *const trainers[] = {
    "--trainer lbfgs --max-iterations 5 --memory 3",
    "--trainer lbfgs --max-iterations 5 --c1 0.1 --patience 1",
    "--trainer adam --epochs 2 --batch 2 --patience 2",
    "--trainer sgd --epochs 2 --batch 2",
    "--trainer perceptron --epochs 4 --patience 3",
};
enum { TRAINERS = sizeof trainers / sizeof *trainers };

static struct crf_options options;

static dml_status train(struct job *job)
{
    const struct crf_run run = {.job = job, .options = &options, .threads = 1};
    return crf_train(&run);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char words[TRAINERS][1024];
    static const char *variants[TRAINERS];
    const char *path = fuzz_file("", (const uint8_t *)corpus, strlen(corpus));
    for (size_t i = 0; i < TRAINERS; i++) {
        snprintf(words[i], sizeof words[i], DATA "%s", path, path, trainers[i]);
        variants[i] = words[i];
    }
    const struct going_on app = {.command = &crf_train_command,
                                 .options = &options,
                                 .variants = variants,
                                 .nvariants = TRAINERS,
                                 .train = train};
    going_on_run(&app, data, size);
    return 0;
}
