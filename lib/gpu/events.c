/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The events of a device's tasks: those of calls by NCCL with a request, and of
 * messages that are received.
 */
#include "gpu/gpu.h"

/* The first that nobody has, made where there is none. Lock held. */
static dml_status find(struct dml__gpu *gpu, struct dml__gpu_event **out)
{
    struct dml__gpu_event *e = gpu->events;
    while (e != NULL && e->taken)
        e = e->next;
    *out = e;
    if (e != NULL)
        return DML_OK;
    e = dml__alloc(gpu->ctx, sizeof *e);
    if (e == NULL)
        return dml__fail(gpu->ctx, DML_ENOMEM, "dml_gpu", "no memory for an event");
    dml_status status = gpu->ops->event_create(gpu, false, &e->event);
    if (status < 0) {
        dml__free(e);
        return status;
    }
    e->next = gpu->events;
    gpu->events = e;
    *out = e;
    return DML_OK;
}

dml_status dml__gpu_event_take(struct dml__gpu *gpu, void **event)
{
    struct dml__gpu_event *e = NULL;
    pthread_mutex_lock(&gpu->events_lock);
    dml_status status = find(gpu, &e);
    if (status == DML_OK) {
        e->taken = true;
        *event = e->event;
    }
    pthread_mutex_unlock(&gpu->events_lock);
    return status;
}

void dml__gpu_event_give(struct dml__gpu *gpu, const void *event)
{
    pthread_mutex_lock(&gpu->events_lock);
    for (struct dml__gpu_event *e = gpu->events; e != NULL; e = e->next)
        if (e->event == event)
            e->taken = false;
    pthread_mutex_unlock(&gpu->events_lock);
}

void dml__gpu_events_close(struct dml__gpu *gpu)
{
    bool entered = gpu->events != NULL && dml__gpu_enter(gpu) == DML_OK;
    while (gpu->events != NULL) {
        struct dml__gpu_event *e = gpu->events;
        gpu->events = e->next;
        if (entered)
            gpu->ops->event_destroy(gpu, e->event);
        dml__free(e);
    }
    if (entered)
        dml__gpu_leave(gpu);
    pthread_mutex_destroy(&gpu->events_lock);
}
