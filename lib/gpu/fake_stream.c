/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Streams and events of the fake device: a stream is a thread with a queue, an event a
 * pair of counters. One lock and one condition serve them all, since speed is no aim.
 */
#include "gpu/fake.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct dml__fake *fake(void)
{
    return dml__fake_driver;
}

struct dml__fake_stream *dml__fake_queue(const struct dml__gpu *gpu, void *stream)
{
    return stream != NULL ? stream : fake()->queues[gpu->index];
}

/* Does one piece of work, with the lock held; it is let go meanwhile. */
static void perform(struct dml__fake_work *w)
{
    if (w->kind == FAKE_WAIT) {
        while (w->event->passed < w->ticket)
            pthread_cond_wait(&fake()->changed, &fake()->lock);
        return;
    }
    if (w->kind == FAKE_RECORD) {
        if (w->event->passed < w->ticket) /* the last one counts, on any stream */
            w->event->passed = w->ticket;
        w->event->at_s = dml__now_s();
        return;
    }
    pthread_mutex_unlock(&fake()->lock);
    if (w->kind == FAKE_COPY)
        memmove(dml__gpu_view(w->dst), dml__gpu_view(w->src), w->bytes);
    else if (w->kind == FAKE_FILL)
        memset(dml__gpu_view(w->dst), w->byte, w->bytes);
    else
        dml__fake_run(w->kernel, w->blocks, w->args);
    pthread_mutex_lock(&fake()->lock);
}

static void *run(void *argument)
{
    struct dml__fake_stream *s = argument;
    struct timespec delay = {.tv_nsec = s->delay_us * 1000};
    pthread_mutex_lock(&fake()->lock);
    for (;;) {
        while (s->first == NULL && !s->stop)
            pthread_cond_wait(&fake()->changed, &fake()->lock);
        struct dml__fake_work *w = s->first;
        if (w == NULL)
            break;
        s->first = w->next;
        if (s->first == NULL)
            s->last = &s->first;
        if (s->delay_us > 0) {
            pthread_mutex_unlock(&fake()->lock);
            nanosleep(&delay, NULL);
            pthread_mutex_lock(&fake()->lock);
        }
        perform(w);
        dml__free(w);
        s->done++;
        pthread_cond_broadcast(&fake()->changed);
    }
    pthread_mutex_unlock(&fake()->lock);
    return NULL;
}

dml_status dml__fake_add(const struct dml__gpu *gpu, void *stream,
                         const struct dml__fake_work *work, const void *args,
                         size_t bytes)
{
    struct dml__fake_work *w = dml__alloc(gpu->ctx, sizeof *w + bytes);
    if (w == NULL)
        return dml__fail(gpu->ctx, DML_ENOMEM, "dml_gpu", "no memory for a stream");
    *w = *work;
    w->next = NULL;
    w->arg_bytes = bytes;
    if (bytes > 0)
        memcpy(w->args, args, bytes);
    pthread_mutex_lock(&fake()->lock);
    struct dml__fake_stream *s = dml__fake_queue(gpu, stream);
    struct dml__fake_work ***last = s->capture != NULL ? &s->capture->last : &s->last;
    **last = w;
    *last = &w->next;
    s->added += s->capture == NULL;
    pthread_cond_broadcast(&fake()->changed);
    pthread_mutex_unlock(&fake()->lock);
    return DML_OK;
}

dml_status dml__fake_start(const struct dml__gpu *gpu, struct dml__fake_stream **out)
{
    struct dml__fake_stream *s = dml__alloc(gpu->ctx, sizeof *s);
    if (s == NULL)
        return dml__fail(gpu->ctx, DML_ENOMEM, "dml_gpu", "no memory for a stream");
    const char *delay = dml__ctx_env(gpu->ctx, "TEST_GPU_DELAY_US");
    s->delay_us = delay != NULL ? strtol(delay, NULL, 10) : 0;
    s->last = &s->first;
    if (pthread_create(&s->thread, NULL, run, s) != 0) {
        dml__free(s);
        return dml__fail(gpu->ctx, DML_ENOMEM, "dml_gpu", "no thread for a stream");
    }
    pthread_mutex_lock(&fake()->lock);
    s->next = fake()->streams;
    fake()->streams = s;
    pthread_mutex_unlock(&fake()->lock);
    *out = s;
    return DML_OK;
}

void dml__fake_stop(struct dml__fake_stream *s)
{
    if (s == NULL)
        return;
    pthread_mutex_lock(&fake()->lock);
    struct dml__fake_stream **link = &fake()->streams;
    while (*link != s)
        link = &(*link)->next;
    *link = s->next;
    s->stop = true;
    pthread_cond_broadcast(&fake()->changed);
    pthread_mutex_unlock(&fake()->lock);
    pthread_join(s->thread, NULL);
    dml__free(s);
}

void dml__fake_drain(void)
{
    pthread_mutex_lock(&fake()->lock);
    struct dml__fake_stream *s = fake()->streams;
    while (s != NULL)
        if (s->done < s->added) { /* the list may change meanwhile */
            pthread_cond_wait(&fake()->changed, &fake()->lock);
            s = fake()->streams;
        } else {
            s = s->next;
        }
    pthread_mutex_unlock(&fake()->lock);
}

dml_status dml__fake_sync(const struct dml__gpu *gpu)
{
    DML_TRY(dml__fake_may(gpu, "waiting for the device"));
    dml__fake_drain();
    return DML_OK;
}

dml_status dml__fake_stream_create(const struct dml__gpu *gpu, void **stream)
{
    struct dml__fake_stream *s = NULL;
    DML_TRY(dml__fake_start(gpu, &s));
    *stream = s;
    return DML_OK;
}

dml_status dml__fake_stream_destroy(const struct dml__gpu *gpu, void *stream)
{
    (void)gpu;
    dml__fake_stop(stream);
    return DML_OK;
}

dml_status dml__fake_stream_sync(const struct dml__gpu *gpu, void *stream)
{
    struct dml__fake_stream *s = dml__fake_queue(gpu, stream);
    DML_TRY(dml__fake_not_captured(gpu, s, NULL, "waiting for a stream"));
    pthread_mutex_lock(&fake()->lock);
    uint64_t until = s->added;
    while (s->done < until)
        pthread_cond_wait(&fake()->changed, &fake()->lock);
    pthread_mutex_unlock(&fake()->lock);
    return DML_OK;
}

dml_status dml__fake_stream_query(const struct dml__gpu *gpu, void *stream)
{
    struct dml__fake_stream *s = dml__fake_queue(gpu, stream);
    DML_TRY(dml__fake_not_captured(gpu, s, NULL, "asking a stream"));
    pthread_mutex_lock(&fake()->lock);
    bool idle = s->done == s->added;
    pthread_mutex_unlock(&fake()->lock);
    return idle ? DML_OK : DML_PENDING;
}

dml_status dml__fake_stream_wait(const struct dml__gpu *gpu, void *stream, void *event)
{
    struct dml__fake_event *e = event;
    bool joined = false;
    DML_TRY(dml__fake_join(gpu, dml__fake_queue(gpu, stream), e, &joined));
    if (joined)
        return DML_OK;
    pthread_mutex_lock(&fake()->lock);
    uint64_t ticket = e->recorded;
    pthread_mutex_unlock(&fake()->lock);
    struct dml__fake_work w = {.kind = FAKE_WAIT, .event = e, .ticket = ticket};
    return dml__fake_add(gpu, stream, &w, NULL, 0);
}

dml_status dml__fake_event_create(const struct dml__gpu *gpu, bool timed, void **event)
{
    struct dml__fake_event *e = dml__alloc(gpu->ctx, sizeof *e);
    if (e == NULL)
        return dml__fail(gpu->ctx, DML_ENOMEM, "dml_gpu", "no memory for an event");
    e->timed = timed;
    *event = e;
    return DML_OK;
}

dml_status dml__fake_event_destroy(const struct dml__gpu *gpu, void *event)
{
    (void)gpu;
    dml__free(event);
    return DML_OK;
}

dml_status dml__fake_event_record(const struct dml__gpu *gpu, void *event, void *stream)
{
    struct dml__fake_event *e = event;
    pthread_mutex_lock(&fake()->lock);
    const struct dml__fake_graph *capture = dml__fake_queue(gpu, stream)->capture;
    e->capture = capture != NULL ? capture->number : 0;
    uint64_t ticket = e->recorded += capture == NULL;
    pthread_mutex_unlock(&fake()->lock);
    if (capture != NULL) /* its place is that of what is queued next */
        return DML_OK;
    struct dml__fake_work w = {.kind = FAKE_RECORD, .event = e, .ticket = ticket};
    return dml__fake_add(gpu, stream, &w, NULL, 0);
}

dml_status dml__fake_event_query(const struct dml__gpu *gpu, void *event)
{
    const struct dml__fake_event *e = event;
    DML_TRY(dml__fake_not_captured(gpu, NULL, e, "asking an event"));
    pthread_mutex_lock(&fake()->lock);
    bool passed = e->passed == e->recorded;
    pthread_mutex_unlock(&fake()->lock);
    return passed ? DML_OK : DML_PENDING;
}

dml_status dml__fake_event_sync(const struct dml__gpu *gpu, void *event)
{
    const struct dml__fake_event *e = event;
    DML_TRY(dml__fake_not_captured(gpu, NULL, e, "waiting for an event"));
    pthread_mutex_lock(&fake()->lock);
    uint64_t until = e->recorded;
    while (e->passed < until)
        pthread_cond_wait(&fake()->changed, &fake()->lock);
    pthread_mutex_unlock(&fake()->lock);
    return DML_OK;
}

dml_status dml__fake_event_elapsed(const struct dml__gpu *gpu, void *from, void *to,
                                   double *seconds)
{
    const struct dml__fake_event *a = from, *b = to;
    pthread_mutex_lock(&fake()->lock);
    bool timed = a->timed && b->timed && a->passed > 0 && b->passed > 0;
    *seconds = b->at_s - a->at_s;
    pthread_mutex_unlock(&fake()->lock);
    return timed ? DML_OK
                 : dml__fail(gpu->ctx, DML_EINVAL, "dml_gpu_event_elapsed",
                             "an event is not timed, or has not passed");
}
