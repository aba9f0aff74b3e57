/* SPDX-License-Identifier: BSD-3-Clause */
/* Batches on their way to a GPU; see gpu_feed.c. */
#ifndef CNN_GPU_FEED_H
#define CNN_GPU_FEED_H

#include "gpu.h"

enum { FEED_SLOTS = 2 };

/* Pinned memory and the device's for one pass: images [N][C][H][W], labels [N], and
 * what the kernels need of the pass. */
struct feed_slot {
    char *host, *device;
    dml_gpu_event copied, used;
};

struct feed {
    struct gpu *gpu;       /* NULL: not opened */
    dml_gpu_stream stream; /* of the copies */
    struct feed_slot slots[FEED_SLOTS];
    size_t rows, row_floats, label_at, pass_at, bytes;
    unsigned next, now; /* slots filled, and taken, so far */
};

/* rows: of the net. Close in any case. */
dml_status feed_open(struct gpu *gpu, const struct net *net, struct feed *feed);
void feed_close(struct feed *feed);

/* Is a pass on its way? */
bool feed_has(const struct feed *feed);

/* Send the batch of a pass; it may be changed when this returns. Rows that the net has
 * beyond the batch's repeat it. */
dml_status feed_put(struct feed *feed, const dml_batch *batch,
                    const struct cnn_pass *pass);

/* The next pass works on what was sent; its labels. */
dml_status feed_take(struct feed *feed, struct net *net, const int32_t **labels);

/* All work of the pass is queued. */
dml_status feed_done(struct feed *feed);

#endif
