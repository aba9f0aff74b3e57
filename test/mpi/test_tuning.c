/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How algorithms are chosen: the time that measuring may take, what later communicators
 * take over, the tuning table with its errors, and variables that are misspelt.
 */
#include "dml_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A context that keeps the lines it logs. */
struct listener {
    struct dml_test *t;
    dml_ctx *ctx;
    char lines[40][320];
    size_t n;
};

static void keep_line(void *user, dml_log_level level, const char *line)
{
    struct listener *l = user;
    (void)level;
    if (l->n < DML_TEST_COUNT(l->lines))
        snprintf(l->lines[l->n++], sizeof l->lines[0], "%s", line);
}

static void listen_on(struct listener *l, struct dml_test *t)
{
    dml_ctx_opts opts;
    *l = (struct listener){.t = t};
    dml_ctx_opts_init(&opts);
    opts.log_level = DML_LOG_INFO;
    opts.log = keep_line;
    opts.log_user = l;
    dml_test_status(t, "dml_ctx_create", dml_ctx_create(&opts, &l->ctx), DML_OK);
}

/* Lines so far that begin so; on rank 0, which logs what ranks agree on. */
static size_t heard(const struct listener *l, const char *begin)
{
    size_t found = 0;
    for (size_t i = 0; i < l->n; i++)
        found += strncmp(l->lines[i], begin, strlen(begin)) == 0;
    return found;
}

static dml_comm *open_comm(struct listener *l, MPI_Comm mpi)
{
    dml_comm *comm = NULL;
    dml_test_status(l->t, "dml_comm_from_mpi", dml_comm_from_mpi(l->ctx, mpi, &comm),
                    DML_OK);
    return comm;
}

static void query(struct listener *l, dml_coll coll, size_t count, dml_comm *comm,
                  dml_choice *choice)
{
    dml_test_status(l->t, "dml_algorithm_query",
                    dml_algorithm_query(coll, count, DML_F32, DML_SUM, comm, choice),
                    DML_OK);
}

/* ---- measuring ---------------------------------------------------------------------
 */

/* All nine collectives of a communicator are measured within half a second. What else
 * runs on the machine may spoil two attempts. */
static void budget(struct dml_test *t, const char *nodes)
{
    double slow_s = 0;
    for (int attempt = 0; attempt < 3; attempt++) {
        struct listener l;
        if (nodes != NULL)
            setenv("DML_NODES", nodes, 1);
        listen_on(&l, t);
        dml_comm *comm = open_comm(&l, t->mpi);
        unsetenv("DML_NODES");
        MPI_Barrier(t->mpi);
        double begin_s = MPI_Wtime();
        for (int c = 0; c < DML_NCOLLS; c++) {
            dml_choice choice;
            dml_test_step(t, "measure %s", dml_coll_name((dml_coll)c));
            query(&l, (dml_coll)c, 1000, comm, &choice);
        }
        double own_s = MPI_Wtime() - begin_s;
        MPI_Allreduce(&own_s, &slow_s, 1, MPI_DOUBLE, MPI_MAX, t->mpi);
        size_t lines = heard(&l, "measured"); /* the last ones may go by formulas */
        bool several = t->rank == 0 && t->nranks > 1;
        DML_CHECK(t, several ? lines > 0 && lines <= DML_NCOLLS : lines == 0,
                  "%zu collectives were measured", lines);
        dml_comm_destroy(comm);
        dml_ctx_destroy(l.ctx);
        if (slow_s < 0.5)
            return;
    }
    dml_test_fail(t, "measuring took %.2f s, more than 0.5 s", slow_s);
}

static void test_budget(struct dml_test *t)
{
    static const char *const layouts[] = {NULL, "2", "0,1"};
    for (size_t i = 0; i < DML_TEST_COUNT(layouts); i++)
        budget(t, layouts[i]);
}

/* The same processes are not measured again; others are. */
static void test_taken_over(struct dml_test *t)
{
    if (t->nranks < 3) {
        dml_test_skip(t, "needs three ranks");
        return;
    }
    struct listener l;
    listen_on(&l, t);
    dml_choice first, again, part_choice;
    dml_comm *comm = open_comm(&l, t->mpi), *twin = open_comm(&l, t->mpi), *part = NULL;
    query(&l, DML_COLL_ALLREDUCE, 5000, comm, &first);
    query(&l, DML_COLL_ALLREDUCE, 5000, twin, &again);
    DML_CHECK(t, strcmp(first.why, again.why) == 0, "was: %s; the twin: %s", first.why,
              again.why);
    DML_CHECK(t, heard(&l, "measured") == (t->rank == 0), "measured %zu times",
              heard(&l, "measured"));
    query(&l, DML_COLL_BCAST, 5000, twin, &again);
    query(&l, DML_COLL_BCAST, 5000, comm, &first);
    DML_CHECK(t, strcmp(first.why, again.why) == 0, "was: %s; back: %s", first.why,
              again.why);
    size_t so_far = heard(&l, "measured"); /* 2 if the time sufficed */
    DML_CHECK(t, so_far <= 2, "measured %zu times", so_far);
    /* Without the highest rank: other processes. */
    dml_test_status(
        t, "dml_comm_split",
        dml_comm_split(comm, t->rank < t->nranks - 1 ? 0 : -1, t->rank, &part), DML_OK);
    if (part != NULL) {
        query(&l, DML_COLL_ALLREDUCE, 5000, part, &part_choice);
        so_far += t->rank == 0;
        DML_CHECK(t, heard(&l, "measured") == so_far, "measured %zu times",
                  heard(&l, "measured"));
    }
    dml_comm_destroy(part);
    /* In another order: the neighbours are not the same. */
    dml_comm_split(comm, 0, -t->rank, &part);
    query(&l, DML_COLL_ALLREDUCE, 5000, part, &part_choice);
    so_far += dml_comm_rank(part) == 0;
    DML_CHECK(t, heard(&l, "measured") == so_far, "measured %zu times",
              heard(&l, "measured"));
    dml_comm_destroy(part);
    dml_comm_destroy(twin);
    dml_comm_destroy(comm);
    dml_ctx_destroy(l.ctx);
}

/* A context made anew on one rank knows nothing, so nobody takes anything over. */
static void test_one_forgets(struct dml_test *t)
{
    struct listener l, fresh;
    listen_on(&l, t);
    dml_choice choice;
    dml_comm *comm = open_comm(&l, t->mpi);
    query(&l, DML_COLL_ALLREDUCE, 5000, comm, &choice);
    dml_comm_destroy(comm);
    listen_on(&fresh, t);
    struct listener *mine = t->rank == t->nranks - 1 ? &fresh : &l;
    comm = open_comm(mine, t->mpi);
    query(mine, DML_COLL_ALLREDUCE, 5000, comm, &choice);
    dml_test_same_on_all(t, "choice", choice.why, sizeof choice.why);
    float x = 1, sum = 0;
    dml_test_status(t, "dml_allreduce",
                    dml_allreduce(&x, &sum, 1, DML_F32, DML_SUM, comm), DML_OK);
    DML_CHECK(t, sum == (float)t->nranks, "the sum is %g", sum);
    dml_comm_destroy(comm);
    dml_ctx_destroy(fresh.ctx);
    dml_ctx_destroy(l.ctx);
}

/* Memory of dml_alloc makes one more algorithm possible, which is then measured too. */
static void test_symmetric(struct dml_test *t)
{
    struct listener l;
    dml_choice choice;
    void *memory = NULL;
    listen_on(&l, t);
    dml_comm *comm = open_comm(&l, t->mpi);
    query(&l, DML_COLL_ALLREDUCE, 1 << 18, comm, &choice);
    DML_CHECK(t, strstr(choice.why, "shared") == NULL, "too early: %s", choice.why);
    dml_test_status(t, "dml_alloc", dml_alloc(comm, 1 << 20, &memory), DML_OK);
    query(&l, DML_COLL_ALLREDUCE, 1 << 18, comm, &choice);
    if (t->nranks > 1) {
        DML_CHECK(t, strstr(choice.why, "shared") != NULL, "without shared: %s",
                  choice.why);
    }
    query(&l, DML_COLL_ALLREDUCE, 1 << 18, comm, &choice);
    DML_CHECK(t, heard(&l, "measured") <= 2, "measured three times");
    dml_test_status(t, "dml_free", dml_free(comm, memory), DML_OK);
    query(&l, DML_COLL_ALLREDUCE, 1 << 18, comm, &choice);
    DML_CHECK(t, strstr(choice.why, "shared") == NULL, "too late: %s", choice.why);
    dml_comm_destroy(comm);
    dml_ctx_destroy(l.ctx);
}

/* ---- the table ---------------------------------------------------------------------
 */

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

static void test_table(struct dml_test *t)
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
static void test_table_mistakes(struct dml_test *t)
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
static void test_table_noise(struct dml_test *t)
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

/* ---- variables ---------------------------------------------------------------------
 */

static void test_misspelt(struct dml_test *t)
{
    struct listener l;
    setenv("DML_ALREDUCE", "ring", 1);
    setenv("DML_TUNNING", "x", 1);
    listen_on(&l, t);
    unsetenv("DML_ALREDUCE");
    unsetenv("DML_TUNNING");
    dml_comm *comm = open_comm(&l, t->mpi), *twin = open_comm(&l, t->mpi);
    DML_CHECK(t, heard(&l, "environment: ") == (t->rank == 0 ? 2 : 0),
              "%zu lines about the environment", heard(&l, "environment: "));
    size_t right = heard(&l, "environment: DML_ALREDUCE is no variable of libdml; did "
                             "you mean DML_ALLREDUCE?") +
                   heard(&l, "environment: DML_TUNNING is no variable of libdml; did "
                             "you mean DML_TUNING?");
    DML_CHECK(t, t->rank != 0 || right == 2, "the warning is: %s", l.lines[0]);
    dml_comm_destroy(twin);
    dml_comm_destroy(comm);
    dml_ctx_destroy(l.ctx);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"budget", test_budget},
        {"taken over", test_taken_over},
        {"one rank forgets", test_one_forgets},
        {"symmetric memory", test_symmetric},
        {"table", test_table},
        {"mistakes in a table", test_table_mistakes},
        {"noise as a table", test_table_noise},
        {"misspelt variables", test_misspelt},
    };
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
