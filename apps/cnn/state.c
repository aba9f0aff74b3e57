/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The state of a training between two steps, to and from snapshots. What follows from
 * the options and the step (schedule, order of the images, augmentation, dropout) needs
 * no saving: it is a function of both.
 *
 * Parameters and the optimizer's vectors are stored in row-major order, so that another
 * processor, whose best layouts are others, can read them. Each tensor is put by one
 * rank, in turn; sharded ones are gathered there. Other numbers of ranks read the same
 * vectors. Running averages of batch normalisation are each rank's own: other numbers
 * of ranks begin with their average, which is what a test uses, too. What a reducer
 * keeps is for the same number of ranks; without a codec that is the buckets' order
 * only, and the others do without.
 */
#include "state_words.h"

#include <stdlib.h>

uint64_t state_mark(const struct dataset *set)
{
    uint64_t mark = dml_rng_u64(set->info.channels, set->info.height, set->info.width);
    mark = dml_rng_u64(mark, set->info.nclasses, 0);
    for (size_t c = 0; c < set->info.channels && c < DATASET_MAX_CHANNELS; c++)
        mark = dml_rng_u64(mark, state_bits((double)set->mean[c]),
                           state_bits((double)set->stddev[c]));
    return mark;
}

/* ---- saving -----------------------------------------------------------------------
 */

int state_keeper(const struct trainer *trainer, int param)
{
    return param % trainer->job->nranks;
}

uint64_t state_first(const struct net *net, int param)
{
    uint64_t first = 0;
    for (int i = 0; i < param; i++)
        first += net->params[i].count;
    return first;
}

size_t state_largest(const struct net *net)
{
    size_t most = 1;
    for (int i = 0; i < net->nparams; i++)
        most = net->params[i].stored > most ? net->params[i].stored : most;
    return most;
}

static dml_status put_plain(struct trainer *trainer, dml_ckpt *ckpt, const char *name,
                            int param, const float *stored, float *plain)
{
    struct net *net = trainer->net;
    dml_status status = net_to_plain(net, param, stored, plain);
    if (status != DML_OK)
        return job_fail(trainer->job, status, "%s", net_error(net));
    return job_note(trainer->job, dml_ckpt_add_vector(ckpt, name, plain, DML_F32,
                                                      state_first(net, param),
                                                      net->params[param].count,
                                                      net_count_params(net)));
}

bool state_slot(const struct trainer *trainer, const dml_optim_slot *slot,
                char name[DML_CKPT_NAME_MAX])
{
    snprintf(name, DML_CKPT_NAME_MAX, "slot:%s", slot->name);
    return strcmp(slot->name, "master") != 0 || trainer->replica.params16;
}

static dml_status save_slot(struct trainer *trainer, dml_ckpt *ckpt, int param,
                            size_t slot, float *stored, float *plain)
{
    struct job *job = trainer->job;
    dml_sharded *sharded = trainer->replica.sharded;
    char name[DML_CKPT_NAME_MAX];
    dml_optim_slot own;
    CNN_TRY(job_note(job, dml_optim_get_slot(replica_optim(&trainer->replica),
                                             (size_t)param, slot, &own)));
    if (!state_slot(trainer, &own, name))
        return DML_OK;
    int root = state_keeper(trainer, param);
    if (sharded)
        CNN_TRY(job_note(
            job, dml_sharded_slot_gather(sharded, (size_t)param, slot, stored, root)));
    if (job->rank != root)
        return DML_OK;
    return put_plain(trainer, ckpt, name, param, sharded ? stored : own.data, plain);
}

static dml_status save_tensors(struct trainer *trainer, dml_ckpt *ckpt, float *stored,
                               float *plain)
{
    const struct net *net = trainer->net;
    size_t nslots = dml_optim_nslots(replica_optim(&trainer->replica));
    for (int i = 0; i < net->nparams; i++) {
        if (state_keeper(trainer, i) == trainer->job->rank)
            CNN_TRY(put_plain(trainer, ckpt, "params", i,
                              net->param_data + net->params[i].offset, plain));
        for (size_t slot = 0; slot < nslots; slot++)
            CNN_TRY(save_slot(trainer, ckpt, i, slot, stored, plain));
    }
    return DML_OK;
}

const char *state_reducer(const struct trainer *trainer)
{
    return strcmp(trainer->options->device, "gpu") == 0 ? "reducer-gpu" : "reducer";
}

static dml_status save_reducer(struct trainer *trainer, dml_ckpt *ckpt)
{
    struct job *job = trainer->job;
    const dml_reducer *reducer = trainer->replica.reducer;
    if (!reducer)
        return DML_OK;
    size_t bytes = dml_reducer_state_bytes(reducer);
    void *state = malloc(bytes);
    if (!state)
        return job_fail(job, DML_ENOMEM, "out of memory for a snapshot");
    dml_status status = job_note(job, dml_reducer_get_state(reducer, state, bytes));
    if (status == DML_OK)
        status =
            job_note(job, dml_ckpt_add_own(ckpt, state_reducer(trainer), state, bytes));
    free(state);
    return status;
}

static dml_status save_words(struct trainer *trainer, dml_ckpt *ckpt,
                             struct progress_state p)
{
    dml_optim_counters counters;
    dml_optim_get_counters(replica_optim(&trainer->replica), &counters);
    const uint64_t words[NWORDS] = {
        [WORD_STEP] = trainer->step,
        [WORD_SAMPLES] = trainer->samples,
        [WORD_EPOCH_STEPS] = trainer->epoch_steps,
        [WORD_LOADER_STEPS] = dml_loader_steps(trainer->loader),
        [WORD_IMAGES] = trainer->images,
        [WORD_PIXELS] = trainer->pixels,
        [WORD_OPTIM_STEPS] = counters.steps,
        [WORD_OPTIM_SKIPPED] = counters.skipped,
        [WORD_OPTIM_GOOD] = counters.good_steps,
        [WORD_LOSS_SCALE] = state_bits(counters.loss_scale),
        [WORD_LAST_LR] = state_bits(counters.last_lr),
        [WORD_STEP_S] = state_bits(trainer->step_s),
        [WORD_LOSS] = state_bits(trainer->loss),
        [WORD_ACCURACY] = state_bits(trainer->accuracy),
        [WORD_LOSS_SUM] = state_bits(p.loss_sum),
        [WORD_LOSS_COUNT] = state_bits(p.loss_count),
        [WORD_ELAPSED_S] = state_bits(p.elapsed_s),
        [WORD_TEST_LOSS] = state_bits(p.result.loss),
        [WORD_TEST_ACCURACY] = state_bits(p.result.accuracy),
    };
    return job_note(trainer->job,
                    dml_ckpt_add_shared(ckpt, "training", words, sizeof words));
}

dml_status state_save(struct trainer *trainer, dml_ckpt *ckpt, struct progress_state p)
{
    struct net *net = trainer->net;
    size_t most = state_largest(net);
    float *memory = calloc(2 * most, sizeof *memory);
    dml_status status = replica_settle(&trainer->replica);
    if (status == DML_OK && !memory)
        status = job_fail(trainer->job, DML_ENOMEM, "out of memory for a snapshot");
    if (status == DML_OK)
        status = save_words(trainer, ckpt, p);
    if (status == DML_OK && net->nstate_floats > 0)
        status = job_note(trainer->job,
                          dml_ckpt_add_own(ckpt, "net-state", net->state_data,
                                           net->nstate_floats * sizeof(float)));
    if (status == DML_OK)
        status = save_reducer(trainer, ckpt);
    /* The others would wait for this rank in the tensors that are gathered. */
    status = job_agree(trainer->job, status);
    if (status == DML_OK)
        status =
            job_agree(trainer->job, save_tensors(trainer, ckpt, memory, memory + most));
    free(memory);
    return status;
}
