/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The peers of dml-perf: MPI as it is, and each algorithm that Open MPI has for the
 * collective, forced. Open MPI looks at the variable coll_tuned_<collective>_algorithm
 * when a communicator is made, so a duplicate made after it was set has that algorithm,
 * and all of them can be measured in one run. It does so only when
 * coll_tuned_use_dynamic_rules was set at the start, which leaves the default as it is.
 */
#include "perf_peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads or writes an int or bool variable of the MPI library; false: there is none. */
static bool variable(const char *name, int *value, bool write)
{
    int index, count, bind, verbosity, scope;
    int text_length = 0, name_length = 0;
    MPI_Datatype type;
    MPI_T_enum values;
    MPI_T_cvar_handle handle;
    union {
        int number;
        _Bool flag;
        char room[64];
    } buffer = {.room = ""};
    if (MPI_T_cvar_get_index(name, &index) != MPI_SUCCESS)
        return false;
    MPI_T_cvar_get_info(index, NULL, &name_length, &verbosity, &type, &values, NULL,
                        &text_length, &bind, &scope);
    if (MPI_T_cvar_handle_alloc(index, NULL, &handle, &count) != MPI_SUCCESS)
        return false;
    buffer.number = *value;
    int code =
        write ? MPI_T_cvar_write(handle, &buffer) : MPI_T_cvar_read(handle, &buffer);
    MPI_T_cvar_handle_free(&handle);
    bool is_flag = strcmp(name, "coll_tuned_use_dynamic_rules") == 0;
    *value = is_flag ? buffer.flag : buffer.number;
    return code == MPI_SUCCESS;
}

static void add(struct perf_peers *p, const char *name, MPI_Comm mpi)
{
    snprintf(p->names[p->n], sizeof p->names[0], "%s", name);
    p->list[p->n] = (struct perf_peer){p->names[p->n], mpi};
    p->n++;
}

static bool add_forced(struct perf_peers *p, MPI_Comm mpi, const char *coll)
{
    char name[80], label[40];
    int dynamic = 0, algorithms = 0, none = 0;
    if (!variable("coll_tuned_use_dynamic_rules", &dynamic, false) || !dynamic)
        return false;
    snprintf(name, sizeof name, "coll_tuned_%s_algorithm_count", coll);
    variable(name, &algorithms, false);
    snprintf(name, sizeof name, "coll_tuned_%s_algorithm", coll);
    for (int i = 1; i < algorithms && p->n < PERF_PEERS; i++) {
        MPI_Comm forced;
        if (!variable(name, &i, true))
            break;
        MPI_Comm_dup(mpi, &forced);
        snprintf(label, sizeof label, "openmpi %d", i);
        add(p, label, forced);
    }
    return variable(name, &none, true);
}

const char *perf_peers_open(struct perf_peers *p, const struct perf_options *o,
                            MPI_Comm mpi)
{
    char coll[40];
    int provided;
    *p = (struct perf_peers){.n = 0};
    if (!o->peer)
        return NULL;
    add(p, "mpi", mpi);
    if (!o->best)
        return NULL;
    /* Open MPI names it so. */
    bool block = o->coll == DML_COLL_REDUCE_SCATTER;
    snprintf(coll, sizeof coll, "%s%s", dml_coll_name(o->coll), block ? "_block" : "");
    if (MPI_T_init_thread(MPI_THREAD_SINGLE, &provided) != MPI_SUCCESS)
        return "--peer best: MPI's tool interface does not start";
    bool forced = add_forced(p, mpi, coll);
    MPI_T_finalize();
    return forced ? NULL
                  : "--peer best: needs Open MPI, and "
                    "OMPI_MCA_coll_tuned_use_dynamic_rules=1 in the environment";
}

void perf_peers_drop(struct perf_peers *p, const struct perf_result *result,
                     size_t bytes)
{
    size_t kept = 1;
    for (size_t i = 1; i < p->n && bytes >= 65536; i++) {
        if (result->peer_s[i] > 2 * result->best_peer.median_s) {
            MPI_Comm dropped = p->list[i].mpi;
            MPI_Comm_free(&dropped);
            continue;
        }
        p->list[kept++] = p->list[i];
    }
    p->n = bytes >= 65536 && p->n > 0 ? kept : p->n;
}

void perf_peers_close(struct perf_peers *p)
{
    for (size_t i = 1; i < p->n; i++)
        MPI_Comm_free((MPI_Comm *)&p->list[i].mpi);
}
