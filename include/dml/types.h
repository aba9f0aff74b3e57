/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file types.h
 * Element types, reduction operations and handles.
 *
 * Each list is one table; the enum, names, sizes, documentation and tests are made
 * from it. The order of both tables is part of the ABI.
 */
#ifndef DML_TYPES_H
#define DML_TYPES_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define DML_API __attribute__((visibility("default")))
#else
#define DML_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/** X(NAME, number, "name", bytes per element). */
#define DML_DTYPE_MAP(X)  \
    X(F32, 0, "f32", 4)   \
    X(F64, 1, "f64", 8)   \
    X(F16, 2, "f16", 2)   \
    X(BF16, 3, "bf16", 2) \
    X(I8, 4, "i8", 1)     \
    X(U8, 5, "u8", 1)     \
    X(I32, 6, "i32", 4)   \
    X(I64, 7, "i64", 8)   \
    X(U64, 8, "u64", 8)

/**
 * Element type. f16 is IEEE 754 binary16 and bf16 the upper half of an f32; both are
 * passed as uint16_t, reduced in f32, and rounded once, to nearest even (by NCCL, on
 * device memory, at every hop).
 */
typedef enum dml_dtype {
#define DML_DTYPE_ENUM(NAME, number, name, bytes) DML_##NAME = (number),
    DML_DTYPE_MAP(DML_DTYPE_ENUM)
#undef DML_DTYPE_ENUM
} dml_dtype;
#define DML_NDTYPES 9

/** X(NAME, number, "name"). */
#define DML_OP_MAP(X)  \
    X(SUM, 0, "sum")   \
    X(PROD, 1, "prod") \
    X(MIN, 2, "min")   \
    X(MAX, 3, "max")   \
    X(AVG, 4, "avg")

/**
 * Reduction operation: one of the five below, or a pre-multiplied sum made by
 * dml_op_create_premul_sum().
 *
 * Integers wrap around as unsigned numbers do. min and max of floats hand a NaN on, so
 * that a diverged rank cannot hide. avg is the sum divided by the number of ranks; for
 * integers the quotient is cut towards zero.
 */
typedef enum dml_op {
#define DML_OP_ENUM(NAME, number, name) DML_##NAME = (number),
    DML_OP_MAP(DML_OP_ENUM)
#undef DML_OP_ENUM
        DML_OP_USER_MAX = 0x7fffffff /**< Keeps the enum wide enough for handles. */
} dml_op;
#define DML_NOPS 5

/** Passed as a send or receive buffer: the data already lie in the other buffer. */
#define DML_IN_PLACE ((void *)(intptr_t)-1)

typedef struct dml_ctx dml_ctx;         /**< see ctx.h */
typedef struct dml_comm dml_comm;       /**< see comm.h */
typedef struct dml_request dml_request; /**< see comm.h */

/** Bytes of one element, 0 for an unknown type. Not collective; any thread. @since 0.1
 */
DML_API size_t dml_dtype_bytes(dml_dtype dtype);

/** Name of a type ("bf16"), "?" if unknown; static. Not collective; any thread. @since
 * 0.1 */
DML_API const char *dml_dtype_name(dml_dtype dtype);

/** Name of an operation ("sum", "premul_sum"); static. Not collective; any thread.
 * @since 0.1 */
DML_API const char *dml_op_name(dml_op op);

#ifdef __cplusplus
}
#endif
#endif
