/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a reducer keeps from step to step, as bytes. One walk over the state counts,
 * saves and loads it, so that the three cannot disagree. Loading trusts nothing: what
 * must be equal is compared, and every item is held against the bytes that are left.
 */
#include "comm/comm.h"
#include "compress/codec_device.h"
#include "sync/compress.h"

#include <string.h>

enum mode { COUNT, SAVE, LOAD };

struct walk {
    enum mode mode;
    uint8_t *to;         /* SAVE */
    const uint8_t *from; /* LOAD */
    size_t at, room;
    bool old;          /* the state is of an earlier libdml, and so */
    bool bad;          /* it goes no further: the state does not fit this reducer, */
    dml_status failed; /* or, where this is not DML_OK, a device or memory failed */
};

/* In the state before, random sequences had other numbers; else it was the same. */
static const uint64_t first_word = 0x32544154534c4d44;  /* "DMLSTAT2" */
static const uint64_t word_before = 0x31544154534c4d44; /* "DMLSTAT1" */

/* Of a codec's memory, which may lie on a device; codec NULL: the host's. */
static void item_of(struct walk *w, const dml_codec *codec, void *data, size_t bytes)
{
    w->bad = w->bad || (w->mode != COUNT && bytes > w->room - w->at);
    if (w->bad || bytes == 0)
        return;
    void *to = w->mode == SAVE ? w->to + w->at : data;
    const void *from = w->mode == SAVE ? data : w->from + w->at;
    if (w->mode != COUNT && codec != NULL && codec->device != NULL)
        w->failed = dml__codec_device_copy(codec, to, from, bytes);
    else if (w->mode != COUNT)
        memcpy(to, from, bytes);
    w->bad = w->failed != DML_OK;
    w->at += bytes;
}

static void item(struct walk *w, void *data, size_t bytes)
{
    item_of(w, NULL, data, bytes);
}

/* A number that is a property of the reducer. */
static void same(struct walk *w, uint64_t value)
{
    uint64_t seen = value;
    item(w, &seen, sizeof seen);
    w->bad = w->bad || seen != value;
}

static bool draws(const dml_reducer *r)
{
    return r->compression != NULL &&
           strstr(r->compression->spec.kind->keys, " seed ") != NULL;
}

static void version(struct walk *w, const dml_reducer *r)
{
    uint64_t seen = first_word;
    item(w, &seen, sizeof seen);
    w->old = seen == word_before && draws(r);
    w->bad = w->bad || w->old || (seen != first_word && seen != word_before);
}

static void flag(struct walk *w, bool *value)
{
    uint64_t seen = *value;
    item(w, &seen, sizeof seen);
    if (w->mode == LOAD && !w->bad)
        *value = seen != 0;
}

static void walk_codec(struct walk *w, dml_codec *c)
{
    const size_t bytes = c->count * sizeof(float);
    size_t kept_bytes = 0;
    void *kept = c->spec.kind->kept != NULL ? c->spec.kind->kept(c, &kept_bytes) : NULL;
    if (kept != NULL && c->device != NULL)
        kept = dml__codec_device_kept(c);
    same(w, c->count);
    same(w, kept_bytes);
    item(w, &c->step, sizeof c->step);
    flag(w, &c->waiting);
    item_of(w, c, c->residual, c->residual != NULL ? bytes : 0);
    item_of(w, c, c->velocity, c->velocity != NULL ? bytes : 0);
    item_of(w, c, kept, kept_bytes);
}

static void walk_exchange(struct walk *w, struct dml__exchange *x)
{
    same(w, x != NULL ? x->ncodecs : 0);
    if (x == NULL)
        return;
    item(w, &x->steps, sizeof x->steps);
    for (size_t i = 0; i < x->ncodecs; i++)
        walk_codec(w, x->codecs[i].codec);
}

static void walk_sample(struct walk *w, struct dml__sample *s)
{
    item(w, &s->count, sizeof s->count);
    item(w, &s->dense_s, sizeof s->dense_s);
    item(w, &s->total_s, sizeof s->total_s);
    item(w, &s->encode_s, sizeof s->encode_s);
    item(w, &s->decode_s, sizeof s->decode_s);
}

static bool is_permutation(const uint64_t *order, size_t n, struct dml__slot *slots)
{
    for (size_t i = 0; i < n; i++)
        slots[i].ready = false;
    for (size_t i = 0; i < n; i++) {
        if (order[i] >= n || slots[order[i]].ready)
            return false;
        slots[order[i]].ready = true;
    }
    return true;
}

/* What the buckets are made from. */
static void walk_order(struct walk *w, dml_reducer *r)
{
    version(w, r);
    same(w, (uint64_t)dml_comm_size(r->comm));
    same(w, (uint64_t)dml_comm_rank(r->comm));
    same(w, r->ngrads);
    same(w, r->compression != NULL);
    item(w, &r->stats.steps, sizeof r->stats.steps);
    item(w, r->ready_order, r->ngrads * sizeof *r->ready_order);
    if (w->mode == LOAD && !w->bad)
        w->bad = !is_permutation(r->ready_order, r->ngrads, r->slots);
}

/* What is known of the buckets. */
static void walk_buckets(struct walk *w, dml_reducer *r)
{
    struct dml__compression *c = r->compression;
    same(w, r->nbuckets);
    if (c == NULL)
        return;
    flag(w, &c->flush);
    item(w, &c->next_measure, sizeof c->next_measure);
    walk_sample(w, &c->small);
    walk_sample(w, &c->large);
    for (size_t i = 0; i < r->nbuckets; i++)
        walk_exchange(w, r->buckets[i].exchange);
}

size_t dml_reducer_state_bytes(const dml_reducer *r)
{
    struct walk w = {.mode = COUNT};
    /* Nothing is changed but in mode LOAD. */
    walk_order(&w, (dml_reducer *)r);
    walk_buckets(&w, (dml_reducer *)r);
    return w.at;
}

static dml_status check_closed(const dml_reducer *r, const char *where)
{
    if (r->state == DML__CLOSED)
        return DML_OK;
    return dml__fail(dml_comm_ctx(r->comm), DML_EINVAL, where,
                     "a step is open, or an earlier one failed");
}

dml_status dml_reducer_get_state(const dml_reducer *r, void *state, size_t bytes)
{
    if (r == NULL)
        return DML_EINVAL;
    DML_TRY(check_closed(r, __func__));
    struct walk w = {.mode = SAVE, .to = state, .room = bytes};
    walk_order(&w, (dml_reducer *)r);
    walk_buckets(&w, (dml_reducer *)r);
    if (w.failed != DML_OK || (!w.bad && w.at == bytes))
        return w.failed;
    return dml__fail(dml_comm_ctx(r->comm), DML_EINVAL, __func__,
                     "%zu bytes given for a state of %zu", bytes,
                     dml_reducer_state_bytes(r));
}

static dml_status refused(const dml_reducer *r, const char *where, const struct walk *w)
{
    dml_ctx *ctx = dml_comm_ctx(r->comm);
    if (w->old)
        return dml__fail(ctx, DML_EFORMAT, where,
                         "the state is of an earlier version of libdml, whose %s drew "
                         "other random numbers; go on without it",
                         r->compression->spec.kind->name);
    if (w->bad)
        return dml__fail(ctx, DML_EFORMAT, where,
                         "the state is of a reducer with other gradients, "
                         "codec, rank or number of ranks, or damaged");
    return dml__fail(ctx, DML_EMISMATCH, where,
                     "another rank's state does not fit its reducer");
}

/* Fails on all ranks if it does on one; the reducer is of no use then. */
static dml_status agree(dml_reducer *r, const char *where, const struct walk *w)
{
    double failed = w->bad;
    dml_status status = dml__comm_max(r->comm, &failed, 1);
    if (status == DML_OK && w->failed != DML_OK)
        status = w->failed;
    else if (status == DML_OK && failed > 0)
        status = refused(r, where, w);
    if (status != DML_OK)
        r->state = DML__BROKEN;
    return status;
}

dml_status dml_reducer_set_state(dml_reducer *r, const void *state, size_t bytes)
{
    if (r == NULL)
        return DML_EINVAL;
    DML_TRY(check_closed(r, __func__));
    struct walk w = {.mode = LOAD, .from = state, .room = bytes};
    walk_order(&w, r);
    DML_TRY(agree(r, __func__, &w));
    /* Before the first step buckets are as they were made. */
    dml_status status = DML_OK;
    if (r->stats.steps > 0) {
        status = dml__buckets_plan(r, r->ready_order);
        if (status == DML_OK)
            status = dml__compress_replan(r);
    }
    if (status != DML_OK) {
        r->state = DML__BROKEN;
        return status;
    }
    walk_buckets(&w, r);
    w.bad = w.bad || w.at != bytes;
    DML_TRY(agree(r, __func__, &w));
    if (r->compression != NULL && r->stats.steps > 0)
        dml__compress_decide(r);
    return DML_OK;
}
