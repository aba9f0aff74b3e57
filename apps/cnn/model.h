/* SPDX-License-Identifier: BSD-3-Clause */
/* Model files: trained weights with what is needed to use them; see model.c. */
#ifndef CNN_MODEL_H
#define CNN_MODEL_H

#include "net.h"

#include <stdio.h>

#define MODEL_MAX_CHANNELS 16

struct model_info {
    char net[32];
    struct net_shape shape;                                     /* rows is not stored */
    float mean[MODEL_MAX_CHANNELS], stddev[MODEL_MAX_CHANNELS]; /* of the input */
};

/* A model file in memory. */
struct model {
    const char *path; /* borrowed, for error lines */
    unsigned char *bytes;
    size_t size, at;
    struct model_info info;
};

/* On failure these leave one line in error. */
dml_status model_write(FILE *file, struct net *net, const struct model_info *info,
                       char *error, size_t error_bytes);
dml_status model_open(const char *path, struct model *model, char *error,
                      size_t error_bytes);
/* Once: "net" must be of the kind and shape that model->info says. */
dml_status model_load(struct model *model, struct net *net, char *error,
                      size_t error_bytes);
void model_close(struct model *model);

#endif
