/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All-reduce of vectors in pieces against the same vectors in one piece, and requests
 * that are started many times: they allocate nothing, and overlap with other calls.
 */
#include "numbers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Stands in for the library's allocator, to count: libdml allocates by this alone. */
static unsigned long allocations;

void *aligned_alloc(size_t alignment, size_t bytes)
{
    void *memory = NULL;
    allocations++;
    int code = posix_memalign(&memory, alignment, bytes);
    if (code != 0)
        errno = code;
    return memory;
}

enum { MAX_PIECES = 40 };

/* A vector in one piece, and the same in several, with gaps between them. */
struct vectors {
    size_t count, bytes, npieces, extent;
    unsigned char *whole, *spread, *before;
    dml_piece pieces[MAX_PIECES];
};

/* Cuts differ between ranks, the count does not. */
static struct vectors make(struct dml_test *t, size_t count, dml_dtype dtype, dml_op op)
{
    struct vectors v = {.count = count, .bytes = dml_dtype_bytes(dtype)};
    uint64_t seed = dml_test_random(t);
    v.extent = (count + MAX_PIECES) * v.bytes;
    v.whole = dml_test_alloc(count * v.bytes + 1);
    v.spread = dml_test_alloc(v.extent);
    v.before = dml_test_alloc(v.extent);
    numbers_fill(v.whole, 0, count, dtype, op, seed, t->rank);
    memset(v.spread, 0xa5, v.extent);
    size_t left = count, done = 0;
    while (v.npieces < MAX_PIECES) {
        uint64_t h = dml_test_hash(seed, v.npieces, (uint64_t)t->rank);
        size_t n = h % 5 == 0 ? 0 : h % (count / 4 + 2);
        if (n > left || v.npieces == MAX_PIECES - 1)
            n = left;
        unsigned char *at = v.spread + (done + v.npieces) * v.bytes;
        memcpy(at, v.whole + done * v.bytes, n * v.bytes);
        v.pieces[v.npieces++] = (dml_piece){n > 0 ? at : NULL, n};
        left -= n;
        done += n;
    }
    memcpy(v.before, v.spread, v.extent);
    return v;
}

static void discard(struct vectors *v)
{
    free(v->whole);
    free(v->spread);
    free(v->before);
}

/* The pieces must hold what the whole vector does, and the gaps what they did. */
static void compare(struct dml_test *t, struct vectors *v)
{
    size_t done = 0;
    for (size_t i = 0; i < v->npieces; i++) {
        size_t n = v->pieces[i].count * v->bytes;
        if (n > 0)
            memcpy(v->before + ((unsigned char *)v->pieces[i].data - v->spread),
                   v->whole + done, n);
        done += n;
    }
    dml_test_bytes(t, "pieces", v->spread, v->before, v->extent);
}

static void reduce_both(struct dml_test *t, size_t count, dml_dtype dtype, dml_op op,
                        dml_op handle, bool async)
{
    struct vectors v = make(t, count, dtype, op);
    dml_status status =
        dml_allreduce(DML_IN_PLACE, v.whole, count, dtype, handle, t->comm);
    dml_request *request = NULL;
    dml_status in_pieces =
        async
            ? dml_iallreduce_list(v.pieces, v.npieces, dtype, handle, t->comm, &request)
            : dml_allreduce_list(v.pieces, v.npieces, dtype, handle, t->comm);
    if (status == DML_EUNSUPPORTED) {
        dml_test_status(t, "in pieces", in_pieces, status);
    } else {
        dml_test_status(t, "dml_allreduce", status, DML_OK);
        dml_test_status(t, "in pieces", in_pieces, DML_OK);
        dml_test_status(t, "dml_wait", dml_wait(&request), DML_OK);
        compare(t, &v);
    }
    discard(&v);
}

static void test_all_algorithms(struct dml_test *t)
{
    static const size_t counts[] = {0, 1, 3, 12, 100, 1000, 33000, 200003};
    const char *name, *text;
    dml_op premul[2];
    for (int i = 0; i < 2; i++)
        dml_op_create_premul_sum(numbers_scale(i == 0 ? DML_F32 : DML_I32, t->rank),
                                 t->comm, &premul[i]);
    for (size_t a = 0;
         dml_algorithm_list(DML_COLL_ALLREDUCE, a, &name, &text) == DML_OK; a++) {
        dml_comm_set_algorithm(t->comm, DML_COLL_ALLREDUCE, name);
        for (size_t i = 0; i < DML_TEST_COUNT(counts); i++) {
            dml_dtype dtype = (dml_dtype)(dml_test_random(t) % DML_NDTYPES);
            dml_op op = (dml_op)(dml_test_random(t) % NUMBERS_NOPS);
            bool is_float = numbers_is_float(dtype), async = strcmp(name, "mpi") == 0;
            dml_test_step(t, "%s of %zu %s, %s", name, counts[i], dml_dtype_name(dtype),
                          numbers_op_name(op));
            if (async && is_float)
                continue; /* MPI's blocking call adds in another order */
            reduce_both(t, counts[i], dtype, op,
                        op == OP_PREMUL ? premul[is_float ? 0 : 1] : op,
                        async || i % 2 == 1);
        }
    }
    for (int i = 0; i < 2; i++)
        dml_op_destroy(premul[i], t->comm);
    dml_comm_set_algorithm(t->comm, DML_COLL_ALLREDUCE, "auto");
}

/* Many at once; what describes the pieces may go when the call has returned. */
static void test_many(struct dml_test *t)
{
    enum { MANY = 20 };
    struct vectors v[MANY];
    dml_request *requests[MANY] = {NULL};
    dml_comm_set_algorithm(t->comm, DML_COLL_ALLREDUCE, "ring");
    for (int i = 0; i < MANY; i++) {
        v[i] = make(t, dml_test_random(t) % 20000, DML_F32, DML_SUM);
        dml_test_step(t, "list %d of %zu elements", i, v[i].count);
        dml_piece copy[MAX_PIECES];
        memcpy(copy, v[i].pieces, sizeof copy);
        dml_test_status(t, "dml_iallreduce_list",
                        dml_iallreduce_list(copy, v[i].npieces, DML_F32, DML_SUM,
                                            t->comm, &requests[i]),
                        DML_OK);
        memset(copy, 0xff, sizeof copy);
    }
    dml_test_status(t, "dml_waitall", dml_waitall(MANY, requests), DML_OK);
    for (int i = 0; i < MANY; i++) {
        dml_allreduce(DML_IN_PLACE, v[i].whole, v[i].count, DML_F32, DML_SUM, t->comm);
        compare(t, &v[i]);
        discard(&v[i]);
    }
    dml_comm_set_algorithm(t->comm, DML_COLL_ALLREDUCE, "auto");
}

static void test_misuse(struct dml_test *t)
{
    dml_piece piece = {NULL, 1};
    dml_test_error(t, "no pieces",
                   dml_allreduce_list(NULL, 1, DML_F32, DML_SUM, t->comm), DML_EINVAL);
    dml_test_error(t, "no data",
                   dml_allreduce_list(&piece, 1, DML_F32, DML_SUM, t->comm),
                   DML_EINVAL);
    piece.count = SIZE_MAX;
    piece.data = &piece;
    dml_test_error(t, "beyond memory",
                   dml_allreduce_list(&piece, 1, DML_F32, DML_SUM, t->comm),
                   DML_EINVAL);
    dml_test_status(t, "nothing",
                    dml_allreduce_list(NULL, 0, DML_F32, DML_SUM, t->comm), DML_OK);
    dml_test_status(t, "no communicator",
                    dml_allreduce_list(NULL, 0, DML_F32, DML_SUM, NULL), DML_EINVAL);

    dml_request *request = NULL;
    float x = 1;
    dml_coll_args args = {.size = sizeof args, .coll = DML_COLL_ALLREDUCE};
    args.count = 1;
    args.send = DML_IN_PLACE;
    args.recv = &x;
    dml_test_status(t, "start of NULL", dml_start(NULL), DML_EINVAL);
    dml_test_status(t, "free of NULL", dml_request_free(&request), DML_OK);
    args.size = 1;
    dml_test_error(t, "wrong size", dml_coll_init(&args, t->comm, &request),
                   DML_EINVAL);
    args.size = sizeof args;
    dml_test_error(t, "no request", dml_coll_init(&args, t->comm, NULL), DML_EINVAL);
    dml_test_error(
        t, "no pieces to plan",
        dml_allreduce_list_init(NULL, 1, DML_F32, DML_SUM, t->comm, &request),
        DML_EINVAL);
    dml_test_status(t, "dml_coll_init", dml_coll_init(&args, t->comm, &request),
                    DML_OK);
    dml_test_status(t, "dml_start", dml_start(request), DML_OK);
    dml_test_error(t, "second start", dml_start(request), DML_EINVAL);
    dml_test_error(t, "free while pending", dml_request_free(&request), DML_EINVAL);
    dml_test_status(t, "dml_wait", dml_wait(&request), DML_OK);
    DML_CHECK(t, x == (float)t->nranks, "sum of ones is %g", (double)x);
    dml_test_status(t, "dml_request_free", dml_request_free(&request), DML_OK);
    dml_test_status(t, "dml_ibarrier", dml_ibarrier(t->comm, &request), DML_OK);
    dml_test_error(t, "free of another kind", dml_request_free(&request), DML_EINVAL);
    dml_test_status(t, "dml_wait", dml_wait(&request), DML_OK);
}

/* A request for COUNT elements at x: in one piece, or in three. */
static dml_status plan(struct dml_test *t, float *x, size_t count, bool in_pieces,
                       dml_request **request)
{
    if (in_pieces) {
        dml_piece pieces[] = {
            {x + count / 3, count - count / 3}, {NULL, 0}, {x, count / 3}};
        return dml_allreduce_list_init(pieces, 3, DML_F32, DML_SUM, t->comm, request);
    }
    dml_coll_args args = {.size = sizeof args, .coll = DML_COLL_ALLREDUCE};
    args.send = DML_IN_PLACE;
    args.recv = x;
    args.count = count;
    return dml_coll_init(&args, t->comm, request);
}

/* Two requests, of which one is a list, started again and again with a blocking call
 * between them. */
static void start_often(struct dml_test *t, const char *algorithm)
{
    enum { COUNT = 50000, ROUNDS = 6 };
    float *x = dml_test_alloc(2 * COUNT * sizeof *x), one = 1, sum = 0;
    dml_request *requests[2] = {NULL, NULL};
    dml_comm_set_algorithm(t->comm, DML_COLL_ALLREDUCE, algorithm);
    for (int i = 0; i < 2; i++) {
        dml_status status = plan(t, x + i * COUNT, COUNT, i == 1, &requests[i]);
        if (status == DML_EUNSUPPORTED)
            goto out;
        dml_test_status(t, "a plan", status, DML_OK);
    }
    unsigned long before = 0;
    for (int round = 0; round < ROUNDS; round++) {
        dml_test_step(t, "%s, round %d", algorithm, round);
        before = round == 1 ? allocations : before; /* the blocking call's are made */
        for (int i = 0; i < 2 * COUNT; i++)
            x[i] = (float)(i % 13 + round);
        dml_test_status(t, "dml_startall", dml_startall(2, requests), DML_OK);
        dml_test_status(t, "dml_allreduce",
                        dml_allreduce(&one, &sum, 1, DML_F32, DML_SUM, t->comm),
                        DML_OK);
        dml_test_status(t, "dml_waitall", dml_waitall(2, requests), DML_OK);
        for (int i = 0; i < 2 * COUNT; i++)
            if (x[i] != (float)(t->nranks * (i % 13 + round))) {
                dml_test_fail(t, "element %d is %g", i, (double)x[i]);
                break;
            }
    }
    DML_CHECK(t, allocations == before, "%lu allocations", allocations - before);
out:
    for (int i = 0; i < 2; i++)
        dml_test_status(t, "dml_request_free", dml_request_free(&requests[i]), DML_OK);
    free(x);
}

static void test_start_often(struct dml_test *t)
{
    const char *name, *text;
    unsigned long before = allocations;
    for (size_t a = 0;
         dml_algorithm_list(DML_COLL_ALLREDUCE, a, &name, &text) == DML_OK; a++)
        start_often(t, name);
    DML_CHECK(t, allocations > before, "the count of allocations does not work");
    dml_comm_set_algorithm(t->comm, DML_COLL_ALLREDUCE, "auto");
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"lists by all algorithms", test_all_algorithms},
        {"many lists at once", test_many},
        {"misuse", test_misuse},
        {"requests started often", test_start_often},
    };
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
