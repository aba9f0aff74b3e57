/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Captures and graphs; see graph.h. A capture belongs to the thread that began it: what
 * the thread has NCCL do meanwhile is taken to be in the graph (in all of them, where
 * it captures several streams at once).
 */
#include "gpu/graph.h"

#include "gpu/nccl.h"

/* Calls by one communicator of NCCL. */
struct kept {
    struct kept *next;
    struct dml__nccl_comm *nccl; /* NULL: it is no more */
    struct dml__nccl_call first;
    uint64_t ncalls;
};

struct dml__gpu_graph {
    struct dml__gpu_graph *next; /* of the device's */
    enum {
        OPEN, /* being captured */
        READY,
        ENDED /* with a communicator of NCCL: the driver's is destroyed */
    } state;
    bool launching; /* then whoever launches it destroys the driver's */
    void *made;     /* the driver's */
    void *stream;   /* that is captured */
    pthread_t thread;
    struct kept *kept;
};

void dml__graphs_open(struct dml__gpu *gpu)
{
    pthread_mutex_init(&gpu->graphs.lock, NULL);
}

static void free_graph(struct dml__gpu_graph *graph)
{
    while (graph->kept != NULL) {
        struct kept *kept = graph->kept;
        graph->kept = kept->next;
        dml__free(kept);
    }
    dml__free(graph);
}

void dml__graphs_close(struct dml__gpu *gpu)
{
    while (gpu->graphs.first != NULL) { /* the program has not freed them */
        struct dml__gpu_graph *graph = gpu->graphs.first;
        gpu->graphs.first = graph->next;
        free_graph(graph);
    }
    pthread_mutex_destroy(&gpu->graphs.lock);
}

/* Takes it out of the list; false: it is not there. */
static bool take_out(struct dml__gpu *gpu, const struct dml__gpu_graph *graph)
{
    pthread_mutex_lock(&gpu->graphs.lock);
    struct dml__gpu_graph **link = &gpu->graphs.first;
    while (*link != NULL && *link != graph)
        link = &(*link)->next;
    const bool found = *link != NULL;
    if (found)
        *link = graph->next;
    pthread_mutex_unlock(&gpu->graphs.lock);
    return found;
}

/* ---- captures ----------------------------------------------------------------------
 */

/* Is the stream being captured, or not, as it must be? */
static dml_status expect_captured(const struct dml__gpu *gpu, void *stream, bool wanted,
                                  const char *where)
{
    bool captured = false;
    if (stream == NULL)
        return dml__fail(gpu->ctx, DML_EINVAL, where,
                         "the default stream cannot be captured; make another "
                         "(dml_gpu_stream_create)");
    DML_TRY(gpu->ops->stream_captured(gpu, stream, &captured));
    if (captured == wanted)
        return DML_OK;
    return dml__fail(gpu->ctx, DML_EINVAL, where,
                     wanted ? "the stream is not being captured; call "
                              "dml_gpu_capture_begin first"
                            : "the stream is being captured already; end that first "
                              "(dml_gpu_capture_end)");
}

dml_status dml__graph_begin(struct dml__gpu *gpu, void *stream)
{
    DML_TRY(expect_captured(gpu, stream, false, "dml_gpu_capture_begin"));
    struct dml__gpu_graph *graph = dml__alloc(gpu->ctx, sizeof *graph);
    if (graph == NULL)
        return dml__fail(gpu->ctx, DML_ENOMEM, "dml_gpu_capture_begin",
                         "no memory for a graph");
    *graph = (struct dml__gpu_graph){.stream = stream, .thread = pthread_self()};
    pthread_mutex_lock(&gpu->graphs.lock);
    graph->next = gpu->graphs.first;
    gpu->graphs.first = graph;
    pthread_mutex_unlock(&gpu->graphs.lock);
    dml_status status = gpu->ops->capture_begin(gpu, stream);
    if (status < 0) {
        (void)take_out(gpu, graph);
        free_graph(graph);
    }
    return status;
}

static struct dml__gpu_graph *find_capture(struct dml__gpu *gpu, const void *stream)
{
    pthread_mutex_lock(&gpu->graphs.lock);
    struct dml__gpu_graph *graph = gpu->graphs.first;
    while (graph != NULL && !(graph->state == OPEN && graph->stream == stream))
        graph = graph->next;
    pthread_mutex_unlock(&gpu->graphs.lock);
    return graph;
}

/* Why it cannot be launched: the failure of a communicator, or one that is no more. */
static dml_status judge(const struct dml__gpu *gpu, const struct dml__gpu_graph *graph,
                        const char *where)
{
    for (const struct kept *kept = graph->kept; kept != NULL; kept = kept->next) {
        if (kept->nccl == NULL)
            return dml__fail(gpu->ctx, DML_EINVAL, where,
                             "the graph holds collectives of a communicator that has "
                             "been destroyed; capture it anew with another");
        DML_TRY(dml__nccl_judge(kept->nccl, where));
    }
    return DML_OK;
}

dml_status dml__graph_end(struct dml__gpu *gpu, void *stream,
                          struct dml__gpu_graph **out)
{
    DML_TRY(expect_captured(gpu, stream, true, "dml_gpu_capture_end"));
    struct dml__gpu_graph *graph = find_capture(gpu, stream);
    void *made = NULL;
    if (graph == NULL)
        return dml__fail(gpu->ctx, DML_EINVAL, "dml_gpu_capture_end",
                         "the capture was begun elsewhere (cudaStreamBeginCapture, or "
                         "another context); end it there");
    dml_status status = gpu->ops->capture_end(gpu, stream, &made);
    if (status == DML_OK)
        status = judge(gpu, graph, "dml_gpu_capture_end");
    pthread_mutex_lock(&gpu->graphs.lock);
    if (status == DML_OK) {
        graph->made = made;
        graph->state = READY;
    }
    pthread_mutex_unlock(&gpu->graphs.lock);
    if (status == DML_OK) {
        *out = graph;
        return DML_OK;
    }
    if (made != NULL)
        gpu->ops->graph_destroy(gpu, made);
    (void)take_out(gpu, graph);
    free_graph(graph);
    return status;
}

/* ---- NCCL's calls in them ----------------------------------------------------------
 */

static struct kept *find_kept(const struct dml__gpu_graph *graph,
                              const struct dml__nccl_comm *nccl)
{
    struct kept *kept = graph->kept;
    while (kept != NULL && kept->nccl != nccl)
        kept = kept->next;
    return kept;
}

/* One that is not known yet. Lock held. */
static dml_status keep_first(const struct dml__gpu *gpu, struct dml__gpu_graph *graph,
                             struct dml__nccl_comm *nccl,
                             const struct dml__nccl_call *call)
{
    struct kept *kept = dml__alloc(gpu->ctx, sizeof *kept);
    if (kept == NULL)
        return dml__fail(gpu->ctx, DML_ENOMEM, "dml_gpu", "no memory for a graph");
    *kept = (struct kept){graph->kept, nccl, *call, 1};
    graph->kept = kept;
    return DML_OK;
}

dml_status dml__graphs_keep(struct dml__gpu *gpu, struct dml__nccl_comm *nccl,
                            const struct dml__nccl_call *call)
{
    dml_status status = DML_OK;
    pthread_mutex_lock(&gpu->graphs.lock);
    struct dml__gpu_graph *graph = gpu->graphs.first;
    for (; graph != NULL && status == DML_OK; graph = graph->next) {
        if (graph->state != OPEN || !pthread_equal(graph->thread, pthread_self()))
            continue;
        struct kept *kept = find_kept(graph, nccl);
        if (kept != NULL)
            kept->ncalls++;
        else
            status = keep_first(gpu, graph, nccl, call);
    }
    pthread_mutex_unlock(&gpu->graphs.lock);
    return status;
}

void dml__graphs_end(struct dml__gpu *gpu, const struct dml__nccl_comm *nccl)
{
    pthread_mutex_lock(&gpu->graphs.lock);
    for (struct dml__gpu_graph *g = gpu->graphs.first; g != NULL; g = g->next) {
        if (find_kept(g, nccl) == NULL || g->state != READY)
            continue;
        g->state = ENDED;
        if (!g->launching) /* what of it is in a stream goes on */
            gpu->ops->graph_destroy(gpu, g->made);
    }
    pthread_mutex_unlock(&gpu->graphs.lock);
}

void dml__graphs_forget(struct dml__gpu *gpu, const struct dml__nccl_comm *nccl)
{
    pthread_mutex_lock(&gpu->graphs.lock);
    for (struct dml__gpu_graph *g = gpu->graphs.first; g != NULL; g = g->next) {
        struct kept *kept = find_kept(g, nccl);
        if (kept != NULL)
            kept->nccl = NULL;
    }
    pthread_mutex_unlock(&gpu->graphs.lock);
}

/* ---- launches ----------------------------------------------------------------------
 */

static bool is_known(struct dml__gpu *gpu, const struct dml__gpu_graph *graph)
{
    pthread_mutex_lock(&gpu->graphs.lock);
    const struct dml__gpu_graph *g = gpu->graphs.first;
    while (g != NULL && g != graph)
        g = g->next;
    pthread_mutex_unlock(&gpu->graphs.lock);
    return g != NULL;
}

static dml_status check_launch(struct dml__gpu *gpu, const struct dml__gpu_graph *graph,
                               void *stream, const char *where)
{
    bool captured = false;
    if (!is_known(gpu, graph))
        return dml__fail(gpu->ctx, DML_EINVAL, where,
                         "it is no graph of this context, or has been freed");
    DML_TRY(gpu->ops->stream_captured(gpu, stream, &captured));
    if (captured)
        return dml__fail(gpu->ctx, DML_EUNSUPPORTED, where,
                         "a graph cannot be launched into a stream that is captured; "
                         "capture its calls there");
    return judge(gpu, graph, where);
}

static bool begin_launch(struct dml__gpu *gpu, struct dml__gpu_graph *graph)
{
    pthread_mutex_lock(&gpu->graphs.lock);
    const bool ready = graph->state == READY;
    graph->launching = ready;
    pthread_mutex_unlock(&gpu->graphs.lock);
    return ready;
}

static void end_launch(struct dml__gpu *gpu, struct dml__gpu_graph *graph)
{
    pthread_mutex_lock(&gpu->graphs.lock);
    graph->launching = false;
    if (graph->state == ENDED)
        gpu->ops->graph_destroy(gpu, graph->made);
    pthread_mutex_unlock(&gpu->graphs.lock);
}

/* The driver may wait here, for work before this: no lock is held that the watch needs
 * to abort that. An abort meanwhile waits for the launch, whose kernels then exit. */
dml_status dml__graph_launch(struct dml__gpu *gpu, struct dml__gpu_graph *graph,
                             void *stream)
{
    const char *const where = "dml_gpu_graph_launch";
    DML_TRY(check_launch(gpu, graph, stream, where));
    if (!begin_launch(gpu, graph)) /* it has failed just now */
        return judge(gpu, graph, where);
    dml_status status = gpu->ops->graph_launch(gpu, graph->made, stream);
    const struct kept *kept = graph->kept;
    for (; kept != NULL && status == DML_OK; kept = kept->next)
        status = dml__nccl_note_graph(kept->nccl, &kept->first, kept->ncalls, stream);
    end_launch(gpu, graph);
    return status;
}

dml_status dml__graph_free(struct dml__gpu *gpu, struct dml__gpu_graph *graph)
{
    if (!take_out(gpu, graph))
        return dml__fail(gpu->ctx, DML_EINVAL, "dml_gpu_graph_free",
                         "it is no graph of this context, or has been freed");
    dml_status status =
        graph->state == READY ? gpu->ops->graph_destroy(gpu, graph->made) : DML_OK;
    free_graph(graph);
    return status;
}
