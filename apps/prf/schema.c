/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bins from training rows; classes and scales: labels.c.
 *
 * Numbers: a bin per distinct value where there are at most 256 (255 beside missing
 * ones), else bins of about equally many rows; values that fill a bin of their own get
 * one. A cut lies halfway between the values beside it.
 */
#include "labels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers -------------------------------------------------------------------- */

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Sort by the bits of floats, 11 at a time; "spare" is as large. NaN must be absent. */
static void sort_floats(float *value, float *spare, size_t n)
{
    if (n < 4096) {
        qsort(value, n, sizeof *value, compare_floats);
        return;
    }
    uint32_t *from = (uint32_t *)(void *)value, *to = (uint32_t *)(void *)spare;
    for (size_t i = 0; i < n; i++) /* negative ones upside down, below the others */
        from[i] ^= (uint32_t) - (int32_t)(from[i] >> 31) | 0x80000000u;
    for (int shift = 0; shift < 33; shift += 11) {
        size_t at[2049] = {0};
        for (size_t i = 0; i < n; i++)
            at[(from[i] >> shift & 2047) + 1]++;
        for (size_t k = 1; k < 2048; k++)
            at[k] += at[k - 1];
        for (size_t i = 0; i < n; i++)
            to[at[from[i] >> shift & 2047]++] = from[i];
        uint32_t *swap = from;
        from = to;
        to = swap;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = from[i] ^ ((from[i] >> 31) ? 0x80000000u : 0xffffffffu);
        memcpy(&value[i], &bits, sizeof bits);
    }
}

/* Cuts of sorted values into at most "room" bins; nbins, and the commonest bin. */
static void make_cuts(const float *value, size_t n, size_t room,
                      struct schema_column *column)
{
    size_t distinct = n > 0, bins = 1, in_bin = 0, left = n, most = 0;
    column->value[0] = 0;
    for (size_t i = 1; i < n; i++)
        distinct += value[i] > value[i - 1];
    bool exact = distinct <= room;
    for (size_t i = 0; i < n;) {
        size_t run = i + 1;
        while (run < n && !(value[run] > value[i]))
            run++;
        size_t count = run - i;
        /* Rows that a bin should hold, of those not yet in a finished bin. */
        double share = (double)left / (double)(room - bins + 1);
        bool full = in_bin > 0 && bins < room &&
                    (exact || (double)in_bin + 0.5 * (double)count > share);
        if (full) {
            column->cut[bins - 1] = 0.5 * ((double)value[i - 1] + (double)value[i]);
            bins++;
            left -= in_bin;
            in_bin = 0;
        }
        in_bin += count;
        column->value[bins - 1] = value[run - 1 - (in_bin - 1) / 2];
        if (in_bin > most) {
            most = in_bin;
            column->common = (uint8_t)(bins - 1);
        }
        i = run;
    }
    column->nbins = (uint16_t)bins;
    double *shorter = realloc(column->cut, bins * sizeof *shorter);
    if (shorter)
        column->cut = shorter;
    float *fewer = realloc(column->value, bins * sizeof *fewer);
    if (fewer)
        column->value = fewer;
}

static float cell(const struct raw *raw, size_t row, size_t f)
{
    const struct raw_rows *rows = &raw->kept;
    size_t at = row / rows->step * rows->width + f - rows->first;
    return rows->bytes ? (float)rows->bytes[at] : rows->cells[at];
}

/* Values of a column of bytes, sorted by counting. Returns how many. */
static size_t sorted_bytes(const struct raw *raw, const uint8_t *use, size_t f,
                           float *value)
{
    size_t count[UINT8_MAX + 1] = {0}, n = 0;
    for (size_t r = 0; r < raw->kept.nrows; r += raw->kept.step)
        if (use[r])
            count[(uint8_t)cell(raw, r, f)]++;
    for (size_t b = 0; b <= UINT8_MAX; b++)
        for (size_t i = 0; i < count[b]; i++)
            value[n++] = (float)b;
    return n;
}

static bool number_column(const struct raw *raw, const uint8_t *use, size_t f,
                          struct schema_column *column)
{
    const struct raw_rows *rows = &raw->kept;
    float *value = malloc((2 * (rows->nrows / rows->step + 1) + 1) * sizeof *value);
    column->cut = malloc(BINS * sizeof *column->cut);
    column->value = malloc(BINS * sizeof *column->value);
    size_t n = 0, missing = 0;
    if (value && rows->bytes)
        n = sorted_bytes(raw, use, f, value);
    for (size_t r = 0; value && !rows->bytes && r < rows->nrows; r += rows->step) {
        float x = cell(raw, r, f);
        if (!use[r])
            continue;
        if (isnan(x))
            missing++;
        else
            value[n++] = x + 0.0f; /* -0 becomes 0 */
    }
    bool good = value && column->cut && column->value;
    if (good) {
        if (!rows->bytes)
            sort_floats(value, value + n, n);
        column->flags = missing ? COLUMN_MISSING : 0;
        make_cuts(value, n, missing ? BINS - 1 : BINS, column);
    }
    free(value);
    return good;
}

static uint8_t number_bin(const struct schema_column *column, float x)
{
    if (isnan(x))
        return column->flags & COLUMN_MISSING ? BIN_MISSING : column->common;
    size_t below = 0, n = column->nbins - 1u; /* cuts that are below x */
    while (n > 0) {
        size_t half = n / 2;
        bool up = (double)x > column->cut[below + half];
        below += up ? half + 1 : 0;
        n = up ? n - half - 1 : half;
    }
    return (uint8_t)below;
}

/* ---- categories ----------------------------------------------------------------- */

struct counted {
    const char *text;
    size_t count;
};

static int by_count(const void *a, const void *b)
{
    const struct counted *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return strcmp(x->text, y->text);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(((const struct counted *)a)->text, ((const struct counted *)b)->text);
}

static bool category_column(const struct raw *raw, const uint8_t *use, size_t f,
                            struct schema_column *column)
{
    const struct words *words = &raw->column[f].words;
    struct counted *counted = calloc(words->n + 1, sizeof *counted);
    column->category = calloc(BINS, sizeof *column->category);
    bool good = counted && column->category;
    for (size_t w = 0; good && w < words->n; w++)
        counted[w].text = words->text[w];
    for (size_t r = 0; good && r < raw->kept.nrows; r += raw->kept.step) {
        float x = cell(raw, r, f);
        if (use[r] && !isnan(x))
            counted[(size_t)x].count++;
    }
    size_t n = 0;
    if (good) {
        qsort(counted, words->n, sizeof *counted, by_count);
        while (n < words->n && counted[n].count > 0)
            n++;
        column->nbins = (uint16_t)(n < BINS - 1 ? n : BINS - 1);
        size_t named = n < BINS ? n : BINS - 2;
        qsort(counted, named, sizeof *counted, by_text);
        for (size_t b = 0; good && b < named; b++)
            good = (column->category[b] = strdup(counted[b].text)) != NULL;
        column->flags = COLUMN_CATEGORY | COLUMN_MISSING;
    }
    free(counted);
    return good;
}

/* Unknown words are missing, or among the rare ones where there are such. */
static uint8_t category_bin(const struct schema_column *column, const char *word)
{
    size_t rare = column->nbins > 0 && !column->category[column->nbins - 1];
    size_t low = 0, high = column->nbins - rare;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(column->category[middle], word);
        if (order == 0)
            return (uint8_t)middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return rare ? (uint8_t)(column->nbins - 1) : BIN_MISSING;
}

/* ---- encoding ------------------------------------------------------------------- */

/* Bins of one column; strided. */
static bool encode_column(const struct schema *schema, const struct raw *raw,
                          const struct raw_rows *rows, size_t f, const uint32_t *row,
                          size_t n, const struct schema_bins *bins)
{
    const struct schema_column *column = &schema->column[f];
    size_t nfeatures = schema->nfeatures;
    size_t nwords = rows->bytes ? UINT8_MAX + 1 : raw->column[f].words.n;
    bool looks_up = rows->bytes || (column->flags & COLUMN_CATEGORY);
    uint8_t *bin_of = malloc(looks_up ? nwords + 1 : 1); /* of a word, or of a byte */
    for (size_t w = 0; bin_of && looks_up && w < nwords; w++)
        bin_of[w] = rows->bytes ? number_bin(column, (float)w)
                                : category_bin(column, raw->column[f].words.text[w]);
    for (size_t i = 0; bin_of && i < n; i++) {
        size_t r = row ? row[i] : i;
        uint8_t bin;
        if (rows->bytes) {
            bin = bin_of[rows->bytes[r * nfeatures + f]];
        } else {
            float x = rows->cells[r * nfeatures + f];
            bin = !looks_up  ? number_bin(column, x)
                  : isnan(x) ? BIN_MISSING
                             : bin_of[(size_t)x];
        }
        bins->by_row[(bins->first + i) * nfeatures + f] = bin;
        if (bins->by_column)
            bins->by_column[f * bins->nrows + bins->first + i] = bin;
    }
    free(bin_of);
    return bin_of != NULL;
}

dml_status schema_encode(struct job *job, const struct schema *schema,
                         const struct raw *raw, const struct raw_rows *rows,
                         const uint32_t *row, size_t n, const struct schema_bins *bins)
{
    bool good = true;
#pragma omp parallel for reduction(&& : good) schedule(dynamic)
    for (size_t f = 0; f < schema->nfeatures; f++)
        good = encode_column(schema, raw, rows, f, row, n, bins) && good;
    return good ? DML_OK : job_fail(job, DML_ENOMEM, "out of memory for bins");
}

/* ---- all of it ------------------------------------------------------------------ */

static dml_status make_columns(struct job *job, const struct raw *raw,
                               const uint8_t *use, struct schema *schema)
{
    bool good = true;
    schema->column = calloc(raw->nfeatures, sizeof *schema->column);
    if (!schema->column)
        return job_fail(job, DML_ENOMEM, "out of memory");
    schema->nfeatures = raw->nfeatures;
#pragma omp parallel for reduction(&& : good) schedule(dynamic)
    for (size_t f = 0; f < raw->nfeatures; f++) {
        struct schema_column *column = &schema->column[f];
        const char *name = raw->column[f].name;
        bool has_cells = f - raw->kept.first < raw->kept.width;
        bool made = !has_cells                   ? true
                    : raw->column[f].is_category ? category_column(raw, use, f, column)
                                                 : number_column(raw, use, f, column);
        column->name = name ? strdup(name) : NULL;
        good = made && (!name || column->name) && good;
    }
    return good ? DML_OK : job_fail(job, DML_ENOMEM, "out of memory for columns");
}

dml_status schema_make(struct job *job, const struct raw *raw, const uint8_t *use,
                       enum task_kind task, struct schema *schema)
{
    double total;
    *schema = (struct schema){.label_is_word = raw->label_is_word};
    if (raw->nfeatures > TREE_MAX_FEATURES)
        return job_fail(job, DML_EUNSUPPORTED, "%zu features, at most %zu",
                        raw->nfeatures, TREE_MAX_FEATURES);
    if (raw->label_is_word && task == TASK_REGRESSION)
        return job_fail(job, DML_EINVAL, "--task regression: the label is no number");
    dml_status status = labels_check(job, raw, use);
    if (status == DML_OK)
        status = labels_weigh(job, raw, use, &total, schema);
    if (status == DML_OK)
        status = make_columns(job, raw, use, schema);
    if (status != DML_OK)
        return status;
    schema->label_name = raw->label_name ? strdup(raw->label_name) : NULL;
    return labels_make(job, raw, use, task, total, schema);
}

dml_status schema_prepare_raw(struct job *job, const struct schema *schema,
                              struct raw *raw)
{
    *raw = (struct raw){.nfeatures = schema->nfeatures,
                        .label_is_word = schema->label_is_word};
    raw->column = calloc(schema->nfeatures, sizeof *raw->column);
    raw->label_name = schema->label_name ? strdup(schema->label_name) : NULL;
    for (size_t f = 0; raw->column && f < schema->nfeatures; f++) {
        const char *name = schema->column[f].name;
        raw->column[f].name = name ? strdup(name) : NULL;
        raw->column[f].is_category = schema->column[f].flags & COLUMN_CATEGORY;
    }
    return raw->column ? DML_OK : job_fail(job, DML_ENOMEM, "out of memory");
}

void schema_free(struct schema *schema)
{
    for (size_t f = 0; schema->column && f < schema->nfeatures; f++) {
        struct schema_column *column = &schema->column[f];
        free(column->name);
        free(column->cut);
        free(column->value);
        for (size_t b = 0; column->category && b < BINS; b++)
            free(column->category[b]);
        free(column->category);
    }
    free(schema->column);
    for (size_t c = 0; schema->class_name && c < schema->nclasses; c++)
        free(schema->class_name[c]);
    free(schema->class_name);
    free(schema->label_name);
    *schema = (struct schema){0};
}
