/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Does the codec pay? Both ways are tried on made-up numbers, for the largest and the
 * smallest bucket; what lies between is interpolated. All ranks take the slowest rank's
 * times, so all decide alike. As links and neighbours change, it is done again after
 * 64, 512, 4,096 ... steps, which costs ever less in proportion; and whenever dgc's
 * warm-up lowers the ratio, since codes get shorter then. Dense steps until then are a
 * warm-up too: nothing is left out of them. A dense step is the plain reducer's own:
 * nothing is copied, and no residual looked at, unless something waits in it. dgc alone
 * keeps its momentum in them, one sweep, which the optimizer is spared.
 */
#include "comm/comm.h"
#include "sync/compress.h"
#include "sync/device.h"

#include <math.h>

enum { REPEATS = 5, FIRST_AGAIN = 64, LATER = 8 };

/* No more repetitions once this much is spent on one bucket. */
static const double enough_s = 0.25;

/* The slowest of a codec's trials must take this part of the fastest plain average's: a
 * codec's work is the processor's, which may have other things to do; trials find their
 * numbers in the cache, a step does not; and where there is something to gain on a link
 * it is as a rule far more than that. */
static const double margin = 2.0 / 3;

/* What is queued has ended. */
static dml_status settle(const struct dml__exchange *x)
{
    return x->device != NULL ? dml__sync_device_wait(x->device) : DML_OK;
}

static dml_status time_dense(const struct dml__exchange *x, double *seconds)
{
    dml_request *request = NULL;
    double begin_s = dml__now_s();
    if (x->device != NULL)
        dml__sync_device_lend(x->device);
    dml_status status = dml_iallreduce(DML_IN_PLACE, x->data, x->count, DML_F32,
                                       DML_AVG, x->comm, &request);
    if (x->device != NULL)
        dml__sync_device_take(x->device);
    DML_TRY(status);
    DML_TRY(dml_wait(&request));
    DML_TRY(settle(x));
    *seconds = dml__now_s() - begin_s;
    return DML_OK;
}

static dml_status time_coded(struct dml__exchange *x, double *seconds)
{
    double begin_s = dml__now_s();
    x->timed = x->device != NULL;
    for (int stage = 0; stage < dml__exchange_stages(x); stage++) {
        DML_TRY(dml__exchange_start(x, stage));
        DML_TRY(dml_wait(&x->request));
    }
    DML_TRY(dml__exchange_finish(x));
    DML_TRY(settle(x));
    *seconds = dml__now_s() - begin_s;
    return x->timed ? dml__exchange_read_times(x) : DML_OK;
}

/* Numbers between -1 and 1, many of them small, as in a gradient. No number waits for
 * the one before it: made one after the other they took longer than an average. */
static void fill(float *data, size_t count, uint32_t seed)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t mixed = ((uint32_t)i ^ seed) * 2654435761u;
        mixed = (mixed ^ mixed >> 15) * 2246822519u;
        float x = (float)(int32_t)mixed * 0x1p-31f;
        data[i] = x * x * x;
    }
}

/* The same where the exchange's vector lies; "numbers" [count] are for a device. */
static dml_status fill_vector(const struct dml__exchange *x, float *numbers,
                              uint32_t seed)
{
    fill(x->device != NULL ? numbers : x->data, x->count, seed);
    if (x->device == NULL)
        return DML_OK;
    DML_TRY(
        dml__sync_device_copy(x->device, x->data, numbers, x->count * sizeof *numbers));
    return settle(x);
}

static bool pays(const struct dml__sample *sample)
{
    return sample->total_s < margin * sample->dense_s;
}

/* What one trial took on the slowest rank. The first is a warm-up, unless it was so
 * long that there is no second one. */
static void keep(struct dml__sample *sample, const double seconds[4], bool first)
{
    if (first || seconds[0] < sample->dense_s)
        sample->dense_s = seconds[0];
    if (!first && seconds[1] <= sample->total_s)
        return;
    sample->total_s = seconds[1];
    sample->encode_s = seconds[2];
    sample->decode_s = seconds[3];
}

/* Trials only raise the codec's time and lower the plain average's, so a codec that has
 * lost does not win again, and most have lost at the first trial after the warm-up. */
static dml_status repeat(dml_reducer *r, struct dml__exchange *x, float *numbers,
                         struct dml__sample *sample)
{
    double spent_s = 0;
    for (int i = 0; i < REPEATS && (i < 2 || spent_s < enough_s); i++) {
        double s[4] = {0};
        DML_TRY(fill_vector(x, numbers, (uint32_t)(i + 1) * 77u + (uint32_t)x->rank));
        DML_TRY(dml__comm_max(r->comm, s, 1)); /* all begin together */
        DML_TRY(time_dense(x, &s[0]));
        DML_TRY(dml__comm_max(r->comm, s, 1));
        DML_TRY(time_coded(x, &s[1])); /* the averages are numbers like the others */
        s[2] = x->encode_s;
        s[3] = x->decode_s;
        DML_TRY(dml__comm_max(r->comm, s, 4));
        /* Different ranks may have been the slowest; parts are within the whole. */
        s[2] = fmin(s[2], s[1]);
        s[3] = fmin(s[3], s[1] - s[2]);
        spent_s += s[0] + s[1];
        keep(sample, s, i < 2);
        const bool lost = i > 0 && !pays(sample);
        if (lost || spent_s > 4 * enough_s)
            break;
    }
    sample->count = x->count;
    return DML_OK;
}

/* Memory for trials, like that of a bucket. */
struct trial {
    struct dml__sync_device *device; /* NULL: on the host */
    bool symmetric;                  /* memory that the node's ranks share */
    void *data;
    float *numbers; /* of a device's vector, on the host */
};

/* Collective where it is symmetric. */
static dml_status get_memory(dml_reducer *r, size_t bytes, struct trial *t)
{
    dml_ctx *ctx = dml_comm_ctx(r->comm);
    if (t->symmetric)
        return dml_alloc(r->comm, bytes, &t->data);
    if (t->device == NULL) {
        t->data = dml__alloc(ctx, bytes);
        return t->data != NULL ? DML_OK : DML_ENOMEM;
    }
    t->numbers = dml__alloc(ctx, bytes);
    return t->numbers != NULL ? dml__sync_device_alloc(t->device, bytes, &t->data)
                              : DML_ENOMEM;
}

/* After a failure symmetric memory stays the communicator's. */
static void free_memory(dml_reducer *r, struct trial *t, dml_status status)
{
    dml__free(t->numbers);
    if (t->device != NULL)
        dml__sync_device_free(t->device, t->data);
    else if (!t->symmetric)
        dml__comm_release(r->comm, t->data);
    else if (status == DML_OK || status == DML_ENOMEM)
        dml_free(r->comm, t->data);
}

/* Tries a bucket of this size and these shapes, on memory like its own. */
static dml_status measure(dml_reducer *r, const struct dml__bucket *b,
                          struct dml__sample *sample)
{
    dml_ctx *ctx = dml_comm_ctx(r->comm);
    const size_t bytes = dml__mul(b->count, sizeof(float));
    struct trial t = {.device = b->on_device ? r->device : NULL};
    struct dml__exchange *x = NULL;
    /* Memory that the node's ranks share makes the plain average faster. */
    double apart = b->on_device || b->layout == DML__APART ||
                   !dml__place_shared(dml__place(r->comm, b->data, bytes));
    DML_TRY(dml__comm_max(r->comm, &apart, 1));
    t.symmetric = apart == 0;
    dml_status status = get_memory(r, bytes, &t);
    if (t.symmetric)
        DML_TRY(status);
    if (status == DML_OK)
        status = dml__exchange_open(r->comm, &r->compression->spec, t.device, t.data,
                                    b->count, r->compression->members + b->first, b->n,
                                    0, &x);
    if (status == DML_OK)
        dml__exchange_age(x, r->stats.steps);
    double failed = status != DML_OK;
    dml_status agreed = dml__comm_max(r->comm, &failed, 1);
    if (agreed == DML_OK && failed > 0)
        agreed =
            dml__fail(ctx, DML_ENOMEM, "dml_reducer", "no memory to measure the codec");
    if (agreed == DML_OK)
        agreed = repeat(r, x, t.numbers, sample);
    dml__exchange_close(x);
    free_memory(r, &t, agreed);
    return agreed;
}

struct dml__sample dml__compress_predict(const struct dml__compression *c, size_t count)
{
    const struct dml__sample *small = &c->small, *large = &c->large;
    if (large->count <= small->count)
        return *large;
    const double along =
        (double)(count - small->count) / (double)(large->count - small->count);
    return (struct dml__sample){
        .count = count,
        .dense_s = small->dense_s + along * (large->dense_s - small->dense_s),
        .total_s = small->total_s + along * (large->total_s - small->total_s),
        .encode_s = small->encode_s + along * (large->encode_s - small->encode_s),
        .decode_s = small->decode_s + along * (large->decode_s - small->decode_s),
    };
}

static dml_status measure_ends(dml_reducer *r)
{
    struct dml__compression *c = r->compression;
    const struct dml__bucket *small = NULL, *large = NULL;
    for (size_t i = 0; i < r->nbuckets; i++) {
        const struct dml__bucket *b = &r->buckets[i];
        if (b->kind != DML__CODED || b->exchange == NULL)
            continue;
        if (small == NULL || b->count < small->count)
            small = b;
        if (large == NULL || b->count > large->count)
            large = b;
    }
    if (large == NULL)
        return DML_OK;
    DML_TRY(measure(r, large, &c->large));
    c->small = c->large;
    return small->count < large->count ? measure(r, small, &c->small) : DML_OK;
}

static void decide(dml_reducer *r, struct dml__bucket *b)
{
    const struct dml__compression *c = r->compression;
    b->compressed = false;
    if (b->dtype != DML_F32) {
        b->why = "not f32: dense";
    } else if (b->kind == DML__KEPT) {
        b->why = "kept dense as asked";
    } else if (b->kind == DML__VECTOR) {
        b->why = "vectors, or matrices too small to save bytes: dense";
    } else if (b->exchange == NULL) {
        b->why = "empty";
    } else if (c->spec.force) {
        b->why = "forced";
        b->compressed = true;
    } else if (dml_comm_size(r->comm) == 1) {
        b->why = "one rank: nothing is sent";
    } else {
        const struct dml__sample s = dml__compress_predict(c, b->count);
        b->compressed = pays(&s);
        b->why = b->compressed
                     ? "predicted to be clearly faster than the plain average"
                     : "not predicted to be clearly faster than the plain average";
    }
}

void dml__compress_decide(dml_reducer *r)
{
    for (size_t i = 0; i < r->nbuckets; i++)
        decide(r, &r->buckets[i]);
}

dml_status dml__compress_choose(dml_reducer *r)
{
    struct dml__compression *c = r->compression;
    if (!c->spec.force && dml_comm_size(r->comm) > 1) {
        double begin_s = dml__now_s();
        dml_status measured = measure_ends(r);
        r->stats.trial_s += dml__now_s() - begin_s;
        DML_TRY(measured);
        if (r->stats.steps >= c->next_measure)
            c->next_measure =
                c->next_measure == 0 ? FIRST_AGAIN : c->next_measure * LATER;
    }
    dml__compress_decide(r);
    return DML_OK;
}
