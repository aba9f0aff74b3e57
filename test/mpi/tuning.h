/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests of how algorithms are chosen share. */
#ifndef TEST_MPI_TUNING_H
#define TEST_MPI_TUNING_H

#include "dml_test.h"

/* A context that keeps the lines it logs. */
struct listener {
    struct dml_test *t;
    dml_ctx *ctx;
    char lines[40][320];
    size_t n;
};

void listen_on(struct listener *l, struct dml_test *t);

/* Lines so far that begin so; on rank 0, which logs what ranks agree on. */
size_t heard(const struct listener *l, const char *begin);

dml_comm *open_comm(struct listener *l, MPI_Comm mpi);

void query(struct listener *l, dml_coll coll, size_t count, dml_comm *comm,
           dml_choice *choice);

/* Cases of tuning_table.c. */
void test_table(struct dml_test *t);
void test_table_mistakes(struct dml_test *t);
void test_table_noise(struct dml_test *t);

#endif
