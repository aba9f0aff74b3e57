/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Decimal numbers: the same bits as strtod() and strtof() in the C locale, on random
 * texts of every kind; what is no number is refused; a locale changes nothing.
 */
#include "dml/rng.h"

#include "data/decimal.h"
#include "unit.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOM 512

/* A number that another cell follows. */
static size_t cell(char text[ROOM], const char *number)
{
    size_t n = strlen(number);
    memset(text, 'x', ROOM);
    memcpy(text, number, n);
    text[n] = ',';
    return n;
}

static void same_as_strtod(const char *number)
{
    char text[ROOM];
    size_t n = cell(text, number);
    double wide = strtod(number, NULL), f64 = -1;
    float narrow = strtof(number, NULL), f32 = -1;
    bool ok64 = dml__decimal_f64(text, n, &f64), ok32 = dml__decimal_f32(text, n, &f32);
    if (ok64 != (isfinite(wide) != 0) ||
        (ok64 && memcmp(&f64, &wide, sizeof wide) != 0))
        fail_msg("%s: f64 %a, strtod() has %a", number, f64, wide);
    if (ok32 != (isfinite(narrow) != 0) ||
        (ok32 && memcmp(&f32, &narrow, sizeof narrow) != 0))
        fail_msg("%s: f32 %a, strtof() has %a", number, (double)f32, (double)narrow);
}

static void not_finite(void **state)
{
    (void)state;
    static const char *const yes[] = {"inf",  "-INF",  "+Infinity", "nan",
                                      "-nan", "1e400", "-9e999"};
    static const char *const no[] = {"",    "+",      "in",  "infin", "nano",  "--inf",
                                     "1e4", "1e-999", "0x1", "x",     "1e400x"};
    char text[ROOM];
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        if (!dml__decimal_is_not_finite(text, cell(text, yes[i])))
            fail_msg("\"%s\" is taken for finite", yes[i]);
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (dml__decimal_is_not_finite(text, cell(text, no[i])))
            fail_msg("\"%s\" is taken for not finite", no[i]);
}

static void known_hard_ones(void **state)
{
    (void)state;
    static const char *const numbers[] = {
        "0",
        "-0",
        "+1",
        "1.",
        ".5",
        "-.5e-3",
        "1e22",
        "1e23",
        "1E-22",
        "9007199254740993",
        "9007199254740992.5",
        "16777217",
        "16777217.0000001",
        "1.00000005960464477539",
        "0.1",
        "0.30000000000000004",
        "4.9e-324",
        "2.2250738585072014e-308",
        "2.4703282292062327e-324",
        "1.7976931348623157e308",
        "1.7976931348623159e308",
        "1e-45",
        "7e-46",
        "1.1754943508222875e-38",
        "3.4028235e38",
        "3.4028236e38",
        "18446744073709551615",
        "18446744073709551616",
        "123456789012345678901234567890",
        "0.000000000000000000000000000000000001234567890123456789",
        "1e400",
        "-1e400",
        "1e-400",
        "1e99999999999",
        "00000000000000000000000000001.5",
        "0e999999",
        "100000000000000000000000000000000000000000000000000e-50",
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        same_as_strtod(numbers[i]);
}

static void random_ones(void **state)
{
    (void)state;
    char number[ROOM];
    for (uint64_t i = 0; i < 300000; i++) {
        uint64_t a = dml_rng_u64(11, 1, i), b = dml_rng_u64(11, 2, i);
        double wide;
        float narrow;
        uint32_t bits = (uint32_t)a & 0x7fffffff;
        memcpy(&wide, &a, sizeof wide);
        memcpy(&narrow, &bits, sizeof narrow);
        switch (b % 6) {
        case 0:
            snprintf(number, ROOM, "%.17g", isfinite(wide) ? wide : 1.0);
            break;
        case 1:
            snprintf(number, ROOM, "%.*f", (int)(b >> 8) & 15,
                     (double)(int64_t)a / 1e12);
            break;
        case 2:
            snprintf(number, ROOM, "%llue%d", (unsigned long long)a,
                     (int)(b >> 8 & 63) - 32);
            break;
        case 3: /* between two floats, and next to it */
            if (!isfinite(narrow) || narrow > 1e37f)
                narrow = 1;
            wide = ((double)narrow + (double)nextafterf(narrow, INFINITY)) / 2;
            snprintf(number, ROOM, "%.*e", 8 + (int)(b >> 8 & 31), wide);
            break;
        case 4:
            snprintf(number, ROOM, "%s%0*llu.%0*llu", (b >> 8 & 1) != 0 ? "-" : "",
                     (int)(b >> 9 & 31) + 1, (unsigned long long)(a % 1000),
                     (int)(b >> 14 & 31) + 1, (unsigned long long)(a >> 40));
            break;
        default:
            snprintf(number, ROOM, "%.9g", isfinite(narrow) ? (double)narrow : 1.0);
        }
        same_as_strtod(number);
    }
}

static void not_numbers(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",      "-",     "+",   ".",    "-.", "e5", "1e",    "1e+", "1.2.3",
        "1,5",   "0x10",  "nan", "inf",  "1 ", " 1", "--1",   "+-1", "1e5x",
        "1_000", "1e5.5", "12a", "\xd9", "1f", "1-", "1e--5", "1\t", "infinity",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char text[ROOM];
        double f64;
        float f32;
        size_t n = cell(text, texts[i]);
        if (dml__decimal_f64(text, n, &f64) || dml__decimal_f32(text, n, &f32))
            fail_msg("\"%s\" was taken for a number", texts[i]);
    }
}

static void locale_changes_nothing(void **state)
{
    (void)state;
    if (setlocale(LC_ALL, "de_DE.UTF-8") == NULL &&
        setlocale(LC_ALL, "fr_FR.UTF-8") == NULL)
        skip();
    char text[ROOM];
    double value = 0;
    size_t n = cell(text, "1.5e-300");
    assert_true(dml__decimal_f64(text, n, &value));
    setlocale(LC_ALL, "C");
    assert_true(value == 1.5e-300);
}

static void whole_numbers(void **state)
{
    (void)state;
    uint64_t value = 7;
    assert_true(dml__decimal_uint("0", 1, 0, &value) && value == 0);
    assert_true(dml__decimal_uint("18446744073709551615", 20, UINT64_MAX, &value));
    assert_true(value == UINT64_MAX);
    assert_false(dml__decimal_uint("18446744073709551616", 20, UINT64_MAX, &value));
    assert_false(dml__decimal_uint("11", 2, 10, &value));
    assert_false(dml__decimal_uint("", 0, 10, &value));
    assert_false(dml__decimal_uint("-1", 2, 10, &value));
    assert_false(dml__decimal_uint("1a", 2, 10, &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_hard_ones), cmocka_unit_test(random_ones),
        cmocka_unit_test(not_numbers),     cmocka_unit_test(locale_changes_nothing),
        cmocka_unit_test(whole_numbers),   cmocka_unit_test(not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
