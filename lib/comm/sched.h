/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Schedules: a collective is a list of steps with dependencies, written down at once by
 * an algorithm and executed piece by piece whenever the communicator is progressed. One
 * engine thus serves blocking and non-blocking calls and every algorithm
 * (doc/adr/0002). A dml_request is a schedule.
 *
 * Rules for those who write one:
 * - Steps are listed in an order in which they could be executed one after the other.
 * - Each step names at most two earlier steps that must be complete before it starts.
 * - Sends start in list order, receives start in list order, local steps run in list
 *   order. So the k-th send from a to b meets the k-th receive of b from a.
 * - The lists of all ranks together must work when each lane is executed step by step
 *   and a send ends only when it is received: then no schedule can deadlock, however
 *   little the channels hold. A receive must not wait for the own send that its peer
 *   receives at the same time.
 * - Memory from dml__sched_scratch lives until the request is complete.
 * - Functions return the step's index, or DML__NO_STEP for an empty one (count 0),
 * which is complete from the start. Running out of memory is remembered in the request
 * and reported by dml__sched_start.
 */
#ifndef DML__SCHED_H
#define DML__SCHED_H

#include "comm/comm.h"

#define DML__NO_STEP (-1)

/* A message is cut into pieces of this size, so that MPI's int counts suffice. */
#define DML__MESSAGE_MAX_BYTES ((size_t)1 << 30)

/*
 * A collective's message to another node is cut into pieces of this size, that MPI
 * libraries send at once. A larger one they announce, and send when the receiver
 * answers; with data in both directions the announcement and the answer each wait
 * behind data, which over TCP costs up to half of the link (doc/collectives.md).
 */
#define DML__NET_MESSAGE_BYTES ((size_t)32 << 10)

/* A fresh, empty schedule from the communicator's pool, or NULL. */
dml_request *dml__sched_new(dml_comm *comm);

/* Back to the pool, not started. */
void dml__sched_discard(dml_request *request);

void *dml__sched_scratch(dml_request *request, size_t bytes);

int dml__sched_send(dml_request *request, const void *buf, size_t bytes, int peer,
                    int after0, int after1);
int dml__sched_recv(dml_request *request, void *buf, size_t bytes, int peer, int after0,
                    int after1);
/*
 * Receive a message and fold it at once: dst = fn(message, b; arg), element by element.
 * dst and the message have elements of item_bytes, b of b_bytes. staging [bytes] may be
 * used for the message and may be dst. Pieces are folded as they arrive, so b and dst
 * must not need the whole message.
 */
int dml__sched_recv_fold(dml_request *request, void *staging, size_t bytes, int peer,
                         dml__local_fn *fn, void *dst, const void *b, size_t item_bytes,
                         size_t b_bytes, double arg, int after0, int after1);
int dml__sched_local(dml_request *request, dml__local_fn *fn, void *dst, const void *a,
                     const void *b, size_t n, double arg, int after0, int after1);

/* dst = src, bytes long; nothing when they are the same memory. */
int dml__sched_copy(dml_request *request, void *dst, const void *src, size_t bytes,
                    int after0, int after1);

/* The same as the last step of all, started when every other one is complete: for
 * results that go where input still lay, or where messages are still sent from. Several
 * run one after the other. */
int dml__sched_local_after_all(dml_request *request, dml__local_fn *fn, void *dst,
                               const void *a, const void *b, size_t n, double arg);
int dml__sched_copy_after_all(dml_request *request, void *dst, const void *src,
                              size_t bytes);

/* Steps written from now on that wait for no other wait for this one. */
void dml__sched_gate(dml_request *request, int step);

/* The whole call as one non-blocking MPI collective (native.c). It must be the first
 * step, or the second after a local one: then it starts within dml__sched_start, so MPI
 * sees the collectives in the same order on all ranks, and the call's counts are still
 * there. */
int dml__sched_native(dml_request *request, const struct dml__call *call);

/*
 * A task: work that waits for other ranks of the node by itself. advance does what can
 * be done now and returns DML_PENDING, DML_OK when it is finished, or an error. It is
 * called again and again, and must not block. Tasks of one communicator run one after
 * the other in the order in which the collectives were called, because the node's
 * operations have numbers (node.h). state must live until the request is complete; a
 * request that is repeated begins with what it holds now.
 */
typedef dml_status dml__task_fn(void *state);
int dml__sched_task(dml_request *request, dml__task_fn *advance, void *state,
                    size_t state_bytes, int after0, int after1);

/* The same, but it waits for a device and not for other ranks: it has no place among
 * the tasks, and later ones go on while it is pending. */
int dml__sched_device_task(dml_request *request, dml__task_fn *advance, void *state,
                           size_t state_bytes, int after0, int after1);

/* May a blocking call run its task by itself, without a schedule? Only when nothing is
 * pending. Then do so: */
bool dml__task_alone(const dml_comm *comm);
dml_status dml__task_run(const struct dml__call *call, dml__task_fn *advance,
                         void *state);

/* The request written next will be started many times (dml_start), as this call: it
 * keeps what that needs. To be called before the first step. */
void dml__sched_keep(dml_request *request, const struct dml__call *call);

/* What went wrong while it was written: DML_OK or DML_ENOMEM. */
dml_status dml__sched_written(const dml_request *request);

/* Start such a request, for the first time or again. */
dml_status dml__sched_restart(dml_request *request);

/* Start the schedule of a collective call; without a call: one of libdml's own, which
 * all ranks make. On failure the request is gone. */
dml_status dml__sched_start(dml_request *request, const struct dml__call *call);

/* The same for point-to-point messages, which have a tag and a channel of their own. */
dml_status dml__sched_start_p2p(dml_request *request, int tag);

/* dml_wait for a request just started, without the public call's checks. */
dml_status dml__sched_finish(dml_request *request);

#endif
