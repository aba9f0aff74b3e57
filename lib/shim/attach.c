/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From an MPI communicator to its libdml communicators: made at the first call, that of
 * MPI_COMM_WORLD by MPI_Init; kept as an attribute, ended when the program frees the
 * communicator or at MPI_Finalize.
 *
 * There are two: one for the blocking calls, and one for what was started, which a
 * thread of libdml progresses. So a thread that waits in a blocking call keeps nobody
 * from completing what was started, and blocking calls need not share anything with
 * that thread.
 *
 * The ranks agree before and after anything is made, by two small reductions: a rank
 * that has no memory, an invalid DML_* variable or a function in DML_MPI_SKIP decides
 * for all. The lock guards what the whole process shares and is never held while MPI
 * is in a collective call: threads that use different communicators must not wait for
 * each other.
 */
#include "shim/shim.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Each libdml communicator holds two or more of MPI's, of which MPICH has 2,048, and
 * shared memory. Programs with more communicators than this keep MPI's own for the
 * rest. */
enum { MAX_LIVE = 200 };

enum phase { NOT_STARTED, RUNNING, OFF };

/* MPI is one per process, and so is this. */
static struct {
    pthread_mutex_t lock;
    atomic_int phase;
    int keyval;
    dml_ctx *ctx;   /* NULL: could not be made, everything passes through */
    dml_ctx *async; /* the same of MPI_Iallreduce; it has a progress thread */
    unsigned wanted;
    int live;
    struct dml__shim_comm *first, *last; /* in the order in which they were made */
} shim = {.lock = PTHREAD_MUTEX_INITIALIZER, .keyval = MPI_KEYVAL_INVALID};

/* Hangs on communicators for which no memory was found. */
static struct dml__shim_comm passing;

static void list_add(struct dml__shim_comm *c)
{
    pthread_mutex_lock(&shim.lock);
    c->prev = shim.last;
    *(shim.last != NULL ? &shim.last->next : &shim.first) = c;
    shim.last = c;
    pthread_mutex_unlock(&shim.lock);
}

static void list_remove(struct dml__shim_comm *c)
{
    pthread_mutex_lock(&shim.lock);
    *(c->prev != NULL ? &c->prev->next : &shim.first) = c->next;
    *(c->next != NULL ? &c->next->prev : &shim.last) = c->prev;
    shim.live -= c->dml != NULL;
    pthread_mutex_unlock(&shim.lock);
}

/* MPI calls this when the communicator, or the attribute alone, goes away. */
static int on_delete(MPI_Comm comm, int keyval, void *attribute, void *extra)
{
    (void)comm;
    (void)keyval;
    (void)extra;
    struct dml__shim_comm *c = attribute;
    if (c == &passing)
        return MPI_SUCCESS;
    dml__shim_finish(c);
    list_remove(c);
    dml_comm_destroy(c->async);
    dml_comm_destroy(c->dml);
    free(c->counts);
    free(c->staging);
    free(c);
    return MPI_SUCCESS;
}

/* The contexts, and what the user wants. */
static void make_contexts(void)
{
    unsigned all = (1u << DML__SHIM_NFNS) - 1;
    dml_status status = dml_ctx_create(NULL, &shim.ctx);
    if (status != DML_OK) {
        fprintf(stderr,
                "dml-mpi: libdml cannot start (%s): all calls pass through to MPI; "
                "see the variables DML_* of the environment\n",
                dml_status_str(status));
        return;
    }
    shim.wanted = ~dml__shim_parse(getenv("DML_MPI_SKIP")) & all;
    dml_ctx_opts opts;
    dml_ctx_opts_init(&opts);
    opts.progress = DML_PROGRESS_PATIENT;
    if (opts.log_level == DML_LOG_WARN)
        opts.log_level = DML_LOG_ERROR; /* the other context has warned */
    if ((shim.wanted & 1u << DML__SHIM_IALLREDUCE) != 0 &&
        dml_ctx_create(&opts, &shim.async) != DML_OK)
        shim.wanted &= ~(1u << DML__SHIM_IALLREDUCE);
}

/* True when MPI runs, and what the process shares is there. */
static bool running(void)
{
    int phase = atomic_load_explicit(&shim.phase, memory_order_acquire);
    if (phase != NOT_STARTED)
        return phase == RUNNING;
    int initialized = 0, finalized = 0;
    PMPI_Initialized(&initialized);
    PMPI_Finalized(&finalized);
    if (!initialized || finalized)
        return false;
    pthread_mutex_lock(&shim.lock);
    phase = atomic_load_explicit(&shim.phase, memory_order_relaxed);
    if (phase == NOT_STARTED) {
        int code = PMPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, on_delete,
                                           &shim.keyval, NULL);
        phase = code == MPI_SUCCESS ? RUNNING : OFF;
        make_contexts();
        atomic_store_explicit(&shim.phase, phase, memory_order_release);
    }
    pthread_mutex_unlock(&shim.lock);
    return phase == RUNNING;
}

/* Does every rank of comm want these functions, as bits? Uses no resources of MPI. */
static unsigned agree(MPI_Comm comm, unsigned wanted)
{
    unsigned agreed = 0;
    int code = PMPI_Allreduce(&wanted, &agreed, 1, MPI_UNSIGNED, MPI_BAND, comm);
    return code == MPI_SUCCESS ? agreed : 0;
}

/* libdml's private communicators have its name; libdml in the program itself has MPI's
 * own collectives as one of its algorithms. */
static bool is_libdmls(MPI_Comm comm)
{
    char name[MPI_MAX_OBJECT_NAME] = "";
    int length = 0;
    PMPI_Comm_get_name(comm, name, &length);
    return strcmp(name, "libdml") == 0;
}

/* Takes a place among the live ones, or not: only within the limit. */
static bool reserve(void)
{
    pthread_mutex_lock(&shim.lock);
    bool room = shim.live < MAX_LIVE;
    shim.live += room;
    pthread_mutex_unlock(&shim.lock);
    return room;
}

/* Makes the libdml communicators of c, or leaves them NULL, on all ranks alike. */
static void open_dml(MPI_Comm comm, struct dml__shim_comm *c, bool room)
{
    const unsigned async = 1u << DML__SHIM_IALLREDUCE;
    unsigned enabled = agree(comm, room ? shim.wanted : 0);
    if (enabled == 0)
        return;
    /* Splitting copies neither attributes nor topology, as duplicating would: a
     * program's copy functions are not called behind its back. */
    MPI_Comm own = MPI_COMM_NULL;
    if (PMPI_Comm_split(comm, 0, c->rank, &own) != MPI_SUCCESS)
        return;
    PMPI_Comm_set_errhandler(own, MPI_ERRORS_RETURN);
    unsigned made = enabled;
    if (dml_comm_from_mpi(shim.ctx, own, &c->dml) != DML_OK)
        made = 0;
    if ((enabled & async) != 0 &&
        (dml_comm_from_mpi(shim.async, own, &c->async) != DML_OK ||
         !dml_comm_progresses(c->async)))
        made &= ~async;
    c->enabled = agree(own, made);
    if ((c->enabled & async) == 0) {
        dml_comm_destroy(c->async);
        c->async = NULL;
    }
    if (c->enabled == 0) {
        dml_comm_destroy(c->dml);
        c->dml = NULL;
    }
    PMPI_Comm_free(&own);
}

/* The first call on a communicator. */
static struct dml__shim_comm *attach(MPI_Comm comm)
{
    int inter = 0, rank = 0, size = 0;
    PMPI_Comm_test_inter(comm, &inter);
    PMPI_Comm_rank(comm, &rank);
    PMPI_Comm_size(comm, &size);
    struct dml__shim_comm *c = calloc(1, sizeof *c);
    size_t *counts = calloc((size_t)size, sizeof *counts);
    /* One rank alone has nothing to gain; MPI knows inter-communicators. */
    bool candidate = !inter && size > 1 && !is_libdmls(comm);
    if (c == NULL || counts == NULL) {
        free(c);
        free(counts);
        if (candidate)
            agree(comm, 0);
        PMPI_Comm_set_attr(comm, shim.keyval, &passing);
        return &passing;
    }
    *c = (struct dml__shim_comm){
        .rank = rank, .size = size, .counts = counts, .user = comm};
    if (candidate) {
        bool room = reserve();
        open_dml(comm, c, room);
        if (room && c->dml == NULL) {
            pthread_mutex_lock(&shim.lock);
            shim.live--;
            pthread_mutex_unlock(&shim.lock);
        }
    }
    list_add(c);
    PMPI_Comm_set_attr(comm, shim.keyval, c);
    return c;
}

struct dml__shim_comm *dml__shim_use(enum dml__shim_fn fn, MPI_Comm comm, bool possible)
{
    struct dml__shim_comm *c = NULL;
    if (possible && comm != MPI_COMM_NULL && running()) {
        int found = 0;
        if (PMPI_Comm_get_attr(comm, shim.keyval, &c, &found) != MPI_SUCCESS)
            c = NULL;
        else if (!found && fn != DML__SHIM_IALLREDUCE)
            c = attach(comm);
        else if (!found)
            c = NULL;
    }
    return c != NULL && (c->enabled >> fn & 1) != 0 ? c : NULL;
}

int dml__shim_code(enum dml__shim_fn fn, const dml_comm *dml, dml_status status)
{
    if (status >= 0)
        return MPI_SUCCESS;
    dml_error error;
    dml_ctx_last_error(dml_comm_ctx(dml), &error);
    fprintf(stderr, "dml-mpi: %s: %s\n", dml__shim_name(fn),
            error.status == status ? error.text : dml_status_str(status));
    return status == DML_ENOMEM   ? MPI_ERR_NO_MEM
           : status == DML_EINVAL ? MPI_ERR_ARG
                                  : MPI_ERR_OTHER;
}

int dml__shim_result(enum dml__shim_fn fn, const struct dml__shim_comm *c,
                     dml_status status)
{
    dml__shim_count(fn, true);
    int code = dml__shim_code(fn, c->dml, status);
    if (code != MPI_SUCCESS)
        PMPI_Comm_call_errhandler(c->user, code);
    return code;
}

void dml__shim_refuse(enum dml__shim_fn fn, const struct dml__shim_comm *c,
                      const char *why)
{
    dml__shim_count(fn, true);
    fprintf(stderr, "dml-mpi: %s: rank %d: %s; the call fails on all ranks\n",
            dml__shim_name(fn), c->rank, why);
    /* libdml refuses a call without a buffer, and tells the other ranks so. */
    dml_bcast(NULL, 1, DML_U8, 0, c->dml);
}

/* MPI runs. Its world's libdml communicators are made here, where all ranks come, so
 * that a first MPI_Iallreduce need not wait for the others. */
static int begin(int code)
{
    if (code == MPI_SUCCESS && running())
        attach(MPI_COMM_WORLD);
    return code;
}

/* Is MPI to be asked for MPI_THREAD_MULTIPLE whatever the program asks for? */
static bool wants_multiple(void)
{
    const char *wish = getenv("DML_MPI_MULTIPLE");
    return wish != NULL && strcmp(wish, "1") == 0;
}

DML__SHIM_API int MPI_Init(int *argc, char ***argv)
{
    int provided = 0;
    if (wants_multiple())
        return begin(PMPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &provided));
    return begin(PMPI_Init(argc, argv));
}

DML__SHIM_API int MPI_Init_thread(int *argc, char ***argv, int required, int *provided)
{
    if (wants_multiple())
        required = MPI_THREAD_MULTIPLE;
    return begin(PMPI_Init_thread(argc, argv, required, provided));
}

DML__SHIM_API int MPI_Finalize(void)
{
    if (running()) {
        dml__shim_print();
        /* Threads of libdml must have ended before MPI has. */
        while (shim.first != NULL)
            if (PMPI_Comm_delete_attr(shim.first->user, shim.keyval) != MPI_SUCCESS)
                break;
        atomic_store(&shim.phase, OFF);
        PMPI_Comm_free_keyval(&shim.keyval);
        dml_ctx_destroy(shim.async);
        dml_ctx_destroy(shim.ctx);
    }
    return PMPI_Finalize();
}
