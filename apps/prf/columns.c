/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Columns of a schema as bytes: flags, common, number of bins; then values and cuts of
 * numbers, or the names of categories, each with its length (without: the rare ones).
 */
#include "columns.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_NAME UINT32_MAX

static void put_column(FILE *file, const struct schema_column *column)
{
    fwrite(&column->flags, 1, 1, file);
    fwrite(&column->common, 1, 1, file);
    fwrite(&column->nbins, sizeof column->nbins, 1, file);
    if (!(column->flags & COLUMN_CATEGORY)) {
        fwrite(column->value, sizeof *column->value, column->nbins, file);
        fwrite(column->cut, sizeof *column->cut, column->nbins - 1u, file);
    }
    for (size_t b = 0; column->flags & COLUMN_CATEGORY && b < column->nbins; b++) {
        const char *name = column->category[b];
        uint32_t length = name ? (uint32_t)strlen(name) : NO_NAME;
        fwrite(&length, sizeof length, 1, file);
        if (name)
            fwrite(name, 1, length, file);
    }
}

struct bytes {
    const unsigned char *at;
    size_t left;
};

static bool get(struct bytes *bytes, void *value, size_t count)
{
    if (count > bytes->left)
        return false;
    memcpy(value, bytes->at, count);
    bytes->at += count;
    bytes->left -= count;
    return true;
}

static bool get_category(struct bytes *bytes, char **name)
{
    uint32_t length;
    if (!get(bytes, &length, sizeof length))
        return false;
    if (length == NO_NAME)
        return true;
    *name = length <= bytes->left ? calloc(1, (size_t)length + 1) : NULL;
    return *name && get(bytes, *name, length);
}

static bool get_column(struct bytes *bytes, struct schema_column *column)
{
    if (!get(bytes, &column->flags, 1) || !get(bytes, &column->common, 1) ||
        !get(bytes, &column->nbins, sizeof column->nbins) || column->nbins > BINS)
        return false;
    if (!(column->flags & COLUMN_CATEGORY)) {
        column->value = calloc(BINS, sizeof *column->value);
        column->cut = calloc(BINS, sizeof *column->cut);
        return column->value && column->cut && column->nbins > 0 &&
               get(bytes, column->value, column->nbins * sizeof *column->value) &&
               get(bytes, column->cut, (column->nbins - 1u) * sizeof *column->cut);
    }
    column->category = calloc(BINS, sizeof *column->category);
    for (size_t b = 0; column->category && b < column->nbins; b++)
        if (!get_category(bytes, &column->category[b]))
            return false;
    return column->category != NULL;
}

/* The parts of all groups, of count[g] bytes, into the columns that this one lacks. */
static bool get_columns(const struct group *group, const unsigned char *all,
                        const size_t *count, struct schema *schema)
{
    size_t nfeatures = schema->nfeatures, ngroups = (size_t)group->ngroups;
    for (size_t g = 0; g < ngroups; all += count[g], g++) {
        struct bytes bytes = {all, count[g]};
        size_t end = nfeatures * (g + 1) / ngroups;
        if (g == (size_t)group->number)
            continue;
        for (size_t f = nfeatures * g / ngroups; f < end; f++)
            if (!get_column(&bytes, &schema->column[f]))
                return false;
    }
    return true;
}

/* Collective over leaders: all fail, or none. */
static dml_status gather(const struct group *group, const void *mine, uint64_t bytes,
                         struct schema *schema)
{
    size_t ngroups = (size_t)group->ngroups, sum = 0;
    uint64_t *each = calloc(ngroups, sizeof *each);
    size_t *count = calloc(ngroups, sizeof *count);
    unsigned char *all = NULL;
    dml_status status = each && count ? DML_OK : DML_ECOMM; /* others wait */
    if (status == DML_OK)
        status = dml_allgather(&bytes, each, 1, DML_U64, group->leaders);
    for (size_t g = 0; status == DML_OK && g < ngroups; g++) {
        count[g] = each[g];
        sum += each[g];
    }
    if (status == DML_OK && !(all = malloc(sum + 1)))
        status = DML_ECOMM;
    if (status == DML_OK)
        status = dml_allgatherv(mine, all, count, NULL, DML_U8, group->leaders);
    if (status == DML_OK && !get_columns(group, all, count, schema))
        status = DML_ENOMEM;
    free(all);
    free(count);
    free(each);
    return status;
}

dml_status columns_share(const struct group *group, struct schema *schema)
{
    size_t nfeatures = schema->nfeatures, ngroups = (size_t)group->ngroups;
    size_t first = nfeatures * (size_t)group->number / ngroups;
    size_t end = nfeatures * ((size_t)group->number + 1) / ngroups;
    char *bytes = NULL;
    size_t count = 0;
    FILE *file = open_memstream(&bytes, &count);
    for (size_t f = first; file && f < end; f++)
        put_column(file, &schema->column[f]);
    bool good = file && !ferror(file);
    good = file && fclose(file) == 0 && good;
    /* Without memory: a rank that stops here ends the others, who wait. */
    dml_status status = good ? gather(group, bytes, count, schema) : DML_ECOMM;
    free(bytes);
    if (status == DML_ENOMEM)
        return job_fail(group->job, status, "out of memory for columns");
    return job_note(group->job, status);
}
