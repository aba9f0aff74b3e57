/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Samplers: one pass over a stream of keys, exact totals of all records, and a sample
 * of them that becomes a histogram.
 *
 * The sample is scaled so that its weight is that of the stream. Where the exact totals
 * per bucket allow, bucket by bucket: keys whose hash falls into a bucket heavy enough
 * for STRATUM records of the sample are scaled to that bucket's total, the rest
 * together to theirs (post-stratification; Cochran, Sampling Techniques, section 5A.9).
 * A heavy key, which is most of its bucket, so becomes nearly exact. Which buckets are
 * heavy enough must follow from exact numbers alone: were it the records kept that
 * decide, those of which few were kept by chance would be taken for lighter than they
 * are.
 *
 * Samples of sorted blocks are scaled as a whole: they have ranges of keys in their
 * shares already. So are samples in which heavy buckets are hardly further off than
 * light ones, as with step sampling of sorted streams: what a heavy bucket is off then
 * is due to its light keys, and no reason to scale the heavy one.
 */
#include "skew/sampler.h"

#include <float.h>
#include <math.h>

enum { STRATUM = 16, MOST_BUCKETS = 1 << 16 };

void dml_sampler_opts_init(dml_sampler_opts *opts)
{
    *opts = (dml_sampler_opts){
        .size = sizeof *opts,
        .kind = DML_KEY_U64,
        .method = DML_SAMPLE_STEP,
        .rate = 0.033,
        .reservoir = 65536,
        .weight = DML_WEIGHT_COUNT,
        .seed = 1,
        .hash_seed = 1,
        .buckets = 4096,
    };
}

const char *dml_sample_method_name(dml_sample_method method)
{
    switch (method) {
#define CASE(NAME, number, name) \
    case DML_SAMPLE_##NAME:      \
        return name;
        DML_SAMPLE_MAP(CASE)
#undef CASE
    default:
        return NULL;
    }
}

static dml_status check_opts(dml_ctx *ctx, const char *where,
                             const dml_sampler_opts *opts)
{
    DML_TRY(
        dml__check_size(ctx, where, opts->size, sizeof *opts, "dml_sampler_opts_init"));
    if (opts->kind != DML_KEY_U64 && opts->kind != DML_KEY_BYTES)
        return dml__fail(ctx, DML_EINVAL, where, "kind %d is unknown", (int)opts->kind);
    if (dml_sample_method_name(opts->method) == NULL)
        return dml__fail(ctx, DML_EINVAL, where, "method %d is unknown",
                         (int)opts->method);
    if (!(opts->rate >= 1e-9 && opts->rate <= 1))
        return dml__fail(ctx, DML_EINVAL, where, "rate is %g; use 1e-9 to 1",
                         opts->rate);
    if (opts->method == DML_SAMPLE_RESERVOIR &&
        (opts->reservoir == 0 || opts->reservoir > UINT32_MAX / 4))
        return dml__fail(ctx, DML_EINVAL, where,
                         "reservoir is %llu records; use 1 to 2^30",
                         (unsigned long long)opts->reservoir);
    if (opts->weight != DML_WEIGHT_COUNT && opts->weight != DML_WEIGHT_VALUE &&
        opts->weight != DML_WEIGHT_SQUARE)
        return dml__fail(ctx, DML_EINVAL, where, "weight %d is unknown",
                         (int)opts->weight);
    if (opts->buckets == 0 || opts->buckets > MOST_BUCKETS ||
        (opts->buckets & (opts->buckets - 1)) != 0)
        return dml__fail(ctx, DML_EINVAL, where,
                         "buckets is %zu; use a power of two up to %d", opts->buckets,
                         MOST_BUCKETS);
    return DML_OK;
}

/* False: out of memory. */
static bool open_sampler(dml_sampler *s)
{
    const dml_sampler_opts *opts = &s->opts;
    if (opts->weight == DML_WEIGHT_COUNT)
        s->counts = dml__alloc(s->ctx, dml__mul(opts->buckets, sizeof *s->counts));
    else
        s->sums = dml__alloc(s->ctx, dml__mul(opts->buckets, sizeof *s->sums));
    s->registers = dml__alloc(s->ctx, opts->buckets);
    if ((s->counts == NULL && s->sums == NULL) || s->registers == NULL ||
        !dml__map_open(&s->map, s->ctx, opts->kind))
        return false;
    if (opts->method == DML_SAMPLE_RESERVOIR) {
        s->pool = dml__alloc(s->ctx, dml__mul(opts->reservoir, sizeof *s->pool));
        return s->pool != NULL;
    }
    if (opts->method == DML_SAMPLE_SORTED) {
        size_t records = dml__block_size(s);
        s->block = dml__alloc(s->ctx, dml__mul(records, sizeof *s->block));
        s->order = dml__alloc(s->ctx, dml__mul(records, sizeof *s->order));
        s->scratch = dml__alloc(s->ctx, dml__sort_bytes(records));
        return s->block != NULL && s->order != NULL && s->scratch != NULL;
    }
    return true;
}

dml_status dml_sampler_create(dml_ctx *ctx, const dml_sampler_opts *opts,
                              dml_sampler **sampler)
{
    if (sampler == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "the result is NULL");
    dml_sampler_opts defaults;
    dml_sampler_opts_init(&defaults);
    if (opts == NULL)
        opts = &defaults;
    DML_TRY(check_opts(ctx, __func__, opts));
    dml_sampler *s = dml__alloc(ctx, sizeof *s);
    if (s == NULL)
        return dml__fail(ctx, DML_ENOMEM, __func__, "no memory for a sampler");
    s->ctx = ctx;
    s->opts = *opts;
    s->step = (uint64_t)ceil(1 / opts->rate);
    if (!open_sampler(s)) {
        dml_sampler_destroy(s);
        return dml__fail(ctx, DML_ENOMEM, __func__,
                         "no memory for a sampler of %zu buckets", opts->buckets);
    }
    dml__choose_first(s);
    *sampler = s;
    return DML_OK;
}

void dml_sampler_destroy(dml_sampler *sampler)
{
    if (sampler == NULL)
        return;
    dml__free(sampler->scratch);
    dml__free(sampler->order);
    dml__free(sampler->block);
    dml__text_free(sampler->text);
    dml__free(sampler->pool);
    dml__map_close(&sampler->map);
    dml__free(sampler->registers);
    dml__free(sampler->sums);
    dml__free(sampler->counts);
    dml__free(sampler);
}

bool dml__map_count(struct dml__map *map, const struct dml__key *key, double weight,
                    uint64_t hash_seed)
{
    struct dml__entry *entry =
        dml__map_add(map, key, dml__key_hash(map->kind, key, hash_seed));
    if (entry == NULL)
        return false;
    entry->weight += weight;
    entry->samples++;
    return true;
}

/* Keep one record in the reservoir. */
static bool keep_in_pool(dml_sampler *s, struct dml__key key, double weight)
{
    if (s->opts.kind == DML_KEY_BYTES) {
        key.data = dml__text_keep(s->ctx, &s->text, key.data, key.count);
        if (key.data == NULL)
            return false;
    }
    size_t place = s->samples < s->opts.reservoir
                       ? (size_t)s->samples++
                       : (size_t)(dml__sampler_draw(s) * (double)s->opts.reservoir);
    s->pool[place] = (struct dml__kept){.key = key, .weight = weight};
    return true;
}

/* Keep those of a batch that the method names. */
static bool keep_chosen(dml_sampler *s, const dml_keys *keys, const double *values)
{
    uint64_t end = s->seen + keys->count;
    while (s->next < end) {
        size_t i = (size_t)(s->next - s->seen);
        struct dml__key key = dml__keys_at(keys, i);
        double weight = dml__weight_of(s, values, i);
        if (s->pool != NULL) {
            if (!keep_in_pool(s, key, weight))
                return false;
        } else {
            if (!dml__map_count(&s->map, &key, weight, s->opts.hash_seed))
                return false;
            s->samples++;
        }
        dml__choose_next(s);
    }
    return true;
}

/* Adds the batch's weights to *weight, and refuses what is no weight or too much. */
static dml_status check_values(const dml_sampler *s, const char *where, size_t count,
                               const double *values, double *weight)
{
    if (s->opts.weight == DML_WEIGHT_COUNT)
        return DML_OK;
    if (values == NULL && count > 0)
        return dml__fail(s->ctx, DML_EINVAL, where,
                         "values is NULL; it may be for DML_WEIGHT_COUNT only");
    for (size_t i = 0; i < count; i++) {
        double here = dml__weight_of(s, values, i);
        if (!(values[i] >= 0 && here <= DBL_MAX))
            return dml__fail(s->ctx, DML_EINVAL, where,
                             "values[%zu] is %g; weights are finite and not negative",
                             i, values[i]);
        *weight += here;
    }
    if (!dml__sum_fits(*weight))
        return dml__fail(s->ctx, DML_EINVAL, where,
                         "with these values the sum of all weights is %g, too large "
                         "for a double; scale them down",
                         *weight);
    return DML_OK;
}

dml_status dml_sampler_add(dml_sampler *sampler, const dml_keys *keys,
                           const double *values)
{
    dml_sampler *s = sampler;
    if (s == NULL)
        return dml__fail(NULL, DML_EINVAL, __func__, "sampler is NULL");
    DML_TRY(dml__keys_check(s->ctx, __func__, s->opts.kind, keys));
    double weight = s->weight;
    DML_TRY(check_values(s, __func__, keys->count, values, &weight));
    s->weight = weight;
    dml__tally(s, keys, values);
    bool kept = s->block != NULL ? dml__block_add(s, keys, values)
                                 : keep_chosen(s, keys, values);
    if (!kept)
        return dml__fail(s->ctx, DML_ENOMEM, __func__, "no memory for more keys");
    s->seen += keys->count;
    return DML_OK;
}

/* Mean squared distance of the sample from the shares of buckets that weigh twice the
 * mean or more, divided by that of the others; infinite if there are none. kept: as
 * drawn, of sum "sum". */
static double noise_of_heavy(const dml_histogram *h, const double *kept, double sum)
{
    const double heavy = 2 * h->weight / (double)h->nbuckets;
    double off[2] = {0};
    size_t many[2] = {0};
    for (size_t b = 0; b < h->nbuckets; b++) {
        double far = kept[b] - h->buckets[b] / h->weight * sum;
        off[h->buckets[b] >= heavy] += far * far;
        many[h->buckets[b] >= heavy]++;
    }
    if (many[1] == 0 || off[0] <= 0)
        return INFINITY;
    return off[1] / (double)many[1] / (off[0] / (double)many[0]);
}

/* Scales the sample to the exact totals; "kept" has [buckets] doubles, zeroed. */
static void scale(dml_histogram *h, bool by_bucket, double *kept)
{
    const unsigned shift = dml__bucket_shift(h->nbuckets);
    for (size_t i = 0; i < h->count; i++)
        kept[dml__bucket_of(h->entries[i].hash, shift)] += h->entries[i].weight;
    double rest_total = 0, rest_kept = 0, sum = 0;
    for (size_t b = 0; b < h->nbuckets; b++) {
        h->weight += h->buckets[b];
        sum += kept[b];
    }
    by_bucket = by_bucket && sum > 0 && noise_of_heavy(h, kept, sum) > 2;
    double least = h->weight * (STRATUM / fmax((double)h->samples, 1));
    for (size_t b = 0; b < h->nbuckets; b++) {
        if (by_bucket && h->buckets[b] >= least && kept[b] > 0) {
            kept[b] = h->buckets[b] / kept[b];
        } else {
            rest_total += h->buckets[b];
            rest_kept += kept[b];
            kept[b] = -1;
        }
    }
    double rest_scale = rest_kept > 0 ? rest_total / rest_kept : 0;
    if (rest_kept <= 0)
        h->unseen = rest_total;
    for (size_t i = 0; i < h->count; i++) {
        double own = kept[dml__bucket_of(h->entries[i].hash, shift)];
        h->entries[i].weight *= own >= 0 ? own : rest_scale;
    }
}

/* A map of all that was kept, with what has not yet gone to the sampler's own map. */
static bool gather(dml_sampler *s, struct dml__map *map, uint64_t *samples)
{
    *samples = s->samples;
    for (size_t i = 0; i < s->map.count; i++) {
        const struct dml__entry *from = &s->map.entries[i];
        struct dml__entry *to = dml__map_add(map, &from->key, from->hash);
        if (to == NULL)
            return false;
        to->weight = from->weight;
        to->samples = from->samples;
    }
    for (size_t i = 0; s->pool != NULL && i < s->samples; i++)
        if (!dml__map_count(map, &s->pool[i].key, s->pool[i].weight, s->opts.hash_seed))
            return false;
    /* The rest of the stream may still fill the block: draw again then. */
    uint64_t draws = s->draws;
    bool taken = s->block == NULL || dml__block_take(s, map, samples);
    s->draws = draws;
    return taken;
}

dml_status dml_sampler_finish(dml_sampler *sampler, dml_histogram **histogram)
{
    dml_sampler *s = sampler;
    if (s == NULL || histogram == NULL)
        return dml__fail(s != NULL ? s->ctx : NULL, DML_EINVAL, __func__,
                         "sampler or histogram is NULL");
    dml_status status = DML_ENOMEM;
    const size_t nbuckets = s->opts.buckets;
    struct dml__map map = {0};
    dml_histogram *h = NULL;
    double *kept = dml__alloc(s->ctx, dml__mul(nbuckets, sizeof *kept));
    uint64_t samples = 0;
    if (kept == NULL || !dml__map_open(&map, s->ctx, s->opts.kind) ||
        !gather(s, &map, &samples) || !dml__histogram_of_map(&map, nbuckets, &h)) {
        dml__fail(s->ctx, status, __func__, "no memory for a histogram of %zu keys",
                  map.count);
        goto out;
    }
    h->hash_seed = s->opts.hash_seed;
    h->records = s->seen;
    h->samples = samples;
    for (size_t b = 0; b < nbuckets; b++)
        h->buckets[b] = dml__tally_weight(s, b);
    memcpy(h->registers, s->registers, nbuckets);
    scale(h, s->opts.method != DML_SAMPLE_SORTED, kept);
    if (s->step == 1 && s->opts.method != DML_SAMPLE_RESERVOIR)
        for (size_t i = 0; i < h->count; i++)
            h->entries[i].samples = DML__EXACT;
    *histogram = h;
    status = DML_OK;
out:
    dml__map_close(&map);
    dml__free(kept);
    return status;
}
