/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Numbers in texts, read alike whatever the program's locale: where strtod() follows a
 * locale whose decimal sign is a comma, it stops at the point of 0.01.
 */
#include "core/core.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>

bool dml__number(const char *text, double *value)
{
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (plain == (locale_t)0)
        return false;
    locale_t before = uselocale(plain);
    char *end = NULL;
    errno = 0;
    *value = strtod(text, &end);
    bool whole = end != text && *end == '\0' && errno == 0 && isfinite(*value);
    uselocale(before);
    freelocale(plain);
    return whole;
}
