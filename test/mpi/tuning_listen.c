/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Contexts whose log is kept, so that tests see what was measured; see tuning.h.
 */
#include "tuning.h"

#include <stdio.h>
#include <string.h>

static void keep_line(void *user, dml_log_level level, const char *line)
{
    struct listener *l = user;
    (void)level;
    if (l->n < DML_TEST_COUNT(l->lines))
        snprintf(l->lines[l->n++], sizeof l->lines[0], "%s", line);
}

void listen_on(struct listener *l, struct dml_test *t)
{
    dml_ctx_opts opts;
    *l = (struct listener){.t = t};
    dml_ctx_opts_init(&opts);
    opts.log_level = DML_LOG_INFO;
    opts.log = keep_line;
    opts.log_user = l;
    dml_test_status(t, "dml_ctx_create", dml_ctx_create(&opts, &l->ctx), DML_OK);
}

size_t heard(const struct listener *l, const char *begin)
{
    size_t found = 0;
    for (size_t i = 0; i < l->n; i++)
        found += strncmp(l->lines[i], begin, strlen(begin)) == 0;
    return found;
}

dml_comm *open_comm(struct listener *l, MPI_Comm mpi)
{
    dml_comm *comm = NULL;
    dml_test_status(l->t, "dml_comm_from_mpi", dml_comm_from_mpi(l->ctx, mpi, &comm),
                    DML_OK);
    return comm;
}

void query(struct listener *l, dml_coll coll, size_t count, dml_comm *comm,
           dml_choice *choice)
{
    dml_test_status(l->t, "dml_algorithm_query",
                    dml_algorithm_query(coll, count, DML_F32, DML_SUM, comm, choice),
                    DML_OK);
}
