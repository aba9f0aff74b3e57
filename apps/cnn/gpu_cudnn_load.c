/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finding cuDNN, cuBLAS and the driver at run time, and starting them.
 */
#include "gpu_cudnn.h"

#include <dlfcn.h>
#include <stdarg.h>

static dml_status refuse(struct gpu *gpu, dml_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static dml_status refuse(struct gpu *gpu, dml_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(gpu->error, sizeof gpu->error, format, args);
    va_end(args);
    return status;
}

/* The first of the names that is there; NULL: none. */
static void *open_library(const char *const *names, const char **found)
{
    for (; *names; names++) {
        void *handle = dlopen(*names, RTLD_NOW | RTLD_NODELETE);
        if (handle) {
            *found = *names;
            return handle;
        }
    }
    return NULL;
}

#define FIND(object, prefix, name)                                          \
    do {                                                                    \
        void *symbol = dlsym(handle, prefix #name);                         \
        if (!symbol)                                                        \
            return refuse(gpu, DML_EUNSUPPORTED, "%s has no %s: %s", found, \
                          prefix #name, what_to_do);                        \
        memcpy(&lib->object.name, &symbol, sizeof symbol);                  \
    } while (0);
#define FIND_DNN(name, parameters)  FIND(dnn, "cudnn", name)
#define FIND_BLAS(name, parameters) FIND(blas, "cublas", name)
#define FIND_CUDA(name, parameters) FIND(cuda, "cu", name)

static dml_status load_cudnn(struct gpu *gpu, struct cudnn *lib)
{
    static const char *const names[] = {"libcudnn.so.9", NULL};
    static const char what_to_do[] =
        "install cuDNN 9 for this driver's CUDA and name its folder in "
        "LD_LIBRARY_PATH, or give --kernels plain (slow)";
    const char *found = NULL;
    void *handle = open_library(names, &found);
    if (!handle)
        return refuse(gpu, DML_EUNSUPPORTED, "%s is not found: %s", names[0],
                      what_to_do);
    CUDNN_CALLS(FIND_DNN)
    FIND(dnn, "cudnn", GetVersion)
    FIND(dnn, "cudnn", GetErrorString)
    size_t version = lib->dnn.GetVersion();
    if (version < CUDNN_NEEDED || version >= CUDNN_BELOW)
        return refuse(gpu, DML_EUNSUPPORTED,
                      "cuDNN %zu.%zu.%zu is found, and 9.0 to 9.x is needed: %s",
                      version / 10000, version / 100 % 100, version % 100, what_to_do);
    return DML_OK;
}

static dml_status load_cublas(struct gpu *gpu, struct cudnn *lib)
{
    static const char *const names[] = {"libcublas.so.13", "libcublas.so.12", NULL};
    static const char what_to_do[] =
        "install cuBLAS of the CUDA toolkit and name its folder in LD_LIBRARY_PATH, or "
        "give --kernels plain (slow)";
    const char *found = NULL;
    void *handle = open_library(names, &found);
    if (!handle)
        return refuse(gpu, DML_EUNSUPPORTED, "neither %s nor %s is found: %s", names[0],
                      names[1], what_to_do);
    CUBLAS_CALLS(FIND_BLAS)
    return DML_OK;
}

/* The device's primary context, which libdml uses too, becomes the thread's. */
static dml_status use_context(struct gpu *gpu, struct cudnn *lib)
{
    static const char *const names[] = {"libcuda.so.1", NULL};
    static const char what_to_do[] = "update the driver";
    const char *found = NULL;
    void *handle = open_library(names, &found), *context = NULL;
    if (!handle)
        return refuse(gpu, DML_EUNSUPPORTED, "%s is not found: install the driver",
                      names[0]);
    CUDA_CALLS(FIND_CUDA)
    int code = lib->cuda.DevicePrimaryCtxRetain(&context, gpu->index);
    lib->has_context = code == 0;
    if (code == 0)
        code = lib->cuda.CtxSetCurrent(context);
    if (code != 0)
        return refuse(gpu, DML_ECOMM, "GPU %d: the driver answers %d to its context",
                      gpu->index, code);
    return DML_OK;
}

static dml_status start_cudnn(struct gpu *gpu, struct cudnn *lib)
{
    int code = lib->dnn.Create(&lib->handle);
    if (code == 0)
        code = lib->dnn.SetStream(lib->handle, gpu->stream);
    if (code != 0)
        return refuse(gpu, DML_EUNSUPPORTED,
                      "cuDNN %zu does not start on GPU %d: %s; is it for this driver's "
                      "CUDA?",
                      lib->dnn.GetVersion(), gpu->index, lib->dnn.GetErrorString(code));
    return DML_OK;
}

/* A workspace of its own, of the size that cuBLAS takes on Hopper: without one it
 * allocates in the stream, also while a graph is captured. The stream comes first, as
 * it takes the workspace away. */
static dml_status start_cublas(struct gpu *gpu, struct cudnn *lib)
{
    const size_t bytes = (size_t)32 << 20;
    CNN_TRY(gpu_note(gpu, dml_gpu_alloc(gpu->ctx, bytes, &lib->blas_space)));
    int code = lib->blas.Create_v2(&lib->blas_handle);
    if (code == 0)
        code = lib->blas.SetStream_v2(lib->blas_handle, gpu->stream);
    if (code == 0)
        code = lib->blas.SetWorkspace_v2(lib->blas_handle, lib->blas_space, bytes);
    if (code != 0)
        return refuse(gpu, DML_EUNSUPPORTED,
                      "cuBLAS does not start on GPU %d: it answers %d; is it for this "
                      "driver's CUDA?",
                      gpu->index, code);
    return DML_OK;
}

dml_status cudnn_open(struct gpu *gpu, struct cudnn *lib)
{
    CNN_TRY(load_cudnn(gpu, lib));
    CNN_TRY(load_cublas(gpu, lib));
    CNN_TRY(use_context(gpu, lib));
    CNN_TRY(start_cudnn(gpu, lib));
    return start_cublas(gpu, lib);
}

void cudnn_close(struct gpu *gpu, struct cudnn *lib)
{
    if (lib->blas_handle)
        (void)lib->blas.Destroy_v2(lib->blas_handle);
    if (lib->handle)
        (void)lib->dnn.Destroy(lib->handle);
    (void)dml_gpu_free(gpu->ctx, lib->blas_space);
    (void)dml_gpu_free(gpu->ctx, lib->space);
    if (lib->has_context) {
        (void)lib->cuda.CtxSetCurrent(NULL);
        (void)lib->cuda.DevicePrimaryCtxRelease_v2(gpu->index);
    }
}
