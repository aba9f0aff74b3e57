/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A training goes on from a snapshot; what is in one is told in state.c.
 */
#include "state_words.h"

#include <limits.h>
#include <stdlib.h>

static dml_status get_words(struct job *job, const dml_snapshot *snapshot,
                            uint64_t words[NWORDS])
{
    dml_status status =
        dml_snapshot_get_shared(snapshot, "training", words, NWORDS * sizeof *words);
    if (status == DML_EINVAL)
        return job_fail(job, DML_EFORMAT,
                        "--resume: the snapshot is not one of this version of dml-cnn");
    return job_note(job, status);
}

dml_status state_progress(struct job *job, const dml_snapshot *snapshot,
                          struct progress_state *p)
{
    uint64_t words[NWORDS];
    CNN_TRY(get_words(job, snapshot, words));
    *p = (struct progress_state){.loss_sum = state_number(words[WORD_LOSS_SUM]),
                                 .loss_count = state_number(words[WORD_LOSS_COUNT]),
                                 .elapsed_s = state_number(words[WORD_ELAPSED_S]),
                                 .result = {state_number(words[WORD_TEST_LOSS]),
                                            state_number(words[WORD_TEST_ACCURACY])}};
    const struct checkpoint_counter counters[] = {
        {"losses in the mean", p->loss_count, 0, INT_MAX},
        {"seconds so far", p->elapsed_s, -CHECKPOINT_MOST_S, CHECKPOINT_MOST_S},
    };
    return checkpoint_counters(job, snapshot, counters,
                               sizeof counters / sizeof *counters);
}

static bool other_ranks(const struct trainer *trainer, const dml_snapshot *snapshot)
{
    dml_snapshot_info info;
    dml_snapshot_get_info(snapshot, &info);
    return info.ranks != trainer->job->nranks;
}

static dml_status check(struct trainer *trainer, const dml_snapshot *snapshot)
{
    struct job *job = trainer->job;
    uint64_t words[NWORDS];
    dml_snapshot_info info;
    dml_section_info section;
    dml_snapshot_get_info(snapshot, &info);
    CNN_TRY(get_words(job, snapshot, words));
    if (words[WORD_IMAGES] != trainer->images || words[WORD_PIXELS] != trainer->pixels)
        return job_fail(job, DML_EMISMATCH,
                        "--resume: the snapshot was made with other images: give the "
                        "same --data");
    if (words[WORD_EPOCH_STEPS] != trainer->epoch_steps ||
        words[WORD_LOADER_STEPS] != dml_loader_steps(trainer->loader))
        return job_fail(job, DML_EMISMATCH,
                        "--resume: an epoch had %llu steps on %d ranks and has %llu on "
                        "%d, with this --layout: start as many ranks",
                        (unsigned long long)words[WORD_EPOCH_STEPS], info.ranks,
                        (unsigned long long)trainer->epoch_steps, job->nranks);
    const struct checkpoint_counter counters[] = {
        {"steps", (double)words[WORD_STEP], 0,
         (double)trainer->epoch_steps * (double)trainer->options->epochs},
        {"seconds of steps", state_number(words[WORD_STEP_S]), -CHECKPOINT_MOST_S,
         CHECKPOINT_MOST_S},
    };
    CNN_TRY(checkpoint_counters(job, snapshot, counters,
                                sizeof counters / sizeof *counters));
    if (strcmp(trainer->options->precision, "bf16") == 0 &&
        (dml_snapshot_find(snapshot, "slot:master", 0, &section) == DML_OK) ==
            (strcmp(trainer->options->device, "gpu") == 0))
        return job_fail(job, DML_EMISMATCH,
                        "--resume: with --precision bf16 a snapshot is for the device "
                        "it was made on: give the other --device");
    if (other_ranks(trainer, snapshot) && replica_has_codec(trainer->options))
        return job_fail(job, DML_EMISMATCH,
                        "--resume: with --compress %.60s each rank holds back its own "
                        "part of the gradients, so it needs the %d ranks of the "
                        "snapshot, not %d",
                        trainer->options->compress, info.ranks, job->nranks);
    if (replica_has_codec(trainer->options) &&
        dml_snapshot_find(snapshot, state_reducer(trainer), job->rank, &section) !=
            DML_OK)
        return job_fail(job, DML_EMISMATCH,
                        "--resume: with --compress a snapshot is for the device it was "
                        "made on: give the other --device");
    return DML_OK;
}

dml_status state_check(struct trainer *trainer, const dml_snapshot *snapshot)
{
    return job_agree(trainer->job, check(trainer, snapshot));
}

/* One rank's own averages, or those of all ranks averaged. */
static dml_status load_net_state(struct trainer *trainer, const dml_snapshot *snapshot)
{
    struct net *net = trainer->net;
    struct job *job = trainer->job;
    size_t count = net->nstate_floats, bytes = count * sizeof(float);
    if (count == 0)
        return DML_OK;
    if (!other_ranks(trainer, snapshot))
        return job_note(job, dml_snapshot_get_own(snapshot, "net-state", job->rank,
                                                  net->state_data, bytes));
    dml_snapshot_info info;
    dml_snapshot_get_info(snapshot, &info);
    float *one = malloc(bytes);
    dml_status status =
        one ? DML_OK : job_fail(job, DML_ENOMEM, "out of memory for a snapshot");
    memset(net->state_data, 0, bytes);
    for (int r = 0; r < info.ranks && status == DML_OK; r++) {
        status =
            job_note(job, dml_snapshot_get_own(snapshot, "net-state", r, one, bytes));
        for (size_t k = 0; k < count && status == DML_OK; k++)
            net->state_data[k] += one[k] / (float)info.ranks;
    }
    free(one);
    return status;
}

static dml_status get_plain(struct trainer *trainer, const dml_snapshot *snapshot,
                            const char *name, int param, float *plain, float *stored)
{
    struct net *net = trainer->net;
    CNN_TRY(job_note(
        trainer->job,
        dml_snapshot_get_vector(snapshot, name, plain, DML_F32, state_first(net, param),
                                net->params[param].count, net_count_params(net))));
    dml_status status = net_from_plain(net, param, plain, stored);
    if (status != DML_OK)
        return job_fail(trainer->job, status, "%s", net_error(net));
    return DML_OK;
}

dml_status state_load_net(struct trainer *trainer, const dml_snapshot *snapshot)
{
    struct net *net = trainer->net;
    float *plain = calloc(state_largest(net), sizeof *plain);
    dml_status status =
        plain ? DML_OK
              : job_fail(trainer->job, DML_ENOMEM, "out of memory for a snapshot");
    for (int i = 0; i < net->nparams && status == DML_OK; i++)
        status = get_plain(trainer, snapshot, "params", i, plain,
                           net->param_data + net->params[i].offset);
    if (status == DML_OK)
        status = load_net_state(trainer, snapshot);
    if (status == DML_OK && net_push_state(net) != DML_OK)
        status = job_fail(trainer->job, DML_ECOMM, "%s", net_error(net));
    free(plain);
    return job_agree(trainer->job, status);
}

static dml_status load_slot(struct trainer *trainer, const dml_snapshot *snapshot,
                            int param, size_t slot, float *stored, float *plain)
{
    struct job *job = trainer->job;
    dml_sharded *sharded = trainer->replica.sharded;
    char name[DML_CKPT_NAME_MAX];
    dml_optim_slot own;
    CNN_TRY(job_note(job, dml_optim_get_slot(replica_optim(&trainer->replica),
                                             (size_t)param, slot, &own)));
    if (!state_slot(trainer, &own, name))
        return DML_OK;
    if (!sharded)
        return get_plain(trainer, snapshot, name, param, plain, own.data);
    int root = state_keeper(trainer, param);
    dml_status status = DML_OK;
    if (job->rank == root) {
        memset(stored, 0, trainer->net->params[param].stored * sizeof *stored);
        status = get_plain(trainer, snapshot, name, param, plain, stored);
    }
    CNN_TRY(job_agree(job, status));
    return job_note(
        job, dml_sharded_slot_scatter(sharded, (size_t)param, slot, stored, root));
}

static dml_status load_slots(struct trainer *trainer, const dml_snapshot *snapshot)
{
    const struct net *net = trainer->net;
    size_t most = state_largest(net),
           nslots = dml_optim_nslots(replica_optim(&trainer->replica));
    float *memory = calloc(2 * most, sizeof *memory);
    dml_status status =
        memory ? DML_OK
               : job_fail(trainer->job, DML_ENOMEM, "out of memory for a snapshot");
    CNN_TRY(job_agree(trainer->job, status));
    for (int i = 0; i < net->nparams && status == DML_OK; i++)
        for (size_t slot = 0; slot < nslots && status == DML_OK; slot++)
            status = load_slot(trainer, snapshot, i, slot, memory, memory + most);
    free(memory);
    return status;
}

static dml_status load_reducer(struct trainer *trainer, const dml_snapshot *snapshot)
{
    struct job *job = trainer->job;
    dml_reducer *reducer = trainer->replica.reducer;
    dml_section_info section = {0};
    if (!reducer || other_ranks(trainer, snapshot))
        return DML_OK;
    const char *name = state_reducer(trainer);
    dml_status status = dml_snapshot_find(snapshot, name, job->rank, &section);
    if (status == DML_EINVAL && !replica_has_codec(trainer->options))
        return DML_OK; /* made with another --device: only the order of buckets */
    (void)job_note(job, status);
    size_t bytes = (size_t)section.count;
    void *state = status == DML_OK ? malloc(bytes) : NULL;
    if (status == DML_OK && !state)
        status = job_fail(job, DML_ENOMEM, "out of memory for a snapshot");
    if (status == DML_OK)
        status = job_note(
            job, dml_snapshot_get_own(snapshot, name, job->rank, state, bytes));
    status = job_agree(job, status);
    if (status == DML_OK)
        status = job_note(job, dml_reducer_set_state(reducer, state, bytes));
    free(state);
    return status;
}

/* The place of the next batch: batches go on from epoch to epoch, steps are a number of
 * them each. */
static dml_status go_to_step(struct trainer *trainer)
{
    uint64_t steps = dml_loader_steps(trainer->loader);
    uint64_t batches = trainer->step * (uint64_t)trainer->options->accumulate;
    return job_note(trainer->job, dml_loader_seek_step(trainer->loader, batches / steps,
                                                       batches % steps));
}

static dml_status load_rest(struct trainer *trainer, const dml_snapshot *snapshot)
{
    struct job *job = trainer->job;
    uint64_t words[NWORDS];
    CNN_TRY(get_words(job, snapshot, words));
    trainer->step = words[WORD_STEP];
    trainer->samples = words[WORD_SAMPLES];
    trainer->step_s = state_number(words[WORD_STEP_S]);
    trainer->loss = state_number(words[WORD_LOSS]);
    trainer->accuracy = state_number(words[WORD_ACCURACY]);
    const dml_optim_counters counters = {.steps = words[WORD_OPTIM_STEPS],
                                         .skipped = words[WORD_OPTIM_SKIPPED],
                                         .good_steps = words[WORD_OPTIM_GOOD],
                                         .loss_scale =
                                             state_number(words[WORD_LOSS_SCALE]),
                                         .last_lr = state_number(words[WORD_LAST_LR])};
    CNN_TRY(job_note(
        job, dml_optim_set_counters(replica_optim(&trainer->replica), &counters)));
    return go_to_step(trainer);
}

dml_status state_load_rest(struct trainer *trainer, const dml_snapshot *snapshot)
{
    struct job *job = trainer->job;
    CNN_TRY(job_agree(job, load_rest(trainer, snapshot)));
    CNN_TRY(job_agree(job, load_slots(trainer, snapshot)));
    return job_agree(job, load_reducer(trainer, snapshot));
}
