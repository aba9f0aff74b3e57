/* SPDX-License-Identifier: BSD-3-Clause */
/* Batches on their way to a GPU; see gpu_feed.c. */
#ifndef CNN_GPU_FEED_H
#define CNN_GPU_FEED_H

#include "gpu.h"

enum { FEED_SLOTS = 2 };

/* The device's memory for one pass: bytes of images [N][C][H][W], their areas [N],
 * labels [N], and what the kernels need of the pass; all but the images are put
 * together in pinned memory. */
struct feed_slot {
    char *host, *device;
    dml_gpu_event copied, used;
};

struct feed {
    struct gpu *gpu;       /* NULL: not opened */
    dml_gpu_stream stream; /* of the copies */
    struct feed_slot slots[FEED_SLOTS];
    void *values; /* device memory: what bytes become */
    size_t rows, row_bytes, area_at, label_at, pass_at, bytes;
    unsigned next, now; /* slots filled, and taken, so far */
};

/* A loader whose batches go to a feed: bytes, in pinned memory. */
void feed_loader(dml_loader_opts *opts);

/* For batches of bytes, with the values of their loader. Close in any case. */
dml_status feed_open(struct gpu *gpu, const struct net *net, const float *values,
                     struct feed *feed);
void feed_close(struct feed *feed);

/* Is a pass on its way? */
bool feed_has(const struct feed *feed);

/* Wait until what was sent has left the host: its batch may go back to the loader, and
 * the next one be sent. */
dml_status feed_wait_sent(struct feed *feed);

/* Send the batch of a pass, whose images are copied straight from it. Rows that the net
 * has beyond the batch's repeat it. */
dml_status feed_put(struct feed *feed, const dml_batch *batch,
                    const struct cnn_pass *pass);

/* The next pass works on what was sent; its labels. */
dml_status feed_take(struct feed *feed, struct net *net, const int32_t **labels);

/* All work of the pass is queued. */
dml_status feed_done(struct feed *feed);

/* What was put with the pass that is done last, and its labels on the host, until
 * another two are put. */
const struct cnn_pass *feed_done_pass(const struct feed *feed, const int32_t **labels);

#endif
