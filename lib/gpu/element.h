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

#define TEMPLATE "gpu/element_tmpl.h"
#include "core/plain_types.h"
#undef TEMPLATE
#undef FN

#endif
