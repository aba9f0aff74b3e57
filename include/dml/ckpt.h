/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file ckpt.h
 * Snapshots: the state of a job, written by all ranks together, so that a job that was
 * killed goes on where it was. A snapshot is whole or absent, whoever is killed when.
 *
 * State is put in sections that have a name: bytes that are equal on all ranks, bytes
 * that are each rank's own, and vectors of which every rank puts its part. A vector is
 * read back in whatever parts: by another number of ranks, too.
 *
 *     dml_ckpt_open("run1", &opts, comm, &ckpt);
 *     while (step < nsteps) {
 *         ... train; step++;
 *         dml_ckpt_poll(ckpt, step, got_signal, &news);
 *         if (news.due || news.wish) {
 *             dml_ckpt_begin(ckpt, step);
 *             dml_ckpt_add_shared(ckpt, "step", &step, sizeof step);
 *             dml_ckpt_add_vector(ckpt, "weights", mine, DML_F32, first, count, total);
 *             dml_ckpt_commit(ckpt);         // a thread writes while training goes on
 *         }
 *         if (news.wish)
 *             break;                         // on all ranks, whoever got the signal
 *     }
 *     dml_ckpt_wait(ckpt, &news);
 *     dml_ckpt_close(ckpt);
 *
 *     dml_snapshot_open("run1", comm, &snapshot);     // the newest that is whole
 *     dml_snapshot_get_vector(snapshot, "weights", mine, DML_F32, first, count, total);
 *
 * What is put into a snapshot, and where it is read to, may be device memory (gpu.h),
 * copied behind the default stream: wait for another stream first.
 *
 * A commit has two phases: when every rank has its file on the disk, rank 0 writes a
 * list of their checksums, reads their heads back and gives the folder its name. All
 * ranks need to see one folder. Format, and what happens when: doc/checkpoints.md.
 *
 * A snapshot that cannot be written (disk full, folder read-only, ...) is no failure of
 * the calls: the job goes on, earlier snapshots stay as they are, and all ranks learn
 * of it in the same dml_ckpt_poll(), as news.
 *
 * Thread rule: one thread at a time per object; the collectives go over a communicator
 * of its own, so that they may stand between any calls on the caller's.
 */
#ifndef DML_CKPT_H
#define DML_CKPT_H

#include "dml/comm.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Longest name of a section, with its final zero: visible ASCII without blanks. */
#define DML_CKPT_NAME_MAX 64

/** Sections that one rank may put into a snapshot. */
#define DML_CKPT_MAX_SECTIONS 65536

/* ---- writing ----------------------------------------------------------------------
 */

/** Options. Fill with dml_ckpt_opts_init(). Equal on all ranks. */
typedef struct dml_ckpt_opts {
    size_t size;          /**< sizeof(dml_ckpt_opts), set by the initialiser */
    int keep;             /**< snapshots that are kept, at least 1; default 3 */
    uint64_t every_steps; /**< one is due at multiples of this step; 0 (default): not */
    double every_s;       /**< one is due so many seconds after the one before, by rank
                               0's clock; 0 (default): not */
    double lock_s;        /**< seconds to wait for an earlier job that still has the
                               folder; default 5 */
    bool sync;            /**< bring files to the disk before they count; default true.
                               Without it snapshots survive processes, not machines */
} dml_ckpt_opts;

typedef struct dml_ckpt dml_ckpt;

/** What all ranks know alike after a dml_ckpt_poll(). */
typedef struct dml_ckpt_news {
    bool due;          /**< by the options a snapshot should be taken now; put off while
                            one is being written */
    int wish;          /**< largest of the ranks' wishes at the poll before */
    bool busy;         /**< one is being written */
    bool finished;     /**< one has ended since the poll before: */
    dml_status status; /**< DML_OK: it is there; else DML_EIO ...: it is not */
    uint64_t step;     /**< of it */
    int rank;          /**< the lowest that failed, else -1 */
    char text[448];    /**< of it one line: what, which file, why; empty after a
                            success */
} dml_ckpt_news;

/** What happened so far, on this rank. */
typedef struct dml_ckpt_stats {
    uint64_t committed; /**< snapshots */
    uint64_t failed;    /**< likewise */
    uint64_t bytes;     /**< of this rank's file in the last one that was written */
    double write_s;     /**< seconds in which it was written, in the background */
    double call_s;      /**< seconds in all calls so far: what the caller lost */
    double last_s;      /**< seconds since the last one was committed; -1: none was */
} dml_ckpt_stats;

/** Set all defaults. Not collective. Any thread. @since 0.3 */
DML_API void dml_ckpt_opts_init(dml_ckpt_opts *opts);

/**
 * Open a folder for writing snapshots, and make it if there is none (mode 0700). What
 * killed writers left in it is removed. A lock is held until the object is closed or
 * the process ends, so that two jobs do not write to one folder.
 * Collective over @p comm.
 * @param[in]  dir   folder that all ranks see; copied.
 * @param[in]  opts  NULL for the defaults.
 * @param[out] ckpt  returned; free with dml_ckpt_close().
 * @return DML_OK | DML_EINVAL | DML_EIO (cannot be made or written to; another job has
 * it) | DML_EUNSUPPORTED (a big-endian machine) | DML_ENOMEM | DML_ECOMM |
 * DML_EMISMATCH (another rank failed, or its options differ) | DML_ETIMEOUT.
 * @since 0.3
 */
DML_API dml_status dml_ckpt_open(const char *dir, const dml_ckpt_opts *opts,
                                 dml_comm *comm, dml_ckpt **ckpt);

/** Free, before its communicator; waits for a snapshot that is being written. NULL is a
 * no-op. Collective. @since 0.3 */
DML_API void dml_ckpt_close(dml_ckpt *ckpt);

/**
 * Begin a snapshot. If the one before is still being written, this waits for it.
 * Collective. @param step  kept with the snapshot; equal on all ranks.
 * @return DML_OK | DML_EINVAL (one is begun already) | DML_ECOMM | DML_EMISMATCH |
 * DML_ETIMEOUT.  @since 0.3
 */
DML_API dml_status dml_ckpt_begin(dml_ckpt *ckpt, uint64_t step);

/**
 * Put bytes that are equal on all ranks: rank 0's are kept. Copied.
 * Not collective, but all ranks must put them.
 * @return DML_OK | DML_EINVAL (none is begun; a name that is no name, or was used; too
 * many sections) | DML_ENOMEM: not even the copy could be made, and the snapshot will
 * fail on all ranks.  @since 0.3
 */
DML_API dml_status dml_ckpt_add_shared(dml_ckpt *ckpt, const char *name,
                                       const void *data, size_t bytes);

/** Put bytes of this rank's own. Copied. Not collective: ranks may put different
 * sections. @return as dml_ckpt_add_shared().  @since 0.3 */
DML_API dml_status dml_ckpt_add_own(dml_ckpt *ckpt, const char *name, const void *data,
                                    size_t bytes);

/**
 * Put elements first .. first + count - 1 of a vector of @p total. Copied. A rank may
 * put several parts of one vector, or none; the parts of all ranks together are the
 * vector, without gap and without overlap (the snapshot fails otherwise). Not
 * collective.
 * @param[in] data  [count] this part alone.
 * @return as dml_ckpt_add_shared(); DML_EINVAL also for a part outside the vector.
 * @since 0.3
 */
DML_API dml_status dml_ckpt_add_vector(dml_ckpt *ckpt, const char *name,
                                       const void *data, dml_dtype dtype,
                                       uint64_t first, uint64_t count, uint64_t total);

/** End the snapshot that was begun: a thread writes it from here on. Not collective in
 * effect, but all ranks must call it.
 * @return DML_OK | DML_EINVAL (none is begun).  @since 0.3 */
DML_API dml_status dml_ckpt_commit(dml_ckpt *ckpt);

/**
 * Move on, without waiting for a disk: to be called by all ranks after every step, or
 * every few. Each call starts a small all-reduce, whose result the next call takes: so
 * all ranks know the same after the same call.
 * Collective.
 * @param step  that was done last; equal on all ranks.
 * @param wish  any number from 0: the largest of all ranks comes with the next poll's
 *              news. For "I got a signal".
 * @param[out] news  what is known now.
 * @return DML_OK | DML_EINVAL | DML_ECOMM | DML_EMISMATCH | DML_ETIMEOUT. A snapshot
 * that failed is news, not an error.  @since 0.3
 */
DML_API dml_status dml_ckpt_poll(dml_ckpt *ckpt, uint64_t step, int wish,
                                 dml_ckpt_news *news);

/** Wait until nothing is being written. Collective.
 * @param[out] news  as of dml_ckpt_poll(); may be NULL.
 * @return as dml_ckpt_poll().  @since 0.3 */
DML_API dml_status dml_ckpt_wait(dml_ckpt *ckpt, dml_ckpt_news *news);

/** @param[out] stats  copied out. Not collective. @since 0.3 */
DML_API void dml_ckpt_get_stats(const dml_ckpt *ckpt, dml_ckpt_stats *stats);

/* ---- reading ----------------------------------------------------------------------
 */

/** A snapshot that is whole, open for reading. */
typedef struct dml_snapshot dml_snapshot;

typedef struct dml_snapshot_info {
    uint64_t step;    /**< as given to dml_ckpt_begin() */
    uint64_t serial;  /**< number in its folder: later ones have higher numbers */
    uint64_t unix_s;  /**< when it was committed, in seconds since 1970 */
    int ranks;        /**< that wrote it */
    uint64_t bytes;   /**< of all files */
    const char *path; /**< of its folder; lives as long as the snapshot */
} dml_snapshot_info;

/** X(NAME, number): kinds of sections. */
#define DML_SECTION_MAP(X) X(SHARED, 1) X(OWN, 2) X(VECTOR, 3)

typedef enum dml_section_kind {
#define DML_SECTION_ENUM(NAME, number) DML_SECTION_##NAME = (number),
    DML_SECTION_MAP(DML_SECTION_ENUM)
#undef DML_SECTION_ENUM
} dml_section_kind;

typedef struct dml_section_info {
    dml_section_kind kind;
    dml_dtype dtype; /**< of a vector; else DML_U8 */
    uint64_t count;  /**< elements of the whole vector, or bytes */
} dml_section_info;

/**
 * Open a snapshot: @p path itself if it is one, else the newest in the folder @p path
 * that is whole. Every file of it is read and its checksums compared, each by one of
 * the ranks; a damaged one is passed over, with a warning that names it.
 * Collective over @p comm, which may have any number of ranks.
 * @param[out] snapshot  the same on all ranks; free with dml_snapshot_close().
 * @return DML_OK | DML_EEND (the folder has no snapshot, or there is no such folder) |
 * DML_EFORMAT (all are damaged, or the one that was named is) | DML_EIO | DML_EINVAL |
 * DML_ENOMEM | DML_ECOMM | DML_EMISMATCH | DML_ETIMEOUT.  @since 0.3
 */
DML_API dml_status dml_snapshot_open(const char *path, dml_comm *comm,
                                     dml_snapshot **snapshot);

/** Free; NULL is a no-op. Not collective. @since 0.3 */
DML_API void dml_snapshot_close(dml_snapshot *snapshot);

/** @param[out] info  copied out. Not collective. @since 0.3 */
DML_API void dml_snapshot_get_info(const dml_snapshot *snapshot,
                                   dml_snapshot_info *info);

/** Look for a section. Not collective. @param rank  that wrote it, of those that are a
 * rank's own; else not looked at.
 * @return DML_OK | DML_EINVAL (there is none).  @since 0.3 */
DML_API dml_status dml_snapshot_find(const dml_snapshot *snapshot, const char *name,
                                     int rank, dml_section_info *info);

/**
 * Read bytes that are equal on all ranks. Not collective.
 * @param[out] data  [bytes]: the length that dml_snapshot_find() gives.
 * @return DML_OK | DML_EINVAL (no such section, or of another kind or length) | DML_EIO
 * | DML_EFORMAT (changed since it was opened).  @since 0.3
 */
DML_API dml_status dml_snapshot_get_shared(const dml_snapshot *snapshot,
                                           const char *name, void *data, size_t bytes);

/** Read the bytes of the rank that had number @p rank. Not collective.
 * @return as dml_snapshot_get_shared().  @since 0.3 */
DML_API dml_status dml_snapshot_get_own(const dml_snapshot *snapshot, const char *name,
                                        int rank, void *data, size_t bytes);

/**
 * Read elements first .. first + count - 1 of a vector, whoever wrote them. Not
 * collective.
 * @param[out] data   [count].
 * @param      dtype, total  as they were written, or DML_EINVAL.
 * @return as dml_snapshot_get_shared().  @since 0.3
 */
DML_API dml_status dml_snapshot_get_vector(const dml_snapshot *snapshot,
                                           const char *name, void *data,
                                           dml_dtype dtype, uint64_t first,
                                           uint64_t count, uint64_t total);

#ifdef __cplusplus
}
#endif
#endif
