/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Averaging one vector over the ranks by a codec: a list of stages, each of which does
 * local work and starts one collective. Which stages depends on the form of the code;
 * one file each.
 *
 * Where the vector lies on a device, so do the codes: local work is queued in the
 * stream of lib/sync/device.h, the collectives are those of device memory, and one that
 * is only queued has no request.
 */
#ifndef DML__EXCHANGE_H
#define DML__EXCHANGE_H

#include "dml/coll.h"

#include "compress/codec.h"

enum { DML__MOST_STAGES = 3 };

/* A tensor within the vector, in elements. */
struct dml__member {
    size_t offset, count, rows;
    size_t tensor; /* its number among all gradients */
};

/* Local work before a stage's collective, or after the last: its ends in the stream. */
struct dml__span {
    void *from, *to;
};

/* A codec and what it is of: the whole vector, a member, or this rank's share. */
struct dml__exchange_codec {
    dml_codec *codec;
    size_t offset; /* of its elements in the data */
    float weight;  /* of its residual in this rank's gradient */
};

struct dml__exchange;
struct dml__sync_device;

struct dml__form_ops {
    int stages;
    /* Codecs and memory; local. What it leaves when it fails is freed by close. */
    dml_status (*open)(struct dml__exchange *x);
    /* Starts stage 0, 1 ...; the one before it is complete. */
    dml_status (*start)(struct dml__exchange *x, int stage);
    /* When all are complete: data = the average. */
    dml_status (*finish)(struct dml__exchange *x);
    /* Sets the code's length, where it differs from step to step; else NULL. */
    void (*size)(struct dml__exchange *x);
};

struct dml__exchange {
    dml_comm *comm;
    const struct dml__codec_spec *spec;
    const struct dml__form_ops *ops;
    struct dml__sync_device *device; /* where data and codes lie; NULL: on the host */
    int rank, nranks;
    float *data; /* [count] gradient, then average */
    float *own;  /* [count] where the data are the exchange's; else NULL (host) */
    size_t count;
    const struct dml__member *members; /* [nmembers] of the data; the owner's */
    size_t nmembers;
    uint64_t stream;
    struct dml__exchange_codec *codecs; /* [ncodecs] */
    size_t ncodecs;
    char *send, *recv; /* codes */
    size_t code_bytes, wire_bytes;
    uint32_t top; /* largest magnitude met in this step (host) */
    double encode_s,
        decode_s; /* of this step so far; on a device what the host took, */
    bool timed;   /* unless spans are taken: see read_times */
    int part;     /* the stage under way; DML__MOST_STAGES: what follows */
    struct dml__span spans[DML__MOST_STAGES + 1];
    uint64_t steps; /* compressed so far */
    dml_request *request;
};

extern const struct dml__form_ops dml__form_same_indices, dml__form_shards,
    dml__form_sparse, dml__form_factors;

/* Local; "data", "spec", "members" and "device" are borrowed until close. Without data,
 * which is for the host, the exchange has memory of its own for them. */
dml_status dml__exchange_open(dml_comm *comm, const struct dml__codec_spec *spec,
                              struct dml__sync_device *device, float *data,
                              size_t count, const struct dml__member *members,
                              size_t nmembers, uint64_t stream,
                              struct dml__exchange **exchange);
void dml__exchange_close(struct dml__exchange *exchange);

int dml__exchange_stages(const struct dml__exchange *exchange);
dml_status dml__exchange_start(struct dml__exchange *exchange, int stage);
dml_status dml__exchange_finish(struct dml__exchange *exchange);

/* On a device, of a step that was "timed" and has been waited for: sets encode_s and
 * decode_s to what local work took there. */
dml_status dml__exchange_read_times(struct dml__exchange *exchange);

/* The reducer's steps so far, by which dgc's warm-up goes. */
void dml__exchange_age(struct dml__exchange *exchange, uint64_t steps);

/* Must a gradient that is sent whole take something along? Then data += what waits, and
 * "top" is of what is kept. */
bool dml__exchange_waits(const struct dml__exchange *exchange);
dml_status dml__exchange_flush(struct dml__exchange *exchange);
/* On a device: sets "top" of a step that is over. Waits where something is wrong. */
dml_status dml__exchange_look(struct dml__exchange *exchange);
/* Forgets what waits. */
void dml__exchange_clear(struct dml__exchange *exchange);

/* For the forms: the list of codecs, and one of them. */
dml_status dml__exchange_codecs(struct dml__exchange *x, size_t ncodecs);
dml_status dml__exchange_add(struct dml__exchange *x, size_t index,
                             const struct dml__member *where, uint64_t stream);
/* And the memory of the codes. */
dml_status dml__exchange_memory(struct dml__exchange *x, size_t send_bytes,
                                size_t recv_bytes);

/* The status of local work, which ends a span; where it failed on a device the
 * communicator ends, since the others would wait for this rank in the collectives that
 * follow. */
dml_status dml__exchange_local(struct dml__exchange *x, dml_status status);

/* Prepare, code and decode, wherever the exchange's vectors lie; what is found goes
 * into "top". */
dml_status dml__exchange_prepare(struct dml__exchange *x, dml_codec *codec,
                                 const float *g);
dml_status dml__exchange_encode(struct dml__exchange *x, dml_codec *codec,
                                const float *g, void *code);
dml_status dml__exchange_decode(struct dml__exchange *x, const dml_codec *codec,
                                const void *code, float scale, bool add, float *dst);

/* What a rank sends in a ring's all-reduce of so many bytes. */
size_t dml__allreduce_bytes(const struct dml__exchange *x, size_t bytes);

#endif
