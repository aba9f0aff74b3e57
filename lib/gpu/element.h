/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arithmetic of reductions, element by element, compiled by nvcc for the device and by
 * the C compiler for the fake one: what is tested without a GPU is what runs on one.
 * For a type N: dml__elem_merge_N(a, b, op), dml__elem_load_N(x, scale) and
 * dml__elem_store_N(acc, divisor), as of lib/kernels/kernels.h. 16-bit floats are
 * widened, reduced as F32, and narrowed.
 */
#ifndef DML__GPU_ELEMENT_H
#define DML__GPU_ELEMENT_H

#include "core/half.h"

#include <stdint.h>
#include <string.h>

/* The operations with an arithmetic of their own; the first values of dml_op. */
enum { DML__SUM, DML__PROD, DML__MIN, DML__MAX };

#define DML__ELEM_JOIN_(a, b) dml__elem_##a##_##b
#define DML__ELEM_JOIN(a, b)  DML__ELEM_JOIN_(a, b)
#define FN(name)              DML__ELEM_JOIN(name, NAME)

#define NAME     F32
#define T        float
#define U        uint32_t
#define S        float
#define FLOATING 1
#include "gpu/element_tmpl.h"

#define NAME     F64
#define T        double
#define U        uint64_t
#define S        double
#define FLOATING 1
#include "gpu/element_tmpl.h"

#define NAME     I8
#define T        int8_t
#define U        uint32_t
#define S        double
#define FLOATING 0
#define LOWEST   (-0x1p7)
#define HIGHEST  127.0
#include "gpu/element_tmpl.h"

#define NAME     U8
#define T        uint8_t
#define U        uint32_t
#define S        double
#define FLOATING 0
#define LOWEST   0.0
#define HIGHEST  255.0
#include "gpu/element_tmpl.h"

#define NAME     I32
#define T        int32_t
#define U        uint32_t
#define S        double
#define FLOATING 0
#define LOWEST   (-0x1p31)
#define HIGHEST  2147483647.0
#include "gpu/element_tmpl.h"

/* The largest double below 2^63 and 2^64. */
#define NAME     I64
#define T        int64_t
#define U        uint64_t
#define S        double
#define FLOATING 0
#define LOWEST   (-0x1p63)
#define HIGHEST  0x1.fffffffffffffp62
#include "gpu/element_tmpl.h"

#define NAME     U64
#define T        uint64_t
#define U        uint64_t
#define S        double
#define FLOATING 0
#define LOWEST   0.0
#define HIGHEST  0x1.fffffffffffffp63
#include "gpu/element_tmpl.h"

#undef FN

#endif
