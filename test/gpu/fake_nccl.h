/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the two files of the library share that does as NCCL.
 */
#ifndef FAKE_NCCL_H
#define FAKE_NCCL_H

#include "dml/gpu.h"

#include "gpu/nccl_abi.h"

#define EXPORT __attribute__((visibility("default")))

enum { FAILED = 6 };

/* Of a communicator of the library. */
dml_ctx *fake_nccl_ctx(void *comm);

/* Does the collective that hangs still do so? */
bool fake_nccl_hangs(void *comm);

/* Ends its registrations. */
void fake_nccl_forget(const void *comm);

#endif
