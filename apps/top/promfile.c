/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A reader of Prometheus' text exposition format, version 0.0.4. Files come from
 * anywhere: nothing is allocated but room for the file itself, up to PROM_BYTES, and
 * all that the format does not allow is refused with the number of the line.
 */
#include "promfile.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *prom_label(const struct prom_sample *sample, const char *name)
{
    for (size_t i = 0; i < sample->nlabels; i++)
        if (strcmp(sample->labels[i].name, name) == 0)
            return sample->labels[i].value;
    return NULL;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char *skip_blanks(char *at)
{
    while (*at == ' ' || *at == '\t')
        at++;
    return at;
}

/* The end of a name that begins here, or NULL. */
static char *end_of_name(char *at, bool may_colon)
{
    if (!is_letter(*at) && !(may_colon && *at == ':'))
        return NULL;
    while (is_letter(*at) || is_digit(*at) || (may_colon && *at == ':'))
        at++;
    return at;
}

/* A label's value, behind the opening quote: undoes escapes in place. Returns what
 * follows the closing quote, or NULL. */
static char *read_quoted(char *at)
{
    char *to = at;
    for (; *at != '"'; at++) {
        if (*at == '\0')
            return NULL;
        if (*at == '\\') {
            at++;
            if (*at != '\\' && *at != '"' && *at != 'n')
                return NULL;
            *to++ = *at == 'n' ? '\n' : *at;
        } else {
            *to++ = *at;
        }
    }
    *to = '\0';
    return at + 1;
}

/* Behind the opening brace; returns what follows the closing one, or NULL and why. */
static char *read_labels(char *at, struct prom_sample *sample, const char **why)
{
    for (at = skip_blanks(at); *at != '}';) {
        char *name = at, *end = end_of_name(at, false);
        *why = "no label's name";
        if (!end)
            return NULL;
        *why = "too many labels";
        if (sample->nlabels == PROM_LABELS)
            return NULL;
        at = skip_blanks(end);
        *why = "a label needs =\"VALUE\"";
        if (*at != '=')
            return NULL;
        at = skip_blanks(at + 1);
        if (*at != '"')
            return NULL;
        *end = '\0';
        sample->labels[sample->nlabels].name = name;
        sample->labels[sample->nlabels++].value = at + 1;
        *why = "a label's value does not end, or has a wrong \\";
        at = read_quoted(at + 1);
        if (!at)
            return NULL;
        at = skip_blanks(at);
        *why = "labels need , between them and } at their end";
        if (*at == ',')
            at = skip_blanks(at + 1);
        else if (*at != '}')
            return NULL;
    }
    return at + 1;
}

/* A number, NaN, or an infinity; hexadecimal is not part of the format. */
static bool read_number(const char *text, double *value)
{
    char *end = NULL;
    const char *digits = text + (*text == '+' || *text == '-');
    if (strcmp(text, "NaN") == 0) {
        *value = NAN;
        return true;
    }
    if (strcmp(digits, "Inf") == 0) {
        *value = *text == '-' ? -INFINITY : INFINITY;
        return true;
    }
    if (strspn(digits, "0123456789.eE+-") != strlen(digits) || *digits == '\0')
        return false;
    *value = strtod(text, &end);
    return end != text && *end == '\0';
}

/* Value, and perhaps a time, which nobody needs here. */
static const char *read_value(char *at, double *value)
{
    at = skip_blanks(at);
    size_t length = strcspn(at, " \t");
    char *rest = skip_blanks(at + length);
    at[length] = '\0';
    if (!read_number(at, value))
        return "no number";
    char *time = rest + (*rest == '-'), *end = time + strspn(time, "0123456789");
    if (*rest != '\0' && (end == time || *skip_blanks(end) != '\0'))
        return "something follows the number";
    return NULL;
}

static const char *read_sample(char *line, prom_fn *take, void *user)
{
    struct prom_sample sample = {.name = line};
    const char *why = "no metric's name";
    char *end = end_of_name(line, true), *at = end ? skip_blanks(end) : NULL;
    if (!end)
        return why;
    bool labelled = *at == '{', blank = at > end;
    *end = '\0';
    if (labelled)
        at = read_labels(at + 1, &sample, &why);
    else if (!blank)
        return "a name is followed by labels, or a blank and a number";
    if (!at)
        return why;
    why = read_value(at, &sample.value);
    return why ? why : take(user, &sample);
}

/* "# TYPE name type" and "# HELP name text"; others say nothing. */
static const char *read_comment(char *line)
{
    static const char *const types[] = {"counter", "gauge", "histogram", "summary",
                                        "untyped"};
    char *at = skip_blanks(line + 1);
    bool type = strncmp(at, "TYPE ", 5) == 0;
    if (!type && strncmp(at, "HELP ", 5) != 0)
        return NULL;
    at = skip_blanks(at + 5);
    char *end = end_of_name(at, true);
    if (!end || (*end != ' ' && *end != '\t' && *end != '\0'))
        return "no metric's name";
    at = skip_blanks(end);
    for (size_t i = 0; type && i < sizeof types / sizeof *types; i++)
        if (strcmp(at, types[i]) == 0)
            return NULL;
    return type ? "no type of a metric" : NULL;
}

bool prom_read(char *text, size_t bytes, prom_fn *take, void *user,
               char error[PROM_ERROR])
{
    size_t number = 1;
    const char *why = NULL;
    for (char *line = text, *end = NULL; line < text + bytes;
         line = end + 1, number++) {
        end = memchr(line, '\n', (size_t)(text + bytes - line));
        why = "the last line has no end: the file is cut";
        if (!end)
            break;
        *end = '\0';
        why = strlen(line) == (size_t)(end - line) ? NULL : "there is a zero byte";
        char *at = skip_blanks(line);
        if (!why && *at == '#')
            why = read_comment(at);
        else if (!why && *at != '\0')
            why = read_sample(at, take, user);
        if (why)
            break;
    }
    if (why)
        snprintf(error, PROM_ERROR, "line %zu: %s", number, why);
    return !why;
}

/* Up to PROM_BYTES + 1 bytes of a file, and a zero; *bytes of them. NULL: see errno. */
static char *read_all(int fd, size_t hint, size_t *bytes)
{
    size_t room = hint < PROM_BYTES ? hint + 1 : PROM_BYTES + 1;
    char *text = malloc(room + 1);
    *bytes = 0;
    while (text && *bytes < room) {
        ssize_t n = read(fd, text + *bytes, room - *bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            free(text);
            return NULL;
        }
        if (n == 0)
            break;
        *bytes += (size_t)n;
    }
    if (text)
        text[*bytes] = '\0';
    return text;
}

bool prom_read_file(const char *path, prom_fn *take, void *user, char error[PROM_ERROR])
{
    struct stat info;
    size_t bytes = 0;
    char *text = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const char *why = fd < 0 || fstat(fd, &info) != 0 ? strerror(errno) : NULL;
    if (!why && !S_ISREG(info.st_mode))
        why = "this is no file";
    if (!why && (text = read_all(fd, (size_t)info.st_size, &bytes)) == NULL)
        why = strerror(errno);
    if (!why && bytes > PROM_BYTES)
        why = "too large for a file of metrics";
    if (!why && bytes > (size_t)info.st_size)
        why = "it grew while it was read";
    if (fd >= 0)
        close(fd);
    if (why)
        snprintf(error, PROM_ERROR, "%s%s", why,
                 fd < 0 ? "; give the file of a job's --metrics" : "");
    bool good = !why && prom_read(text, bytes, take, user, error);
    free(text);
    return good;
}
