/* SPDX-License-Identifier: BSD-3-Clause */
/* Steps of data-parallel training; see trainer.c. */
#ifndef CNN_TRAINER_H
#define CNN_TRAINER_H

#include "../common/job.h"
#include "dataset.h"
#include "gpu_feed.h"
#include "layout.h"
#include "nets.h"
#include "options.h"
#include "replica.h"

#define TRAINER_MAX_MILESTONES 16

/* Passes as graphs: for each slot of the feed the first pass of a step, one between,
 * the last, and the only one; see trainer_graph.c. */
enum { GRAPH_KINDS = 4 * FEED_SLOTS };

struct pass_graphs {
    dml_gpu_graph made[GRAPH_KINDS];
    bool wanted, tried, replayed;
    uint64_t first_step; /* from which on passes are captured */
    char why[512];       /* not */
};

/* What a trainer on a GPU has beside; see trainer_gpu.c. */
struct device_work {
    struct gpu gpu;
    struct feed feed;
    struct pass_graphs graphs;
    dml_gpu_event known;   /* the averaged head has come to the host: */
    float *head;           /* [NET_HEAD] pinned */
    double *rate;          /* pinned: a graph reads it there */
    float *sum;            /* device memory: gradients of earlier passes of a step */
    int64_t pass;          /* in progress, */
    const int32_t *labels; /* and of its images */
    /* The next pass to be sent, and images of its step before it. */
    uint64_t sent_step, sent_rows;
    int64_t sent_pass;
};

struct trainer {
    struct job *job;
    const struct cnn_options *options;
    struct net *net;
    dml_loader *loader;
    struct layout layout;
    struct replica replica;
    struct device_work device;
    dml_lr schedule;
    uint64_t milestones[TRAINER_MAX_MILESTONES];
    float *sum; /* [net->nparam_floats] gradients of earlier passes of a step */
    bool
        last_pass; /* the pass in progress ends the step: gradients go to the reducer */
    size_t even_rows;  /* of one pass, were images even over the ranks */
    size_t rows;       /* of one pass on this rank, in the net */
    size_t least_rows; /* the same on the rank that has the fewest */
    float *filled;     /* [rows][C][H][W] where batches have fewer rows, else NULL */
    uint64_t epoch_steps, nsteps, step; /* nsteps: of the whole training */
    uint64_t images, pixels; /* of the training set: their number, and a mark of them */
    uint64_t epoch_samples;  /* images of an epoch that are trained on */
    uint64_t samples;        /* in all steps so far */
    uint64_t step_samples, rows_before; /* of the step; of its passes before this one */
    /* Of the newest step, over the global batch. */
    double loss, accuracy, rate;
    /* Seconds on this rank since the start. */
    double step_s, data_s;
};

/* From a snapshot, or with NULL anew. Collective; on failure the line has been printed.
 * Destroy in any case. */
dml_status trainer_create(struct job *job, const struct cnn_options *options,
                          const struct dataset *set, const dml_snapshot *snapshot,
                          struct trainer *trainer);
void trainer_destroy(struct trainer *trainer);

/* One step: forward, backward with averaging, update. Collective. DML_ENUMERIC, on all
 * ranks at once, when the loss is not finite: the parameters are untouched then, but on
 * a GPU they may have changed. */
dml_status trainer_step(struct trainer *trainer);

/* Images of a step over all ranks and passes. */
uint64_t trainer_count_samples(const struct trainer *trainer, uint64_t step);

/* Update by the averaged gradients. */
dml_status trainer_update(struct trainer *trainer);

/* Where the net is on a GPU (else open and close do nothing): a step, until its loss is
 * known; and whether its gradients were finite. */
dml_status trainer_gpu_open(struct trainer *trainer);
void trainer_gpu_close(struct trainer *trainer);
dml_status trainer_gpu_step(struct trainer *trainer);
dml_status trainer_gpu_check(struct trainer *trainer);

/* The work of a pass that is the same in every step, and with the last one the rest of
 * the step: queued one by one, or as a graph (--graph). */
dml_status trainer_gpu_queue(struct trainer *trainer);
dml_status trainer_graph_pass(struct trainer *trainer);
void trainer_graph_open(struct trainer *trainer);
void trainer_graph_close(struct trainer *trainer);

/* For the report: "captured", or "plain: " and why. */
void trainer_graph_tell(const struct trainer *trainer, char *text, size_t room);

/* Make a net for this rank's rows, on a GPU unless that is NULL; the same layouts on
 * all ranks or an error. Collective, agreed. */
dml_status trainer_make_net(struct job *job, struct gpu *gpu, const char *kind,
                            const struct net_shape *shape, uint64_t seed,
                            double dropout, struct net **net);

/* The device of --device: *use is gpu when it is opened, and NULL for the processor.
 * Collective, agreed. */
dml_status trainer_open_device(struct job *job, const struct cnn_options *options,
                               struct gpu *gpu, struct gpu **use);

double trainer_now_s(void);

#endif
