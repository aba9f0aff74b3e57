/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a model must know of its data beside the trees: how a cell becomes a bin, the
 * names of columns and classes, the scale of targets and weights. Made from training
 * rows, kept in the model file.
 */
#ifndef PRF_SCHEMA_H
#define PRF_SCHEMA_H

#include "raw.h"
#include "tree.h"

struct schema_column {
    char *name;      /* NULL: none */
    uint8_t flags;   /* enum column_flag */
    uint8_t common;  /* bin of a missing cell where training had none */
    uint16_t nbins;  /* without BIN_MISSING */
    float *value;    /* [nbins] of numbers: a row in the middle of the bin */
    double *cut;     /* [nbins - 1] of numbers: x <= cut[b] has a bin <= b */
    char **category; /* [nbins] of categories, by strcmp; in the last one of 255 are
                        all that are rarer than the 254 commonest, and it is NULL */
};

struct schema {
    size_t nfeatures, nclasses;   /* nclasses 0: regression */
    struct schema_column *column; /* [F] */
    char **class_name;            /* [K] */
    char *label_name;             /* NULL: none */
    bool label_is_word;
    /* Regression: y = offset + scale * target. */
    double target_offset, target_scale, target_variance; /* of targets, not of y */
    double weight_scale; /* row weight = scale * whole number */
};

/* "auto", "class" or "regression": which one a label column asks for. */
enum task_kind { TASK_AUTO, TASK_CLASS, TASK_REGRESSION };

/* From the rows that raw has kept with use[row] != 0; columns whose cells it has not
 * kept get no bins. On failure free it all the same. */
dml_status schema_make(struct job *job, const struct raw *raw, const uint8_t *use,
                       enum task_kind task, struct schema *schema);
void schema_free(struct schema *schema);

/* Names of columns and words for raw_read() of files that come later. */
dml_status schema_prepare_raw(struct job *job, const struct schema *schema,
                              struct raw *raw);

/* Where bins go: to the rows from "first" on of a table of N. */
struct schema_bins {
    uint8_t *by_row;    /* [N][F] */
    uint8_t *by_column; /* [F][N] or NULL */
    size_t first, nrows;
};

/* Bins of the rows row[0 .. n-1] (NULL: 0 .. n-1), whose cells are all there. Uses
 * OpenMP's threads. */
dml_status schema_encode(struct job *job, const struct schema *schema,
                         const struct raw *raw, const struct raw_rows *rows,
                         const uint32_t *row, size_t n, const struct schema_bins *bins);

/* Class of a label; K when training has not seen it, or it is missing. */
size_t schema_class(const struct schema *schema, const struct raw *raw, double label);

/* Target and weight of a row, in units of the model. */
int32_t schema_target(const struct schema *schema, double label);
/* The target of a test row, which may lie up to 2^10 times as far out. */
int64_t schema_far(const struct schema *schema, double label);
uint32_t schema_weight(const struct schema *schema, float weight);

#endif
