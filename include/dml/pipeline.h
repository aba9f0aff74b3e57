/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file pipeline.h
 * The input pipeline: records of any source, in a new order each epoch, read and
 * decoded by threads into batches that are ready before the training loop asks.
 *
 * source -> order of the epoch -> this rank's part -> reader threads -> decode threads
 * -> ring of batches -> dml_pipeline_next(). Every record has its place (epoch, step,
 * row) before it is read, so threads may finish in any order: what a rank gets depends
 * on (seed, epoch) and on the sharding only. An epoch holds each record exactly once
 * over all ranks, where `uneven` does not leave some out. All memory is taken at
 * creation. Rank and number of ranks are plain integers: nothing here communicates.
 * doc/pipeline.md explains the choices.
 */
#ifndef DML_PIPELINE_H
#define DML_PIPELINE_H

#include "dml/records.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Most arrays that a batch is made of. */
#define DML_PIPELINE_FIELDS 4

/** Room for a callback's reason, with the closing zero. */
#define DML_PIPELINE_WHY 256

/** Where records come from. Copied; @p user is borrowed as long as the pipeline lives.
 */
typedef struct dml_record_source {
    void *user;
    uint64_t count;   /**< N, records 0 .. N-1; at most 2^32 - 1 */
    size_t max_bytes; /**< room that reading any one record needs; 0: none, read()
                           points to memory of its own */
    /**
     * Read record @p number: set record->data and record->bytes, and offset where
     * there is one. Data lies in @p buffer [room], or anywhere it stays valid and
     * unchanged as long as the pipeline lives. On failure return a negative status and
     * say in @p why [DML_PIPELINE_WHY] what is wrong and where.
     * Threads: called by many at once, for different records and with different
     * buffers. It may not call the pipeline.
     */
    dml_status (*read)(void *user, uint64_t number, void *buffer, size_t room,
                       dml_record *record, char *why);
    /** Say in @p place [DML_PIPELINE_WHY] where a record lies, "FILE at byte OFFSET",
     * for messages about records that cannot be decoded. NULL: their number is all that
     * is told. Threads: as read. */
    void (*locate)(void *user, uint64_t number, char *place);
} dml_record_source;

/**
 * Turn a record into one row of a batch: write all of fields[i] [field_bytes[i]].
 * record->number is the record's number in the source; what is random in decoding
 * should depend on it, on @p epoch and on a seed only. On failure return a negative
 * status and say in @p why [DML_PIPELINE_WHY] what is wrong.
 * Threads: called by many at once, for different rows. It may not call the pipeline.
 */
typedef dml_status dml_decode_fn(void *user, const dml_record *record, uint64_t epoch,
                                 void *const *fields, char *why);

/** Options of a pipeline. Fill with dml_pipeline_opts_init(), then set batch, nfields
 * and field_bytes. */
typedef struct dml_pipeline_opts {
    size_t size;   /**< sizeof(dml_pipeline_opts), set by the initialiser */
    uint64_t seed; /**< default 1 */
    bool shuffle;  /**< a new order each epoch; false: the source's; default true */

    int rank;     /**< r; default 0 */
    int nranks;   /**< P; default 1 */
    size_t batch; /**< B, records of one step over all ranks; default 0: must be set */
    const uint32_t *owner; /**< [N] rank of each record, such as a partition plan's;
                               borrowed until creation returns. Default NULL: rank r
                               takes rows [r B/P, (r+1) B/P) of each batch of the global
                               order, whichever records these are */
    dml_uneven uneven;     /**< what is done where records do not divide evenly; default
                                DML_UNEVEN_DROP */
    bool pad; /**< rows that a batch has no record for repeat this rank's records: with
                   owner those of the epoch, without those of the step; false, or
                   where the rank has none: they are zero. Neither is counted. With
                   DML_ON_ERROR_SKIP as many rows at the end as were left out are zero
                   all the same. Default false */

    dml_decode_fn *decode; /**< default NULL: field 0 gets the record's bytes and zeros
                                behind them, field 1, where there is one, its length in
                                bytes as uint64_t; more fields are refused then */
    void *user;            /**< decode's; borrowed as long as the pipeline lives */
    int nfields; /**< arrays of a batch, 1 .. DML_PIPELINE_FIELDS; default 1 */
    size_t field_bytes[DML_PIPELINE_FIELDS]; /**< bytes of one row of each array */

    dml_on_error on_error; /**< default DML_ON_ERROR_FAIL */
    int readers;           /**< threads that read, 0 .. 256; 0: the decode threads read
                                themselves, for sources in memory; default 1 */
    int decoders;          /**< threads that decode, 1 .. 256; default 1 */
    int depth;             /**< batches kept ready ahead, 1 .. 1024; default 2 */
    size_t
        memory_bytes; /**< bound on all memory that the pipeline takes; what waits
                           between reading and decoding is cut to fit. Default 1 GiB */
    /** Memory of the batches' fields, 64-byte aligned: dml_gpu_alloc_pinned() and
     * dml_gpu_free_pinned(), so that a device copies out of it at full speed. Called by
     * creation and destruction only, for each field of depth + 1 batches, which count
     * against memory_bytes; it need not be zeroed, and what release returns is not
     * looked at. Default NULL: the library's own. */
    dml_status (*alloc)(dml_ctx *ctx, size_t bytes, void **memory);
    dml_status (*release)(dml_ctx *ctx, void *memory);
} dml_pipeline_opts;

/** One rank's part of a step. Rows from count on carry no record: weigh them with 0. */
typedef struct dml_pipeline_batch {
    void *const *fields;     /**< [nfields], each [rows][field_bytes[i]]; 64-byte
                                  aligned; borrowed until the next call */
    const uint64_t *records; /**< [rows] number of the record in each row; borrowed
                                  likewise; from count on only with `pad` of meaning */
    size_t count;            /**< records of this rank in this step; may be 0 */
    size_t rows;             /**< rows in memory, the same in every step; >= count */
    size_t global_count;     /**< records of this step over all ranks, as planned: those
                                  that DML_ON_ERROR_SKIP left out count, on any rank */
    uint64_t first_row;      /**< records of lower ranks in this step, likewise */
    uint64_t epoch;          /**< 0, 1, ... */
    uint64_t step;           /**< step within the epoch, 0 .. steps-1 */
} dml_pipeline_batch;

/** A place in the sequence of batches: save it, and seek to it to go on from there. */
typedef struct dml_pipeline_state {
    uint64_t epoch;
    uint64_t step;
} dml_pipeline_state;

/** What happened so far. */
typedef struct dml_pipeline_stats {
    uint64_t batches;    /**< handed out */
    uint64_t records;    /**< decoded, repeated ones (`pad`) included */
    uint64_t bytes;      /**< of these records, as read */
    uint64_t skipped;    /**< could not be read or decoded (DML_ON_ERROR_SKIP) */
    uint64_t waits;      /**< calls of dml_pipeline_next() that had to wait */
    double wait_s;       /**< how long they did */
    double read_s;       /**< in the source's read(), summed over the threads; with
                              readers = 0 it is part of decode_s */
    double decode_s;     /**< in decoding, likewise */
    double ready_mean;   /**< batches that were ready when one was asked for, mean */
    size_t memory_bytes; /**< taken at creation */
} dml_pipeline_stats;

typedef struct dml_pipeline dml_pipeline;

/** Set all defaults. Any thread. @since 0.3 */
DML_API void dml_pipeline_opts_init(dml_pipeline_opts *opts);

/**
 * Start a pipeline and its threads, which begin with step 0 of epoch 0.
 * Not collective; to fit together, ranks give equal options but for the rank.
 * @param[in]  source    copied.
 * @param[in]  opts      borrowed until return.
 * @param[out] pipeline  returned; free with dml_pipeline_destroy().
 * @return DML_OK | DML_EINVAL (an option out of range; no records; an owner that is no
 *         rank; a batch larger than what there is with DML_UNEVEN_DROP; alloc without
 *         release, or the other way round) | DML_ENOMEM (also: memory_bytes is too
 *         small; the message says what is needed) | what alloc returns.
 * @since 0.3
 */
DML_API dml_status dml_pipeline_create(dml_ctx *ctx, const dml_record_source *source,
                                       const dml_pipeline_opts *opts,
                                       dml_pipeline **pipeline);

/** Stop the threads and free; waits for the callbacks that run now. NULL is a no-op.
 * @since 0.3 */
DML_API void dml_pipeline_destroy(dml_pipeline *pipeline);

/** Steps of one epoch, the same on all ranks. Any thread. @since 0.3 */
DML_API uint64_t dml_pipeline_steps(const dml_pipeline *pipeline);

/** Rows of this rank's batches, dml_pipeline_batch.rows. Any thread. @since 0.3 */
DML_API size_t dml_pipeline_rows(const dml_pipeline *pipeline);

/** Records of a step over all ranks, as planned: what cannot be decoded and is skipped
 * counts. Any thread. @since 0.3 */
DML_API uint64_t dml_pipeline_global_count(const dml_pipeline *pipeline, uint64_t step);

/**
 * The next batch; epochs follow each other without end. Waits if it is not ready yet.
 * Gives the batch of the call before back to the pipeline. With DML_ON_ERROR_SKIP, rows
 * that could not be decoded are left out, and count is that much smaller.
 * Threads: one at a time.
 * @param[out] batch  its memory is the pipeline's.
 * @return DML_OK | DML_EINVAL | with DML_ON_ERROR_FAIL the status of the step's first
 *         record that could not be read or decoded; every later call returns it too,
 *         until a seek. Steps before it are handed out.  @since 0.3
 */
DML_API dml_status dml_pipeline_next(dml_pipeline *pipeline, dml_pipeline_batch *batch);

/** The place of the batch that dml_pipeline_next() hands out next. Not at the same time
 * as next or seek. @since 0.3 */
DML_API void dml_pipeline_get_state(const dml_pipeline *pipeline,
                                    dml_pipeline_state *state);

/**
 * Go to a place; what was prepared is dropped. The batch in hand stays as it is until
 * the next call of dml_pipeline_next(). Threads: as next.
 * @return DML_OK | DML_EINVAL (no such step).  @since 0.3
 */
DML_API dml_status dml_pipeline_seek(dml_pipeline *pipeline,
                                     const dml_pipeline_state *state);

/** Figures so far. Any thread. @since 0.3 */
DML_API void dml_pipeline_get_stats(dml_pipeline *pipeline, dml_pipeline_stats *stats);

/* ---- record files as a source ------------------------------------------------- */

/** Record files one after the other: the records of the first file come first. */
typedef struct dml_record_set dml_record_set;

/**
 * Open record files for random access. Each needs its index, PATH.index.
 * Not collective.
 * @param[in]  paths  [npaths] copied; at least one.
 * @param[in]  check  compare the checksums of the data.
 * @param[out] set    returned; free with dml_record_set_close().
 * @return DML_OK | as dml_record_index_open() and dml_record_file_open().  @since 0.3
 */
DML_API dml_status dml_record_set_open(dml_ctx *ctx, const char *const *paths,
                                       size_t npaths, bool check, dml_record_set **set);

/** The set as a pipeline's source; the set must outlive the pipeline. Any thread.
 * @since 0.3 */
DML_API void dml_record_set_source(dml_record_set *set, dml_record_source *source);

/** Place, key and weight of record @p number in its file; NULL if there is none such.
 * Lives as long as the set. Any thread. @since 0.3 */
DML_API const dml_record_entry *dml_record_set_entry(const dml_record_set *set,
                                                     uint64_t number);

/** Free; NULL is a no-op. @since 0.3 */
DML_API void dml_record_set_close(dml_record_set *set);

#ifdef __cplusplus
}
#endif
#endif
