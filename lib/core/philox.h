/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DML__PHILOX_H
#define DML__PHILOX_H

#include <stdint.h>

/* The 128 random bits of (seed, stream, counter). Pure; any thread. */
void dml__philox(uint64_t seed, uint64_t stream, uint64_t counter, uint32_t out[4]);

#endif
