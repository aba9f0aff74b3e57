/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Classes, targets and row weights from the label and weight columns.
 */
#include "labels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CLASSES      8191 /* fit an entry's code, see grower.h */
#define MAX_AUTO_CLASSES 256  /* distinct whole labels that are taken for classes */
#define TARGET_BITS      30
#define FAR_BITS         40
#define SUM_BITS         60 /* of sums of weight * target */

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Labels of the used rows, sorted, each once; no more than one above the limit of
 * classes. NULL when memory is short. */
static double *distinct_labels(const struct raw *raw, const uint8_t *use, size_t *n)
{
    double *label = malloc((MAX_CLASSES + 1) * sizeof *label);
    *n = 0;
    for (size_t r = 0; label && r < raw->kept.nrows && *n <= MAX_CLASSES; r++) {
        double mine = raw->kept.label[r];
        size_t low = 0, high = *n;
        while (use[r] && low < high) {
            size_t middle = (low + high) / 2;
            if (label[middle] < mine)
                low = middle + 1;
            else
                high = middle;
        }
        if (!use[r] || (low < *n && !(label[low] > mine)))
            continue;
        memmove(label + low + 1, label + low, (*n - low) * sizeof *label);
        label[low] = mine;
        ++*n;
    }
    return label;
}

static bool are_whole(const double *label, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (label[i] < INT32_MIN || label[i] > INT32_MAX ||
            nearbyint(label[i]) < label[i] || nearbyint(label[i]) > label[i])
            return false;
    return true;
}

static dml_status name_classes(struct job *job, const struct raw *raw,
                               const double *label, size_t n, struct schema *schema)
{
    char number[40];
    if (n > MAX_CLASSES)
        return job_fail(job, DML_EUNSUPPORTED,
                        "the label has more than %d different values, too many for "
                        "classes; try --task regression",
                        MAX_CLASSES);
    schema->class_name = calloc(n + 1, sizeof *schema->class_name);
    for (size_t c = 0; schema->class_name && c < n; c++) {
        snprintf(number, sizeof number, "%.15g", label[c]);
        schema->class_name[c] = strdup(
            raw->label_is_word ? raw->label_words.text[(size_t)label[c]] : number);
        if (!schema->class_name[c])
            return job_fail(job, DML_ENOMEM, "out of memory");
        schema->nclasses++;
    }
    if (!schema->class_name)
        return job_fail(job, DML_ENOMEM, "out of memory");
    if (raw->label_is_word)
        qsort(schema->class_name, n, sizeof *schema->class_name, compare_texts);
    return DML_OK;
}

size_t schema_class(const struct schema *schema, const struct raw *raw, double label)
{
    if (isnan(label))
        return schema->nclasses;
    size_t low = 0, high = schema->nclasses;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const char *name = schema->class_name[middle];
        double other = raw->label_is_word ? 0 : strtod(name, NULL);
        int order = raw->label_is_word
                        ? strcmp(name, raw->label_words.text[(size_t)label])
                        : (other > label) - (other < label);
        if (order == 0)
            return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return schema->nclasses;
}

/* ---- scales of targets and weights ---------------------------------------------- */

/* Targets become whole numbers around the middle of the range, as fine as sums of all
 * rows' weight * target stay in 64 bits, and at most 2^30. */
static dml_status scale_targets(struct job *job, const struct raw *raw,
                                const uint8_t *use, double total_weight,
                                struct schema *schema)
{
    double low = INFINITY, high = -INFINITY, sum = 0, squares = 0, n = 0;
    for (size_t r = 0; r < raw->kept.nrows; r++) {
        if (!use[r])
            continue;
        low = fmin(low, raw->kept.label[r]);
        high = fmax(high, raw->kept.label[r]);
    }
    if (!isfinite(high - low))
        return job_fail(job, DML_EUNSUPPORTED,
                        "targets from %g to %g: their range is no double; scale them",
                        low, high);
    int bits = SUM_BITS - ilogb(total_weight + 1) - 1;
    if (bits > TARGET_BITS)
        bits = TARGET_BITS;
    schema->target_offset = low + (high - low) / 2;
    schema->target_scale = high > low ? (high - low) / 2 / ldexp(1, bits) : 1;
    for (size_t r = 0; r < raw->kept.nrows; r++) {
        if (!use[r])
            continue;
        double y = schema_target(schema, raw->kept.label[r]);
        sum += y;
        squares += y * y;
        n++;
    }
    schema->target_variance = (squares - sum * (sum / n)) / n;
    if (!(schema->target_variance > 0))
        schema->target_variance = 1;
    return DML_OK;
}

static int64_t target(const struct schema *schema, double label, int bits)
{
    double y = (label - schema->target_offset) / schema->target_scale;
    double limit = ldexp(1, bits);
    return llround(y < -limit ? -limit : y > limit ? limit : y);
}

int32_t schema_target(const struct schema *schema, double label)
{
    return (int32_t)target(schema, label, TARGET_BITS);
}

int64_t schema_far(const struct schema *schema, double label)
{
    return target(schema, label, FAR_BITS);
}

/* Whole weights up to 65535 stay as they are; others become 65535ths of the largest. */
dml_status labels_weigh(struct job *job, const struct raw *raw, const uint8_t *use,
                        double *total, struct schema *schema)
{
    bool whole = true;
    double most = 0;
    schema->weight_scale = 1;
    *total = (double)raw->kept.nrows;
    if (!raw->has_weight)
        return DML_OK;
    for (size_t r = 0; r < raw->kept.nrows; r++) {
        float weight = raw->kept.weight[r];
        if (!use[r])
            continue;
        if (!(weight >= 0) || isinf(weight))
            return job_fail(job, DML_EFORMAT,
                            "the weight of row %zu is not a number from 0 on", r + 1);
        most = fmax(most, (double)weight);
        whole &= nearbyintf(weight) >= weight && nearbyintf(weight) <= weight;
    }
    if (!(most > 0))
        return job_fail(job, DML_EFORMAT, "all row weights are 0");
    if (!whole || most > UINT16_MAX)
        schema->weight_scale = most / UINT16_MAX;
    *total = 0;
    for (size_t r = 0; r < raw->kept.nrows; r++)
        if (use[r])
            *total += schema_weight(schema, raw->kept.weight[r]);
    return DML_OK;
}

uint32_t schema_weight(const struct schema *schema, float weight)
{
    return (uint32_t)lround((double)weight / schema->weight_scale);
}

dml_status labels_check(struct job *job, const struct raw *raw, const uint8_t *use)
{
    size_t n = 0;
    for (size_t r = 0; r < raw->kept.nrows; r++) {
        if (!use[r])
            continue;
        n++;
        if (!isfinite(raw->kept.label[r]))
            return job_fail(job, DML_EFORMAT, "row %zu has no label", r + 1);
    }
    return n > 0
               ? DML_OK
               : job_fail(job, DML_EFORMAT, "there is no row with a label to train on");
}

dml_status labels_make(struct job *job, const struct raw *raw, const uint8_t *use,
                       enum task_kind task, double total_weight, struct schema *schema)
{
    size_t n;
    double *label = distinct_labels(raw, use, &n);
    if (!label)
        return job_fail(job, DML_ENOMEM, "out of memory");
    dml_status status = DML_OK;
    if (task == TASK_CLASS || raw->label_is_word ||
        (task == TASK_AUTO && n <= MAX_AUTO_CLASSES && are_whole(label, n)))
        status = name_classes(job, raw, label, n, schema);
    else
        status = scale_targets(job, raw, use, total_weight, schema);
    free(label);
    return status;
}
