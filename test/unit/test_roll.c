/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The roll's bookkeeping: what a ledger keeps of an operation, which records count as
 * the same call, how they are told, and that an operation's share is at most 60 ns.
 */
#include "comm/roll.h"
#include "unit.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static struct dml__op make(uint64_t seq, uint64_t count, int alg)
{
    struct dml__op op = {.seq = seq,
                         .count = count,
                         .what = DML_COLL_BCAST,
                         .dtype = DML_F64,
                         .state = DML__INSIDE,
                         .alg = (unsigned char)alg,
                         .root = 8000000};
    dml__op_sign(&op, NULL, 0);
    return op;
}

static void test_record(void **state)
{
    static struct dml__ledger ledger;
    struct dml__op op = make((uint64_t)77 << DML__PART_BITS, UINT64_MAX / 3, 255), got;
    (void)state;
    assert_false(dml__ledger_find(&ledger, op.seq, &got));
    dml__ledger_write(&ledger, &op);
    assert_true(dml__ledger_find(&ledger, op.seq, &got));
    assert_true(got.count == op.count && got.what == op.what && got.dtype == op.dtype);
    assert_true(got.alg == 255 && got.root == op.root && got.state == DML__INSIDE);
    assert_true(got.signature == op.signature);
    dml__ledger_end(&ledger, op.seq);
    assert_true(dml__ledger_find(&ledger, op.seq, &got));
    assert_true(got.state == DML__FINISHED && got.alg == 255 && got.root == op.root);
    op.root = -1; /* as of a call that is refused: nothing else is changed by it */
    dml__op_sign(&op, NULL, 0);
    dml__ledger_write(&ledger, &op);
    assert_true(dml__ledger_find(&ledger, op.seq, &got) && !got.on_device);
    assert_true(got.root == 0x7fffff && got.alg == 255);
}

static void test_same(void **state)
{
    uint64_t seq = (uint64_t)3 << DML__PART_BITS;
    struct dml__op open = make(seq, 100, 0), ring = make(seq, 100, 1);
    struct dml__op tree = make(seq, 100, 2), longer = make(seq, 101, 1);
    struct dml__op longer_open = make(seq, 101, 0), later = make(seq + 1, 100, 1);
    (void)state;
    assert_true(dml__op_same(&ring, &ring));
    assert_true(dml__op_same(&open, &ring) && dml__op_same(&tree, &open));
    assert_false(dml__op_same(&ring, &tree));
    assert_false(dml__op_same(&ring, &longer));
    assert_false(dml__op_same(&longer_open, &ring));
    assert_false(dml__op_same(&ring, &later));
    assert_true(ring.signature != open.signature && tree.signature != 0);
}

/* A rank chooses, refuses and goes on, another reads: what it gets belongs together. */
static struct dml__ledger shared;
static atomic_bool stop;

static void *write_records(void *arg)
{
    (void)arg;
    for (uint64_t i = 1; !atomic_load(&stop); i++) {
        /* Two places take turns; as in earnest no number comes twice. */
        uint64_t seq = (i * DML__RECORDS + i % 2) << DML__PART_BITS;
        struct dml__op op = make(seq, 100 + i % 2, 0);
        dml__ledger_write(&shared, &op);
        op.alg = 3;
        dml__op_sign_again(&op);
        dml__ledger_write(&shared, &op);
    }
    return NULL;
}

static void test_torn(void **state)
{
#ifdef DML_TEST_SANITIZED
    enum { READS = 1000000 };
#else
    enum { READS = 20000000 };
#endif
    pthread_t writer;
    (void)state;
    assert_int_equal(pthread_create(&writer, NULL, write_records, NULL), 0);
    int torn = 0, read = 0;
    for (int i = 0; read < READS; i++) {
        struct dml__op got;
        if (!dml__ledger_read(&shared, (unsigned)i % 2, &got))
            continue;
        struct dml__op want = make(got.seq, got.count, got.alg);
        read++;
        torn += got.signature != want.signature;
    }
    atomic_store(&stop, true);
    pthread_join(writer, NULL);
    assert_int_equal(torn, 0);
}

static void test_text(void **state)
{
    char text[160], room[8];
    struct dml__op op = make((uint64_t)3 << DML__PART_BITS, 100, 1);
    const char *name = NULL, *idea = NULL;
    (void)state;
    assert_int_equal(dml_algorithm_list(DML_COLL_BCAST, 0, &name, &idea), DML_OK);
    dml__op_describe(&op, text, sizeof text);
    char want[160];
    snprintf(want, sizeof want, "bcast of 100 f64, root 8000000, by %s", name);
    assert_string_equal(text, want);
    dml__op_describe(&op, room, sizeof room);
    assert_string_equal(room, "bcast o");
    op.what = DML_COLL_ALLREDUCE | DML__IN_PLACE;
    op.alg = 0;
    dml__op_describe(&op, text, sizeof text);
    assert_string_equal(text, "allreduce of 100 f64 (sum), in place");
    op.what = DML__QUERY;
    dml__op_where(&op, text, sizeof text);
    assert_string_equal(text, "dml_algorithm_query");
}

/* What roll.c does for one call: enter, choice, leave. Nanoseconds, the least of many
 * blocks. */
static void test_cost(void **state)
{
    enum { BLOCKS = 50, CALLS = 10000 };
    static struct dml__ledger ledger;
    struct dml_comm comm = {.size = 2};
    struct dml__roll roll = {.comm = &comm, .own = &ledger, .notes = MPI_COMM_NULL};
    struct dml__call call = {.coll = DML_COLL_ALLREDUCE, .comm = &comm, .count = 1};
    double least_s = 1;
    (void)state;
    comm.roll = &roll;
    for (int b = 0; b < BLOCKS; b++) {
        double begin_s = dml__now_s();
        for (int i = 0; i < CALLS; i++) {
            dml__roll_enter(&call);
            dml__roll_chosen(&call, 1);
            dml__roll_leave(&comm, call.record.seq);
        }
        double s = (dml__now_s() - begin_s) / CALLS;
        least_s = s < least_s ? s : least_s;
    }
    printf("signature and ledger: %.1f ns an operation\n", 1e9 * least_s);
    assert_true(dml__op_number(roll.seq) == (uint64_t)BLOCKS * CALLS);
#if defined(__OPTIMIZE__) && !defined(DML_TEST_SANITIZED)
    assert_true(least_s <= 60e-9);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record), cmocka_unit_test(test_same),
        cmocka_unit_test(test_torn),   cmocka_unit_test(test_text),
        cmocka_unit_test(test_cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
