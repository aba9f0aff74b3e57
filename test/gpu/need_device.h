/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests that $DML_GPU sends to a real device are skipped, by name and with the reason,
 * where there is none.
 */
#ifndef DML_TEST_NEED_DEVICE_H
#define DML_TEST_NEED_DEVICE_H

#include "dml/gpu.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEST_SKIPPED = 77 }; /* Meson's status */

static inline bool device_missing(void)
{
    const char *kind = getenv("DML_GPU");
    dml_ctx_opts opts;
    dml_ctx *ctx = NULL;
    dml_error error = {.text = ""};
    int count = 0;
    if (kind == NULL || strcmp(kind, "cuda") != 0)
        return false;
    dml_ctx_opts_init(&opts);
    opts.log_level = DML_LOG_ERROR;
    if (dml_ctx_create(&opts, &ctx) != DML_OK)
        return true;
    bool missing = dml_gpu_count(ctx, &count) != DML_OK || count == 0;
    dml_ctx_last_error(ctx, &error);
    dml_ctx_destroy(ctx);
    if (missing)
        printf("skipped: no device: %s\n", error.text);
    return missing;
}

#endif
