/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sending the largest elements, by one pass over memory.
 *
 * The limit from which on magnitudes are sent is guessed from those that would have
 * been right in the two steps before. The pass lists the elements that reach it; where
 * those are too many the smallest of them go back, and where they are a few too few
 * some slots stay empty. Where they are far off, the residual is looked at once more
 * with a limit from a sample of it; and if that fails, as among equal numbers, the
 * limit is found exactly, by histograms of the magnitudes' bits. Of equal magnitudes at
 * the limit those that go differ from step to step: taking the first would starve the
 * others.
 */
#include "compress/sparse.h"

#include "compress/sparse_rules.h"
#include "core/half.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define SEGMENT ((size_t)DML__SPARSE_SEGMENT)

/*
 * Elements that may be sent are listed segment by segment and taken out of residual and
 * velocity at once, while the segment is in the cache; those that do not go after all
 * are put back.
 */
struct sparse {
    float limit;      /* of the next pass */
    float edge;       /* that was right in the step before */
    size_t slots;     /* that it belongs to; 0: no step yet */
    size_t capacity;  /* of the lists, without DML__SELECT_SPARE */
    size_t *counts;   /* [segments] listed in each */
    float *values;    /* [capacity] of the listed, from the residual */
    float *pushes;    /* [capacity] from the velocity; NULL without one */
    uint16_t *listed; /* [capacity] indices within the segment */
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

static size_t slots_at(const dml_codec *c, uint64_t age)
{
    double ratio = c->spec.number;
    /* In the warm-up's fifths ratio^(1/5), ratio^(2/5) ... */
    if (age < c->spec.warmup)
        ratio = pow(ratio, (double)(age * 5 / c->spec.warmup + 1) / 5);
    double wanted = ceil(ratio * (double)c->count);
    size_t slots = wanted < (double)c->count ? (size_t)wanted : c->count;
    return slots == 0 && c->count > 0 ? 1 : slots;
}

size_t dml__codec_slots(const dml_codec *c)
{
    return slots_at(c, c->age);
}

size_t dml__sparse_most(const dml_codec *c)
{
    return slots_at(c, 0);
}

size_t dml__sparse_bytes(const dml_codec *c)
{
    size_t slots = dml__codec_slots(c);
    return segments(c->count) * sizeof(uint32_t) + slots * sizeof(float) +
           (slots + slots % 2) * sizeof(uint16_t);
}

void *dml__sparse_kept(dml_codec *c, size_t *bytes)
{
    *bytes = offsetof(struct sparse, capacity);
    return c->work;
}

size_t dml__sparse_room(const dml_codec *c)
{
    const struct sparse *w = c->work;
    return w->capacity;
}

dml_status dml__sparse_open(dml_codec *c)
{
    const size_t slots = dml__codec_slots(c), nsegments = segments(c->count);
    const size_t capacity = (size_t)dml__sparse_capacity(slots, c->count);
    const size_t room = capacity + DML__SELECT_SPARE;
    struct sparse *w = NULL;
    const size_t head = (sizeof *w + DML__ALIGN - 1) / DML__ALIGN * DML__ALIGN;
    const size_t each = (c->velocity != NULL ? 2 : 1) * sizeof(float) + 2;
    char *memory =
        dml__alloc(c->ctx, head + nsegments * sizeof *w->counts + dml__mul(room, each));
    if (memory == NULL)
        return dml__fail(c->ctx, DML_ENOMEM, "dml_codec_create",
                         "no memory to list %zu elements", capacity);
    c->work = w = (struct sparse *)memory;
    w->capacity = capacity;
    w->counts = (size_t *)(memory + head);
    w->values = (float *)(w->counts + nsegments);
    float *next = w->values + room;
    if (c->velocity != NULL) {
        w->pushes = next;
        next += room;
    }
    w->listed = (uint16_t *)next;
    return DML_OK;
}

void dml__sparse_reset(dml_codec *c)
{
    struct sparse *w = c->work;
    w->slots = 0;
    w->edge = 0;
}

/* ---- the limit ---------------------------------------------------------------------
 */

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
            uint32_t bits = dml__f32_magnitude(x[i]);
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

/* A limit from a sample of the residual, as it is or (with g) as it will be: the
 * sample's own quantile. Places are random within equal parts, so that no pattern of
 * rows and columns can hide from them. */
static float guess_limit(const dml_codec *c, const float *g, float factor, size_t slots)
{
    enum { SAMPLES = DML__SPARSE_SAMPLES };
    float sample[SAMPLES];
    const size_t n = c->count < SAMPLES ? c->count : SAMPLES;
    uint32_t noise = (uint32_t)c->step;
    for (size_t i = 0; i < n; i++) {
        noise = noise * DML__SPARSE_FACTOR + DML__SPARSE_TERM;
        size_t at = dml__sparse_sample_at(i, c->count / n, noise);
        float push = g != NULL ? factor * g[at] : 0;
        if (g != NULL && c->velocity != NULL)
            push += (float)c->spec.momentum * c->velocity[at];
        sample[i] = c->residual[at] + push;
    }
    const size_t k = dml__sparse_sample_rank(slots, c->count, n);
    return dml__f32_from_bits(find_edge(sample, n, k).bits);
}

static void follow(struct sparse *w, float edge)
{
    w->limit = dml__sparse_follow(w->edge, edge);
    w->edge = edge;
}

/* ---- lists -------------------------------------------------------------------------
 */

/* Takes the listed elements of a segment out of it, from number "first" of the lists
 * on.
 */
static void take_out(dml_codec *c, size_t segment, size_t first, size_t n)
{
    struct sparse *w = c->work;
    float *e = c->residual + segment * SEGMENT;
    for (size_t i = first; i < first + n; i++) {
        w->values[i] = e[w->listed[i]];
        e[w->listed[i]] = 0;
    }
    if (c->velocity == NULL)
        return;
    float *u = c->velocity + segment * SEGMENT;
    for (size_t i = first; i < first + n; i++) {
        w->pushes[i] = u[w->listed[i]];
        u[w->listed[i]] = 0;
    }
}

static void put_back(dml_codec *c, size_t segment, size_t i)
{
    struct sparse *w = c->work;
    c->residual[segment * SEGMENT + w->listed[i]] = w->values[i];
    if (c->velocity != NULL)
        c->velocity[segment * SEGMENT + w->listed[i]] = w->pushes[i];
}

/* residual += g, unless that is NULL, and lists what reaches the limit; returns how
 * many. */
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
        args.index = w->listed + total;
        args.values = w->values + total;
        args.pushes = w->pushes != NULL ? w->pushes + total : NULL;
        w->counts[s] = c->loops->select(n, g != NULL ? g + first : NULL,
                                        c->residual + first, u, &args, top);
        total += w->counts[s];
    }
    return total;
}

static void put_all_back(dml_codec *c)
{
    const struct sparse *w = c->work;
    size_t i = 0;
    for (size_t s = 0; s < segments(c->count); s++)
        for (size_t end = i + w->counts[s]; i < end; i++)
            put_back(c, s, i);
}

/* Which of equal magnitudes go: "take" of them, from another one on in every step. */
struct turn {
    size_t seen, first, take, of;
};

static struct turn turn_of(const dml_codec *c, const struct edge *edge, size_t slots)
{
    struct turn t = {.take = slots - edge->above, .of = edge->equal};
    t.first = (size_t)dml__sparse_first(c->step, t.take, t.of);
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
    struct edge edge = find_edge(w->values, total, slots);
    struct turn turn = turn_of(c, &edge, slots);
    size_t from = 0, to = 0;
    for (size_t s = 0; s < segments(c->count); s++) {
        const size_t before = to;
        for (size_t end = from + w->counts[s]; from < end; from++) {
            if (goes(dml__f32_magnitude(w->values[from]), &edge, &turn)) {
                w->listed[to] = w->listed[from];
                w->values[to++] = w->values[from];
            } else {
                put_back(c, s, from);
            }
        }
        w->counts[s] = to - before;
    }
    follow(w, dml__f32_from_bits(edge.bits));
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
            if (goes(dml__f32_magnitude(c->residual[first + i]), &edge, &turn))
                w->listed[to++] = (uint16_t)i;
        w->counts[s] = to - before;
        take_out(c, s, before, to - before);
    }
    follow(w, dml__f32_from_bits(edge.bits));
}

/* ---- code --------------------------------------------------------------------------
 */

static void pack(const dml_codec *c, size_t slots, void *code)
{
    const struct sparse *w = c->work;
    uint32_t *counts = code;
    float *values = (float *)(counts + segments(c->count));
    size_t n = 0;
    for (size_t s = 0; s < segments(c->count); s++) {
        counts[s] = (uint32_t)w->counts[s];
        n += w->counts[s];
    }
    uint16_t *index = (uint16_t *)(values + n);
    memcpy(values, w->values, n * sizeof *values);
    memcpy(index, w->listed, n * sizeof *index);
    memset(index + n, 0,
           (slots - n) * sizeof *values + (slots + slots % 2 - n) * sizeof *index);
}

static bool far_off(const dml_codec *c, size_t total, size_t slots)
{
    const struct sparse *w = c->work;
    return dml__sparse_far_off(total, slots, w->capacity, c->count);
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
    if (far_off(c, total, slots)) {
        put_all_back(c);
        w->limit = guess_limit(c, NULL, 0, slots);
        total = list_above(c, NULL, 0, &top);
    }
    if (far_off(c, total, slots)) {
        put_all_back(c);
        list_exactly(c, slots);
    } else if (total > slots) {
        shorten(c, total, slots);
    } else {
        follow(w, dml__sparse_lower(w->limit, total, slots));
    }
    pack(c, slots, code);
    c->step++;
    return top;
}

/* Bytes that are no code may say anything: they stay within the vector, and within the
 * longest code that there is. */
void dml__sparse_decode(const dml_codec *c, const void *code, float scale, bool add,
                        float *dst)
{
    const uint32_t *counts = code;
    const float *values = (const float *)(counts + segments(c->count));
    const size_t most = dml__sparse_most(c);
    size_t sent = 0, before = 0;
    for (size_t s = 0; s < segments(c->count); s++)
        sent += counts[s];
    sent = sent < most ? sent : most;
    const uint16_t *index = (const uint16_t *)(values + sent);
    for (size_t s = 0; s < segments(c->count); s++) {
        float *to = dst + s * SEGMENT;
        const size_t n =
            c->count - s * SEGMENT < SEGMENT ? c->count - s * SEGMENT : SEGMENT;
        const size_t end = before + (size_t)dml__sparse_here(counts[s], before, sent);
        if (!add)
            memset(to, 0, n * sizeof *to);
        for (size_t i = before; i < end; i++)
            if (index[i] < n)
                to[index[i]] += values[i] * scale;
        before = end;
    }
}
