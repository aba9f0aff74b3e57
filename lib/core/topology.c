/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Placing a thread by hwloc (topology.h), which knows the cores and which of them this
 * job may use.
 */
#include "core/topology.h"

#include <hwloc.h>
#include <hwloc/glibc-sched.h>
#include <stdio.h>

/* Core number "wanted" of those that are free of "taken"; how many there are in *n. */
static hwloc_obj_t spare_core(hwloc_topology_t topology, hwloc_const_cpuset_t taken,
                              int wanted, int *n)
{
    hwloc_obj_t core = NULL, found = NULL;
    *n = 0;
    while ((core = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_CORE, core)) != NULL)
        if (!hwloc_bitmap_intersects(core->cpuset, taken) && (*n)++ == wanted)
            found = core;
    return found;
}

bool dml__topology_bind_spare(pthread_t thread, const cpu_set_t *taken, int rank,
                              int nranks, char *what, size_t room)
{
    hwloc_topology_t topology = NULL;
    hwloc_bitmap_t used = hwloc_bitmap_alloc();
    bool bound = false;
    int n = 0;
    snprintf(what, room, "where its rank runs: the cores are not known");
    if (used == NULL || hwloc_topology_init(&topology) != 0)
        goto out;
    if (hwloc_topology_load(topology) != 0 ||
        hwloc_cpuset_from_glibc_sched_affinity(topology, used, taken, sizeof *taken) !=
            0)
        goto out;
    spare_core(topology, used, 0, &n);
    snprintf(what, room, "where its rank runs: no core is free of ranks");
    hwloc_obj_t core = spare_core(topology, used, (int)((long)rank * n / nranks), &n);
    if (core == NULL ||
        hwloc_set_thread_cpubind(topology, thread, core->cpuset, 0) != 0)
        goto out;
    snprintf(what, room, "on core %u, which no rank uses", core->os_index);
    bound = true;
out:
    if (topology != NULL)
        hwloc_topology_destroy(topology);
    hwloc_bitmap_free(used);
    return bound;
}
