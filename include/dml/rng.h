/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file rng.h
 * Counter-based random numbers: a value is a pure function of (seed, stream, counter),
 * so any rank or thread can compute any of them, and results do not depend on how work
 * is split. Not for cryptography.
 *
 * Source: Philox4x32-10; Salmon, Moraes, Dror and Shaw, SC 2011.
 */
#ifndef DML_RNG_H
#define DML_RNG_H

#include "dml/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/** 64 random bits. Pure; any thread. @since 0.1 */
DML_API uint64_t dml_rng_u64(uint64_t seed, uint64_t stream, uint64_t counter);

/** Uniform in [0, 1), 53 bits. Pure; any thread. @since 0.1 */
DML_API double dml_rng_uniform(uint64_t seed, uint64_t stream, uint64_t counter);

/** Standard normal (Box-Muller on one counter's 128 bits). Pure; any thread. @since 0.1
 */
DML_API double dml_rng_normal(uint64_t seed, uint64_t stream, uint64_t counter);

/** Random permutation of 0 .. count-1 in @p out [count] (Fisher-Yates). The same for
 * equal arguments on every machine. Pure; any thread. @since 0.1 */
DML_API void dml_rng_permutation(uint64_t seed, uint64_t stream, uint32_t count,
                                 uint32_t *out);

#ifdef __cplusplus
}
#endif
#endif
