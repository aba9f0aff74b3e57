/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The codecs' loops: every instruction set that this processor has against the
 * reference, bit for bit, on lengths around the widths of blocks and registers, at any
 * alignment, on numbers from denormal to 2^99; and nothing outside is touched.
 *
 * DML_TEST_SEED=n repeats a run.
 */
#include "kernels/codec.h"
#include "kernels/kernels.h"
#include "unit.h"

#include <cmocka.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST = 5000, GUARD = 64, ROOM = LONGEST + 2 * GUARD };

static uint64_t state = 7;

static uint64_t next_random(void)
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Ordinary numbers, zeros of both signs, denormals, equal ones, huge ones. */
static float number(int kind)
{
    double x = (double)(next_random() >> 11) * 0x1p-52 - 1;
    switch (kind) {
    case 1:
        return next_random() % 3 == 0 ? -0.0f : 0.0f;
    case 2:
        return (float)(x * 0x1p-128);
    case 3:
        return 0.7f;
    case 4:
        return (float)(x * 0x1p99);
    case 5:
        return number((int)(next_random() % 5));
    default:
        return (float)(x * x * x);
    }
}

/* What one call leaves behind; compared as bytes. */
struct scene {
    float g[ROOM], e[ROOM], u[ROOM], dst[ROOM], thin[4 * ROOM];
    unsigned char code[8 * ROOM];
    uint16_t index[ROOM];
    uint64_t returned;
};

static struct scene start, want, got;

static void fill(int kind)
{
    memset(&start, 0xa5, sizeof start);
    for (size_t i = 0; i < ROOM; i++) {
        start.g[i] = number(kind);
        start.e[i] = number(kind);
        start.u[i] = number(kind);
        start.dst[i] = number(kind);
    }
    for (size_t i = 0; i < 4 * ROOM; i++)
        start.thin[i] = number(0);
}

typedef void call_fn(const struct dml__codec_kernels *k, struct scene *s, size_t n,
                     size_t shift);

static void compare(const char *name, call_fn *call, size_t n, size_t shift)
{
    memcpy(&want, &start, sizeof want);
    call(dml__codec_kernels("c"), &want, n, shift);
    const struct dml__kernels *set;
    for (size_t i = 1; (set = dml__kernels_usable(i)) != NULL; i++) {
        memcpy(&got, &start, sizeof got);
        call(dml__codec_kernels(set->name), &got, n, shift);
        if (memcmp(&got, &want, sizeof got) == 0)
            continue;
        size_t at = 0;
        while (((unsigned char *)&got)[at] == ((unsigned char *)&want)[at])
            at++;
        fail_msg("%s of %zu elements, shifted by %zu: %s differs from c at byte %zu",
                 name, n, shift, set->name, at);
    }
}

/* ---- the calls ---------------------------------------------------------------------
 */

#define G(s) ((s)->g + GUARD + shift)
#define E(s) ((s)->e + GUARD + shift)
#define U(s) ((s)->u + GUARD + shift)
#define D(s) ((s)->dst + GUARD + shift)

static void block_codec(struct scene *s, size_t n, size_t shift, dml__encode_fn *encode,
                        dml__decode_fn *decode)
{
    s->returned = encode(n, G(s), E(s), s->code);
    decode(n, s->code, 1, false, U(s));
    decode(n, s->code, 0.3f, true, D(s));
}

static void call_onebit(const struct dml__codec_kernels *k, struct scene *s, size_t n,
                        size_t shift)
{
    block_codec(s, n, shift, k->onebit_encode, k->onebit_decode);
}

static void call_sign(const struct dml__codec_kernels *k, struct scene *s, size_t n,
                      size_t shift)
{
    block_codec(s, n, shift, k->sign_encode, k->sign_decode);
}

static void call_eightbit(const struct dml__codec_kernels *k, struct scene *s, size_t n,
                          size_t shift)
{
    block_codec(s, n, shift, k->eightbit_encode, k->eightbit_decode);
}

static void call_tern(const struct dml__codec_kernels *k, struct scene *s, size_t n,
                      size_t shift)
{
    const struct dml__draw draw = {3, 5, 7};
    s->returned = k->tern_scales(n, G(s), n % 2 == 0 ? 2.5f : 0, s->thin);
    k->tern_encode(n, G(s), s->thin, &draw, s->code);
    k->tern_decode(n, s->code, 1, false, U(s));
    k->tern_decode(n, s->code, 0.3f, true, D(s));
}

static void call_casts(const struct dml__codec_kernels *k, struct scene *s, size_t n,
                       size_t shift)
{
    s->returned = k->f16_encode(n, G(s), E(s), s->code);
    s->returned += k->bf16_encode(n, G(s), U(s), s->code + 4 * ROOM);
}

/* Lists at three places; what lies behind the last element listed may be anything. */
static void call_select(const struct dml__codec_kernels *k, struct scene *s, size_t n,
                        size_t shift)
{
    float *const values = s->thin, *const pushes = s->thin + 2 * ROOM;
    struct dml__select_args args = {.limit = 0.6f,
                                    .momentum = 0.9f,
                                    .factor = 0.5f,
                                    .capacity = n / 2 + 3,
                                    .index = s->index,
                                    .values = values};
    uint32_t top = 0;
    size_t listed = k->select(n, G(s), E(s), NULL, &args, &top);
    args.values += listed;
    args.pushes = pushes;
    args.capacity = n / 4;
    args.index += listed;
    s->returned = listed;
    listed = k->select(n, G(s), D(s), U(s), &args, &top);
    args.values += listed;
    args.pushes += listed;
    args.index += listed;
    args.limit = 0;
    s->returned += 3 * listed;
    listed = k->select(n, NULL, D(s), U(s), &args, &top);
    s->returned += 5 * listed;
    const size_t spare = DML__SELECT_SPARE;
    memset(args.values + listed, 0, spare * sizeof *values);
    memset(args.pushes + listed, 0, spare * sizeof *pushes);
    memset(args.index + listed, 0, spare * sizeof *args.index);
    s->returned += (uint64_t)top << 32;
    s->returned ^= k->accumulate(n, G(s), E(s));
    s->returned += 7 * (uint64_t)k->momentum(n, 0.9f, 0.5f, G(s), U(s));
}

static void call_power(const struct dml__codec_kernels *k, struct scene *s, size_t n,
                       size_t shift)
{
    struct dml__matrix m = {.rows = n % 7 + 1, .rank = n % 4 + 1};
    m.cols = n / m.rows;
    float *p = s->thin, *q = s->thin + ROOM;
    s->returned = k->power_left(&m, G(s), E(s), q, p);
    k->power_right(&m, E(s), p, q);
    k->power_product(&m, p, q, 1, false, E(s), U(s));
    k->power_product(&m, p, q, 0.3f, true, NULL, D(s));
}

static const struct {
    const char *name;
    call_fn *call;
    int kinds; /* of numbers: products of huge ones overflow, and inf - inf is NaN */
} calls[] = {
    {"onebit", call_onebit, 6},     {"sign", call_sign, 6},
    {"eightbit", call_eightbit, 6}, {"tern", call_tern, 6},
    {"casts", call_casts, 6},       {"select", call_select, 6},
    {"power", call_power, 4},
};

static void test_sets(void **unused)
{
    (void)unused;
    static const size_t lengths[] = {0,  1,    2,    15,   16,   17,   31,   63,  64,
                                     65, 1023, 1024, 1025, 2048, 3000, 4095, 4999};
    for (size_t c = 0; c < sizeof calls / sizeof *calls; c++)
        for (int kind = 0; kind < calls[c].kinds; kind++) {
            fill(kind);
            for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
                compare(calls[c].name, calls[c].call, lengths[i], i % 4);
        }
}

/* Nothing before the first and behind the last element is written. */
static void test_guards(void **unused)
{
    (void)unused;
    const struct dml__kernels *set;
    fill(0);
    for (size_t i = 0; (set = dml__kernels_usable(i)) != NULL; i++)
        for (size_t c = 0; c < sizeof calls / sizeof *calls; c++)
            for (size_t n = 0; n < 40; n += 3) {
                memcpy(&got, &start, sizeof got);
                calls[c].call(dml__codec_kernels(set->name), &got, n, 1);
                const size_t before = GUARD * sizeof(float);
                const size_t end = GUARD + n + 1, after = (ROOM - end) * sizeof(float);
                assert_memory_equal(got.e, start.e, before);
                assert_memory_equal(got.e + end, start.e + end, after);
                assert_memory_equal(got.u + end, start.u + end, after);
                assert_memory_equal(got.dst, start.dst, before);
                assert_memory_equal(got.dst + end, start.dst + end, after);
            }
}

/* Numbers that are no numbers are found wherever they lie. */
static void test_faults(void **unused)
{
    (void)unused;
    const struct dml__kernels *set;
    const float bad[] = {NAN, -NAN, INFINITY, -INFINITY, 0x1p100f, -0x1p127f};
    static float scales[LONGEST];
    for (size_t i = 0; (set = dml__kernels_usable(i)) != NULL; i++) {
        const struct dml__codec_kernels *k = dml__codec_kernels(set->name);
        dml__encode_fn *encoders[] = {k->onebit_encode, k->sign_encode,
                                      k->eightbit_encode, k->f16_encode,
                                      k->bf16_encode};
        for (size_t n = 1; n < 1100; n += 73)
            for (size_t b = 0; b < sizeof bad / sizeof *bad; b++)
                for (size_t c = 0; c < 7; c++) {
                    fill(0);
                    start.g[next_random() % n] = bad[b];
                    uint32_t top = 0;
                    if (c < 5)
                        top = encoders[c](n, start.g, start.e, start.code);
                    else if (c == 5)
                        top = k->tern_scales(n, start.g, 2.5f, scales);
                    else
                        top = k->accumulate(n, start.g, start.e);
                    if (top < DML__CODEC_TOP)
                        fail_msg("%s: encoder %zu overlooks %g among %zu", set->name, c,
                                 (double)bad[b], n);
                }
    }
}

int main(void)
{
    const char *seed = getenv("DML_TEST_SEED");
    state = seed != NULL ? strtoull(seed, NULL, 10) : 20261121;
    printf("seed %" PRIu64 "\n", state);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_guards),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
