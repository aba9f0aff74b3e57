/* SPDX-License-Identifier: BSD-3-Clause */
/* The GPU that $DML_GPU names, for tests of dml-cnn's layers and kernels. */
#ifndef CNN_DEVICE_H
#define CNN_DEVICE_H

#include "gpu.h"

/* The pointer; the test fails if it is NULL. */
void *must(void *pointer);

/* A real device is for those who ask for it: else the test is skipped by name. */
void device_skip_unless_asked(void);

/* math: plain or cudnn. False, and why, when there is none. */
bool device_open(struct gpu *gpu, const char *math);
void device_close(struct gpu *gpu);

/* Memory of the device with a copy of "from" (NULL: undefined), and copies of it. All
 * wait for the stream. */
void *device_put(struct gpu *gpu, const void *from, size_t bytes);
void device_get(struct gpu *gpu, void *to, const void *from, size_t bytes);

#endif
