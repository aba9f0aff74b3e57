/* SPDX-License-Identifier: BSD-3-Clause */
/* How the ranks' copies of a net are kept equal and updated; see replica.c. */
#ifndef CNN_REPLICA_H
#define CNN_REPLICA_H

#include "../common/job.h"
#include "net.h"
#include "options.h"

#include <jansson.h>

struct replica {
    struct job *job;
    const struct cnn_options *options;
    struct net *net;
    dml_reducer *reducer; /* with optim; both NULL when sharded */
    dml_optim *optim;
    dml_sharded *sharded;
    dml_request *head; /* when sharded: the loss on its way */

    uint16_t *params16, *grads16; /* [net->nparam_floats] bf16, or NULL */
    bool stale[NET_MAX_PARAMS];   /* the net's f32 values are older than params16 */
    float *plain;                 /* what a codec sees: the head, then gradients in
                                     row-major order; or NULL */
    float *plain_at[NET_MAX_PARAMS];
    char codec[DML_CODEC_TEXT_MAX];
    double comm_s; /* seconds in communication */
};

/* One line for options that do not go together, or that libdml refuses. */
dml_status replica_check(struct job *job, const struct cnn_options *options);

/* Do gradients go through a codec, if not always? */
bool replica_has_codec(const struct cnn_options *options);

/* Collective; rank 0's values become all ranks'. Destroy in any case. */
dml_status replica_create(struct job *job, const struct cnn_options *options,
                          struct net *net, struct replica *replica);
void replica_destroy(struct replica *replica);

/* A step: begin; ready for the head (param = net->nparams) and then for each parameter;
 * average, after which the head holds the averages over all ranks; update, whose
 * momentum is looked at with --low-momentum only. */
dml_status replica_begin(struct replica *replica, bool last_step);
dml_status replica_ready(struct replica *replica, int param);
dml_status replica_average(struct replica *replica);
dml_status replica_update(struct replica *replica, double rate, double momentum);

/* That of the whole tensors, or when sharded of this rank's pieces. */
dml_optim *replica_optim(const struct replica *replica);

/* Keep libdml's line; on a number that is not finite, what a user can do. */
dml_status replica_note(struct replica *replica, dml_status status);

/* All parameters are there, before they are tested or written. Collective. */
dml_status replica_settle(struct replica *replica);

/* The same for a net on a GPU; see replica_gpu.c. Checks: what goes with --device. */
dml_status replica_gpu_check_kernels(struct job *job,
                                     const struct cnn_options *options);
dml_status replica_gpu_check(struct job *job, const struct cnn_options *options);
dml_status replica_gpu_bcast(struct replica *replica);
dml_status replica_gpu_settle(struct replica *replica);
/* Before the first layer: what it reads of all parameters at once has come. */
dml_status replica_gpu_need(struct replica *replica);

/* Why steps cannot be graphs, or NULL; see trainer_graph.c. */
const char *replica_gpu_graph_lack(const struct cnn_options *options);

/* The step, which has been done, met no number that is not finite. */
dml_status replica_gpu_check_step(struct replica *replica);

/* A step that was begun is not done, and begun anew. */
void replica_gpu_abandon(struct replica *replica);

/* What was chosen, for the report; a new object. */
json_t *replica_report(const struct replica *replica);

/* Seconds that this rank waited for others. */
double replica_wait_s(const struct replica *replica);

#endif
