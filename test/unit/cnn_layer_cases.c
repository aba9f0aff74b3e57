/* SPDX-License-Identifier: BSD-3-Clause */
/* The cases, and their nets: cnn_layer_cases.h. */
#include "cnn_layer_cases.h"

static const struct layer_case cases[] = {
    {"conv 3x3", CONV, 2, 1, 6, 5, 3, 5, 3, 1, 1},
    {"conv 3x3, blocked channels", CONV, 2, 3, 7, 7, 16, 32, 3, 1, 1},
    {"conv 3x3, odd channels", CONV, 3, 2, 5, 9, 17, 19, 3, 1, 1},
    {"conv 1x1 stride 2", CONV, 2, 3, 7, 6, 16, 16, 1, 2, 0},
    {"conv 3x3 stride 2", CONV, 2, 1, 8, 8, 16, 32, 3, 2, 1},
    {"conv 5x5 no pad", CONV, 1, 1, 6, 7, 4, 4, 5, 1, 0},
    {"conv whole image", CONV, 2, 1, 4, 4, 8, 8, 4, 1, 0},
    {"max pool 2", MAX_POOL, 2, 1, 6, 6, 16, 0, 2, 2, 0},
    {"max pool 2, odd", MAX_POOL, 3, 2, 7, 5, 5, 0, 2, 2, 0},
    {"max pool 3 stride 2", MAX_POOL, 2, 1, 7, 7, 16, 0, 3, 2, 0},
    {"max pool 3 stride 2, padded", MAX_POOL, 2, 1, 8, 7, 16, 0, 3, 2, 1},
    {"max pool 3, padded, odd", MAX_POOL, 2, 1, 4, 5, 5, 0, 3, 1, 1},
    {"average pool 3 stride 2, padded", AVG_POOL, 2, 1, 6, 7, 16, 0, 3, 2, 1},
    {"average pool 2", AVG_POOL, 2, 1, 6, 4, 16, 0, 2, 2, 0},
    {"average pool 3, overlapping", AVG_POOL, 1, 1, 5, 6, 3, 0, 3, 1, 0},
    {"global pool", GLOBAL_POOL, 2, 1, 5, 7, 16, 0, 0, 0, 0},
    {"global pool, odd channels", GLOBAL_POOL, 3, 1, 3, 4, 7, 0, 0, 0, 0},
    {"batch norm", NORM, 4, 1, 4, 4, 16, 0, 0, 0, 0},
    {"batch norm, odd channels", NORM, 3, 2, 5, 3, 5, 0, 0, 0, 0},
    {"batch norm + relu", NORM_RELU, 4, 1, 4, 5, 16, 0, 0, 0, 0},
    {"batch norm, odd rows", NORM, 3, 2, 5, 3, 8, 0, 0, 0, 0},
    {"batch norm + relu, odd rows", NORM_RELU, 1, 2, 7, 3, 12, 0, 0, 0, 0},
    {"batch norm + relu, odd channels", NORM_RELU, 3, 1, 5, 3, 3, 0, 0, 0, 0},
    {"relu", RELU, 2, 1, 5, 5, 16, 0, 0, 0, 0},
    {"relu, odd channels", RELU, 1, 1, 3, 7, 3, 0, 0, 0, 0},
    {"residual", RESIDUAL, 2, 1, 5, 6, 16, 16, 3, 1, 1},
    {"residual, odd channels", RESIDUAL, 2, 1, 5, 6, 6, 6, 3, 1, 1},
    {"residual that shrinks", SHRINK, 2, 1, 6, 6, 16, 32, 3, 2, 1},
    {"residual that shrinks, odd size", SHRINK, 2, 1, 7, 5, 16, 32, 3, 2, 1},
    {"block", BLOCK, 3, 1, 5, 6, 16, 16, 3, 1, 1},
    {"block, odd rows and channels", BLOCK, 3, 2, 5, 3, 5, 5, 3, 1, 1},
    {"block that shrinks", BLOCK, 3, 1, 6, 5, 16, 32, 3, 2, 1},
    {"block that changes", BLOCK_CHANGES, 3, 2, 5, 6, 16, 16, 3, 2, 1},
    {"block that changes, odd", BLOCK_CHANGES, 3, 2, 5, 5, 4, 7, 3, 1, 1},
    {"block without relu", BLOCK_SUM, 3, 1, 5, 4, 16, 16, 3, 1, 1},
    {"block with relu inside", BLOCK_RELU, 3, 1, 4, 5, 16, 16, 3, 1, 1},
};

int layer_run_cases(CMUnitTestFunction test)
{
    int failed = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct CMUnitTest one[] = {
            {cases[i].name, test, NULL, NULL, (void *)(uintptr_t)&cases[i]}};
        failed += cmocka_run_group_tests_name(cases[i].name, one, NULL, NULL);
    }
    return failed;
}

static struct value *block(struct net *net, struct value *x, const struct layer_case *t)
{
    struct value *side = NULL;
    x = net_fork(net, x, &side);
    x = net_conv(net, x, t->channels, t->kernel, t->stride, t->pad, false);
    if (t->kind >= BLOCK)
        x = net_batch_norm(net, x, t->kind == BLOCK_RELU);
    if (t->kind == BLOCK_CHANGES) {
        side = net_conv(net, side, t->channels, 1, t->stride, 0, false);
        side = net_batch_norm(net, side, false);
    } else if (t->stride != 1) {
        side = net_shortcut(net, side, t->channels, t->stride);
    }
    x = net_add(net, x, side);
    return t->kind == BLOCK_SUM ? x : net_relu(net, x);
}

struct value *layer_build(struct net *net, const struct layer_case *t)
{
    struct value *x = net_conv(net, net->input, t->carried, 1, 1, 0, true);
    switch (t->kind) {
    case CONV:
        x = net_conv(net, x, t->channels, t->kernel, t->stride, t->pad, true);
        break;
    case MAX_POOL:
        x = net_padded_pool(net, x, NET_POOL_MAX, t->kernel, t->stride, t->pad);
        break;
    case AVG_POOL:
        x = net_padded_pool(net, x, NET_POOL_AVERAGE, t->kernel, t->stride, t->pad);
        break;
    case GLOBAL_POOL:
        x = net_global_pool(net, x);
        break;
    case NORM:
    case NORM_RELU:
        x = net_batch_norm(net, x, t->kind == NORM_RELU);
        break;
    case RELU:
        x = net_relu(net, x);
        break;
    case RESIDUAL:
    case SHRINK:
    case BLOCK:
    case BLOCK_CHANGES:
    case BLOCK_SUM:
    case BLOCK_RELU:
        x = block(net, x, t);
        break;
    }
    return net_linear(net, x, LAYER_OUTPUTS);
}
