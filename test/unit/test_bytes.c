/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The loops over bytes in every set that this processor runs: CRC32C against the
 * standard's vectors and against a loop over bits, marks against a loop over bytes.
 */
#include "dml/records.h"
#include "dml/rng.h"

#include "kernels/bytes.h"
#include "kernels/kernels.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>

static uint32_t crc_of_bits(uint32_t crc, const uint8_t *bytes, size_t n)
{
    uint32_t c = ~crc;
    for (size_t i = 0; i < n; i++) {
        c ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            c = c >> 1 ^ ((c & 1) != 0 ? 0x82F63B78u : 0);
    }
    return ~c;
}

static void crc_is_the_standards(void **state)
{
    (void)state;
    uint8_t zeros[32] = {0}, ones[32], up[32], down[32];
    for (int i = 0; i < 32; i++) {
        ones[i] = 0xff;
        up[i] = (uint8_t)i;
        down[i] = (uint8_t)(31 - i);
    }
    const struct dml__kernels *set;
    for (size_t i = 0; (set = dml__kernels_usable(i)) != NULL; i++) {
        const struct dml__byte_kernels *k = dml__byte_kernels(set->name);
        assert_int_equal(k->crc32c(0, "123456789", 9), 0xE3069283u);
        assert_int_equal(k->crc32c(0, "", 0), 0);
        assert_int_equal(k->crc32c(0, zeros, 32), 0x8A9136AAu);
        assert_int_equal(k->crc32c(0, ones, 32), 0x62A8AB43u);
        assert_int_equal(k->crc32c(0, up, 32), 0x46DD794Eu);
        assert_int_equal(k->crc32c(0, down, 32), 0x113FDB5Cu);
    }
}

static void crc_of_any_length_and_cut(void **state)
{
    (void)state;
    enum { MOST = 10000 };
    uint8_t *bytes = malloc(MOST + 16);
    assert_non_null(bytes);
    for (size_t i = 0; i < MOST + 16; i++)
        bytes[i] = (uint8_t)dml_rng_u64(3, 1, i);
    const struct dml__kernels *set;
    for (size_t s = 0; (set = dml__kernels_usable(s)) != NULL; s++) {
        const struct dml__byte_kernels *k = dml__byte_kernels(set->name);
        for (uint64_t i = 0; i < 2000; i++) {
            size_t n = i < 900 ? (size_t)i : (size_t)(dml_rng_u64(3, 2, i) % MOST);
            size_t shift = (size_t)(dml_rng_u64(3, 3, i) % 16);
            size_t cut = n > 0 ? (size_t)(dml_rng_u64(3, 4, i) % n) : 0;
            const uint8_t *from = bytes + shift;
            uint32_t want = crc_of_bits(0, from, n);
            assert_int_equal(k->crc32c(0, from, n), want);
            assert_int_equal(k->crc32c(k->crc32c(0, from, cut), from + cut, n - cut),
                             want);
        }
    }
    free(bytes);
}

static void crc_of_the_public_call(void **state)
{
    (void)state;
    dml_ctx *ctx = NULL;
    assert_int_equal(dml_ctx_create(NULL, &ctx), DML_OK);
    assert_int_equal(dml_crc32c(ctx, 0, "123456789", 9), 0xE3069283u);
    assert_int_equal(dml_crc32c(ctx, dml_crc32c(ctx, 0, "1234", 4), "56789", 5),
                     0xE3069283u);
    dml_ctx_destroy(ctx);
}

static void marks_are_all_found(void **state)
{
    (void)state;
    enum { N = 1000 };
    static const char letters[] = {',', '\n', '"', '\0', 'a', '1', '\r', (char)0xff};
    char text[N];
    uint32_t want[N], got[N];
    const struct dml__kernels *set;
    for (size_t s = 0; (set = dml__kernels_usable(s)) != NULL; s++) {
        const struct dml__byte_kernels *k = dml__byte_kernels(set->name);
        for (uint64_t round = 0; round < 300; round++) {
            size_t n = (size_t)(dml_rng_u64(4, 1, round) % N), nwant = 0;
            for (size_t i = 0; i < n; i++) {
                text[i] = letters[dml_rng_u64(4, 2 + round, i) % sizeof letters];
                if (text[i] == ',' || text[i] == '\n' || text[i] == '"' ||
                    text[i] == '\0')
                    want[nwant++] = (uint32_t)i;
            }
            assert_int_equal(k->find_marks(text, n, ',', got), nwant);
            assert_memory_equal(got, want, nwant * sizeof *want);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc_is_the_standards),
        cmocka_unit_test(crc_of_any_length_and_cut),
        cmocka_unit_test(crc_of_the_public_call),
        cmocka_unit_test(marks_are_all_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
