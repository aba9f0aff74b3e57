/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Places a net's memory once all sizes are known.
 *
 * Activations live from the forward to the backward pass, so each group of values that
 * share data gets a buffer of its own. Gradients of activations live only from the
 * consumer's backward to the producer's: groups whose lives do not overlap share a
 * buffer, which saves nearly half of the memory and keeps them in the cache.
 */
#include "net_place.h"

#define MAX_SLOTS 16

/* Time runs backwards over the layers: a group lives from layer "born" down to "dies".
 */
struct life {
    int born, dies;
    size_t bytes;
    int slot;
};

static dml_status place_data(struct net *net)
{
    void *data[NET_MAX_VALUES] = {NULL};
    for (int i = 1; i < net->nvalues; i++) {
        struct value *value = &net->values[i];
        int group = value->data_group;
        if (!data[group]) {
            data[group] = net->backend->alloc(net, value->bytes);
            if (!data[group])
                return DML_ENOMEM;
            net->activation_bytes += value->bytes;
        }
        value->data_at = data[group];
    }
    return DML_OK;
}

static void touch(struct life *lives, const struct value *value, int layer)
{
    if (!value || value->grad_group < 0)
        return;
    struct life *life = &lives[value->grad_group];
    if (life->born < 0)
        life->born = layer;
    life->dies = layer;
    if (value->bytes > life->bytes)
        life->bytes = value->bytes;
}

/* The lowest slot that is free when the group is born; -1 when all are taken. */
static int find_slot(const struct life *lives, int ngroups, int group)
{
    bool taken[MAX_SLOTS] = {false};
    for (int i = 0; i < ngroups; i++)
        if (lives[i].slot >= 0 && lives[i].dies <= lives[group].born)
            taken[lives[i].slot] = true;
    for (int slot = 0; slot < MAX_SLOTS; slot++)
        if (!taken[slot])
            return slot;
    return -1;
}

static dml_status place_grads(struct net *net)
{
    struct life lives[NET_MAX_VALUES];
    size_t slot_bytes[MAX_SLOTS] = {0};
    void *slots[MAX_SLOTS] = {NULL};
    for (int i = 0; i < net->nvalues; i++)
        lives[i] = (struct life){.born = -1, .dies = -1, .slot = -1};
    /* The loss writes the output's gradient before the last layer runs. */
    touch(lives, net->output, net->nlayers);
    for (int i = net->nlayers; i-- > 0;)
        for (int k = 0; k < 2; k++) {
            touch(lives, net->layers[i]->in[k], i);
            touch(lives, net->layers[i]->out[k], i);
        }
    for (int born = net->nlayers; born >= 0; born--)
        for (int i = 0; i < net->nvalues; i++) {
            if (lives[i].born != born)
                continue;
            int slot = find_slot(lives, net->nvalues, i);
            if (slot < 0)
                return net_misuse(net, "too many gradients alive at once");
            lives[i].slot = slot;
            if (lives[i].bytes > slot_bytes[slot])
                slot_bytes[slot] = lives[i].bytes;
        }
    for (int i = 1; i < net->nvalues; i++) {
        struct value *value = &net->values[i];
        if (value->grad_group < 0)
            continue;
        int slot = lives[value->grad_group].slot;
        if (!slots[slot]) {
            slots[slot] = net->backend->alloc(net, slot_bytes[slot]);
            if (!slots[slot])
                return DML_ENOMEM;
            net->activation_bytes += slot_bytes[slot];
        }
        value->grad_at = slots[slot];
    }
    return DML_OK;
}

static dml_status place_params(struct net *net)
{
    net->nparam_floats = NET_HEAD;
    for (int i = net->nparams; i-- > 0;) {
        net->params[i].offset = net->nparam_floats;
        net->nparam_floats += net->params[i].stored;
    }
    net->param_data = net->backend->alloc(net, net->nparam_floats * sizeof(float));
    net->param_grad = net->backend->alloc(net, net->nparam_floats * sizeof(float));
    if (!net->param_data || !net->param_grad)
        return DML_ENOMEM;
    return DML_OK;
}

dml_status net_place_memory(struct net *net)
{
    CNN_TRY(place_data(net));
    CNN_TRY(place_grads(net));
    CNN_TRY(place_params(net));
    net->state_data = dnn_alloc(&net->dnn, net->nstate_floats * sizeof(float));
    if (!net->state_data)
        return DML_ENOMEM;
    return net->backend->placed(net);
}
