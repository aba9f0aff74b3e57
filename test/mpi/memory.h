/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the sweep over allocations (test_memory.c) runs: one scenario for each family of
 * collective calls. A scenario calls until something fails, frees what it has, and
 * returns what failed; it may not leave the other ranks waiting, nor leak.
 */
#ifndef MEMORY_H
#define MEMORY_H

#include "dml_test.h"

/* A scenario's arguments: a communicator of a context whose n-th allocation fails on
 * one of the ranks. */
typedef dml_status memory_scenario(const struct dml_test *t, dml_comm *comm);

memory_scenario memory_nothing, memory_comm, memory_p2p, memory_coll, memory_icoll,
    memory_persistent, memory_list, memory_reducer, memory_onebit, memory_topk,
    memory_dgc, memory_randomk, memory_powersgd, memory_sharded, memory_exchange,
    memory_plan, memory_rebalance, memory_bcast;

/* After a step that a rank does alone: DML_ECOMM where another rank failed in it. */
dml_status memory_together(const struct dml_test *t, dml_status mine);

/* Go to "out" with what failed. */
#define MEMORY_TRY(call) \
    do {                 \
        status = (call); \
        if (status < 0)  \
            goto out;    \
    } while (0)

#endif
