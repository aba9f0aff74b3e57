/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tables: MPI's types and operations as libdml has them, and the functions' names;
 * and how MPI's buffers are understood.
 *
 * A type is known by its kind; its size, which may depend on the machine (MPI_LONG) or
 * on how a Fortran compiler was called (MPI_INTEGER), is asked of MPI.
 */
#include "shim/shim.h"

#include <stdio.h>
#include <string.h>

enum kind { SIGNED, UNSIGNED, FLOATING };

/* The most frequent first. In MPICH a type without a Fortran compiler is
 * MPI_DATATYPE_NULL, which is never looked up. */
static const struct {
    MPI_Datatype mpi;
    enum kind kind;
} types[] = {
    {MPI_FLOAT, FLOATING},
    {MPI_DOUBLE, FLOATING},
    {MPI_INT, SIGNED},
    {MPI_LONG, SIGNED},
    {MPI_INT64_T, SIGNED},
    {MPI_UINT64_T, UNSIGNED},
    {MPI_UNSIGNED_LONG, UNSIGNED},
    {MPI_LONG_LONG, SIGNED},
    {MPI_UNSIGNED_LONG_LONG, UNSIGNED},
    {MPI_INT32_T, SIGNED},
    {MPI_UINT32_T, UNSIGNED},
    {MPI_UNSIGNED, UNSIGNED},
    {MPI_INT8_T, SIGNED},
    {MPI_UINT8_T, UNSIGNED},
    {MPI_SIGNED_CHAR, SIGNED},
    {MPI_UNSIGNED_CHAR, UNSIGNED},
    {MPI_AINT, SIGNED},
    {MPI_OFFSET, SIGNED},
    {MPI_COUNT, SIGNED},
    {MPI_DOUBLE_PRECISION, FLOATING},
    {MPI_REAL, FLOATING},
    {MPI_INTEGER, SIGNED},
    {MPI_REAL4, FLOATING},
    {MPI_REAL8, FLOATING},
    {MPI_INTEGER4, SIGNED},
    {MPI_INTEGER8, SIGNED},
};

/* Sums and products of unsigned 32-bit integers have the bits of the signed ones;
 * their order differs, so minimum and maximum pass through. */
static const struct {
    enum kind kind;
    int bytes;
    dml_dtype dml;
    bool ordered;
} dtypes[] = {
    {FLOATING, 4, DML_F32, true}, {FLOATING, 8, DML_F64, true},
    {SIGNED, 4, DML_I32, true},   {SIGNED, 8, DML_I64, true},
    {UNSIGNED, 8, DML_U64, true}, {UNSIGNED, 4, DML_I32, false},
    {SIGNED, 1, DML_I8, true},    {UNSIGNED, 1, DML_U8, true},
};

static const struct {
    MPI_Op mpi;
    dml_op dml;
    bool orders;
} ops[] = {
    {MPI_SUM, DML_SUM, false},
    {MPI_MAX, DML_MAX, true},
    {MPI_MIN, DML_MIN, true},
    {MPI_PROD, DML_PROD, false},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

bool dml__shim_reduction(MPI_Datatype type, MPI_Op op, dml_dtype *dtype,
                         dml_op *dml_op_out)
{
    size_t t = 0, o = 0;
    int bytes = 0;
    if (type == MPI_DATATYPE_NULL)
        return false;
    while (t < COUNT(types) && types[t].mpi != type)
        t++;
    while (o < COUNT(ops) && ops[o].mpi != op)
        o++;
    if (t == COUNT(types) || o == COUNT(ops) ||
        PMPI_Type_size(type, &bytes) != MPI_SUCCESS)
        return false;
    for (size_t d = 0; d < COUNT(dtypes); d++) {
        if (dtypes[d].kind != types[t].kind || dtypes[d].bytes != bytes)
            continue;
        *dtype = dtypes[d].dml;
        *dml_op_out = ops[o].dml;
        return dtypes[d].ordered || !ops[o].orders;
    }
    return false;
}

const void *dml__shim_input(const void *send, const void *recv)
{
    bool same = send == recv && send != NULL; /* NULL is legal where nothing is sent */
    return send == MPI_IN_PLACE || same ? DML_IN_PLACE : send;
}

bool dml__shim_buffers_ok(const void *send, const void *recv, bool empty)
{
    return empty || (send != NULL && recv != NULL && recv != MPI_IN_PLACE);
}

bool dml__shim_layout(MPI_Datatype type, struct dml__shim_layout *layout)
{
    int bytes = 0, nints = 0, naddresses = 0, ntypes = 0, combiner = 0;
    MPI_Aint low = 0;
    if (type == MPI_DATATYPE_NULL || PMPI_Type_size(type, &bytes) != MPI_SUCCESS ||
        PMPI_Type_get_extent(type, &low, &layout->extent) != MPI_SUCCESS ||
        PMPI_Type_get_envelope(type, &nints, &naddresses, &ntypes, &combiner) !=
            MPI_SUCCESS ||
        bytes < 0) /* MPI_UNDEFINED: more than fits in an int */
        return false;
    layout->bytes = (size_t)bytes;
    /* A derived type without gaps may still permute its elements. */
    layout->plain =
        combiner == MPI_COMBINER_NAMED && low == 0 && layout->extent == bytes;
    return true;
}

unsigned dml__shim_parse(const char *list)
{
    static const char *const names[] = {
#define NAME(NAME_, name, function) name,
        DML__SHIM_MAP(NAME)
#undef NAME
    };
    unsigned all = (1u << DML__SHIM_NFNS) - 1, found = 0;
    while (list != NULL && *list != '\0') {
        size_t length = strcspn(list, ","), fn = 0;
        while (fn < DML__SHIM_NFNS &&
               (strlen(names[fn]) != length || strncmp(names[fn], list, length) != 0))
            fn++;
        if (fn < DML__SHIM_NFNS)
            found |= 1u << fn;
        else if (length == 3 && strncmp(list, "all", 3) == 0)
            found = all;
        else if (length > 0)
            fprintf(stderr,
                    "dml-mpi: DML_MPI_SKIP names no function \"%.*s\"; use all, or "
                    "allreduce, bcast ... (doc/mpi-shim.md), with commas between\n",
                    (int)length, list);
        list += length + (list[length] == ',');
    }
    return found;
}
