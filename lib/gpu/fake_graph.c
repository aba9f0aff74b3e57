/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Capturing streams of the fake device: work goes into a list instead of a queue, and
 * what CUDA refuses meanwhile is refused here, so that a step that can be captured here
 * can be captured there. All captures are CUDA's "global" ones, which hold all threads
 * to the rules (cuda_graph.c holds one). Whether streams that joined a capture come
 * back to its first stream is not looked at.
 */
#include "gpu/fake.h"

#include <string.h>

static struct dml__fake *fake(void)
{
    return dml__fake_driver;
}

enum { GLOBAL = 0 };

static _Thread_local int fake_thread_mode = GLOBAL;

void dml__fake_capture_mode(const struct dml__gpu *gpu, int *mode)
{
    int before = fake_thread_mode;
    (void)gpu;
    fake_thread_mode = *mode;
    *mode = before;
}

/* ---- what is refused ---------------------------------------------------------------
 */

/* Lock held: all captures, or that of one number, are spoilt; false: there is none. */
static bool spoil(uint64_t number)
{
    bool found = false;
    for (struct dml__fake_graph *g = fake()->captures; g != NULL; g = g->next)
        if (number == 0 || g->number == number)
            found = g->broken = true;
    return found;
}

static dml_status refuse(const struct dml__gpu *gpu, const char *call)
{
    return dml__fail(gpu->ctx, DML_ECOMM, "dml_gpu",
                     "GPU %d: %s is not possible while a stream is captured",
                     gpu->index, call);
}

dml_status dml__fake_may(const struct dml__gpu *gpu, const char *call)
{
    if (fake_thread_mode == DML__GPU_RELAXED)
        return DML_OK;
    pthread_mutex_lock(&fake()->lock);
    bool captured = spoil(0);
    pthread_mutex_unlock(&fake()->lock);
    return captured ? refuse(gpu, call) : DML_OK;
}

dml_status dml__fake_not_captured(const struct dml__gpu *gpu,
                                  const struct dml__fake_stream *stream,
                                  const struct dml__fake_event *event, const char *call)
{
    pthread_mutex_lock(&fake()->lock);
    uint64_t number = event != NULL             ? event->capture
                      : stream->capture != NULL ? stream->capture->number
                                                : 0;
    if (number != 0)
        spoil(number);
    pthread_mutex_unlock(&fake()->lock);
    return number != 0 ? refuse(gpu, call) : dml__fake_may(gpu, call);
}

static bool is_loaded(const struct dml_gpu_kernel *kernel)
{
    int i = 0;
    while (i < fake()->nloaded && fake()->loaded[i] != kernel)
        i++;
    return i < fake()->nloaded;
}

/* A test may have a kernel's launch in a capture be its first. */
static bool lacks(const struct dml__gpu *gpu, const dml_gpu_kernel *kernel)
{
    const char *name =
        gpu->ctx != NULL ? dml__ctx_env(gpu->ctx, "TEST_GPU_UNLOADED") : NULL;
    return name != NULL && strcmp(name, kernel->name) == 0;
}

dml_status dml__fake_load(const struct dml__gpu *gpu,
                          const struct dml_gpu_kernel *kernel)
{
    pthread_mutex_lock(&fake()->lock);
    bool loaded =
        is_loaded(kernel) && !(fake()->captures != NULL && lacks(gpu, kernel));
    pthread_mutex_unlock(&fake()->lock);
    if (loaded)
        return DML_OK;
    DML_TRY(dml__fake_may(gpu, "loading a kernel"));
    pthread_mutex_lock(&fake()->lock);
    bool room = fake()->nloaded < DML__FAKE_KERNELS;
    if (room && !is_loaded(kernel))
        fake()->loaded[fake()->nloaded++] = kernel;
    pthread_mutex_unlock(&fake()->lock);
    return room ? DML_OK
                : dml__fail(gpu->ctx, DML_EUNSUPPORTED, "dml_gpu",
                            "the kernel %s is beyond %d, and the fake device keeps no "
                            "more",
                            kernel->name, DML__FAKE_KERNELS);
}

/* ---- captures ----------------------------------------------------------------------
 */

dml_status dml__fake_stream_captured(const struct dml__gpu *gpu, void *stream,
                                     bool *yes)
{
    pthread_mutex_lock(&fake()->lock);
    *yes = dml__fake_queue(gpu, stream)->capture != NULL;
    pthread_mutex_unlock(&fake()->lock);
    return DML_OK;
}

dml_status dml__fake_join(const struct dml__gpu *gpu, struct dml__fake_stream *stream,
                          const struct dml__fake_event *event, bool *joined)
{
    enum { MOST = sizeof stream->capture->joined / sizeof stream->capture->joined[0] };
    pthread_mutex_lock(&fake()->lock);
    struct dml__fake_graph *own = stream->capture, *theirs = fake()->captures;
    while (theirs != NULL && theirs->number != event->capture)
        theirs = theirs->next;
    /* An event that was never recorded holds up nobody. */
    bool good = own == theirs || event->capture + event->recorded == 0;
    *joined = own != NULL || theirs != NULL;
    if (own == NULL && theirs != NULL && theirs->njoined < MOST) {
        theirs->joined[theirs->njoined++] = stream;
        stream->capture = theirs;
        good = true;
    }
    if (!good)
        spoil(0);
    pthread_mutex_unlock(&fake()->lock);
    return good ? DML_OK : refuse(gpu, "waiting for work that is not part of it");
}

dml_status dml__fake_capture_begin(const struct dml__gpu *gpu, void *stream)
{
    struct dml__fake_graph *g = stream != NULL ? dml__alloc(gpu->ctx, sizeof *g) : NULL;
    if (g == NULL)
        return dml__fail(gpu->ctx, DML_EINVAL, "dml_gpu",
                         "the default stream is not captured, or no memory");
    pthread_mutex_lock(&fake()->lock);
    g->origin = stream;
    bool twice = g->origin->capture != NULL;
    if (!twice) {
        g->last = &g->first;
        g->number = ++fake()->ncaptures;
        g->next = fake()->captures;
        fake()->captures = g;
        g->origin->capture = g;
    }
    pthread_mutex_unlock(&fake()->lock);
    if (twice)
        dml__free(g);
    return twice ? refuse(gpu, "capturing it") : DML_OK;
}

/* Takes a capture out of the list and off its streams. Lock held. */
static void detach(struct dml__fake_graph *g)
{
    struct dml__fake_graph **link = &fake()->captures;
    while (*link != g)
        link = &(*link)->next;
    *link = g->next;
    g->origin->capture = NULL;
    for (int i = 0; i < g->njoined; i++)
        g->joined[i]->capture = NULL;
}

dml_status dml__fake_capture_end(const struct dml__gpu *gpu, void *stream, void **graph)
{
    const struct dml__fake_stream *s = stream;
    pthread_mutex_lock(&fake()->lock);
    struct dml__fake_graph *g = s->capture;
    bool good = g != NULL && g->origin == s && !g->broken;
    if (g != NULL && g->origin == s)
        detach(g);
    pthread_mutex_unlock(&fake()->lock);
    if (good) {
        *graph = g;
        return DML_OK;
    }
    if (g != NULL && g->origin == s)
        dml__fake_graph_destroy(gpu, g);
    return dml__fail(gpu->ctx, DML_ECOMM, "dml_gpu",
                     "the capture was spoilt by a call that is not possible in it");
}

/* ---- graphs ------------------------------------------------------------------------
 */

dml_status dml__fake_graph_launch(const struct dml__gpu *gpu, void *graph, void *stream)
{
    const struct dml__fake_graph *g = graph;
    for (const struct dml__fake_work *w = g->first; w != NULL; w = w->next)
        DML_TRY(dml__fake_add(gpu, stream, w, w->args, w->arg_bytes));
    return DML_OK;
}

dml_status dml__fake_graph_destroy(const struct dml__gpu *gpu, void *graph)
{
    struct dml__fake_graph *g = graph;
    (void)gpu;
    while (g->first != NULL) {
        struct dml__fake_work *w = g->first;
        g->first = w->next;
        dml__free(w);
    }
    dml__free(g);
    return DML_OK;
}
