/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file data.h
 * Image data sets and the loader that feeds a training loop.
 *
 * A data set is read whole into memory (bytes as stored). A loader walks over it epoch
 * by epoch and prepares batches in a background thread. Which images form step s of
 * epoch e, in which order, and how each is augmented depends on (seed, e) only, never
 * on the number of ranks or threads: rank r of P gets rows [r B/P, (r+1) B/P) of the
 * global batch of B. Rank and number of ranks are plain integers: nothing here
 * communicates.
 */
#ifndef DML_DATA_H
#define DML_DATA_H

#include "dml/ctx.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What a reader of files does with a line or record that is not as it should be. */
typedef enum dml_on_error {
    DML_ON_ERROR_FAIL = 0, /**< fail: the message names file, line or offset */
    DML_ON_ERROR_SKIP = 1  /**< leave it out and count it; the first is logged */
} dml_on_error;

/**
 * What is done where an epoch's records do not divide evenly into steps and ranks. B is
 * the batch over all ranks, P the number of ranks.
 */
typedef enum dml_uneven {
    /** An epoch ends where the first rank has no full batch left: the rest is left out.
     */
    DML_UNEVEN_DROP = 0,
    /** An epoch ends with the longest shard. Its last batches are shorter, and a rank
     * that has run out gets batches of count 0: it joins in the others' steps. */
    DML_UNEVEN_JOIN = 1,
    /** An epoch has ceil(records / B) steps, over which every rank spreads its shard:
     * ranks take part in each step in proportion to what they hold, and end together.
     * A step has at most B + P - 1 records. */
    DML_UNEVEN_SHARE = 2
} dml_uneven;

/** A set of labelled images in memory: N x C x H x W bytes, and N labels. */
typedef struct dml_images dml_images;

/** Shape of a data set. */
typedef struct dml_images_info {
    size_t count;    /**< N images */
    size_t channels; /**< C */
    size_t height;   /**< H */
    size_t width;    /**< W */
    size_t nclasses; /**< largest label + 1 */
} dml_images_info;

/**
 * Read an image file and a label file in idx format, plain or gzip.
 * Not collective.
 * @param[in]  images_path, labels_path  borrowed until return.
 * @param[out] images  returned; free with dml_images_destroy().
 * @return DML_OK | DML_EIO (cannot open or read) | DML_EFORMAT (wrong magic, cut short,
 *         longer than its header says, counts of the two files differ) | DML_ENOMEM.
 * Source: LeCun, The MNIST database (idx format).  Threads: any.  @since 0.1
 */
DML_API dml_status dml_images_open_idx(dml_ctx *ctx, const char *images_path,
                                       const char *labels_path, dml_images **images);

/**
 * Read files in the CIFAR-10 binary format (records of 1 + 3 x 32 x 32 bytes), plain or
 * gzip, one after the other.
 * Not collective. @param[in] paths [npaths] borrowed until return.
 * @return as dml_images_open_idx(); DML_EFORMAT also for a label above 9;
 *         DML_EINVAL without a path.
 * Source: Krizhevsky 2009.  Threads: any.  @since 0.1
 */
DML_API dml_status dml_images_open_cifar10(dml_ctx *ctx, const char *const *paths,
                                           size_t npaths, dml_images **images);

/**
 * Read images from record files (records.h), plain or gzip, one after the other, as
 * "dml-records convert" makes them. A record is one image: channels, height, width and
 * label as 32-bit numbers, little endian, then the pixels [C][H][W].
 * Not collective. @param[in] paths [npaths] borrowed until return.
 * @return as dml_images_open_idx(); DML_EFORMAT also for a record that is no image, has
 *         a label above 65535 or another shape than the first; DML_EINVAL without a
 * path. Threads: any.  @since 0.3
 */
DML_API dml_status dml_images_open_records(dml_ctx *ctx, const char *const *paths,
                                           size_t npaths, dml_images **images);

/**
 * Make images up, to measure speed and to test by: each is the pattern of its class and
 * as much noise, all a function of the arguments, so equal on all ranks.
 * Not collective.
 * @param[in] shape  count, channels, height, width, nclasses: image i has label i mod
 *                   nclasses.
 * @param part  other noise on the same patterns: 0 to train, 1 to test.
 * @return DML_OK | DML_EINVAL (a 0; a side, channels or classes above 65536) |
 *         DML_ENOMEM.  Threads: any.  @since 0.4
 */
DML_API dml_status dml_images_make(dml_ctx *ctx, const dml_images_info *shape,
                                   uint64_t seed, uint32_t part, dml_images **images);

/** Free; no loader may use it. NULL is a no-op. @since 0.1 */
DML_API void dml_images_destroy(dml_images *images);

/** Shape. Any thread. @since 0.1 */
DML_API void dml_images_get_info(const dml_images *images, dml_images_info *info);

/** Mean and standard deviation of all pixels of each channel, as fractions of 255.
 * @param[out] mean, stddev  [C].  Any thread.  @since 0.1 */
DML_API void dml_images_moments(const dml_images *images, float *mean, float *stddev);

/** One image's bytes [C][H][W], which live as long as the set, and its label.
 * @param[in]  image  below N.  @param[out] label  may be NULL.  Any thread.  @since 0.3
 */
DML_API const uint8_t *dml_images_pixels(const dml_images *images, size_t image,
                                         int32_t *label);

/** Options of a loader. Fill with dml_loader_opts_init(). */
typedef struct dml_loader_opts {
    size_t size;    /**< sizeof(dml_loader_opts), set by the initialiser */
    uint64_t seed;  /**< default 1 */
    size_t batch;   /**< B, images of one step over all ranks; default 128 */
    int rank;       /**< r; default 0 */
    int nranks;     /**< P; default 1 */
    bool shuffle;   /**< a new order each epoch; default true */
    bool drop_last; /**< true: an epoch ends at the last full batch. false: the last
                         batch is shorter, and some ranks may get none; default
                         true. Not looked at with owner */
    const uint32_t *owner; /**< [N] rank that each image belongs to, or NULL (default):
                                to none; borrowed until creation returns. B need not be
                                divisible by P then */
    dml_uneven uneven; /**< with owner, what is done where ranks own unequal numbers of
                            images; default DML_UNEVEN_SHARE */
    bool pad;  /**< rows for which a batch has no image repeat this rank's images: with
                    owner those of the epoch, without those of the step; false, or
                    where the rank has none: they are 0. Default false */
    int shift; /**< random shift by -shift .. shift pixels each way, zero-filled
                    (the mean, after normalisation); default 0 */
    bool flip; /**< random left-right flip; default false */
    const float *mean; /**< [C] or NULL: 0. A pixel becomes (byte/255 - mean)/stddev */
    const float *stddev; /**< [C] or NULL: 1. Both copied */
    int depth;           /**< batches prepared ahead; default 2 */
    int threads;         /**< that prepare them, 1 .. 256; default 1 */
    dml_dtype dtype; /**< of pixels: DML_F32 (default), or DML_U8: bytes, a quarter of
                          the memory, for a device that normalises them itself */
    /** Memory of the batches, as in dml_pipeline_opts; default NULL: the library's. */
    dml_status (*alloc)(dml_ctx *ctx, size_t bytes, void **memory);
    dml_status (*release)(dml_ctx *ctx, void *memory);
} dml_loader_opts;

/** Where an image is in its row of a batch, after a shift: lines top .. bottom-1 and
 * columns left .. right-1. Nowhere, all 0, in a row that has no image.  @since 0.4 */
typedef struct dml_image_area {
    uint32_t top, left, bottom, right;
} dml_image_area;

/**
 * One rank's part of a step. Rows from count on carry no image: weigh them with 0.
 *
 * With DML_U8 pixel (c, y, x) of a row has the value dml_loader_values()[c][byte] where
 * (y, x) is in the row's area, and 0 elsewhere: the bits that DML_F32 gives.
 */
typedef struct dml_batch {
    const float *images;   /**< [rows][C][H][W] normalised; borrowed until the next
                                call; NULL with DML_U8 */
    const int32_t *labels; /**< [rows] borrowed likewise */
    size_t count;          /**< images of this rank; 0 is possible without drop_last */
    size_t rows;           /**< in memory, the same in every step; at least count */
    size_t global_count;   /**< images of this step over all ranks */
    uint64_t first_row;    /**< images of lower ranks in this step */
    uint64_t epoch;        /**< 0, 1, ... */
    uint64_t step;         /**< step within the epoch, 0 .. steps-1 */
    const uint8_t *bytes;  /**< [rows][C][H][W] after shift and flip, 0 outside of the
                                areas; borrowed likewise; NULL with DML_F32 */
    const dml_image_area *areas; /**< [rows] likewise */
} dml_batch;

typedef struct dml_loader dml_loader;

/** Set all defaults. Any thread. @since 0.1 */
DML_API void dml_loader_opts_init(dml_loader_opts *opts);

/**
 * Start a loader, a pipeline (see pipeline.h) of images in memory, and its background
 * threads; all its memory is allocated here.
 * Not collective.
 * @param[in]  images  borrowed until the loader is destroyed.
 * @param[out] loader  returned; free with dml_loader_destroy().
 * @return DML_OK | DML_EINVAL (batch 0, larger than the data with drop_last, or not
 *         divisible by the ranks; rank out of range; an owner that is no rank; shift
 *         not below the image's sides; depth not 1 .. 1024; a stddev not above 0;
 *         another dtype; alloc without release) | DML_ENOMEM | what alloc returns.
 * @since 0.1
 */
DML_API dml_status dml_loader_create(dml_ctx *ctx, const dml_images *images,
                                     const dml_loader_opts *opts, dml_loader **loader);

/** Stop and free. NULL is a no-op. @since 0.1 */
DML_API void dml_loader_destroy(dml_loader *loader);

/** Steps of one epoch, the same on all ranks. @since 0.1 */
DML_API uint64_t dml_loader_steps(const dml_loader *loader);

/** Rows of this rank's batches, dml_batch.rows. @since 0.3 */
DML_API size_t dml_loader_rows(const dml_loader *loader);

/** What each byte of a channel becomes: [C][256], as long as the loader lives.
 * Any thread. @since 0.4 */
DML_API const float *dml_loader_values(const dml_loader *loader);

/** Images of a step over all ranks. @since 0.3 */
DML_API uint64_t dml_loader_global_count(const dml_loader *loader, uint64_t step);

/**
 * The next batch; epochs follow each other without end. Waits if it is not ready yet.
 * Gives the batch of the call before back to the loader.
 * Threads: one at a time.
 * @param[out] batch  its memory is the loader's.
 * @return DML_OK.  @since 0.1
 */
DML_API dml_status dml_loader_next(dml_loader *loader, dml_batch *batch);

/** Go to the start of @p epoch; what was prepared is dropped. @return DML_OK.
 * @since 0.1 */
DML_API dml_status dml_loader_seek(dml_loader *loader, uint64_t epoch);

/** Go to a step of an epoch, below dml_loader_steps(): to go on where a snapshot was
 * taken. @return DML_OK | DML_EINVAL (no such step).  @since 0.3 */
DML_API dml_status dml_loader_seek_step(dml_loader *loader, uint64_t epoch,
                                        uint64_t step);

/** Seconds that dml_loader_next() waited so far. @since 0.1 */
DML_API double dml_loader_wait_s(const dml_loader *loader);

#ifdef __cplusplus
}
#endif
#endif
