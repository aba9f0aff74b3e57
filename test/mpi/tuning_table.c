/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tuning table: its rules, its errors, and noise in its place.
 */
#include "tuning.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Writes a table that only rank 0 can see, and has every rank name it. */
static void with_table(struct dml_test *t, const char *text, char path[64])
{
    snprintf(path, 64, "tuning-%ld-%d.txt", (long)getpid(), t->rank);
    if (t->rank == 0) {
        FILE *file = fopen(path, "w");
        DML_CHECK(t, file != NULL && fputs(text, file) >= 0, "cannot write %s", path);
        if (file != NULL)
            fclose(file);
        setenv("DML_TUNING", path, 1);
    } else {
        setenv("DML_TUNING", "not-on-this-host.txt", 1);
    }
}

static void without_table(struct dml_test *t, const char *path)
{
    unsetenv("DML_TUNING");
    if (t->rank == 0)
        remove(path);
}

static void expect(struct listener *l, dml_coll coll, size_t count, dml_comm *comm,
                   const char *algorithm, const char *where)
{
    dml_choice choice;
    query(l, coll, count, comm, &choice);
    DML_CHECK(l->t, strcmp(choice.algorithm, algorithm) == 0,
              "%s of %zu f32 by %s, not %s: %s", dml_coll_name(coll), count,
              choice.algorithm, algorithm, choice.why);
    DML_CHECK(l->t, strstr(choice.why, where) != NULL, "the reason is: %s", choice.why);
}

void test_table(struct dml_test *t)
{
    if (t->nranks < 2) {
        dml_test_skip(t, "one rank has no choice");
        return;
    }
    char path[64];
    with_table(t,
               "# coll   ranks nodes bytes algorithm\n"
               "\n"
               "allreduce 1   *  *      mpi   # never: there are more ranks\n"
               "allreduce 2-  1- 0-4k   ring\n"
               "allreduce *   *  4K-1M  direct\n"
               "allreduce *   *  *      recursive_doubling\n"
               "bcast\t*\t9-\t*\tbinomial\r\n"
               "bcast     *   *  64-    mpi",
               path);
    struct listener l;
    listen_on(&l, t);
    dml_comm *comm = open_comm(&l, t->mpi), *part = NULL;
    without_table(t, path); /* read once */
    expect(&l, DML_COLL_ALLREDUCE, 1, comm, "ring", "line 4");
    expect(&l, DML_COLL_ALLREDUCE, 1024, comm, "ring", "line 4"); /* 4 KiB: the first */
    expect(&l, DML_COLL_ALLREDUCE, 1025, comm, "direct", "line 5");
    expect(&l, DML_COLL_ALLREDUCE, 1 << 20, comm, "recursive_doubling", "line 6");
    expect(&l, DML_COLL_BCAST, 16, comm, "mpi", "line 8");
    DML_CHECK(t, heard(&l, "measured") == 0, "the table spares measuring");
    float x = 1, sum = 0;
    dml_test_status(t, "dml_allreduce",
                    dml_allreduce(&x, &sum, 1, DML_F32, DML_SUM, comm), DML_OK);
    DML_CHECK(t, t->rank != 0 || heard(&l, "allreduce of 1 f32 by ring") == 1,
              "the log does not tell the choice");
    /* A forced one is stronger, and parts of the communicator know the table too. */
    dml_comm_set_algorithm(comm, DML_COLL_ALLREDUCE, "direct");
    expect(&l, DML_COLL_ALLREDUCE, 1, comm, "direct", "forced");
    dml_comm_split(comm, 0, -t->rank, &part);
    expect(&l, DML_COLL_ALLREDUCE, 1, part, "ring", "line 4");
    dml_comm_destroy(part);
    dml_comm_destroy(comm);
    dml_ctx_destroy(l.ctx);
}

/* A table with a mistake: every rank's first call says which line. */
void test_table_mistakes(struct dml_test *t)
{
    static const struct {
        const char *text, *line, *what;
    } mistakes[] = {
        {"allreduce 2 1 * ring\nallreduse 2 1 * ring\n", "line 2", "allreduse"},
        {"allreduce 2 1 *\n", "line 1", "five words"},
        {"allreduce 2 1 * ring mpi\n", "line 1", "five words"},
        {"\n\nallreduce 2 1 * rinng\n", "line 3", "rinng"},
        {"allreduce x 1 * ring\n", "line 1", "ranks"},
        {"allreduce 2 1-0 * ring\n", "line 1", "nodes"},
        {"allreduce 2 1 4T ring\n", "line 1", "4T"},
        {"allreduce 2 1 99999999999999999999 ring\n", "line 1", "bytes"},
        {"allreduce 2 1 0-18446744073G ring\n", "line 1", "bytes"},
        {"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz 1\n", "line 1", "long"},
    };
    for (size_t i = 0; i < DML_TEST_COUNT(mistakes); i++) {
        char path[64];
        struct listener l;
        dml_error error;
        float x = 1, y;
        dml_test_step(t, "table with \"%s\"", mistakes[i].what);
        with_table(t, mistakes[i].text, path);
        listen_on(&l, t);
        dml_comm *comm = open_comm(&l, t->mpi);
        without_table(t, path);
        dml_test_status(t, "dml_allreduce",
                        dml_allreduce(&x, &y, 1, DML_F32, DML_SUM, comm), DML_EINVAL);
        dml_ctx_last_error(l.ctx, &error);
        DML_CHECK(t,
                  strstr(error.text, mistakes[i].line) != NULL &&
                      strstr(error.text, mistakes[i].what) != NULL,
                  "the error is: %s", error.text);
        dml_comm_destroy(comm);
        dml_ctx_destroy(l.ctx);
    }
    struct listener l;
    dml_comm *comm = NULL;
    setenv("DML_TUNING", "no-such-file", 1);
    listen_on(&l, t);
    dml_test_status(t, "a table that is not there",
                    dml_comm_from_mpi(l.ctx, t->mpi, &comm), DML_EIO);
    DML_CHECK(t, comm == NULL, "a communicator was made");
    unsetenv("DML_TUNING");
    dml_ctx_destroy(l.ctx);
}

/* Tables of random words and bytes: an error or rules, but never a crash. */
void test_table_noise(struct dml_test *t)
{
    static const char *const words[] = {"allreduce", "bcast", "*",    "2-8", "-",
                                        "64K-",      "ring",  "auto", "#",   "\n",
                                        "\n",        "1",     "99G",  "mpi", "\t"};
    for (int round = 0; round < 60; round++) {
        char text[512] = "", path[64];
        size_t n = dml_test_random(t) % 60;
        for (size_t i = 0; i < n; i++) {
            size_t used = strlen(text);
            uint64_t drawn = dml_test_random(t);
            if (drawn % 9 == 0)
                snprintf(text + used, sizeof text - used, "%c",
                         (int)(drawn >> 8 & 127));
            else
                snprintf(text + used, sizeof text - used, "%s ",
                         words[drawn / 9 % DML_TEST_COUNT(words)]);
        }
        struct listener l;
        float x = 1, y;
        with_table(t, text, path);
        setenv("DML_MEASURE", "0", 1);
        listen_on(&l, t);
        dml_comm *comm = open_comm(&l, t->mpi);
        unsetenv("DML_MEASURE");
        without_table(t, path);
        dml_status status = dml_allreduce(&x, &y, 1, DML_F32, DML_SUM, comm);
        DML_CHECK(t, status == DML_OK || status == DML_EINVAL, "status %d of: %s",
                  (int)status, text);
        dml_comm_destroy(comm);
        dml_ctx_destroy(l.ctx);
    }
}
