/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tasks placed in space and time. On one node the best order is that in which inputs
 * arrive (then no order ends earlier), so a plan is an assignment of tasks to nodes.
 * Several are tried, each improved by moving or exchanging tasks of the node that ends
 * last, until no single step helps or the work allowed is used up.
 */
#include "dml/rebalance.h"
#include "dml/skew.h"

#include "core/core.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Tasks looked at while improving, for each of the NSTARTS starts: bounds the time that
 * improving takes, see the header. */
static const uint64_t most_looks = 20000000;

struct problem {
    dml_ctx *ctx;
    const dml_task *tasks;
    size_t ntasks;
    const dml_node *nodes;
    size_t nnodes;
    const double *transfer_s; /* [ntasks x nnodes] or NULL */
    uint32_t *arrivals; /* [nnodes x ntasks] tasks in the order of their arrival */
    uint32_t *node_of;  /* [ntasks] */
    double *ends;       /* [nnodes] */
    uint64_t looks;
};

static double arrival(const struct problem *p, size_t task, size_t node)
{
    double transfer =
        p->transfer_s != NULL ? p->transfer_s[task * p->nnodes + node] : 0;
    return p->tasks[task].ready_s + transfer;
}

/* When a node ends if task "without" is not there, and "with" is; SIZE_MAX: none. */
static double end_of(struct problem *p, size_t node, size_t without, size_t with)
{
    const uint32_t *order = p->arrivals + node * p->ntasks;
    double end = p->nodes[node].available_s;
    p->looks += p->ntasks;
    for (size_t i = 0; i < p->ntasks; i++) {
        size_t task = order[i];
        if ((p->node_of[task] == node && task != without) || task == with)
            end = fmax(end, arrival(p, task, node)) +
                  p->tasks[task].load / p->nodes[node].speed;
    }
    return end;
}

static size_t last_node(const struct problem *p)
{
    size_t last = 0;
    for (size_t n = 1; n < p->nnodes; n++)
        last = p->ends[n] > p->ends[last] ? n : last;
    return last;
}

/* What may be done with a task of the last node. */
struct step {
    size_t task, node, back; /* back: task that comes in exchange, or SIZE_MAX */
    double end;              /* later of the two nodes' new ends */
};

static void consider(struct problem *p, size_t last, size_t task, size_t node,
                     size_t back, struct step *best)
{
    double end = end_of(p, node, back, task);
    if (end >= best->end)
        return;
    end = fmax(end, end_of(p, last, task, back));
    if (end < best->end)
        *best = (struct step){task, node, back, end};
}

/* One step that makes the last node end earlier, and no other as late. */
static bool improve(struct problem *p)
{
    size_t last = last_node(p);
    struct step best = {.task = SIZE_MAX, .end = p->ends[last]};
    for (size_t task = 0; task < p->ntasks && p->looks < most_looks; task++) {
        if (p->node_of[task] != last)
            continue;
        for (size_t node = 0; node < p->nnodes && p->looks < most_looks; node++)
            if (node != last)
                consider(p, last, task, node, SIZE_MAX, &best);
        for (size_t back = 0; back < p->ntasks && p->looks < most_looks; back++)
            if (p->node_of[back] != last)
                consider(p, last, task, p->node_of[back], back, &best);
    }
    if (best.task == SIZE_MAX)
        return false;
    p->node_of[best.task] = (uint32_t)best.node;
    if (best.back != SIZE_MAX)
        p->node_of[best.back] = (uint32_t)last;
    p->ends[last] = end_of(p, last, SIZE_MAX, SIZE_MAX);
    p->ends[best.node] = end_of(p, best.node, SIZE_MAX, SIZE_MAX);
    return true;
}

/* Tasks by a number, ties in their order. */
struct ranked {
    double number;
    uint32_t task;
};

static int by_number(const void *a_, const void *b_)
{
    const struct ranked *a = a_, *b = b_;
    if (a->number != b->number)
        return a->number < b->number ? -1 : 1;
    return a->task < b->task ? -1 : a->task > b->task;
}

/* Each task, in order, to the node where it would finish first behind those before it.
 */
static void place_greedily(struct problem *p, const struct ranked *order)
{
    for (size_t n = 0; n < p->nnodes; n++)
        p->ends[n] = p->nodes[n].available_s;
    for (size_t i = 0; i < p->ntasks; i++) {
        size_t task = order[i].task, best = 0;
        double least = INFINITY;
        for (size_t n = 0; n < p->nnodes; n++) {
            double end = fmax(p->ends[n], arrival(p, task, n)) +
                         p->tasks[task].load / p->nodes[n].speed;
            if (end < least) {
                least = end;
                best = n;
            }
        }
        p->node_of[task] = (uint32_t)best;
        p->ends[best] = least;
    }
}

enum start { HEAVIEST_FIRST, EARLIEST_FIRST, IN_TURN, BY_HASH, NSTARTS };

static void place(struct problem *p, enum start start, struct ranked *order)
{
    for (size_t t = 0; t < p->ntasks; t++) {
        order[t] = (struct ranked){
            .number = start == HEAVIEST_FIRST ? -p->tasks[t].load : p->tasks[t].ready_s,
            .task = (uint32_t)t};
        p->node_of[t] =
            (uint32_t)((start == BY_HASH ? dml_hash_u64(t, 0) : t) % p->nnodes);
    }
    if (start == HEAVIEST_FIRST || start == EARLIEST_FIRST) {
        qsort(order, p->ntasks, sizeof *order, by_number);
        place_greedily(p, order);
    }
    for (size_t n = 0; n < p->nnodes; n++)
        p->ends[n] = end_of(p, n, SIZE_MAX, SIZE_MAX);
    p->looks = 0;
    while (p->looks < most_looks && improve(p))
        continue;
}

static void write_slots(const struct problem *p, const uint32_t *node_of,
                        dml_slot *slots)
{
    for (size_t n = 0; n < p->nnodes; n++) {
        double end = p->nodes[n].available_s;
        for (size_t i = 0; i < p->ntasks; i++) {
            size_t task = p->arrivals[n * p->ntasks + i];
            if (node_of[task] != n)
                continue;
            double begin = fmax(end, arrival(p, task, n));
            end = begin + p->tasks[task].load / p->nodes[n].speed;
            slots[task] =
                (dml_slot){.node = (uint32_t)n, .start_s = begin, .finish_s = end};
        }
    }
}

static dml_status check(const struct problem *p, const dml_slot *slots,
                        const char *where)
{
    if (p->nnodes == 0 || p->nnodes > UINT32_MAX || p->ntasks > UINT32_MAX ||
        p->nodes == NULL || (p->ntasks > 0 && (p->tasks == NULL || slots == NULL)))
        return dml__fail(p->ctx, DML_EINVAL, where,
                         "%zu tasks, %zu nodes; tasks, nodes or slots may be NULL",
                         p->ntasks, p->nnodes);
    for (size_t n = 0; n < p->nnodes; n++)
        if (!(p->nodes[n].speed > 0 && p->nodes[n].speed <= DBL_MAX &&
              p->nodes[n].available_s >= 0 && p->nodes[n].available_s <= DBL_MAX))
            return dml__fail(p->ctx, DML_EINVAL, where,
                             "node %zu: speed %g, available_s %g", n, p->nodes[n].speed,
                             p->nodes[n].available_s);
    for (size_t t = 0; t < p->ntasks; t++) {
        bool good = p->tasks[t].load >= 0 && p->tasks[t].load <= DBL_MAX &&
                    p->tasks[t].ready_s >= 0 && p->tasks[t].ready_s <= DBL_MAX;
        for (size_t n = 0; p->transfer_s != NULL && n < p->nnodes; n++) {
            double transfer = p->transfer_s[t * p->nnodes + n];
            good = good && transfer >= 0 && transfer <= DBL_MAX;
        }
        if (!good)
            return dml__fail(p->ctx, DML_EINVAL, where,
                             "task %zu: load %g, ready_s %g, or a transfer time: "
                             "numbers are finite and not negative",
                             t, p->tasks[t].load, p->tasks[t].ready_s);
    }
    return DML_OK;
}

dml_status dml_schedule_tasks(dml_ctx *ctx, const dml_task *tasks, size_t ntasks,
                              const dml_node *nodes, size_t nnodes,
                              const double *transfer_s, dml_slot *slots,
                              double *makespan_s)
{
    struct problem p = {.ctx = ctx,
                        .tasks = tasks,
                        .ntasks = ntasks,
                        .nodes = nodes,
                        .nnodes = nnodes,
                        .transfer_s = transfer_s};
    DML_TRY(check(&p, slots, __func__));
    dml_status status = DML_OK;
    double least = INFINITY;
    struct ranked *order = dml__alloc(ctx, dml__mul(ntasks, sizeof *order));
    uint32_t *best = dml__alloc(ctx, dml__mul(ntasks, sizeof *best));
    p.arrivals =
        dml__alloc(ctx, dml__mul(dml__mul(ntasks, nnodes), sizeof *p.arrivals));
    p.node_of = dml__alloc(ctx, dml__mul(ntasks, sizeof *p.node_of));
    p.ends = dml__alloc(ctx, dml__mul(nnodes, sizeof *p.ends));
    if (order == NULL || best == NULL || p.arrivals == NULL || p.node_of == NULL ||
        p.ends == NULL) {
        status =
            dml__fail(ctx, DML_ENOMEM, __func__, "no memory for %zu tasks", ntasks);
        goto out;
    }
    for (size_t n = 0; n < nnodes; n++) {
        for (size_t t = 0; t < ntasks; t++)
            order[t] =
                (struct ranked){.number = arrival(&p, t, n), .task = (uint32_t)t};
        qsort(order, ntasks, sizeof *order, by_number);
        for (size_t i = 0; i < ntasks; i++)
            p.arrivals[n * ntasks + i] = order[i].task;
    }
    for (enum start start = 0; start < NSTARTS; start++) {
        place(&p, start, order);
        double end = p.ends[last_node(&p)];
        if (end < least) {
            least = end;
            if (ntasks > 0)
                memcpy(best, p.node_of, ntasks * sizeof *best);
        }
    }
    write_slots(&p, best, slots);
    if (makespan_s != NULL)
        *makespan_s = least;
out:
    dml__free(p.ends);
    dml__free(p.node_of);
    dml__free(p.arrivals);
    dml__free(best);
    dml__free(order);
    return status;
}
