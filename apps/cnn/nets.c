/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The nets that dml-cnn knows.
 */
#include "nets.h"

#include <string.h>

/* Two convolutions and two fully connected layers. A maximum is taken before its ReLU:
 * the two commute exactly, and the ReLU then sees a quarter of the numbers. */
static struct value *build_small(struct net *net)
{
    struct value *x = net_conv(net, net->input, 32, 3, 1, 1, true);
    x = net_relu(net, net_max_pool(net, x, 2, 2));
    x = net_conv(net, x, 64, 3, 1, 1, true);
    x = net_relu(net, net_max_pool(net, x, 2, 2));
    x = net_relu(net, net_linear(net, x, 128));
    x = net_dropout(net, x, net->dropout);
    return net_logits(net, x);
}

static struct value *conv_norm_relu(struct net *net, struct value *x, int channels,
                                    int stride)
{
    return net_batch_norm(net, net_conv(net, x, channels, 3, stride, 1, false), true);
}

/* In the manner of Simonyan and Zisserman 2015 (pairs of 3 x 3 convolutions between
 * pools), narrow, with batch normalisation. */
static struct value *build_vgg(struct net *net)
{
    struct value *x = net->input;
    static const int channels[] = {32, 64, 128};
    for (int stage = 0; stage < 3; stage++) {
        x = conv_norm_relu(net, x, channels[stage], 1);
        x = conv_norm_relu(net, x, channels[stage], 1);
        x = net_max_pool(net, x, 2, 2);
    }
    x = net_dropout(net, x, net->dropout);
    x = net_relu(net, net_linear(net, x, 256));
    x = net_dropout(net, x, net->dropout);
    return net_logits(net, x);
}

static struct value *residual_block(struct net *net, struct value *x, int channels,
                                    int stride)
{
    struct value *side = NULL;
    x = net_fork(net, x, &side);
    x = conv_norm_relu(net, x, channels, stride);
    x = net_batch_norm(net, net_conv(net, x, channels, 3, 1, 1, false), false);
    if (stride != 1)
        side = net_shortcut(net, side, channels, stride);
    return net_relu(net, net_add(net, x, side));
}

/* He et al. 2016, section 4.2 with n = 3: 6n + 2 = 20 layers of weights. */
static struct value *build_resnet20(struct net *net)
{
    struct value *x = conv_norm_relu(net, net->input, 16, 1);
    for (int stage = 0; stage < 3; stage++)
        for (int block = 0; block < 3; block++)
            x = residual_block(net, x, 16 << stage, stage > 0 && block == 0 ? 2 : 1);
    x = net_global_pool(net, x);
    return net_logits(net, x);
}

/* A block begins as its shortcut (Goyal et al. 2017, section 5.1): gamma, the parameter
 * before the last one, is 0. */
static struct value *norm_from_zero(struct net *net, struct value *x)
{
    struct value *y = net_batch_norm(net, x, false);
    if (y)
        net->params[net->nparams - 2].fill = 0;
    return y;
}

/* 1x1, 3x3 and 1x1 convolutions; where shapes change, the shortcut is a 1x1 convolution
 * (option B of He et al. 2016). The 3x3 has the stride, as in Goyal et al. 2017. */
static struct value *bottleneck(struct net *net, struct value *x, int channels,
                                int stride, bool changes)
{
    struct value *side = NULL;
    x = net_fork(net, x, &side);
    x = net_batch_norm(net, net_conv(net, x, channels, 1, 1, 0, false), true);
    x = conv_norm_relu(net, x, channels, stride);
    x = norm_from_zero(net, net_conv(net, x, 4 * channels, 1, 1, 0, false));
    if (changes)
        side = net_batch_norm(
            net, net_conv(net, side, 4 * channels, 1, stride, 0, false), false);
    return net_relu(net, net_add(net, x, side));
}

/* He et al. 2016, table 1, 50 layers. */
static struct value *build_resnet50(struct net *net)
{
    static const int blocks[] = {3, 4, 6, 3};
    struct value *x = net_conv(net, net->input, 64, 7, 2, 3, false);
    x = net_padded_pool(net, net_batch_norm(net, x, true), NET_POOL_MAX, 3, 2, 1);
    for (int stage = 0; stage < 4; stage++)
        for (int block = 0; block < blocks[stage]; block++)
            x = bottleneck(net, x, 64 << stage, stage > 0 && block == 0 ? 2 : 1,
                           block == 0);
    return net_logits(net, net_global_pool(net, x));
}

static const struct net_kind kinds[] = {
    {"small", "2 convolutions, 2 fully connected layers", 0, build_small},
    {"vgg", "6 convolutions with batch norm, 2 fully connected layers", 0.3, build_vgg},
    {"resnet20", "20 layers with shortcuts, for 32 x 32 images", 0, build_resnet20},
    {"resnet50", "50 layers with shortcuts, for 224 x 224 images", 0, build_resnet50},
};
#define NKINDS (sizeof kinds / sizeof kinds[0])

const struct net_kind *nets_at(size_t i)
{
    return i < NKINDS ? &kinds[i] : NULL;
}

const struct net_kind *nets_find(const char *name)
{
    for (size_t i = 0; i < NKINDS; i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}

dml_status nets_make(const struct net_kind *kind, const struct net_shape *shape,
                     uint64_t seed, double dropout, struct net **net)
{
    return nets_make_on(NULL, kind, shape, seed, dropout, net);
}

dml_status nets_make_on(struct gpu *gpu, const struct net_kind *kind,
                        const struct net_shape *shape, uint64_t seed, double dropout,
                        struct net **net)
{
    CNN_TRY(net_create_on(gpu, shape, seed, dropout, net));
    return net_finish(*net, kind->build(*net));
}
