/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A model for the tests of compressed averages: tensors of many shapes, gradients that
 * are pure functions of (seed, step, rank, index), and what should come out of them.
 */
#ifndef DML_TEST_CODEC_MODEL_H
#define DML_TEST_CODEC_MODEL_H

#include "dml_test.h"

enum { MODEL_TENSORS = 10 };

/* What gradients look like. */
enum look { NORMAL, ZERO, CONSTANT, DENORMAL, INTEGERS, ONE_RANK };

struct model_plan {
    enum look look;
    int steps;
    bool packed;  /* tensors do not lie side by side */
    bool no_rows; /* the reducer is not told their shapes */
    bool skip;    /* some are not ready on some ranks */
};

struct model {
    struct model_plan plan;
    dml_tensor tensors[MODEL_TENSORS];
    size_t rows[MODEL_TENSORS], total;
    float *memory; /* [total] of all tensors, gaps included */
    double *put;   /* [total] sum over the steps of the gradients' means */
    double *got;   /* [total] and of the averages */
    double *size;  /* [total] and of magnitudes, for the bounds */
};

void model_open(struct model *m, const struct model_plan *plan);
void model_close(struct model *m);

/* A reducer with small buckets and this codec, or NULL after a failure. */
dml_reducer *model_reducer(struct dml_test *t, struct model *m, const char *codec);

float model_value(const struct dml_test *t, enum look look, int step, int rank,
                  size_t i);

/* Fills the gradients of a step, and adds up what goes in. */
void model_fill(const struct dml_test *t, struct model *m, enum look look, int step);
/* One step; adds up what comes out, which must be the same on all ranks. */
void model_step(struct dml_test *t, struct model *m, dml_reducer *reducer,
                enum look look, int step);
/* Is what came out what went in? tolerance: relative to the magnitudes. */
void model_compare(struct dml_test *t, const struct model *m, const char *codec,
                   enum look look, double tolerance);

/* In codec_checks.c. */
void test_choice(struct dml_test *t);
void test_codec_bytes(struct dml_test *t);
void test_codec_warmup(struct dml_test *t);
void test_codec_faults(struct dml_test *t);
void test_codec_misuse(struct dml_test *t);
/* In codec_memory.c. */
void test_codec_memory(struct dml_test *t);

#endif
