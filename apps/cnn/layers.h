/* SPDX-License-Identifier: BSD-3-Clause */
/* The layers' makers of the processor and of a GPU: see struct net_backend. */
#ifndef CNN_LAYERS_H
#define CNN_LAYERS_H

#include "net.h"

#define CNN_MAKERS(PLACE)                                                              \
    struct value *PLACE##_make_conv(struct net *net, struct value *x, int channels,    \
                                    const struct net_window *window, bool bias);       \
    struct value *PLACE##_make_linear(struct net *net, struct value *x, int outputs,   \
                                      bool logits);                                    \
    struct value *PLACE##_make_pool(struct net *net, struct value *x,                  \
                                    enum net_pool kind,                                \
                                    const struct net_window *window);                  \
    struct value *PLACE##_make_batch_norm(struct net *net, struct value *x,            \
                                          bool relu);                                  \
    struct value *PLACE##_make_relu(struct net *net, struct value *x);                 \
    struct value *PLACE##_make_dropout(struct net *net, struct value *x,               \
                                       double probability);                            \
    struct value *PLACE##_make_fork(struct net *net, struct value *x,                  \
                                    struct value **second);                            \
    struct value *PLACE##_make_add(struct net *net, struct value *x, struct value *y); \
    struct value *PLACE##_make_shortcut(struct net *net, struct value *x,              \
                                        int channels, int stride);

CNN_MAKERS(dnn)
CNN_MAKERS(gpu)

/* The same as members of a struct net_backend. */
#define CNN_MAKER_ROWS(PLACE)                                         \
    .conv = PLACE##_make_conv, .linear = PLACE##_make_linear,         \
    .pool = PLACE##_make_pool, .batch_norm = PLACE##_make_batch_norm, \
    .relu = PLACE##_make_relu, .dropout = PLACE##_make_dropout,       \
    .fork = PLACE##_make_fork, .add = PLACE##_make_add,               \
    .shortcut = PLACE##_make_shortcut

/* Initial weights: He et al. 2015, equation 10: variance 2 / (inputs of one output);
 * those that give the logits have 0.01 (Goyal et al. 2017, section 5.1), so that
 * training starts from equal probabilities. */
double net_init_stddev(const struct param *weight, bool logits);

#endif
