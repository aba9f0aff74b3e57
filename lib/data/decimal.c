/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Decimal to binary, exactly rounded; see decimal.h. A number is w * 10^q with an
 * integer w. Three ways, fast to slow:
 * - w and 10^|q| are both exact in f64: one multiplication or division rounds once
 *   (Clinger, How to read floating point numbers accurately, 1990);
 * - w has at most 19 digits and |q| <= 27: 5^|q| fits 64 bits, so that the product or
 *   the quotient is computed in 128-bit integers, with what is left over as a sticky
 *   bit, and rounded once;
 * - strtod() in the C locale.
 */
#include "data/decimal.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MOST_DIGITS 19 /* of any such integer 64 bits hold the value */
#define MOST_FIVES  27 /* 5^27 < 2^63 */
#define MOST_TENS   22 /* 10^22 is exact in f64 */
#define F64_BITS    53

__extension__ typedef unsigned __int128 uint128;

typedef struct decimal {
    uint64_t w;
    int64_t q;
    bool negative;
    bool exact; /* w holds all digits */
} decimal;

static const double tens[MOST_TENS + 1] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
};

static const uint64_t powers[9] = {1,      10,      100,      1000,     10000,
                                   100000, 1000000, 10000000, 100000000};

static const uint64_t fives[MOST_FIVES + 1] = {
    UINT64_C(1),
    UINT64_C(5),
    UINT64_C(25),
    UINT64_C(125),
    UINT64_C(625),
    UINT64_C(3125),
    UINT64_C(15625),
    UINT64_C(78125),
    UINT64_C(390625),
    UINT64_C(1953125),
    UINT64_C(9765625),
    UINT64_C(48828125),
    UINT64_C(244140625),
    UINT64_C(1220703125),
    UINT64_C(6103515625),
    UINT64_C(30517578125),
    UINT64_C(152587890625),
    UINT64_C(762939453125),
    UINT64_C(3814697265625),
    UINT64_C(19073486328125),
    UINT64_C(95367431640625),
    UINT64_C(476837158203125),
    UINT64_C(2384185791015625),
    UINT64_C(11920928955078125),
    UINT64_C(59604644775390625),
    UINT64_C(298023223876953125),
    UINT64_C(1490116119384765625),
    UINT64_C(7450580596923828125),
};

static inline bool is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

/* Do the 8 bytes hold digits only? The low nibble may be carried into the high one by
 * adding 6 to what is no digit. */
static inline bool are_8_digits(uint64_t bytes)
{
    return ((bytes & UINT64_C(0xF0F0F0F0F0F0F0F0)) |
            ((bytes + UINT64_C(0x0606060606060606)) & UINT64_C(0xF0F0F0F0F0F0F0F0)) >>
                4) == UINT64_C(0x3333333333333333);
}

/* Their value: pairs, then fours, then all, each by one multiplication. */
static inline uint32_t value_of_8(uint64_t bytes)
{
    bytes = (bytes & UINT64_C(0x0F0F0F0F0F0F0F0F)) * 2561 >> 8;
    bytes = (bytes & UINT64_C(0x00FF00FF00FF00FF)) * 6553601 >> 16;
    return (uint32_t)((bytes & UINT64_C(0x0000FFFF0000FFFF)) *
                          UINT64_C(42949672960001) >>
                      32);
}

/* Reads digits into *w, modulo 2^64; returns the end. */
static inline const char *read_digits(const char *at, uint64_t *w)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint64_t bytes;
    memcpy(&bytes, at, sizeof bytes);
    if (are_8_digits(bytes)) {
        *w = *w * 100000000 + value_of_8(bytes);
        at += 8;
    }
#endif
    for (; is_digit(*at); at++)
        *w = *w * 10 + (uint64_t)(*at - '0');
    return at;
}

/* Reads [eE][+-]digits into *q, at most about a million; NULL: no digits. */
static const char *read_exponent(const char *at, int64_t *q)
{
    int64_t exponent = 0;
    bool negative = *++at == '-';
    at += *at == '-' || *at == '+';
    if (!is_digit(*at))
        return NULL;
    for (; is_digit(*at); at++)
        if (exponent < 1000000)
            exponent = exponent * 10 + (*at - '0');
    *q += negative ? -exponent : exponent;
    return at;
}

/* Digits of w after leading zeros, of "from" up to "to" with a point among them. */
static bool fits_64_bits(const char *from, const char *to)
{
    while (from < to && (*from == '0' || *from == '.'))
        from++;
    int64_t digits = to - from;
    return digits - (memchr(from, '.', (size_t)digits) != NULL) <= MOST_DIGITS;
}

/* The parts of a number; NULL if there is none, else its end. */
static inline const char *read_decimal(const char *text, decimal *d)
{
    const char *at = text;
    *d = (decimal){.negative = *at == '-', .exact = true};
    at += *at == '-' || *at == '+';
    const char *digits = at;
    at = read_digits(at, &d->w);
    int64_t count = at - digits;
    if (*at == '.') {
        const char *fraction = ++at;
        at = read_digits(at, &d->w);
        d->q = fraction - at;
        count -= d->q;
    }
    if (count == 0)
        return NULL;
    if (count > MOST_DIGITS)
        d->exact = fits_64_bits(digits, at);
    if (*at == 'e' || *at == 'E')
        at = read_exponent(at, &d->q);
    return at;
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
/* The first "count" bytes (0 .. 8) of eight at the right of as many digits, zeros at
 * their left. Two shifts: one by 64 is not defined. */
static inline uint64_t right_aligned(uint64_t bytes, size_t count)
{
    unsigned half = 4 * (8 - (unsigned)count);
    uint64_t zeros = UINT64_C(0x3030303030303030);
    return bytes << half << half | zeros >> (32 - half) >> (32 - half);
}

/*
 * [digits][.[digits]] of at most eight digits on either side, which is what most cells
 * hold, without a branch for each digit: numbers' lengths vary, and a branch that is
 * guessed wrong costs more than all else here.
 */
static inline bool read_short(const char *text, size_t bytes, decimal *d)
{
    uint64_t left, right;
    memcpy(&left, text, sizeof left);
    uint64_t point = left ^ UINT64_C(0x2E2E2E2E2E2E2E2E);
    point =
        (point - UINT64_C(0x0101010101010101)) & ~point & UINT64_C(0x8080808080808080);
    size_t whole = point != 0 ? (size_t)__builtin_ctzll(point) / 8 : 8;
    whole = whole < bytes ? whole : bytes;
    size_t rest = bytes - whole, fraction = rest - (rest > 0);
    if (fraction > 8 || whole + fraction == 0 || (rest > 0 && text[whole] != '.'))
        return false;
    memcpy(&right, text + whole + (rest > 0), sizeof right);
    left = right_aligned(left, whole);
    right = right_aligned(right, fraction);
    if (!are_8_digits(left) || !are_8_digits(right))
        return false;
    d->w = value_of_8(left) * powers[fraction] + value_of_8(right);
    d->q = -(int64_t)fraction;
    d->exact = true;
    return true;
}
#else
static inline bool read_short(const char *text, size_t bytes, decimal *d)
{
    (void)text;
    (void)bytes;
    (void)d;
    return false;
}
#endif

/* All of text as a number. */
static inline bool read_all(const char *text, size_t bytes, decimal *d)
{
    d->negative = *text == '-';
    size_t sign = (size_t)((*text == '-') | (*text == '+'));
    if (sign > bytes)
        return false;
    return read_short(text + sign, bytes - sign, d) ||
           read_decimal(text, d) == text + bytes;
}

/* 2^exponent, for normal numbers. */
static double power_of_two(int exponent)
{
    uint64_t bits = (uint64_t)(exponent + 1023) << 52;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* (n + a bit that is not nothing, if sticky) * 2^exponent, rounded to nearest even. */
static double round_128(uint128 n, bool sticky, int exponent)
{
    uint64_t high = (uint64_t)(n >> 64);
    int length =
        high != 0 ? 128 - __builtin_clzll(high) : 64 - __builtin_clzll((uint64_t)n | 1);
    int drop = length - F64_BITS;
    if (drop <= 0)
        return (double)(uint64_t)n * power_of_two(exponent);
    uint128 half = (uint128)1 << (drop - 1), rest = n & ((half << 1) - 1);
    uint64_t kept = (uint64_t)(n >> drop);
    bool up = rest > half || (rest == half && (sticky || (kept & 1) != 0));
    return (double)(kept + up) * power_of_two(exponent + drop);
}

/* w * 10^q for w != 0 and |q| <= MOST_FIVES. */
static double scale_128(uint64_t w, int q)
{
    if (q >= 0)
        return round_128((uint128)w * fives[q], false, q);
    /* The quotient has at least 64 bits: more than are kept. */
    int zeros = __builtin_clzll(w);
    uint128 top = (uint128)(w << zeros) << 64;
    uint128 quotient = top / fives[-q];
    return round_128(quotient, quotient * fives[-q] != top, q - 64 - zeros);
}

/* Magnitude, rounded once; false when it has to be left to strtod(). */
static inline bool fast(const decimal *d, double *value)
{
    if (!d->exact)
        return false;
    if (d->w <= UINT64_C(1) << F64_BITS && d->q >= -MOST_TENS && d->q <= MOST_TENS) {
        double w = (double)d->w;
        *value = d->q < 0 ? w / tens[-d->q] : w * tens[d->q];
        return true;
    }
    if (d->w == 0 || d->q < -MOST_FIVES || d->q > MOST_FIVES)
        return false;
    *value = scale_128(d->w, (int)d->q);
    return true;
}

/* The grammar has been checked: strtod() ends where the number does. In the C locale of
 * GNU's library newlocale() costs nothing. */
static bool slow(const char *text, double *f64, float *f32)
{
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (plain == (locale_t)0)
        return false;
    locale_t before = uselocale(plain);
    if (f64 != NULL)
        *f64 = strtod(text, NULL);
    else
        *f32 = strtof(text, NULL);
    uselocale(before);
    freelocale(plain);
    return f64 != NULL ? isfinite(*f64) : isfinite(*f32);
}

bool dml__decimal_f64(const char *text, size_t bytes, double *value)
{
    decimal d;
    if (!read_all(text, bytes, &d))
        return false;
    if (!fast(&d, value))
        return slow(text, value, NULL);
    /* Signs are as good as random: no branch. */
    uint64_t bits;
    memcpy(&bits, value, sizeof bits);
    bits |= (uint64_t)d.negative << 63;
    memcpy(value, &bits, sizeof bits);
    return true;
}

bool dml__decimal_is_not_finite(const char *text, size_t bytes)
{
    static const char *const words[] = {"inf", "infinity", "nan"};
    decimal d;
    double value;
    size_t sign = bytes > 0 && (*text == '-' || *text == '+');
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (bytes - sign == strlen(words[i]) &&
            strncasecmp(text + sign, words[i], bytes - sign) == 0)
            return true;
    return read_all(text, bytes, &d) && !dml__decimal_f64(text, bytes, &value);
}

/*
 * Rounding first to f64 and then to f32 goes wrong only where the f64 lies just between
 * two f32, and below f32's normal range, where fewer bits are kept.
 */
static inline bool narrow(double wide, float *value)
{
    uint64_t bits;
    memcpy(&bits, &wide, sizeof bits);
    if ((bits & 0x1FFFFFFF) == 0x10000000 ||
        !(wide == 0 || (wide >= 0x1p-126 && wide < 0x1.fffffep127)))
        return false;
    *value = (float)wide;
    return true;
}

bool dml__decimal_f32(const char *text, size_t bytes, float *value)
{
    decimal d;
    double wide;
    if (!read_all(text, bytes, &d))
        return false;
    if (!fast(&d, &wide) || !narrow(wide, value))
        return slow(text, NULL, value);
    uint32_t bits;
    memcpy(&bits, value, sizeof bits);
    bits |= (uint32_t)d.negative << 31;
    memcpy(value, &bits, sizeof bits);
    return true;
}

bool dml__decimal_uint(const char *text, size_t bytes, uint64_t most, uint64_t *value)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes; i++) {
        unsigned digit = (unsigned char)(text[i] - '0');
        if (digit > 9 || sum > (UINT64_MAX - digit) / 10)
            return false;
        sum = sum * 10 + digit;
    }
    *value = sum;
    return bytes > 0 && sum <= most;
}
