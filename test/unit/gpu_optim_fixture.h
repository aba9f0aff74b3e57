/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The same tensors and the same optimizer twice, on the host and on a device.
 */
#ifndef GPU_OPTIM_FIXTURE_H
#define GPU_OPTIM_FIXTURE_H

#include "dml/optim.h"

#include "core/half.h"
#include "gpu_fixture.h"

enum { MOST = 1000 };

/* The same tensors twice. */
struct pair {
    size_t n, bytes; /* bytes: of all tensors, of either kind */
    dml_param host[MOST], device[MOST];
    char *params, *grads;               /* the host's */
    char *device_params, *device_grads; /* the device's copies */
    dml_optim *on_host, *on_device;
};

static inline void put(void *to, dml_dtype dtype, size_t i, float x)
{
    if (dtype == DML_F32)
        ((float *)to)[i] = x;
    else
        ((uint16_t *)to)[i] =
            dtype == DML_F16 ? dml__f32_to_f16(x) : dml__f32_to_bf16(x);
}

static inline float get(const void *from, dml_dtype dtype, size_t i)
{
    if (dtype == DML_F32)
        return ((const float *)from)[i];
    uint16_t bits = ((const uint16_t *)from)[i];
    return dtype == DML_F16 ? dml__f16_to_f32(bits) : dml__bf16_to_f32(bits);
}

static inline void send_all(struct pair *p)
{
    gpu_copy(p->device_params, p->params, p->bytes);
    gpu_copy(p->device_grads, p->grads, p->bytes);
}

/* Tensors one after another: some begin where four elements are read at once, others
 * only at an element. */
static inline struct pair *make(const size_t *counts, size_t n, dml_dtype dtype,
                                dml_dtype grad_dtype, bool odd)
{
    struct pair *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->n = n;
    for (size_t i = 0; i < n; i++)
        p->bytes += (counts[i] + 4) * sizeof(float) + 16;
    p->params = calloc(1, p->bytes);
    p->grads = calloc(1, p->bytes);
    p->device_params = gpu_new(p->bytes);
    p->device_grads = gpu_new(p->bytes);
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        at = (at + 15) / 16 * 16 + (i % 3 == 2 ? sizeof(float) : 0);
        p->host[i] = (dml_param){.param = p->params + at,
                                 .grad = p->grads + at,
                                 .count = counts[i],
                                 .flags = i % 5 == 1   ? DML_PARAM_NO_DECAY
                                          : i % 5 == 3 ? DML_PARAM_NO_ADAPT
                                                       : 0,
                                 .dtype = dtype,
                                 .grad_dtype = grad_dtype};
        p->device[i] = p->host[i];
        p->device[i].param = p->device_params + at;
        p->device[i].grad = p->device_grads + at;
        for (size_t k = 0; k < counts[i]; k++)
            put(p->host[i].param, dtype, k, gpu_value(odd));
        at += counts[i] * sizeof(float);
    }
    send_all(p);
    return p;
}

static inline void open_pair(struct pair *p, dml_optim_rule rule,
                             const dml_optim_opts *opts)
{
    assert_int_equal(dml_optim_create(gpu_ctx, rule, p->host, p->n, opts, &p->on_host),
                     DML_OK);
    assert_int_equal(
        dml_optim_create(gpu_ctx, rule, p->device, p->n, opts, &p->on_device), DML_OK);
}

static inline void close_pair(struct pair *p)
{
    dml_optim_destroy(p->on_host);
    dml_optim_destroy(p->on_device);
    gpu_delete(p->device_params);
    gpu_delete(p->device_grads);
    free(p->params);
    free(p->grads);
    free(p);
}

static inline void new_grads(struct pair *p, bool odd)
{
    for (size_t i = 0; i < p->n; i++)
        for (size_t k = 0; k < p->host[i].count; k++)
            put(p->grads + ((char *)p->host[i].param - p->params),
                p->host[i].grad_dtype, k, gpu_value(odd));
    gpu_copy(p->device_grads, p->grads, p->bytes);
}

/* The device's parameters, and one vector of state, against the host's. */
static inline void expect_same(struct pair *p, const char *what)
{
    char *seen = malloc(p->bytes);
    float *x = malloc(p->bytes), *y = malloc(p->bytes);
    gpu_copy(seen, p->device_params, p->bytes);
    for (size_t i = 0; i < p->n; i++) {
        const dml_param *h = &p->host[i];
        const size_t at = (size_t)((char *)h->param - p->params);
        for (size_t k = 0; k < h->count; k++) {
            x[k] = get(seen + at, h->dtype, k);
            y[k] = get(h->param, h->dtype, k);
        }
        gpu_expect_same(x, y, h->count, what);
        for (size_t s = 0; s < dml_optim_nslots(p->on_host); s++) {
            dml_optim_slot host, device;
            dml_optim_get_slot(p->on_host, i, s, &host);
            dml_optim_get_slot(p->on_device, i, s, &device);
            assert_int_equal(host.count, device.count);
            if (host.count > 0)
                gpu_copy(x, device.data, host.count * sizeof *x);
            gpu_expect_same(x, host.data, host.count, host.name);
        }
    }
    free(x);
    free(y);
    free(seen);
}

static inline void expect_same_info(struct pair *p)
{
    dml_optim_info host, device;
    dml_optim_get_info(p->on_host, &host);
    dml_optim_get_info(p->on_device, &device);
    assert_int_equal(host.steps, device.steps);
    assert_int_equal(host.skipped, device.skipped);
    assert_int_equal(host.last_skipped, device.last_skipped);
    assert_true(host.loss_scale == device.loss_scale);
    assert_true(host.grad_norm == device.grad_norm ||
                (isnan(host.grad_norm) && isnan(device.grad_norm)));
}

/* The same step of both; returns what came of it. */
static inline dml_status step(struct pair *p, double lr, const char *what)
{
    dml_error error[2];
    dml_status host = dml_optim_step(p->on_host, lr);
    dml_ctx_last_error(gpu_ctx, &error[0]);
    assert_int_equal(dml_optim_step(p->on_device, lr), DML_OK);
    dml_status device = dml_optim_wait(p->on_device);
    if (host != device)
        fail_msg("%s: %s, on the host %s", what, dml_status_name(device),
                 dml_status_name(host));
    if (host == DML_ENUMERIC) {
        dml_ctx_last_error(gpu_ctx, &error[1]);
        assert_string_equal(error[1].text, error[0].text);
    }
    expect_same(p, what);
    expect_same_info(p);
    return host;
}

#endif
