/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Exchanges that fail: losses that are planted are found, and a rank that fails alone
 * (its function, its memory, its arguments) is named on all ranks, which may go on
 * afterwards.
 */
#include "dml_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RECORDS = 300, MAX_ALLOCS = 1000, ENOUGH = 12 };

/* A function that refuses one record. */
struct receiver {
    long got, refuse_at; /* -1: never */
    dml_exchange *x;     /* to be misused from within; or NULL */
    dml_status within;
};

static dml_status receive(void *user, int source, const void *record, size_t bytes)
{
    struct receiver *r = user;
    (void)source;
    if (r->x != NULL)
        r->within = dml_exchange_push(r->x, 0, record, bytes);
    return r->got++ == r->refuse_at ? DML_EIO : DML_OK;
}

static dml_status push_some(const struct dml_test *t, dml_exchange *x)
{
    dml_status status = DML_OK;
    for (int i = 0; i < RECORDS && status == DML_OK; i++) {
        unsigned char record[RECORDS];
        memset(record, i % 256, sizeof record);
        status = dml_exchange_push(x, (t->rank + i) % t->nranks, record, (size_t)i);
    }
    return status;
}

static dml_exchange *create(struct dml_test *t, struct receiver *r, dml_comm *comm)
{
    dml_exchange *x = NULL;
    dml_exchange_opts opts;
    dml_exchange_opts_init(&opts);
    opts.budget_bytes = (size_t)t->nranks * 4096;
    dml_test_status(t, "dml_exchange_create",
                    dml_exchange_create(&opts, receive, r, comm, &x), DML_OK);
    return x;
}

/* The error that all ranks have: whose, and a word of its text. */
static void check_told(struct dml_test *t, dml_ctx *ctx, int rank, const char *word)
{
    dml_error error;
    dml_ctx_last_error(ctx, &error);
    DML_CHECK(t, error.rank == rank && strstr(error.text, word) != NULL,
              "of rank %d, wanted %d: \"%s\" without \"%s\"", error.rank, rank,
              error.text, word);
}

/* ---- losses ------------------------------------------------------------------------
 */

static void drop_line(void *user, dml_log_level level, const char *line)
{
    (void)user;
    (void)level;
    (void)line;
}

/* A context and communicator of their own, with a variable set on one rank; NULL when
 * the communicator cannot be made. */
static dml_comm *open_with(struct dml_test *t, const char *variable, const char *value,
                           int rank)
{
    dml_ctx_opts opts;
    dml_ctx *ctx = NULL;
    dml_comm *comm = NULL;
    if (t->rank == rank)
        setenv(variable, value, 1);
    setenv("DML_MEASURE", "0", 1); /* takes a number of allocations that varies */
    dml_ctx_opts_init(&opts);
    opts.log = drop_line;
    dml_test_status(t, "dml_ctx_create", dml_ctx_create(&opts, &ctx), DML_OK);
    unsetenv(variable);
    unsetenv("DML_MEASURE");
    if (dml_comm_from_mpi(ctx, t->mpi, &comm) != DML_OK)
        dml_ctx_destroy(ctx);
    return comm;
}

static void close_comm(dml_comm *comm)
{
    dml_ctx *ctx = dml_comm_ctx(comm);
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
}

/* A rank's sender spoils a record for the next rank: all must hear of it, and the next
 * exchange is sound. */
static void plant(struct dml_test *t, const char *fault, int sender, const char *word)
{
    dml_comm *comm = open_with(t, "DML_TEST_EXCHANGE", fault, sender);
    struct receiver r = {.refuse_at = -1};
    dml_exchange *x = create(t, &r, comm);
    char text[300] = "a record";
    int to = (sender + 1) % t->nranks;
    dml_test_step(t, "%s on rank %d", fault, sender);
    for (int i = 0; i < 20 && t->rank == sender; i++)
        dml_test_status(t, "push", dml_exchange_push(x, to, text, (size_t)(15 * i)),
                        DML_OK);
    dml_test_status(t, "dml_exchange_finish", dml_exchange_finish(x), DML_EMISMATCH);
    check_told(t, dml_comm_ctx(comm), to, word);
    dml_test_status(t, "push", push_some(t, x), DML_OK);
    dml_test_status(t, "the next one", dml_exchange_finish(x), DML_OK);
    dml_exchange_destroy(x);
    close_comm(comm);
}

static void test_planted(struct dml_test *t)
{
    if (t->nranks == 1) {
        dml_test_skip(t, "needs a second rank");
        return;
    }
    plant(t, "drop:4", 0, "lost or doubled");
    plant(t, "drop:1", t->nranks - 1, "lost or doubled"); /* an empty record */
    plant(t, "double:7", t->nranks - 1, "lost or doubled");
    plant(t, "flip:20", 0, "checksum");
}

/* ---- one rank alone ----------------------------------------------------------------
 */

static void test_refused(struct dml_test *t)
{
    int who = t->nranks - 1;
    struct receiver r = {.refuse_at = t->rank == who ? RECORDS / 2 : -1};
    dml_exchange *x = create(t, &r, t->comm);
    dml_test_step(t, "the function of rank %d refuses a record", who);
    push_some(t, x);
    dml_test_error(t, "dml_exchange_finish", dml_exchange_finish(x), DML_EIO);
    check_told(t, t->ctx, who, "refused a record");
    r.refuse_at = -1;
    dml_test_status(t, "push", push_some(t, x), DML_OK);
    dml_test_status(t, "the next one", dml_exchange_finish(x), DML_OK);
    dml_exchange_destroy(x);
}

static void test_within(struct dml_test *t)
{
    struct receiver r = {.refuse_at = -1};
    r.x = create(t, &r, t->comm);
    dml_test_step(t, "push from within the function");
    dml_test_status(t, "push", dml_exchange_push(r.x, t->rank, "x", 1), DML_OK);
    DML_CHECK(t, r.within == DML_EINVAL, "%s", dml_status_name(r.within));
    dml_test_status(t, "dml_exchange_finish", dml_exchange_finish(r.x), DML_OK);
    dml_exchange_destroy(r.x);
}

static void test_destroyed(struct dml_test *t)
{
    int who = t->nranks - 1;
    struct receiver r = {.refuse_at = -1};
    dml_exchange *x = create(t, &r, t->comm);
    dml_test_step(t, "rank %d destroys an open exchange", who);
    dml_test_status(t, "push", push_some(t, x), DML_OK);
    if (t->rank != who) {
        dml_test_error(t, "dml_exchange_finish", dml_exchange_finish(x), DML_EMISMATCH);
        check_told(t, t->ctx, 0, "destroyed its exchange");
        dml_test_error(t, "push", dml_exchange_push(x, 0, "x", 1), DML_EMISMATCH);
    }
    dml_exchange_destroy(x);
}

/* Two at once: the second is refused, and loses the first nothing. */
static void test_two_open(struct dml_test *t)
{
    struct receiver r = {.refuse_at = -1}, other = {.refuse_at = -1};
    dml_exchange *x = create(t, &r, t->comm), *y = create(t, &other, t->comm);
    dml_test_step(t, "two exchanges at once");
    dml_test_status(t, "push", push_some(t, x), DML_OK);
    dml_test_error(t, "push to the other", dml_exchange_push(y, t->rank, "y", 1),
                   DML_EINVAL);
    dml_test_error(t, "poll the other", dml_exchange_poll(y), DML_EINVAL);
    dml_test_error(t, "finish the other", dml_exchange_finish(y), DML_EINVAL);
    dml_test_status(t, "dml_exchange_finish", dml_exchange_finish(x), DML_OK);
    DML_CHECK(t, r.got == RECORDS && other.got == 0, "%ld and %ld records came", r.got,
              other.got);
    dml_test_status(t, "now the other", push_some(t, y), DML_OK);
    dml_test_status(t, "its finish", dml_exchange_finish(y), DML_OK);
    dml_exchange_destroy(y);
    dml_exchange_destroy(x);
}

static void test_arguments(struct dml_test *t)
{
    struct receiver r = {.refuse_at = -1};
    dml_exchange *x = create(t, &r, t->comm);
    dml_exchange_opts opts;
    dml_exchange_opts_init(&opts);
    dml_test_step(t, "wrong arguments");
    dml_test_error(t, "rank P", dml_exchange_push(x, t->nranks, "x", 1), DML_EINVAL);
    dml_test_error(t, "rank -1", dml_exchange_push(x, -1, "x", 1), DML_EINVAL);
    dml_test_error(t, "record NULL", dml_exchange_push(x, 0, NULL, 1), DML_EINVAL);
    dml_test_status(t, "empty NULL", dml_exchange_push(x, 0, NULL, 0), DML_OK);
    dml_test_status(t, "dml_exchange_finish", dml_exchange_finish(x), DML_OK);
    dml_exchange_destroy(x);
    dml_exchange_destroy(NULL);
    x = NULL;
    dml_test_error(t, "no function", dml_exchange_create(NULL, NULL, NULL, t->comm, &x),
                   DML_EINVAL);
    opts.budget_bytes = 100;
    dml_test_error(t, "budget", dml_exchange_create(&opts, receive, &r, t->comm, &x),
                   DML_EINVAL);
    DML_CHECK(t, x == NULL, "an exchange was returned by a failing call");
    DML_CHECK(t,
              dml_exchange_push(NULL, 0, "", 0) == DML_EINVAL &&
                  dml_exchange_poll(NULL) == DML_EINVAL &&
                  dml_exchange_finish(NULL) == DML_EINVAL,
              "an exchange that is NULL");
    if (t->nranks == 1)
        return;
    dml_exchange_opts_init(&opts);
    opts.record_bytes = t->rank == 0 ? 8 : 16;
    dml_test_error(t, "other options",
                   dml_exchange_create(&opts, receive, &r, t->comm, &x), DML_EMISMATCH);
}

static void test_packed_arguments(struct dml_test *t)
{
    int last = t->nranks - 1, wrong[2] = {0, t->rank == last ? t->nranks : 0};
    size_t offsets[3] = {0, 2, 4};
    char data[4] = "abc";
    dml_packed send = {data, offsets, 2}, got = {.count = 0};
    dml_test_step(t, "one rank sends to rank P");
    dml_test_error(t, "dml_exchange_packed",
                   dml_exchange_packed(&send, wrong, NULL, t->comm, &got), DML_EINVAL);
    check_told(t, t->ctx, last, "record 1");
    wrong[1] = 0;
    offsets[1] = t->rank == last ? 5 : 2;
    dml_test_error(t, "offsets that fall",
                   dml_exchange_packed(&send, wrong, NULL, t->comm, &got), DML_EINVAL);
    offsets[1] = 2;
    send.data = t->rank == last ? NULL : data;
    dml_test_error(t, "no data", dml_exchange_packed(&send, wrong, NULL, t->comm, &got),
                   DML_EINVAL);
    check_told(t, t->ctx, last, "data is NULL");
    send.data = data;
    dml_test_status(t, "afterwards",
                    dml_exchange_packed(&send, wrong, NULL, t->comm, &got), DML_OK);
    dml_packed_free(&got);
    dml_packed_free(&got);
    dml_packed_free(NULL);
}

/* ---- memory ------------------------------------------------------------------------
 */

/* The n-th allocation of rank 0 fails: all ranks have an error, or all succeed. True
 * when none was left to fail. */
static bool fail_allocation(struct dml_test *t, int n)
{
    char text[16];
    static char data[40000];
    size_t offsets[4] = {0, 10, 20010, sizeof data};
    int dest[3] = {0, t->nranks - 1, 0};
    dml_packed send = {data, offsets, 3}, got = {.count = 0};
    snprintf(text, sizeof text, "%d", n);
    dml_test_step(t, "allocation %d of rank 0 fails", n);
    dml_comm *comm = open_with(t, "DML_TEST_ALLOC_FAIL", text, 0);
    if (comm == NULL)
        return false;
    dml_exchange_opts opts;
    dml_exchange_opts_init(&opts);
    opts.budget_bytes = (size_t)t->nranks * 4096;
    dml_status status = dml_exchange_packed(&send, dest, &opts, comm, &got);
    int most[2] = {status < 0, status >= 0};
    MPI_Allreduce(MPI_IN_PLACE, most, 2, MPI_INT, MPI_MAX, t->mpi);
    DML_CHECK(t, most[0] != most[1], "%s here, but not on all ranks",
              dml_status_name(status));
    dml_packed_free(&got);
    close_comm(comm);
    return most[0] == 0;
}

/* Some allocations are not needed: a success ends the search only if more follow. */
static void test_memory(struct dml_test *t)
{
    if (t->nranks > 3) {
        dml_test_skip(t, "takes long on more than 3 ranks");
        return;
    }
    int failed = 0, row = 0;
    for (int n = 1; n < MAX_ALLOCS && row < ENOUGH; n++) {
        bool fine = fail_allocation(t, n);
        failed += !fine;
        row = fine ? row + 1 : 0;
    }
    DML_CHECK(t, failed > 5 && row == ENOUGH, "%d allocations failed", failed);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"planted losses", test_planted},
        {"refused by one rank", test_refused},
        {"from within", test_within},
        {"destroyed by one rank", test_destroyed},
        {"two at once", test_two_open},
        {"arguments", test_arguments},
        {"arguments of packed", test_packed_arguments},
        {"memory", test_memory},
    };
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
