/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reductions: every predefined type that C has with every predefined operation it
 * allows, small whole numbers so that every order gives the same bits, in place, from
 * one buffer to another, and to each root.
 */
#include "shim_test.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RANKS = 16, ARITHMETIC = 0, LOGICAL = 1, BITWISE = 2 };

/* MPICH 4.0 crashes when a root other than 0 reduces in place, and when a block to be
 * scattered in place overlaps the place it goes to; it compares unsigned integers as
 * signed ones. */
#ifdef MPICH_VERSION
enum { IN_PLACE_WORKS = 0, COMPARES_UNSIGNED = 0 };
#else
enum { IN_PLACE_WORKS = 1, COMPARES_UNSIGNED = 1 };
#endif

#define FILL(T)                                              \
    static void fill_##T(void *to, size_t i, unsigned value) \
    {                                                        \
        ((T *)to)[i] = (T)value;                             \
    }
typedef long double longdouble;
FILL(float)
FILL(double)
FILL(longdouble)
FILL(int8_t)
FILL(uint8_t)
FILL(int16_t)
FILL(uint16_t)
FILL(int32_t)
FILL(uint32_t)
FILL(int64_t)
FILL(uint64_t)

static const struct type {
    const char *name;
    MPI_Datatype mpi;
    size_t bytes;
    void (*fill)(void *to, size_t i, unsigned value);
    bool floating;
} types[] = {
    {"float", MPI_FLOAT, 4, fill_float, true},
    {"double", MPI_DOUBLE, 8, fill_double, true},
    {"long double", MPI_LONG_DOUBLE, sizeof(longdouble), fill_longdouble, true},
    {"int", MPI_INT, 4, fill_int32_t, false},
    {"int8", MPI_INT8_T, 1, fill_int8_t, false},
    {"signed char", MPI_SIGNED_CHAR, 1, fill_int8_t, false},
    {"uint8", MPI_UINT8_T, 1, fill_uint8_t, false},
    {"int16", MPI_INT16_T, 2, fill_int16_t, false},
    {"uint16", MPI_UINT16_T, 2, fill_uint16_t, false},
    {"int32", MPI_INT32_T, 4, fill_int32_t, false},
    {"uint32", MPI_UINT32_T, 4, fill_uint32_t, false},
    {"unsigned", MPI_UNSIGNED, 4, fill_uint32_t, false},
    {"int64", MPI_INT64_T, 8, fill_int64_t, false},
    {"uint64", MPI_UINT64_T, 8, fill_uint64_t, false},
    {"long long", MPI_LONG_LONG, 8, fill_int64_t, false},
    {"aint", MPI_AINT, 8, fill_int64_t, false},
    {"offset", MPI_OFFSET, 8, fill_int64_t, false},
};

static const struct op {
    const char *name;
    MPI_Op mpi;
    int kind;
} ops[] = {
    {"sum", MPI_SUM, ARITHMETIC}, {"max", MPI_MAX, ARITHMETIC},
    {"min", MPI_MIN, ARITHMETIC}, {"prod", MPI_PROD, ARITHMETIC},
    {"land", MPI_LAND, LOGICAL},  {"lor", MPI_LOR, LOGICAL},
    {"band", MPI_BAND, BITWISE},  {"bxor", MPI_BXOR, BITWISE},
};

static const int counts[] = {0, 1, 2, 5, 1000, 70001};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Products of few and small factors stay exact; sums of 8-bit integers in range. */
static void fill(const struct type *type, void *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        type->fill(to, i, shim_random() % 3 + (i % 7 == 0));
}

/* Runs fn for some pair of type and operation at each count, drawn alike on all ranks:
 * all pairs at one count, the others by chance. */
typedef void reduce_fn(MPI_Comm comm, const struct type *type, const struct op *op,
                       int count);

static void for_pairs(MPI_Comm comm, reduce_fn *fn)
{
    for (size_t t = 0; t < COUNT(types); t++)
        for (size_t o = 0; o < COUNT(ops); o++) {
            if (types[t].floating && ops[o].kind != ARITHMETIC)
                continue;
            fn(comm, &types[t], &ops[o], 5);
            fn(comm, &types[t], &ops[o], counts[shim_random() % COUNT(counts)]);
        }
}

/* Input of this rank: drawn after the ranks' common numbers, from its own. */
static void *make_input(const struct type *type, size_t n, int rank, int size)
{
    unsigned char *all = shim_alloc(n * type->bytes);
    for (int r = 0; r < size; r++) { /* every rank draws for all: they stay in step */
        unsigned char *to = shim_alloc(n * type->bytes);
        fill(type, to, n);
        if (r == rank)
            memcpy(all, to, n * type->bytes);
        free(to);
    }
    return all;
}

static void compare(const char *what, const struct type *type, const struct op *op,
                    int count, int code, const void *got, const void *want,
                    size_t bytes)
{
    shim_check(code == MPI_SUCCESS, "%s: code %d", what, code);
    bool same = memcmp(got, want, bytes) == 0;
    if (type->mpi == MPI_LONG_DOUBLE) { /* six of its bytes mean nothing */
        same = true;
        for (size_t i = 0; i < bytes / type->bytes; i++)
            same =
                same && ((const longdouble *)got)[i] == ((const longdouble *)want)[i];
    }
    shim_check(same, "%s of %d %s, %s: not what MPI gives", what, count, type->name,
               op->name);
}

static void allreduce(MPI_Comm comm, const struct type *type, const struct op *op,
                      int count)
{
    int rank = 0, size = 0;
    PMPI_Comm_rank(comm, &rank);
    PMPI_Comm_size(comm, &size);
    size_t bytes = (size_t)count * type->bytes;
    void *in = make_input(type, (size_t)count, rank, size);
    void *want = shim_alloc(bytes), *got = shim_alloc(bytes);
    PMPI_Allreduce(in, want, count, type->mpi, op->mpi, comm);
    int code = MPI_Allreduce(in, got, count, type->mpi, op->mpi, comm);
    compare("allreduce", type, op, count, code, got, want, bytes);
    memcpy(got, in, bytes);
    code = MPI_Allreduce(MPI_IN_PLACE, got, count, type->mpi, op->mpi, comm);
    compare("allreduce in place", type, op, count, code, got, want, bytes);
    MPI_Request requests[2];
    void *place = shim_alloc(bytes);
    memcpy(place, in, bytes);
    memset(got, 0, bytes);
    code = MPI_Iallreduce(in, got, count, type->mpi, op->mpi, comm, &requests[0]);
    MPI_Iallreduce(MPI_IN_PLACE, place, count, type->mpi, op->mpi, comm, &requests[1]);
    MPI_Waitall(2, requests, MPI_STATUSES_IGNORE);
    compare("iallreduce", type, op, count, code, got, want, bytes);
    compare("iallreduce in place", type, op, count, code, place, want, bytes);
    free(place);
    free(in);
    free(want);
    free(got);
}

void test_allreduce(MPI_Comm comm)
{
    for_pairs(comm, allreduce);
}

static void reduce(MPI_Comm comm, const struct type *type, const struct op *op,
                   int count)
{
    int rank = 0, size = 0;
    PMPI_Comm_rank(comm, &rank);
    PMPI_Comm_size(comm, &size);
    size_t bytes = (size_t)count * type->bytes;
    int root = (int)(shim_random() % (unsigned)size);
    void *in = make_input(type, (size_t)count, rank, size);
    void *want = shim_alloc(bytes), *got = shim_alloc(bytes);
    PMPI_Reduce(in, want, count, type->mpi, op->mpi, root, comm);
    int code = MPI_Reduce(in, rank == root ? got : NULL, count, type->mpi, op->mpi,
                          root, comm);
    compare("reduce", type, op, count, code, got, want, rank == root ? bytes : 0);
    if (root != 0 && !IN_PLACE_WORKS)
        goto out;
    memcpy(got, in, bytes);
    code = MPI_Reduce(rank == root ? MPI_IN_PLACE : in, rank == root ? got : NULL,
                      count, type->mpi, op->mpi, root, comm);
    compare("reduce in place", type, op, count, code, got, want,
            rank == root ? bytes : 0);
out:
    free(in);
    free(want);
    free(got);
}

void test_reduce(MPI_Comm comm)
{
    for_pairs(comm, reduce);
}

static void reduce_scatter(MPI_Comm comm, const struct type *type, const struct op *op,
                           int count)
{
    int rank = 0, size = 0, blocks[MAX_RANKS];
    PMPI_Comm_rank(comm, &rank);
    PMPI_Comm_size(comm, &size);
    size_t total = 0, own = (size_t)count * type->bytes;
    void *in = make_input(type, (size_t)count * (size_t)size, rank, size);
    void *want = shim_alloc(own), *got = shim_alloc(own * (size_t)size);
    PMPI_Reduce_scatter_block(in, want, count, type->mpi, op->mpi, comm);
    int code = MPI_Reduce_scatter_block(in, got, count, type->mpi, op->mpi, comm);
    compare("reduce_scatter_block", type, op, count, code, got, want, own);
    if (IN_PLACE_WORKS) {
        memcpy(got, in, own * (size_t)size);
        code = MPI_Reduce_scatter_block(MPI_IN_PLACE, got, count, type->mpi, op->mpi,
                                        comm);
        compare("reduce_scatter_block in place", type, op, count, code, got, want, own);
    }
    for (int i = 0; i < size; i++) {
        blocks[i] = (int)(shim_random() % (unsigned)(count + 1));
        total += (size_t)blocks[i];
    }
    own = (size_t)blocks[rank] * type->bytes;
    PMPI_Reduce_scatter(in, want, blocks, type->mpi, op->mpi, comm);
    code = MPI_Reduce_scatter(in, got, blocks, type->mpi, op->mpi, comm);
    compare("reduce_scatter", type, op, count, code, got, want, own);
    if (IN_PLACE_WORKS) {
        memcpy(got, in, total * type->bytes);
        code = MPI_Reduce_scatter(MPI_IN_PLACE, got, blocks, type->mpi, op->mpi, comm);
        compare("reduce_scatter in place", type, op, count, code, got, want, own);
    }
    free(in);
    free(want);
    free(got);
}

void test_reduce_scatter(MPI_Comm comm)
{
    for_pairs(comm, reduce_scatter);
}

static void first_wins(void *in, void *inout, int *count, MPI_Datatype *type)
{
    (void)type;
    for (int i = 0; i < *count; i++)
        if (((int *)in)[i] != 0)
            ((int *)inout)[i] = ((int *)in)[i];
}

/* What libdml does not know: an operation of the program, pairs of value and index. */
void test_not_ours(MPI_Comm comm)
{
    int rank = 0, size = 0, x = 0, y = 0;
    PMPI_Comm_rank(comm, &rank);
    PMPI_Comm_size(comm, &size);
    MPI_Op op = MPI_OP_NULL;
    MPI_Op_create(first_wins, 0, &op);
    x = rank + 1;
    MPI_Allreduce(&x, &y, 1, MPI_INT, op, comm);
    shim_check(y == 1, "user operation: %d", y);
    MPI_Op_free(&op);
    struct {
        float value;
        int index;
    } in = {(float)(rank % 2), rank}, out = {-1, -1};
    MPI_Allreduce(&in, &out, 1, MPI_FLOAT_INT, MPI_MAXLOC, comm);
    int wanted = size > 1 ? 1 : 0;
    shim_check(out.index == wanted, "maxloc: index %d", out.index);
    unsigned big = rank == 0 ? 3000000000u : 1u, largest = 0;
    MPI_Allreduce(&big, &largest, 1, MPI_UNSIGNED, MPI_MAX, comm);
    shim_check(largest == 3000000000u || !COMPARES_UNSIGNED, "max of unsigned: %u",
               largest);
}
