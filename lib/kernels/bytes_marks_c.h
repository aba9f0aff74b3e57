/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The search for marks, byte by byte.
 */

static size_t find_marks(const char *text, size_t n, char delimiter, uint32_t *at)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (c == delimiter || c == '\n' || c == '"' || c == '\0')
            at[count++] = (uint32_t)i;
    }
    return count;
}
