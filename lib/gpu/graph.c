/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Captures and graphs; see graph.h. A capture belongs to the thread that began it: what
 * the thread has NCCL do meanwhile is in the graph.
 */
#include "gpu/graph.h"

#include "gpu/nccl.h"

/* Calls by one communicator of NCCL. */
struct kept {
    struct kept *next;
    struct dml__nccl_comm *nccl; /* NULL: it has ended */
    struct dml__nccl_call first;
    uint64_t ncalls;
};

struct dml__gpu_graph {
    struct dml__gpu_graph *next; /* of the device's */
    void *made;                  /* the driver's, or NULL: see "ended" */
    bool ended;   /* with a communicator; else the capture is under way */
    void *stream; /* that is captured */
    pthread_t thread;
    struct kept *kept;
};

void dml__graphs_open(struct dml__gpu *gpu)
{
    pthread_mutex_init(&gpu->graphs.lock, NULL);
    pthread_mutex_init(&gpu->graphs.launching, NULL);
}

/* Takes it out of the list, and frees it but for the driver's, which it returns. */
static void *discard(struct dml__gpu *gpu, struct dml__gpu_graph *graph)
{
    pthread_mutex_lock(&gpu->graphs.lock);
    struct dml__gpu_graph **link = &gpu->graphs.first;
    while (*link != graph)
        link = &(*link)->next;
    *link = graph->next;
    pthread_mutex_unlock(&gpu->graphs.lock);
    void *made = graph->made; /* nobody else finds it any more */
    while (graph->kept != NULL) {
        struct kept *kept = graph->kept;
        graph->kept = kept->next;
        dml__free(kept);
    }
    dml__free(graph);
    return made;
}

void dml__graphs_close(struct dml__gpu *gpu)
{
    while (gpu->graphs.first != NULL) /* the program has not freed them */
        (void)discard(gpu, gpu->graphs.first);
    pthread_mutex_destroy(&gpu->graphs.lock);
    pthread_mutex_destroy(&gpu->graphs.launching);
}

/* ---- captures ----------------------------------------------------------------------
 */

static bool is_open(const struct dml__gpu_graph *graph)
{
    return graph->made == NULL && !graph->ended;
}

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

/* Has a communicator ended of which it holds calls? Lock held. */
static bool lost_nccl(const struct dml__gpu_graph *graph)
{
    const struct kept *kept = graph->kept;
    while (kept != NULL && kept->nccl != NULL)
        kept = kept->next;
    return kept != NULL;
}

static dml_status refuse_lost(const struct dml__gpu *gpu, const char *where)
{
    return dml__fail(gpu->ctx, DML_EINVAL, where,
                     "the graph holds collectives of a communicator that has been "
                     "destroyed, or has failed; capture it anew with another");
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
    if (status < 0)
        (void)discard(gpu, graph);
    return status;
}

static struct dml__gpu_graph *find_capture(struct dml__gpu *gpu, const void *stream)
{
    pthread_mutex_lock(&gpu->graphs.lock);
    struct dml__gpu_graph *graph = gpu->graphs.first;
    while (graph != NULL && !(is_open(graph) && graph->stream == stream))
        graph = graph->next;
    pthread_mutex_unlock(&gpu->graphs.lock);
    return graph;
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
    pthread_mutex_lock(&gpu->graphs.lock);
    graph->made = made;
    const bool lost = lost_nccl(graph);
    pthread_mutex_unlock(&gpu->graphs.lock);
    if (status == DML_OK && !lost) {
        *out = graph;
        return DML_OK;
    }
    (void)discard(gpu, graph);
    if (status < 0)
        return status;
    gpu->ops->graph_destroy(gpu, made);
    return refuse_lost(gpu, "dml_gpu_capture_end");
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
        if (!is_open(graph) || !pthread_equal(graph->thread, pthread_self()))
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
        struct kept *kept = find_kept(g, nccl);
        if (kept == NULL)
            continue;
        kept->nccl = NULL;
        if (g->made != NULL) { /* what of it is in a stream goes on */
            gpu->ops->graph_destroy(gpu, g->made);
            g->made = NULL;
            g->ended = true;
        }
    }
    pthread_mutex_unlock(&gpu->graphs.lock);
}

/* ---- launches ----------------------------------------------------------------------
 */

/* Holds the communicators, so that none is aborted meanwhile, up to the first that has
 * failed; *end: behind the last that is held. */
static dml_status hold(const struct dml__gpu *gpu, const struct dml__gpu_graph *graph,
                       const struct kept **end)
{
    *end = graph->kept;
    for (; *end != NULL; *end = (*end)->next) {
        if ((*end)->nccl == NULL)
            return refuse_lost(gpu, "dml_gpu_graph_launch");
        DML_TRY(dml__nccl_hold((*end)->nccl, "dml_gpu_graph_launch"));
    }
    return DML_OK;
}

dml_status dml__graph_launch(struct dml__gpu *gpu, struct dml__gpu_graph *graph,
                             void *stream)
{
    const struct kept *end, *kept;
    pthread_mutex_lock(&gpu->graphs.launching);
    dml_status status = hold(gpu, graph, &end);
    if (status == DML_OK)
        status = gpu->ops->graph_launch(gpu, graph->made, stream);
    for (kept = graph->kept; kept != end; kept = kept->next) {
        if (status == DML_OK)
            status =
                dml__nccl_note_graph(kept->nccl, &kept->first, kept->ncalls, stream);
        dml__nccl_release(kept->nccl);
    }
    pthread_mutex_unlock(&gpu->graphs.launching);
    return status;
}

dml_status dml__graph_free(struct dml__gpu *gpu, struct dml__gpu_graph *graph)
{
    void *made = discard(gpu, graph);
    return made != NULL ? gpu->ops->graph_destroy(gpu, made) : DML_OK;
}
