/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where threads of the library run.
 */
#ifndef DML__TOPOLOGY_H
#define DML__TOPOLOGY_H

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * Bind a thread to a core of which the node's ranks use no processor; false when there
 * is none, and the thread stays where it is. The ranks' threads are spread over such
 * cores in the order of the ranks.
 * taken: processors that any rank may run on. what [room]: says in words what was done.
 */
bool dml__topology_bind_spare(pthread_t thread, const cpu_set_t *taken, int rank,
                              int nranks, char *what, size_t room);

#endif
