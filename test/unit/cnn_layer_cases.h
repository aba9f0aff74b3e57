/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Small nets around one layer each, for tests of all kinds of layers and shapes: a 1 x
 * 1 convolution (whose weights' gradients depend on the tested layer's data gradient),
 * the layer, and a fully connected layer.
 */
#ifndef CNN_LAYER_CASES_H
#define CNN_LAYER_CASES_H

#include "net.h"
#include "unit.h"

#define LAYER_OUTPUTS 3

enum layer_kind {
    CONV,
    MAX_POOL,
    AVG_POOL,
    GLOBAL_POOL,
    NORM,
    NORM_RELU,
    RELU,
    RESIDUAL,
    SHRINK,
    BLOCK,         /* a batch norm before the sum */
    BLOCK_CHANGES, /* and one of the other term */
    BLOCK_SUM,     /* without a ReLU behind it */
    BLOCK_RELU     /* with another one before it */
};

struct layer_case {
    const char *name;
    enum layer_kind kind;
    int rows, inputs, height, width; /* of the net's input */
    int carried;                     /* channels that the tested layer sees */
    int channels, kernel, stride, pad;
};

/* A test for each case, with the case as its state: one that fails leaves the others.
 * How many failed. */
int layer_run_cases(CMUnitTestFunction test);

/* The net of a case, but for net_finish(). NULL: net_error() says why. */
struct value *layer_build(struct net *net, const struct layer_case *t);

#endif
