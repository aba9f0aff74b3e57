/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Decimal numbers in texts, to the nearest f64 or f32 (ties to even), whatever the
 * locale. What most files hold, up to 19 digits with a small exponent, is done here in
 * integers; the rest is left to strtod().
 *
 * The text may be followed by anything but a character of a number, and 8 bytes past
 * its end must be readable.
 */
#ifndef DML__DECIMAL_H
#define DML__DECIMAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Is all of text [bytes], without blanks around it, one number that fits the type? */
bool dml__decimal_f64(const char *text, size_t bytes, double *value);
bool dml__decimal_f32(const char *text, size_t bytes, float *value);

/* Is it meant as a number, but one that is not handed out: an infinity or NaN as
 * printf() writes them, in any case, or more than an f64 holds? */
bool dml__decimal_is_not_finite(const char *text, size_t bytes);

/* Is it a whole number without sign, at most "most"? */
bool dml__decimal_uint(const char *text, size_t bytes, uint64_t most, uint64_t *value);

#endif
