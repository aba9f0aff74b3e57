/* SPDX-License-Identifier: BSD-3-Clause */
/* What saving and loading of a training's state share. */
#ifndef CNN_STATE_WORDS_H
#define CNN_STATE_WORDS_H

#include "state.h"

#include <string.h>

/* The numbers of a training, each in 8 bytes; doubles by their bits. */
enum word {
    WORD_STEP,
    WORD_SAMPLES,
    WORD_EPOCH_STEPS,
    WORD_LOADER_STEPS,
    WORD_IMAGES,
    WORD_PIXELS,
    WORD_OPTIM_STEPS,
    WORD_OPTIM_SKIPPED,
    WORD_OPTIM_GOOD,
    WORD_LOSS_SCALE,
    WORD_LAST_LR,
    WORD_STEP_S,
    WORD_LOSS,
    WORD_ACCURACY,
    WORD_LOSS_SUM,
    WORD_LOSS_COUNT,
    WORD_ELAPSED_S,
    WORD_TEST_LOSS,
    WORD_TEST_ACCURACY,
    NWORDS
};

static inline uint64_t state_bits(double number)
{
    uint64_t word;
    memcpy(&word, &number, sizeof word);
    return word;
}

static inline double state_number(uint64_t word)
{
    double value;
    memcpy(&value, &word, sizeof value);
    return value;
}

/* The rank whose turn it is to put a tensor; sharded ones are gathered there. */
int state_keeper(const struct trainer *trainer, int param);

/* Name of the section of what a reducer keeps: devices have other layouts. */
const char *state_reducer(const struct trainer *trainer);

/* Elements of the tensors before this one in a vector of all. */
uint64_t state_first(const struct net *net, int param);

/* Elements of the largest tensor, as stored. */
size_t state_largest(const struct net *net);

/* Name of the section of an optimizer's vector; false where there is none: an f32
 * tensor needs no master copy. */
bool state_slot(const struct trainer *trainer, const dml_optim_slot *slot,
                char name[DML_CKPT_NAME_MAX]);

#endif
