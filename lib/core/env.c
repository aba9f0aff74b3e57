/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every environment variable that libdml and its programs read, and the values of those
 * that take few, so that what is misspelt is told instead of ignored. README.md
 * describes them; the check docs.py compares.
 */
#include "core/core.h"
#include "core/ctx_internal.h"

#include <stdio.h>
#include <string.h>

/* Without the prefix DML_. Those that start with TEST_ are the tests' own. */
static const char *const names[] = {
    "ALLGATHER", "ALLREDUCE",      "ALLTOALL",     "BARRIER",    "BCAST",   "CMA",
    "DATA",      "GATHER",         "GPU",          "GPU_MEMORY", "ISA",     "LOG",
    "MEASURE",   "MPI_MULTIPLE",   "MPI_SKIP",     "MPI_STATS",  "NODES",   "PROGRESS",
    "REDUCE",    "REDUCE_SCATTER", "REPRODUCIBLE", "ROLL_CALL",  "SCATTER", "SHM",
    "SINGLETON", "SUMMARY",        "TIMEOUT_S",    "TRACE",      "TUNING",  "WAIT",
};

enum { NNAMES = sizeof names / sizeof names[0], LONGEST = 32 };

/* ---- values ------------------------------------------------------------------------
 */

/* Is it one of the words of a list? */
static bool in_list(const char *value, const char *list)
{
    size_t length = strlen(value);
    for (; *list != '\0'; list += strcspn(list, " "), list += strspn(list, " "))
        if (strcspn(list, " ") == length && strncmp(list, value, length) == 0)
            return true;
    return false;
}

static bool is_seconds(const char *value, const char *list)
{
    (void)list;
    double s = 0;
    return dml__number(value, &s) && s >= 0;
}

/* Numbers of up to six digits with commas between. */
static bool is_nodes(const char *value, const char *list)
{
    enum { DIGITS = 6 };
    (void)list;
    for (;; value++) {
        size_t digits = strspn(value, "0123456789");
        value += digits;
        if (digits == 0 || digits > DIGITS || (*value != '\0' && *value != ','))
            return false;
        if (*value == '\0')
            return true;
    }
}

static bool is_gpu(const char *value, const char *list)
{
    (void)list;
    static const char fake[] = "fake:";
    if (strncmp(value, fake, sizeof fake - 1) == 0)
        return value[sizeof fake - 1] >= '1' && value[sizeof fake - 1] <= '8' &&
               value[sizeof fake] == '\0';
    return in_list(value, "auto cuda fake off");
}

static const struct {
    const char *name;
    bool (*valid)(const char *value, const char *list);
    const char *list, *use;
} limited[] = {
    {"CMA", in_list, "0 1", "0 or 1"},
    {"GPU", is_gpu, NULL, "auto, cuda, fake, fake:N with N up to 8, or off"},
    {"GPU_MEMORY", in_list, "auto driver nccl", "auto, driver or nccl"},
    {"LOG", in_list, "error warn info debug", "error, warn, info or debug"},
    {"MEASURE", in_list, "0 1", "0 or 1"},
    {"MPI_MULTIPLE", in_list, "0 1", "0 or 1"},
    {"MPI_STATS", in_list, "0 1", "0 or 1"},
    {"NODES", is_nodes, NULL, "a number of nodes, or each rank's: 0,0,1"},
    {"PROGRESS", in_list, "poll thread patient", "poll, thread or patient"},
    {"REPRODUCIBLE", in_list, "0 1", "0 or 1"},
    {"ROLL_CALL", in_list, "0 1", "0 or 1"},
    {"SHM", in_list, "0 1", "0 or 1"},
    {"SINGLETON", in_list, "1", "1, or nothing"},
    {"SUMMARY", in_list, "0 1", "0 or 1"},
    {"TIMEOUT_S", is_seconds, NULL, "seconds, 0 for never"},
    {"WAIT", in_list, "block", "block, or nothing"},
};

const char *dml__env_refused(const char *entry)
{
    const char *name = entry + strlen("DML_");
    size_t length = strcspn(name, "=");
    const char *value = name + length + (name[length] == '=');
    for (size_t i = 0; *value != '\0' && i < sizeof limited / sizeof limited[0]; i++)
        if (strlen(limited[i].name) == length &&
            strncmp(name, limited[i].name, length) == 0 &&
            !limited[i].valid(value, limited[i].list))
            return limited[i].use;
    return NULL;
}

/* ---- names -------------------------------------------------------------------------
 */

/* Letters to insert, remove or replace until one word is the other (Levenshtein). */
static size_t distance(const char *a, size_t a_length, const char *b)
{
    size_t row[LONGEST + 1], b_length = strlen(b);
    for (size_t j = 0; j <= b_length; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t corner = row[0]; /* of i-1, j-1 */
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t replaced = corner + (a[i - 1] != b[j - 1]);
            size_t other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            corner = row[j];
            row[j] = replaced < other ? replaced : other;
        }
    }
    return row[b_length];
}

bool dml__env_unknown(const char *entry, const char **nearest)
{
    const char *name = entry + strlen("DML_");
    size_t length = strcspn(name, "="), best = SIZE_MAX;
    if (strncmp(name, "TEST_", 5) == 0)
        return false;
    for (size_t i = 0; i < NNAMES && best > 0; i++) {
        size_t d = distance(name, length, names[i]);
        if (d >= best)
            continue;
        best = d;
        *nearest = names[i];
    }
    return best > 0;
}
