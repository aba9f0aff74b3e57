/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finding the CUDA driver at run time, and loading device code into it. Nothing of CUDA
 * is linked: a library that was built with it runs on nodes that have no GPU
 * (doc/adr/0014).
 */
#include "gpu/cuda.h"

#include <dlfcn.h>
#include <string.h>

#define TEXT_(x) #x
#define TEXT(x)  TEXT_(x)

static const char library[] = "libcuda.so.1";

/* The driver must know machine code of the CUDA that made it: any of the same major
 * version does, and any later one. */
enum { NEEDED = CUDA_VERSION / 1000 * 1000 };

bool dml__cuda_in_use(void)
{
    void *handle = dlopen(library, RTLD_NOW | RTLD_NOLOAD);
    if (handle != NULL)
        dlclose(handle);
    return handle != NULL;
}

static bool find(void *handle, const char *name, void *function)
{
    void *symbol = dlsym(handle, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

static dml_status find_all(dml_ctx *ctx, void *handle, struct dml__cuda_calls *cu)
{
#define FIND(name)                                                                \
    if (!find(handle, TEXT(cu##name), &cu->name))                                 \
        return dml__fail(ctx, DML_EUNSUPPORTED, "dml_gpu",                        \
                         "%s has no %s: update the driver to one for CUDA %d.%d", \
                         library, TEXT(cu##name), CUDA_VERSION / 1000,            \
                         CUDA_VERSION % 1000 / 10);
    DML__CUDA_CALLS(FIND)
#undef FIND
    return DML_OK;
}

static dml_status start(dml_ctx *ctx, void *handle, int *version)
{
    __typeof__(cuInit) *init;
    __typeof__(cuDriverGetVersion) *get_version;
    int found = 0;
    if (!find(handle, "cuInit", &init) ||
        !find(handle, "cuDriverGetVersion", &get_version))
        return dml__fail(ctx, DML_EUNSUPPORTED, "dml_gpu", "%s is no CUDA driver",
                         library);
    /* Asked for first: too old a driver may fail to start. */
    get_version(&found);
    if (found < NEEDED)
        return dml__fail_values(ctx, DML_EUNSUPPORTED, "dml_gpu", -1, found, NEEDED,
                                "the driver supports CUDA %d.%d, and libdml was built "
                                "with %d.%d: update the driver to one for CUDA %d.0",
                                found / 1000, found % 1000 / 10, CUDA_VERSION / 1000,
                                CUDA_VERSION % 1000 / 10, NEEDED / 1000);
    CUresult code = init(0);
    if (code == CUDA_ERROR_NO_DEVICE)
        return dml__fail(ctx, DML_EUNSUPPORTED, "dml_gpu",
                         "the CUDA driver finds no GPU here (is CUDA_VISIBLE_DEVICES "
                         "empty?)");
    if (code != CUDA_SUCCESS)
        return dml__fail(ctx, DML_EUNSUPPORTED, "dml_gpu",
                         "cuInit answers %d: the CUDA driver does not start",
                         (int)code);
    *version = found;
    return DML_OK;
}

dml_status dml__cuda_load(dml_ctx *ctx, struct dml__cuda_calls *cu, int *version)
{
    int found = 0;
    /* It is never unloaded: it has threads of its own. */
    void *handle = dlopen(library, RTLD_NOW | RTLD_NODELETE);
    if (handle == NULL)
        return dml__fail(ctx, DML_EUNSUPPORTED, "dml_gpu",
                         "no CUDA driver here (%s is not found): a GPU needs one for "
                         "CUDA %d.0 or later",
                         library, NEEDED / 1000);
    dml_status status = start(ctx, handle, &found);
    if (status == DML_OK)
        status = find_all(ctx, handle, cu);
    dlclose(handle);
    if (version != NULL)
        *version = found;
    return status;
}

dml_status dml__cuda_check(const struct dml__gpu *gpu, const char *call, CUresult code)
{
    const struct dml__cuda *cuda = gpu->driver;
    const char *name = NULL, *text = NULL;
    if (code == CUDA_SUCCESS)
        return DML_OK;
    cuda->cu.GetErrorName(code, &name);
    cuda->cu.GetErrorString(code, &text);
    dml_status status = code == CUDA_ERROR_OUT_OF_MEMORY   ? DML_ENOMEM
                        : code == CUDA_ERROR_INVALID_VALUE ? DML_EINVAL
                        : code == CUDA_ERROR_NOT_SUPPORTED ? DML_EUNSUPPORTED
                                                           : DML_ECOMM;
    return dml__fail(gpu->ctx, status, "dml_gpu", "GPU %d: %s says %s (%s)", gpu->index,
                     call, text != NULL ? text : "an unknown error",
                     name != NULL ? name : "?");
}

/* ---- device code -------------------------------------------------------------------
 */

static dml_status loaded(const struct dml__gpu *gpu,
                         const struct dml_gpu_kernel *kernel, CUresult code)
{
    const bool own = strncmp(kernel->name, "dml__", 5) == 0;
    if (code == CUDA_ERROR_NO_BINARY_FOR_GPU)
        return dml__fail(gpu->ctx, DML_EUNSUPPORTED, "dml_gpu",
                         "GPU %d: %s was built for capabilities " DML__GPU_ARCHS
                         " and later; build it with -Dgpu_archs for this one",
                         gpu->index, own ? "libdml" : kernel->name);
    return dml__cuda_check(gpu, "cuModuleLoadData", code);
}

/* The module of a kernel's image, by the image's address. */
static dml_status load_image(const struct dml__gpu *gpu,
                             const struct dml_gpu_kernel *kernel, CUmodule *module)
{
    struct dml__cuda *cuda = gpu->driver;
    int i = 0;
    while (i < cuda->nimages && cuda->images[i] != kernel->image)
        i++;
    if (i == DML__CUDA_NIMAGES)
        return dml__fail(gpu->ctx, DML_EUNSUPPORTED, "dml_gpu",
                         "the kernel %s is of a fat binary beyond %d, libdml's own "
                         "among them, and no more are kept; put kernels into fewer",
                         kernel->name, DML__CUDA_NIMAGES);
    if (i == cuda->nimages) {
        CUresult code = cuda->cu.ModuleLoadData(&cuda->modules[i], kernel->image);
        DML_TRY(loaded(gpu, kernel, code));
        cuda->images[i] = kernel->image;
        cuda->nimages++;
    }
    *module = cuda->modules[i];
    return DML_OK;
}

static dml_status load_kernel(const struct dml__gpu *gpu,
                              const struct dml_gpu_kernel *kernel, CUfunction *function)
{
    struct dml__cuda *cuda = gpu->driver;
    CUmodule module = NULL;
    if (cuda->nkernels == DML__CUDA_NKERNELS)
        return dml__fail(gpu->ctx, DML_EUNSUPPORTED, "dml_gpu",
                         "the kernel %s is beyond %d, libdml's own among them, and no "
                         "more are kept",
                         kernel->name, DML__CUDA_NKERNELS);
    if (kernel->image == NULL)
        return dml__fail(gpu->ctx, DML_EUNSUPPORTED, "dml_gpu",
                         "the kernel %s was built without CUDA", kernel->name);
    DML_TRY(load_image(gpu, kernel, &module));
    CUresult code = cuda->cu.ModuleGetFunction(function, module, kernel->name);
    DML_TRY(dml__cuda_check(gpu, kernel->name, code));
    cuda->kernels[cuda->nkernels] = kernel;
    cuda->functions[cuda->nkernels++] = *function;
    return DML_OK;
}

dml_status dml__cuda_kernel(const struct dml__gpu *gpu,
                            const struct dml_gpu_kernel *kernel, CUfunction *function)
{
    struct dml__cuda *cuda = gpu->driver;
    dml_status status = DML_OK;
    int i = 0;
    pthread_mutex_lock(&cuda->lock);
    while (i < cuda->nkernels && cuda->kernels[i] != kernel)
        i++;
    if (i < cuda->nkernels)
        *function = cuda->functions[i];
    else
        status = load_kernel(gpu, kernel, function);
    pthread_mutex_unlock(&cuda->lock);
    return status;
}

void dml__cuda_unload(struct dml__cuda *cuda)
{
    for (int i = 0; i < cuda->nimages; i++)
        cuda->cu.ModuleUnload(cuda->modules[i]);
}
