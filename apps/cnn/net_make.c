/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The building calls of a net: what holds for every device is checked here, and the
 * layer made by the net's backend.
 */
#include "net.h"

static struct value *misuse(struct net *net, const char *text)
{
    (void)net_misuse(net, text);
    return NULL;
}

int net_output_side(const struct value *x, int side, const struct net_window *window)
{
    int padded = (int)x->dims[2 + side] + 2 * window->pad;
    return (padded - window->kernel[side]) / window->stride + 1;
}

static bool is_input(const struct value *x)
{
    return x->grad_group < 0;
}

struct value *net_conv(struct net *net, struct value *x, int channels, int kernel,
                       int stride, int pad, bool bias)
{
    const struct net_window window = {{kernel, kernel}, stride, pad};
    if (!x)
        return NULL;
    if (x->ndims != 4 || x->dims[2] + 2 * pad < kernel || x->dims[3] + 2 * pad < kernel)
        return misuse(net, "a convolution's kernel is larger than its input");
    return net->backend->conv(net, x, channels, &window, bias);
}

struct value *net_linear(struct net *net, struct value *x, int outputs)
{
    return x ? net->backend->linear(net, x, outputs, false) : NULL;
}

struct value *net_logits(struct net *net, struct value *x)
{
    return x ? net->backend->linear(net, x, (int)net->shape.classes, true) : NULL;
}

static struct value *make_pool(struct net *net, struct value *x, enum net_pool kind,
                               const struct net_window *window)
{
    const int *kernel = window->kernel, pad = window->pad;
    if (x->ndims != 4 || x->dims[2] + 2 * pad < kernel[0] ||
        x->dims[3] + 2 * pad < kernel[1])
        return misuse(net, "a pool's window is larger than its input");
    if (pad >= kernel[0] || pad >= kernel[1])
        return misuse(net, "a pool's window may lie outside the image");
    return net->backend->pool(net, x, kind, window);
}

struct value *net_padded_pool(struct net *net, struct value *x, enum net_pool kind,
                              int kernel, int stride, int pad)
{
    const struct net_window window = {{kernel, kernel}, stride, pad};
    return x ? make_pool(net, x, kind, &window) : NULL;
}

struct value *net_max_pool(struct net *net, struct value *x, int kernel, int stride)
{
    return net_padded_pool(net, x, NET_POOL_MAX, kernel, stride, 0);
}

struct value *net_avg_pool(struct net *net, struct value *x, int kernel, int stride)
{
    return net_padded_pool(net, x, NET_POOL_AVERAGE, kernel, stride, 0);
}

struct value *net_global_pool(struct net *net, struct value *x)
{
    if (!x)
        return NULL;
    const struct net_window window = {{(int)x->dims[2], (int)x->dims[3]}, 1, 0};
    return make_pool(net, x, NET_POOL_AVERAGE, &window);
}

struct value *net_batch_norm(struct net *net, struct value *x, bool relu)
{
    if (!x)
        return NULL;
    if (x->ndims != 4 || is_input(x))
        return misuse(net, "batch normalisation needs images and a layer before it");
    return net->backend->batch_norm(net, x, relu);
}

static const char in_place_behind_fork[] =
    "a layer that works in place cannot stand right behind a fork, whose other side "
    "reads the same memory";

static struct value *made_in_place(struct value *y)
{
    if (y)
        y->in_place = true;
    return y;
}

struct value *net_relu(struct net *net, struct value *x)
{
    if (!x)
        return NULL;
    if (is_input(x))
        return misuse(net, "a net cannot begin with a layer that works in place");
    if (x->forked)
        return misuse(net, in_place_behind_fork);
    return made_in_place(net->backend->relu(net, x));
}

struct value *net_dropout(struct net *net, struct value *x, double probability)
{
    if (!x || probability <= 0)
        return x;
    if (is_input(x) || probability >= 1)
        return misuse(net, "dropout needs a probability below 1 and a layer before it");
    if (x->forked)
        return misuse(net, in_place_behind_fork);
    return made_in_place(net->backend->dropout(net, x, probability));
}

struct value *net_fork(struct net *net, struct value *x, struct value **second)
{
    *second = NULL;
    if (!x)
        return NULL;
    if (is_input(x))
        return misuse(net, "a net cannot begin with a fork");
    struct value *first = net->backend->fork(net, x, second);
    if (first)
        first->forked = (*second)->forked = true;
    return first;
}

/* Both terms get the sum's gradient: one memory is the gradient of all three, if it has
 * one layout. */
static void share_gradient(struct net *net, const struct value *x,
                           const struct value *y)
{
    int group = y->grad_group;
    for (int i = 0; i < net->nvalues; i++)
        if (net->values[i].grad_group == group)
            net->values[i].grad_group = x->grad_group;
}

struct value *net_add(struct net *net, struct value *x, struct value *y)
{
    if (!x || !y)
        return NULL;
    bool same = x->ndims == y->ndims;
    for (int d = 0; d < x->ndims; d++)
        same = same && x->dims[d] == y->dims[d];
    if (!same)
        return misuse(net, "the terms of a sum differ in shape");
    /* The sum lies where its first term does, and the gradient of all three in one
     * place, which each term's maker must find as the sum has left it. */
    if (x->in_place || x->forked || y->in_place)
        return misuse(net, "a sum needs terms whose layers do not work in place, and a "
                           "first one that nobody else reads");
    if (net->gpu || dnnl_memory_desc_equal(&x->md, &y->md))
        share_gradient(net, x, y);
    return net->backend->add(net, x, y);
}

struct value *net_shortcut(struct net *net, struct value *x, int channels, int stride)
{
    if (!x)
        return NULL;
    if (x->ndims != 4 || is_input(x) || channels < x->dims[1])
        return misuse(net, "a shortcut cannot drop channels or begin a net");
    return net->backend->shortcut(net, x, channels, stride);
}
