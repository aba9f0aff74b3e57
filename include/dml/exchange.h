/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file exchange.h
 * Records travel to the ranks that shall have them; and how ranks come to the same plan
 * (plan.h) and the same moves of work (rebalance.h) without a broadcast.
 *
 * A record is any number of bytes, 0 included. Each rank says of each of its records to
 * which rank it goes; records are gathered in chunks, and a function of the receiver is
 * called for every record that arrives. Memory is bounded: a budget for the chunks, and
 * the largest record that is longer than a chunk. A rank that is too far ahead of its
 * receivers waits in its next push.
 *
 *     dml_exchange_create(NULL, store, mine, comm, &x);
 *     for each record i: dml_exchange_push(x, rank_of(i), record[i], bytes[i]);
 *     dml_exchange_finish(x);          // all records of all ranks have been stored
 *
 * Nothing is lost, doubled or changed unseen: every pair of ranks compares the number,
 * the bytes and a 64-bit checksum of what was sent and received, at every finish. The
 * checksum is a sum of hashes of the records, so their order does not count.
 *
 * Order: the records of one rank arrive in the order in which it pushed them; those of
 * several ranks mix. dml_exchange_packed() sorts them by rank.
 *
 * Errors: a rank that fails alone (its function refused a record, it has no memory, it
 * destroys the exchange) does not leave the others waiting: finish returns its status
 * on all ranks, with a text that names it. After DML_ECOMM and DML_ETIMEOUT the
 * communicator has ended, and so has the exchange.
 *
 * At most one exchange of a communicator may be open (pushed to, polled, or on its way
 * to the end, and not finished) at a time: meanwhile calls of another one get
 * DML_EINVAL. Other calls on the communicator may come in between. Thread rule: as the
 * communicator.
 */
#ifndef DML_EXCHANGE_H
#define DML_EXCHANGE_H

#include "dml/comm.h"
#include "dml/plan.h"
#include "dml/rebalance.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- one record at a time ----------------------------------------------------------
 */

/**
 * Receives one record. Called from within push, poll and finish, by the thread that
 * called them; must not use the communicator.
 * @param[in] source  rank that sent it, the own rank included.
 * @param[in] record  [bytes] valid until return. Aligned to 8 bytes if the exchange has
 *                    records of one size that is divisible by 8; else not aligned.
 * @return DML_OK, or an error: further records are dropped, and finish returns it.
 */
typedef dml_status dml_exchange_fn(void *user, int source, const void *record,
                                   size_t bytes);

/** Options of an exchange. Fill with dml_exchange_opts_init(). */
typedef struct dml_exchange_opts {
    size_t size;         /**< sizeof(dml_exchange_opts), set by the initialiser */
    size_t budget_bytes; /**< for the chunks of this rank; default 64 MiB, at least
                              4 KiB per other rank */
    size_t record_bytes; /**< of every record, where all are of one size: saves their
                              lengths; 0: any size (default) */
} dml_exchange_opts;

typedef struct dml_exchange dml_exchange;

/** Set all defaults. Not collective. Any thread. @since 0.3 */
DML_API void dml_exchange_opts_init(dml_exchange_opts *opts);

/**
 * Make an exchange. It may be used many times.
 * Collective over @p comm; options equal on all ranks: verified.
 * @param[in]  opts  NULL for the defaults.
 * @param[in]  fn    called for each record that arrives; @p user is handed to it.
 * @param[out] exchange  returned; free with dml_exchange_destroy().
 * @return DML_OK | DML_EINVAL (fn is NULL, budget too small) | DML_EMISMATCH |
 * DML_ENOMEM (on all ranks) | DML_ECOMM | DML_ETIMEOUT.  @since 0.3
 */
DML_API dml_status dml_exchange_create(const dml_exchange_opts *opts,
                                       dml_exchange_fn *fn, void *user, dml_comm *comm,
                                       dml_exchange **exchange);

/**
 * Free, before its communicator; NULL is a no-op. Collective. An open exchange is
 * finished first, and finish then fails on the ranks that called it.  @since 0.3
 */
DML_API void dml_exchange_destroy(dml_exchange *exchange);

/**
 * Send a record to rank @p dest, the own rank included.
 * Not collective. May wait for the receivers, and calls the own function for records
 * that have come meanwhile.
 * @param[in] record  [bytes] borrowed until return.
 * @return DML_OK | DML_EINVAL (no such rank, another size than record_bytes, another
 * exchange is open; nothing was sent) | the error of this rank's function | DML_ENOMEM
 * | DML_ECOMM | DML_EMISMATCH | DML_ETIMEOUT. After an error call finish, which tells
 * the others.
 * @since 0.3
 */
DML_API dml_status dml_exchange_push(dml_exchange *exchange, int dest,
                                     const void *record, size_t bytes);

/** Let records arrive: for a rank that has nothing to push for a while, so that the
 * others need not wait for it. Not collective. Never waits.
 * @return as dml_exchange_push().  @since 0.3 */
DML_API dml_status dml_exchange_poll(dml_exchange *exchange);

/**
 * Send what is left, receive all that is sent to this rank, and verify it.
 * Collective: returns when all ranks have all their records, with the same status on
 * all of them.
 * @return DML_OK | DML_EMISMATCH (records were lost, doubled or changed; the text names
 * both ranks and the numbers) | what a rank that failed alone had found | DML_ECOMM |
 * DML_ETIMEOUT. A new exchange may begin after DML_OK and after a failure of one rank.
 * @since 0.3
 */
DML_API dml_status dml_exchange_finish(dml_exchange *exchange);

/** What an exchange did, of this rank, since it was made. */
typedef struct dml_exchange_stats {
    uint64_t records_sent;     /**< those to itself included */
    uint64_t records_received; /**< the same */
    uint64_t bytes_sent;       /**< of these records */
    uint64_t bytes_received;   /**< the same */
    uint64_t bytes_moved;      /**< of these, the ones sent to other ranks */
    uint64_t chunks_sent;      /**< messages */
    size_t chunk_bytes;        /**< of one, at most */
    size_t memory_bytes;       /**< for chunks and for records longer than one, at the
                                    most so far */
    double wait_s;             /**< seconds that push and finish waited for others */
} dml_exchange_stats;

/** Read the counters. Not collective. @since 0.3 */
DML_API void dml_exchange_get_stats(const dml_exchange *exchange,
                                    dml_exchange_stats *stats);

/* ---- all records at once -----------------------------------------------------------
 */

/** Records that lie one after the other without gaps. */
typedef struct dml_packed {
    void *data;      /**< [offsets[count]] bytes */
    size_t *offsets; /**< [count + 1] where each record begins, in bytes, from 0 on */
    size_t count;    /**< records */
} dml_packed;

/**
 * Send record i to rank dest[i]; the result is sorted by the sending rank, and within
 * one by its order there: it depends on nothing else.
 * Collective over @p comm; options equal on all ranks.
 * @param[in]  send  borrowed until return.
 * @param[in]  dest  [send->count] ranks.
 * @param[in]  opts  NULL for the defaults.
 * @param[out] recv  returned; free with dml_packed_free().
 * @return as dml_exchange_finish() | DML_EINVAL (an argument on one of the ranks: no
 * such rank, offsets that fall, no data; no rank then gets anything).  @since 0.3
 */
DML_API dml_status dml_exchange_packed(const dml_packed *send, const int *dest,
                                       const dml_exchange_opts *opts, dml_comm *comm,
                                       dml_packed *recv);

/** Free what dml_exchange_packed() returned, and make it empty; NULL is a no-op. Not
 * collective. Any thread. @since 0.3 */
DML_API void dml_packed_free(dml_packed *packed);

/* ---- the same plan on all ranks ----------------------------------------------------
 */

/**
 * The estimate for the records of all ranks: each rank's goes to all of them, and is
 * merged in the order of the ranks, so all have the same, byte for byte.
 * Collective over @p comm.
 * @param[in] own      of this rank's records; borrowed until return. Histograms of all
 *                     ranks are of equal kind, hash seed and buckets.
 * @param     entries  keys of each rank that are sent at most (dml_histogram_shorten()
 *                     is applied to @p own); 0: all. Bounds what every rank receives.
 * @param[out] merged  returned; free with dml_histogram_destroy().
 * @return the same on all ranks: DML_OK | DML_EINVAL | DML_ENOMEM | DML_EFORMAT (what a
 * rank sent did not arrive whole) | DML_ECOMM | DML_EMISMATCH | DML_ETIMEOUT.
 * Cost: an all-gather of dml_histogram_info.pack_bytes per rank.  @since 0.3
 */
DML_API dml_status dml_histogram_gather(dml_histogram *own, size_t entries,
                                        dml_comm *comm, dml_histogram **merged);

/**
 * The same plan on every rank, with as many parts as ranks: dml_histogram_gather(),
 * then dml_plan_create() with the result. Plans are deterministic: nothing is
 * broadcast. Collective over @p comm; planner and options equal on all ranks: the
 * plans' bytes are compared.
 * @param[in] own      as of dml_histogram_gather().
 * @param[in] opts     NULL for the defaults.
 * @param[out] plan    returned; free with dml_plan_destroy().
 * @return the same on all ranks, as dml_histogram_gather() | DML_EINVAL (planner, an
 * option) | DML_EMISMATCH (other options on another rank).  @since 0.3
 */
DML_API dml_status dml_partition_plan(dml_planner planner, dml_histogram *own,
                                      size_t entries, const dml_plan_opts *opts,
                                      dml_comm *comm, dml_plan **plan);

/* ---- the same moves on all ranks ---------------------------------------------------
 */

/**
 * Tell all ranks how long this one took for a step, and get what is to be moved now:
 * dml_rebalance_step() with the times of all ranks, which decides alike everywhere.
 * What moves is the caller's to send, by an exchange for instance.
 * Collective over @p comm; the rebalancers of all ranks were made with equal arguments,
 * for as many ranks as @p comm has.
 * @param     seconds  compute time of this rank, without waiting for others; 0: not
 *                     measured this time.
 * @param[out] moves   [number of ranks] room for the answer.
 * @param[out] nmoves  how many; 0: all stays.
 * @return the same on all ranks: DML_OK | DML_EINVAL (a time; a rebalancer that is NULL
 * or for another number of ranks) | DML_ENOMEM | DML_ECOMM | DML_EMISMATCH |
 * DML_ETIMEOUT. Cost: an all-gather of 16 bytes per rank.  @since 0.3
 */
DML_API dml_status dml_rebalance_agree(dml_rebalance *rebalance, double seconds,
                                       dml_comm *comm, dml_move *moves, size_t *nmoves);

#ifdef __cplusplus
}
#endif
#endif
