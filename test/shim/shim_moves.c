/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Collectives that move data, with a type of its own on each rank: the same bytes as
 * one block, as a column of a matrix, in permuted order, or at absolute addresses.
 */
#include "shim_test.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_RANKS = 16, NSHAPES = 4 };

/* n ints as one of several layouts; the buffer has room for 2 n + 2 of them. */
static MPI_Datatype make_shape(int shape, int n, int *count)
{
    MPI_Datatype type = MPI_INT;
    *count = n;
    if (shape == 1 && n > 0) { /* one element that holds all */
        MPI_Type_contiguous(n, MPI_INT, &type);
        *count = 1;
    } else if (shape == 2 && n > 0) { /* every second one */
        MPI_Type_vector(n, 1, 2, MPI_INT, &type);
        *count = 1;
    } else if (shape == 3 && n % 2 == 0) { /* pairs, swapped: without gaps */
        int blocks[2] = {1, 1}, displs[2] = {1, 0};
        MPI_Type_indexed(2, blocks, displs, MPI_INT, &type);
        *count = n / 2;
    }
    if (type != MPI_INT)
        MPI_Type_commit(&type);
    return type;
}

static void free_shape(MPI_Datatype *type)
{
    if (*type != MPI_INT)
        MPI_Type_free(type);
}

static int value_of(int rank, int i)
{
    return rank * 1000003 + i * 7 + 1;
}

/* As the elements are ordered in the message. */
static int *element(int *buf, int shape, int n, int i)
{
    if (shape == 2 && n > 0)
        return buf + (size_t)2 * (size_t)i;
    if (shape == 3 && n % 2 == 0)
        return buf + (i ^ 1);
    return buf + i;
}

void test_bcast(MPI_Comm comm)
{
    static const int lengths[] = {0, 1, 2, 6, 1000, 50000};
    int rank = 0, size = 0;
    PMPI_Comm_rank(comm, &rank);
    PMPI_Comm_size(comm, &size);
    for (size_t l = 0; l < sizeof lengths / sizeof lengths[0]; l++)
        for (int mix = 0; mix < NSHAPES; mix++)
            for (int root = 0; root < size; root++) {
                int n = lengths[l], count = 0, shape = (rank + mix) % NSHAPES;
                int *buf = shim_alloc(((size_t)n + 1) * 2 * sizeof *buf);
                memset(buf, 0xee, ((size_t)n + 1) * 2 * sizeof *buf);
                MPI_Datatype type = make_shape(shape, n, &count);
                for (int i = 0; i < n && rank == root; i++)
                    *element(buf, shape, n, i) = value_of(root, i);
                int code = MPI_Bcast(buf, count, type, root, comm), wrong = 0;
                for (int i = 0; i < n; i++)
                    wrong += *element(buf, shape, n, i) != value_of(root, i);
                if (shape == 2 && n > 0) /* the gaps are kept */
                    wrong += buf[1] != (int)0xeeeeeeee;
                shim_check(code == MPI_SUCCESS && wrong == 0,
                           "bcast of %d ints, shape %d, root %d: %d wrong", n, shape,
                           root, wrong);
                free_shape(&type);
                free(buf);
            }
}

/* Blocks of n ints; the type received has the send type's values and may have gaps. */
static void allgather(MPI_Comm comm, int n, int out_shape, bool spread, bool in_place)
{
    int rank = 0, size = 0, out_count = 0, wrong = 0;
    PMPI_Comm_rank(comm, &rank);
    PMPI_Comm_size(comm, &size);
    int *out = shim_alloc(((size_t)n + 1) * 2 * sizeof *out);
    size_t stride = spread ? 2 : 1;
    int *in = shim_alloc((size_t)n * (size_t)size * stride * sizeof *in);
    MPI_Datatype out_type = make_shape(out_shape, n, &out_count), in_type = MPI_INT;
    if (spread) { /* each int takes the room of two */
        MPI_Type_create_resized(MPI_INT, 0, 2 * sizeof(int), &in_type);
        MPI_Type_commit(&in_type);
    }
    for (int i = 0; i < n; i++) {
        *element(out, out_shape, n, i) = value_of(rank, i);
        if (in_place)
            in[((size_t)rank * (size_t)n + (size_t)i) * stride] = value_of(rank, i);
    }
    int code = in_place ? MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, in, n,
                                        in_type, comm)
                        : MPI_Allgather(out, out_count, out_type, in, n, in_type, comm);
    for (int r = 0; r < size; r++)
        for (int i = 0; i < n; i++)
            wrong += in[((size_t)r * (size_t)n + (size_t)i) * stride] != value_of(r, i);
    shim_check(code == MPI_SUCCESS && wrong == 0,
               "allgather of %d, shape %d, spread %d, in place %d: %d wrong", n,
               out_shape, spread, in_place, wrong);
    if (spread)
        MPI_Type_free(&in_type);
    free_shape(&out_type);
    free(out);
    free(in);
}

void test_allgather(MPI_Comm comm)
{
    static const int lengths[] = {0, 1, 6, 1001, 20000};
    int rank = 0;
    PMPI_Comm_rank(comm, &rank);
    for (size_t l = 0; l < sizeof lengths / sizeof lengths[0]; l++)
        for (int mix = 0; mix < NSHAPES; mix++) {
            allgather(comm, lengths[l], (rank + mix) % NSHAPES, (rank + mix) % 2,
                      false);
            allgather(comm, lengths[l], 0, (rank + mix) % 2, true);
        }
}

/* Block r has lengths[r] ints; "reversed" ranks place the blocks last to first with a
 * gap after each. */
static void allgatherv(MPI_Comm comm, const int *lengths, bool reversed, bool in_place)
{
    int rank = 0, size = 0, displs[MAX_RANKS], next = 0, wrong = 0;
    PMPI_Comm_rank(comm, &rank);
    PMPI_Comm_size(comm, &size);
    for (int k = 0; k < size; k++) {
        int r = reversed ? size - 1 - k : k;
        displs[r] = next;
        next += lengths[r] + (reversed ? 3 : 0);
    }
    int n = lengths[rank];
    int *out = shim_alloc((size_t)n * sizeof *out);
    int *in = shim_alloc((size_t)next * sizeof *in);
    memset(in, 0xee, (size_t)next * sizeof *in);
    for (int i = 0; i < n; i++)
        (in_place ? in + displs[rank] : out)[i] = value_of(rank, i);
    int code = MPI_Allgatherv(in_place ? MPI_IN_PLACE : out, n, MPI_INT, in, lengths,
                              displs, MPI_INT, comm);
    for (int r = 0; r < size; r++) {
        for (int i = 0; i < lengths[r]; i++)
            wrong += in[displs[r] + i] != value_of(r, i);
        if (reversed)
            wrong += in[displs[r] + lengths[r]] != (int)0xeeeeeeee;
    }
    shim_check(code == MPI_SUCCESS && wrong == 0,
               "allgatherv, reversed %d, in place %d: %d wrong", reversed, in_place,
               wrong);
    free(out);
    free(in);
}

void test_allgatherv(MPI_Comm comm)
{
    static const unsigned longest[] = {1, 3, 500, 30000};
    int rank = 0, size = 0, lengths[MAX_RANKS] = {0};
    PMPI_Comm_rank(comm, &rank);
    PMPI_Comm_size(comm, &size);
    for (size_t l = 0; l < sizeof longest / sizeof longest[0]; l++)
        for (int mix = 0; mix < 2; mix++) {
            for (int r = 0; r < size; r++)
                lengths[r] = (int)(shim_random() % longest[l]);
            allgatherv(comm, lengths, (rank + mix) % 2 != 0, false);
            allgatherv(comm, lengths, (rank + mix) % 2 != 0, true);
        }
}

/* MPI_BOTTOM and a type of absolute addresses, against plain buffers elsewhere. */
void test_bottom(MPI_Comm comm)
{
    int rank = 0, values[5] = {0}, first[2] = {0}, lengths[2] = {2, 3};
    PMPI_Comm_rank(comm, &rank);
    MPI_Aint at[2];
    MPI_Datatype types[2] = {MPI_INT, MPI_INT}, absolute = MPI_DATATYPE_NULL;
    int rest[3] = {0};
    MPI_Get_address(first, &at[0]);
    MPI_Get_address(rest, &at[1]);
    MPI_Type_create_struct(2, lengths, at, types, &absolute);
    MPI_Type_commit(&absolute);
    if (rank == 0)
        for (int i = 0; i < 5; i++)
            *(i < 2 ? &first[i] : &rest[i - 2]) = value_of(9, i);
    int code = rank % 2 == 0 ? MPI_Bcast(MPI_BOTTOM, 1, absolute, 0, comm)
                             : MPI_Bcast(values, 5, MPI_INT, 0, comm);
    int wrong = 0;
    for (int i = 0; i < 5; i++) {
        int got = rank % 2 != 0 ? values[i] : i < 2 ? first[i] : rest[i - 2];
        wrong += got != value_of(9, i);
    }
    shim_check(code == MPI_SUCCESS && wrong == 0, "bcast from MPI_BOTTOM: %d wrong",
               wrong);
    MPI_Type_free(&absolute);
}
