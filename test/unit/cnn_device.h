/* SPDX-License-Identifier: BSD-3-Clause */
/* The GPU that $DML_GPU names, for tests of dml-cnn's layers and kernels. */
#ifndef CNN_DEVICE_H
#define CNN_DEVICE_H

#include "gpu.h"

/* The pointer; the test fails if it is NULL. */
void *must(void *pointer);

/* Before the tests, and after them. math: one of --kernels; NULL: on the processor,
 * so that gpu->ctx stays NULL. False, and why, when there is no device; a real one is
 * for those who ask for it: else the test is skipped by name. end returns "failed". */
bool device_begin(struct gpu *gpu, const char *math);
int device_end(struct gpu *gpu, int failed);

/* Memory of the device with a copy of "from" (NULL: undefined), and copies of it. All
 * wait for the stream. */
void *device_put(struct gpu *gpu, const void *from, size_t bytes);
void device_get(struct gpu *gpu, void *to, const void *from, size_t bytes);

#endif
