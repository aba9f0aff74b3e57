/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sending the largest elements, by one pass over memory.
 *
 * The limit from which on magnitudes are sent is the one that would have been right in
 * the step before. The pass lists the elements that reach it; where those are a few
 * too many the smallest of them go back, where they are a few too few some slots stay
 * empty, and where they are far off the limit is found exactly, by histograms of the
 * magnitudes' bits. Of equal magnitudes at the limit those that go differ from step to
 * step: taking the first would starve the others.
 */
#include "compress/sparse.h"

#include "core/half.h"

#include <math.h>
#include <string.h>

#define SEGMENT ((size_t)1 << 16)

/* listed [capacity] are elements that may be sent, segment by segment. */
struct sparse {
    float limit;     /* of the next pass */
    size_t slots;    /* that it belongs to; 0: no step yet */
    size_t capacity; /* of the lists */
    size_t *counts;  /* [segments] listed in each */
    uint16_t *listed;
    float *values; /* [capacity] scratch */
};

/* Where the magnitudes to send end: all above, and of the equal ones a part. */
struct edge {
    uint32_t bits; /* of the magnitude */
    size_t above;  /* elements above it */
    size_t equal;  /* elements that have it */
};

static size_t segments(size_t count)
{
    return count / SEGMENT + (count % SEGMENT != 0);
}

size_t dml__codec_slots(const dml_codec *c)
{
    double ratio = c->spec.number;
    /* In the warm-up's fifths ratio^(1/5), ratio^(2/5) ... */
    if (c->step < c->spec.warmup)
        ratio = pow(ratio, (double)(c->step * 5 / c->spec.warmup + 1) / 5);
    double wanted = ceil(ratio * (double)c->count);
    size_t slots = wanted < (double)c->count ? (size_t)wanted : c->count;
    return slots == 0 && c->count > 0 ? 1 : slots;
}

size_t dml__sparse_bytes(const dml_codec *c)
{
    size_t slots = dml__codec_slots(c);
    return segments(c->count) * sizeof(uint32_t) + slots * sizeof(float) +
           (slots + slots % 2) * sizeof(uint16_t);
}

dml_status dml__sparse_open(dml_codec *c)
{
    const size_t slots = dml__codec_slots(c), nsegments = segments(c->count);
    size_t capacity = 2 * slots + 64;
    capacity = capacity < c->count ? capacity : c->count;
    struct sparse *w = c->work;
    if (w == NULL) {
        const size_t head = (sizeof *w + DML__ALIGN - 1) / DML__ALIGN * DML__ALIGN;
        char *memory =
            dml__alloc(c->ctx, head + nsegments * sizeof *w->counts +
                                   capacity * (sizeof *w->values + sizeof *w->listed));
        if (memory == NULL)
            return dml__fail(c->ctx, DML_ENOMEM, "dml_codec_create",
                             "no memory to list %zu elements", capacity);
        c->work = w = (struct sparse *)memory;
        w->capacity = capacity;
        w->counts = (size_t *)(memory + head);
        w->values = (float *)(w->counts + nsegments);
        w->listed = (uint16_t *)(w->values + capacity);
    }
    w->slots = 0;
    return DML_OK;
}

/* ---- the limit ---------------------------------------------------------------------
 */

static uint32_t magnitude(float x)
{
    return dml__f32_bits(x) & 0x7fffffffu;
}

/* The k-th largest magnitude of x [n], 1 <= k <= n: eleven, ten and ten bits at a time.
 */
static struct edge find_edge(const float *x, size_t n, size_t k)
{
    static const int shift[] = {20, 10, 0}, width[] = {11, 10, 10};
    struct edge edge = {0};
    uint32_t fixed = 0;
    for (int level = 0; level < 3; level++) {
        size_t histogram[1 << 11] = {0};
        const uint32_t mask = (1u << width[level]) - 1;
        for (size_t i = 0; i < n; i++) {
            uint32_t bits = magnitude(x[i]);
            histogram[bits >> shift[level] & mask] += (bits & fixed) == edge.bits;
        }
        uint32_t bin = mask;
        while (edge.above + histogram[bin] < k)
            edge.above += histogram[bin--];
        edge.equal = histogram[bin];
        edge.bits |= bin << shift[level];
        fixed |= mask << shift[level];
    }
    return edge;
}

/* A first limit, from a sample of what will be the residual: its own quantile. */
static float guess_limit(const dml_codec *c, const float *g, float factor, size_t slots)
{
    enum { SAMPLES = 4096 };
    float sample[SAMPLES];
    size_t n = c->count < SAMPLES ? c->count : SAMPLES, stride = c->count / n;
    for (size_t i = 0; i < n; i++) {
        size_t at = i * stride;
        float push = factor * g[at];
        if (c->velocity != NULL)
            push += (float)c->spec.momentum * c->velocity[at];
        sample[i] = c->residual[at] + push;
    }
    size_t k = (size_t)((double)slots / (double)c->count * (double)n) + 1;
    return dml__f32_from_bits(find_edge(sample, n, k < n ? k : n).bits);
}

/* ---- lists -------------------------------------------------------------------------
 */

/* residual += g, and lists what reaches the limit; returns how many. */
static size_t list_above(dml_codec *c, const float *g, float factor, uint32_t *top)
{
    struct sparse *w = c->work;
    struct dml__select_args args = {
        .limit = w->limit,
        .momentum = (float)c->spec.momentum,
        .factor = factor,
    };
    size_t total = 0;
    for (size_t s = 0; s < segments(c->count); s++) {
        size_t first = s * SEGMENT;
        size_t n = c->count - first < SEGMENT ? c->count - first : SEGMENT;
        float *u = c->velocity != NULL ? c->velocity + first : NULL;
        args.capacity = w->capacity - total;
        w->counts[s] = c->loops->select(n, g + first, c->residual + first, u, &args,
                                        w->listed + total, top);
        total += w->counts[s];
    }
    return total;
}

/* Which of equal magnitudes go: "take" of them, from another one on in every step. */
struct turn {
    size_t seen, first, take, of;
};

static struct turn turn_of(const dml_codec *c, const struct edge *edge, size_t slots)
{
    struct turn t = {.take = slots - edge->above, .of = edge->equal};
    t.first = edge->equal > 0 ? (size_t)(c->step * t.take % edge->equal) : 0;
    return t;
}

static bool goes(uint32_t bits, const struct edge *edge, struct turn *turn)
{
    if (bits != edge->bits)
        return bits > edge->bits;
    size_t place = (turn->seen++ + turn->of - turn->first) % turn->of;
    return place < turn->take;
}

/* Cuts the lists down to the largest "slots". */
static void shorten(dml_codec *c, size_t total, size_t slots)
{
    struct sparse *w = c->work;
    size_t from = 0, to = 0;
    for (size_t s = 0; s < segments(c->count); s++)
        for (size_t i = 0; i < w->counts[s]; i++, from++)
            w->values[from] = c->residual[s * SEGMENT + w->listed[from]];
    struct edge edge = find_edge(w->values, total, slots);
    struct turn turn = turn_of(c, &edge, slots);
    from = 0;
    for (size_t s = 0; s < segments(c->count); s++) {
        size_t kept = 0;
        for (size_t i = 0; i < w->counts[s]; i++, from++) {
            if (!goes(magnitude(w->values[from]), &edge, &turn))
                continue;
            w->listed[to++] = w->listed[from];
            kept++;
        }
        w->counts[s] = kept;
    }
    w->limit = dml__f32_from_bits(edge.bits);
}

/* The lists from scratch, by the exact limit. */
static void list_exactly(dml_codec *c, size_t slots)
{
    struct sparse *w = c->work;
    struct edge edge = find_edge(c->residual, c->count, slots);
    struct turn turn = turn_of(c, &edge, slots);
    size_t to = 0;
    for (size_t s = 0; s < segments(c->count); s++) {
        size_t first = s * SEGMENT, before = to;
        size_t n = c->count - first < SEGMENT ? c->count - first : SEGMENT;
        for (size_t i = 0; i < n; i++)
            if (goes(magnitude(c->residual[first + i]), &edge, &turn))
                w->listed[to++] = (uint16_t)i;
        w->counts[s] = to - before;
    }
    w->limit = dml__f32_from_bits(edge.bits);
}

/* ---- code --------------------------------------------------------------------------
 */

/* The parts of a code. */
static void locate(const dml_codec *c, size_t slots, uint32_t **counts, float **values,
                   uint16_t **index, void *code)
{
    *counts = code;
    *values = (float *)(*counts + segments(c->count));
    *index = (uint16_t *)(*values + slots);
}

/* Moves the listed elements from the residual to the code. */
static void pack(dml_codec *c, size_t slots, void *code)
{
    struct sparse *w = c->work;
    uint32_t *counts;
    float *values;
    uint16_t *index;
    locate(c, slots, &counts, &values, &index, code);
    size_t at = 0;
    for (size_t s = 0; s < segments(c->count); s++) {
        counts[s] = (uint32_t)w->counts[s];
        for (size_t i = 0; i < w->counts[s]; i++, at++) {
            float *e = &c->residual[s * SEGMENT + w->listed[at]];
            values[at] = *e;
            index[at] = w->listed[at];
            *e = 0;
            if (c->velocity != NULL)
                c->velocity[e - c->residual] = 0;
        }
    }
    memset(values + at, 0, (slots - at) * sizeof *values);
    memset(index + at, 0, (slots + slots % 2 - at) * sizeof *index);
}

uint32_t dml__sparse_encode(dml_codec *c, const float *g, float factor, void *code)
{
    struct sparse *w = c->work;
    const size_t slots = dml__codec_slots(c);
    uint32_t top = 0;
    if (c->count == 0)
        return 0;
    if (slots == c->count)
        w->limit = 0;
    else if (w->slots != slots)
        w->limit = guess_limit(c, g, factor, slots);
    w->slots = slots;
    size_t total = list_above(c, g, factor, &top);
    if (total < slots - slots / 5 || (total == w->capacity && total < c->count))
        list_exactly(c, slots);
    else if (total > slots)
        shorten(c, total, slots);
    else
        w->limit *= 0.96875f;
    pack(c, slots, code);
    c->step++;
    return top;
}

void dml__sparse_decode(const dml_codec *c, const void *code, float scale, bool add,
                        float *dst)
{
    const uint32_t *counts = code;
    size_t nsegments = segments(c->count);
    if (!add)
        memset(dst, 0, c->count * sizeof *dst);
    /* The slots are those of the code's step, which the residual's owner has left. */
    const struct sparse *w = c->work;
    const float *values = (const float *)(counts + nsegments);
    const uint16_t *index = (const uint16_t *)(values + w->slots);
    for (size_t s = 0; s < nsegments; s++)
        for (size_t i = 0; i < counts[s]; i++)
            dst[s * SEGMENT + *index++] += *values++ * scale;
}
