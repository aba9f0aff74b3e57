/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening the device of a rank, and who computes convolutions on it.
 */
#include "gpu.h"

dml_status gpu_note(struct gpu *gpu, dml_status status)
{
    dml_error error;
    if (status == DML_OK)
        return status;
    dml_ctx_last_error(gpu->ctx, &error);
    snprintf(gpu->error, sizeof gpu->error, "%s",
             error.text[0] ? error.text : dml_status_str(status));
    return status;
}

/* The fake device has no capability; its convolutions are the plain ones. */
static dml_status choose_math(struct job *job, const char *math, struct gpu *gpu)
{
    static const struct gpu_math *const all[] = {&gpu_math_cudnn, &gpu_math_plain,
                                                 &gpu_math_cudnn_measured,
                                                 &gpu_math_cudnn_gemm};
    dml_gpu_info info;
    CNN_TRY(job_note(job, dml_gpu_device(job->ctx, &gpu->index)));
    CNN_TRY(job_note(job, dml_gpu_get_info(job->ctx, gpu->index, &info)));
    bool fake = info.major == 0;
    gpu->math = all[fake ? 1 : 0]; /* auto */
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (strcmp(math, all[i]->name) == 0)
            gpu->math = all[i];
    if (fake && gpu->math != &gpu_math_plain)
        return job_fail(job, DML_EUNSUPPORTED,
                        "--kernels %s: the fake device has no cuDNN: give --kernels "
                        "plain, or a real GPU",
                        math);
    return DML_OK;
}

static dml_status start(struct job *job, const char *math, struct gpu *gpu)
{
    CNN_TRY(choose_math(job, math, gpu));
    CNN_TRY(job_note(job, dml_gpu_stream_create(job->ctx, &gpu->stream)));
    dml_status status = gpu->math->open(gpu);
    if (status != DML_OK)
        return job_fail(job, status, "--device gpu: %s", gpu->error);
    return DML_OK;
}

dml_status gpu_open(struct job *job, const char *precision, const char *math,
                    struct gpu *gpu)
{
    *gpu = (struct gpu){.half = strcmp(precision, "bf16") == 0,
                        .tf32 = strcmp(precision, "tf32") == 0};
    CNN_TRY(job_agree(job, job_note(job, dml_gpu_bind(job->comm, DML_GPU_NEAREST))));
    gpu->ctx = job->ctx;
    gpu->comm = job->comm;
    CNN_TRY(job_agree(job, start(job, math, gpu)));
    return job_agree(job,
                     job_note(job, dml_comm_set_stream(job->comm, gpu->stream, true)));
}

void gpu_close(struct gpu *gpu)
{
    if (!gpu->ctx)
        return;
    if (gpu->stream) {
        (void)dml_gpu_stream_sync(gpu->ctx, gpu->stream);
        (void)dml_comm_set_stream(gpu->comm, NULL, false);
    }
    if (gpu->math)
        gpu->math->close(gpu);
    (void)dml_gpu_stream_destroy(gpu->ctx, gpu->stream);
    *gpu = (struct gpu){0};
}
