/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file rebalance.h
 * Work moved by measured speed, and tasks placed in space and time.
 *
 * A rebalancer is told how long every rank took for each step, predicts from that when
 * each would finish the next, and moves units of work when that pays. It is a pure
 * function of what it is told: ranks that gather their times and pass the same numbers
 * decide alike. Nothing here communicates. Threads: an object is used by one at a time.
 */
#ifndef DML_REBALANCE_H
#define DML_REBALANCE_H

#include "dml/ctx.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- rebalancing -------------------------------------------------------------------
 */

/** Options. Fill with dml_rebalance_opts_init(). */
typedef struct dml_rebalance_opts {
    size_t size;        /**< sizeof(dml_rebalance_opts), set by the initialiser */
    double smoothing;   /**< share of the newest step in a rank's smoothed time per
                             unit, in (0, 1]; default 0.5. Medians of the last three
                             steps are smoothed, so one odd step counts for nothing */
    double min_gain;    /**< move only if the predicted step gets shorter by this share
                             at least, and by half more than noise would promise;
                             default 0.05 */
    double unit_cost_s; /**< seconds that moving one unit takes; default 0 */
    double horizon_steps; /**< steps over which a move must have paid for itself;
                             default 100 */
    uint32_t hold_steps;  /**< steps after a move in which none is made; default 2 */
    uint64_t min_units;   /**< every rank keeps so many; default 1. A rank without work
                               has no measured speed */
} dml_rebalance_opts;

typedef struct dml_rebalance dml_rebalance;

/** Units that one rank hands to another. */
typedef struct dml_move {
    uint32_t from, to;
    uint64_t units;
} dml_move;

/** What the rebalancer thinks; seconds. */
typedef struct dml_rebalance_info {
    uint64_t steps;     /**< told of */
    uint64_t moves;     /**< times that work was moved */
    uint64_t units;     /**< moved in all */
    double now_s;       /**< predicted step as work lay before the last call */
    double balanced_s;  /**< predicted step with the best shares */
    double ideal_ratio; /**< throughput now as a share of the sum of the measured
                             speeds: 1 if all ranks finished together, which
                             balanced_s comes near in whole units */
} dml_rebalance_info;

/** Set all defaults. Not collective. Any thread. @since 0.3 */
DML_API void dml_rebalance_opts_init(dml_rebalance_opts *opts);

/**
 * Make a rebalancer. Not collective; equal arguments on ranks that must decide alike.
 * @param[in] units  [nranks] work of each rank in one step, in units that take equally
 *                   long on one rank (records, tokens, blocks); copied.
 * @param[in] opts   NULL for the defaults.
 * @param[out] rebalance  returned; free with dml_rebalance_destroy().
 * @return DML_OK | DML_EINVAL | DML_ENOMEM.  @since 0.3
 */
DML_API dml_status dml_rebalance_create(dml_ctx *ctx, size_t nranks,
                                        const uint64_t *units,
                                        const dml_rebalance_opts *opts,
                                        dml_rebalance **rebalance);

/** Free; NULL is a no-op. Not collective. @since 0.3 */
DML_API void dml_rebalance_destroy(dml_rebalance *rebalance);

/**
 * Tell the times of one step, and get what is to be moved now.
 * @param[in]  seconds  [nranks] compute time of each rank for its units, without
 * waiting for others; finite, not negative; 0: not measured this time.
 * @param[out] moves    [nranks] room for the answer; at most nranks - 1 are written, in
 *                      the order of the ranks that give.
 * @param[out] nmoves   how many; 0: all stays.
 * @return DML_OK | DML_EINVAL (a time; nothing is taken). Not collective.  @since 0.3
 */
DML_API dml_status dml_rebalance_step(dml_rebalance *rebalance, const double *seconds,
                                      dml_move *moves, size_t *nmoves);

/** Units of each rank after the moves so far, [nranks]; lives as long as the object.
 * Not collective. @since 0.3 */
DML_API const uint64_t *dml_rebalance_units(const dml_rebalance *rebalance);

/** Measured units per second of each rank, [nranks], 0 while unknown: capacities of a
 * plan. Lives as long as the object. Not collective. @since 0.3 */
DML_API const double *dml_rebalance_speeds(const dml_rebalance *rebalance);

/** Predictions and counts. Not collective. @since 0.3 */
DML_API void dml_rebalance_get_info(const dml_rebalance *rebalance,
                                    dml_rebalance_info *info);

/* ---- placement of tasks in space and time ------------------------------------------
 */

/** A task that runs whole on one node. */
typedef struct dml_task {
    double load;    /**< units of work; finite, not negative */
    double ready_s; /**< when its input exists; finite, not negative */
} dml_task;

/** A node. */
typedef struct dml_node {
    double speed;       /**< units of work per second; finite, positive */
    double available_s; /**< when it is free; finite, not negative */
} dml_node;

/** Where and when a task runs. */
typedef struct dml_slot {
    uint32_t node;
    double start_s;  /**< when its slot opens: not before its input has arrived */
    double finish_s; /**< start_s + load/speed */
} dml_slot;

/**
 * Place tasks so that the last finishes early: finish(t, n) = max(free_n, ready_t +
 * transfer(t, n)) + load_t/speed_n, one task at a time on a node. Tasks go, heaviest
 * first, where they would finish first; single moves and exchanges then improve that as
 * long as they do. The result is never later than dealing the tasks out in turn, or by
 * hash of their number: those are tried, too.
 *
 * Cost: the tasks are sorted once for each node, which takes 4 bytes for each pair of
 * the two; improving looks at 8e7 tasks at most, a fifth of a second.
 *
 * To plan again in mid-run, pass the tasks not yet begun, and nodes with the speeds
 * measured and the times at which they will be free.
 *
 * Source: after Tang et al. on start times and places of reducers (titles alone were to
 * be had); the order by load is Graham's (1969).
 * @param[in]  transfer_s   [ntasks x nnodes] seconds to bring a task's input to a node;
 *                          NULL: none.
 * @param[out] slots        [ntasks]; NULL only if there are no tasks.
 * @param[out] makespan_s   when the last finishes, or the last node is free; may be
 * NULL
 * @return DML_OK | DML_EINVAL (a number) | DML_ENOMEM. Not collective; pure but for
 * memory; any thread.  @since 0.3
 */
DML_API dml_status dml_schedule_tasks(dml_ctx *ctx, const dml_task *tasks,
                                      size_t ntasks, const dml_node *nodes,
                                      size_t nnodes, const double *transfer_s,
                                      dml_slot *slots, double *makespan_s);

#ifdef __cplusplus
}
#endif
#endif
