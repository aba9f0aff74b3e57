/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the parts are put together: the only file that knows both the context and the
 * kernels it carries.
 */
#include "dml/dml.h"

#include "comm/progress.h"
#include "core/core.h"
#include "gpu/gpu.h"
#include "kernels/kernels.h"

#include <string.h>

#define STRING_(x) #x
#define STRING(x)  STRING_(x)

const char *dml_version(void)
{
    return STRING(DML_VERSION_MAJOR) "." STRING(DML_VERSION_MINOR) "." STRING(
        DML_VERSION_PATCH);
}

const char *dml_ctx_isa(const dml_ctx *ctx)
{
    return dml__ctx_kernels(ctx)->name;
}

static dml_progress_mode progress_mode(const dml_ctx_opts *opts)
{
    dml_ctx_opts defaults;
    if (opts == NULL) {
        dml_ctx_opts_init(&defaults);
        opts = &defaults;
    }
    return opts->progress;
}

dml_status dml_ctx_create(const dml_ctx_opts *opts, dml_ctx **out)
{
    if (out == NULL)
        return DML_EINVAL;
    dml_ctx *ctx = NULL;
    DML_TRY(dml__ctx_new(opts, &ctx));
    const char *isa =
        opts != NULL && opts->isa != NULL ? opts->isa : dml__ctx_env(ctx, "ISA");
    const struct dml__kernels *kernels = dml__kernels_find(isa != NULL ? isa : "auto");
    if (kernels == NULL) {
        dml__log(ctx, DML_LOG_ERROR,
                 "dml_ctx_create: kernel set \"%s\" is unknown or needs another "
                 "processor; use auto, c, avx2 or avx512",
                 isa);
        dml_ctx_destroy(ctx);
        return DML_EINVAL;
    }
    dml__ctx_set_kernels(ctx, kernels);
    dml_status status = dml__progress_open(ctx, progress_mode(opts));
    if (status != DML_OK) {
        dml_ctx_destroy(ctx);
        return status;
    }
    dml__gpu_begin(ctx);
    *out = ctx;
    return DML_OK;
}
