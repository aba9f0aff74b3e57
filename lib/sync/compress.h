/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A reducer's codec: which buckets it is for, and whether it pays there.
 */
#ifndef DML__SYNC_COMPRESS_H
#define DML__SYNC_COMPRESS_H

#include "sync/exchange.h"
#include "sync/reducer.h"

/* What a tensor is to the codec; buckets hold one kind only. */
enum dml__tensor_kind { DML__CODED, DML__VECTOR, DML__KEPT, DML__NTENSOR_KINDS };

/* Averages of one bucket, measured: seconds of the slowest rank, of the fastest plain
 * average and of the slowest compressed one. */
struct dml__sample {
    size_t count; /* elements; 0: not measured */
    double dense_s, total_s, encode_s, decode_s;
};

struct dml__compression {
    struct dml__codec_spec spec;
    size_t *rows;                /* [ngrads] 0 where nothing is known */
    bool rows_known;             /* vectors can be told from matrices */
    struct dml__member *members; /* [ngrads] in the order of dml_reducer.order */
    bool flush;                  /* the next step takes along what waits */
    bool any;                    /* this step compresses something, or keeps momentum */
    uint64_t next_measure;       /* after so many steps */
    struct dml__sample small, large;
    /* The lowest rank's first tensor that is not finite, as a number that is the larger
     * the lower they are; 0: all is well. */
    double fault;
    dml_request *agreement; /* on the largest fault */
};

/* Are the options' codec and rows right for these gradients? Local. */
dml_status dml__compress_check(const dml_tensor *grads, size_t ngrads,
                               const dml_reducer_opts *opts, const dml_comm *comm);
/* And for where these lie, once that is known? DML_EUNSUPPORTED. The same on all ranks;
 * local. */
dml_status dml__compress_check_places(const dml_reducer *r);
/* Sets reducer->compression where there is a codec; DML_ENOMEM. Local. */
dml_status dml__compress_open(dml_reducer *r, const dml_reducer_opts *opts);
void dml__compress_close(dml_reducer *r);

/* All ranks have the same codec and shapes, or DML_EMISMATCH. Collective. */
dml_status dml__compress_verify(dml_reducer *r);

enum dml__tensor_kind dml__compress_kind(const dml_reducer *r, size_t tensor);

/* Once the buckets are final: makes their exchanges, and decides. Collective. */
dml_status dml__compress_plan(dml_reducer *r);
/* The same for a reducer whose state then comes from elsewhere: nothing is decided.
 * Collective. */
dml_status dml__compress_replan(dml_reducer *r);
/* Sets what is compressed, from what was measured. */
void dml__compress_decide(dml_reducer *r);
/* Frees the exchanges, before the buckets. */
void dml__compress_forget(dml_reducer *r);

/* Chooses algorithms for codes in device memory by measuring, so that a codec is not
 * judged by collectives that were only assumed. Collective, within a call. */
dml_status dml__compress_measure(dml_reducer *r);

/* A step that averages begins: which buckets are compressed in it. Refuses, with
 * nothing changed, one that compresses on a device whose stream is captured. */
dml_status dml__compress_begin(dml_reducer *r);
/* A step is over, with this status: DML_ENUMERIC where a rank found a fault; measures
 * now and then. Collective. */
dml_status dml__compress_end(dml_reducer *r, dml_status status);

/* Notes a fault of a bucket just encoded, or whose momentum goes on; DML_ENOMEM or
 * DML_ECOMM where it cannot look. */
dml_status dml__compress_look(dml_reducer *r, const struct dml__bucket *b);

/* What a bucket of so many elements would take, between the two samples; count 0 where
 * nothing was measured. */
struct dml__sample dml__compress_predict(const struct dml__compression *c,
                                         size_t count);

/* Measures where that tells something, and sets what is compressed. Collective. */
dml_status dml__compress_choose(dml_reducer *r);

#endif
