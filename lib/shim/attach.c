/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From an MPI communicator to its libdml communicator: made at the first call, kept as
 * an attribute, ended when the program frees the communicator or at MPI_Finalize.
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
    dml_ctx *ctx; /* NULL: could not be made, everything passes through */
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
    list_remove(c);
    dml_comm_destroy(c->dml);
    free(c->counts);
    free(c->staging);
    free(c);
    return MPI_SUCCESS;
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
        dml_status status = dml_ctx_create(NULL, &shim.ctx);
        if (status != DML_OK)
            fprintf(stderr,
                    "dml-mpi: libdml cannot start (%s): all calls pass through to MPI; "
                    "see the variables DML_* of the environment\n",
                    dml_status_str(status));
        shim.wanted =
            ~dml__shim_parse(getenv("DML_MPI_SKIP")) & ((1u << DML__SHIM_NFNS) - 1);
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

/* Makes the libdml communicator of c, or leaves c->dml NULL, on all ranks alike. */
static void open_dml(MPI_Comm comm, struct dml__shim_comm *c, bool room)
{
    unsigned enabled = agree(comm, room && shim.ctx != NULL ? shim.wanted : 0);
    if (enabled == 0)
        return;
    /* Splitting copies neither attributes nor topology, as duplicating would: a
     * program's copy functions are not called behind its back. */
    MPI_Comm own = MPI_COMM_NULL;
    if (PMPI_Comm_split(comm, 0, c->rank, &own) != MPI_SUCCESS)
        return;
    PMPI_Comm_set_errhandler(own, MPI_ERRORS_RETURN);
    bool made = dml_comm_from_mpi(shim.ctx, own, &c->dml) == DML_OK;
    c->enabled = agree(own, made ? enabled : 0);
    if (c->enabled == 0 && made) {
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
        else if (!found)
            c = attach(comm);
    }
    return c != NULL && (c->enabled >> fn & 1) != 0 ? c : NULL;
}

int dml__shim_result(enum dml__shim_fn fn, MPI_Comm comm, dml_status status)
{
    dml__shim_count(fn, true);
    if (status >= 0)
        return MPI_SUCCESS;
    int code = status == DML_ENOMEM   ? MPI_ERR_NO_MEM
               : status == DML_EINVAL ? MPI_ERR_ARG
                                      : MPI_ERR_OTHER;
    dml_error error;
    dml_ctx_last_error(shim.ctx, &error);
    fprintf(stderr, "dml-mpi: %s: %s\n", error.where, error.text);
    PMPI_Comm_call_errhandler(comm, code);
    return code;
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
        dml_ctx_destroy(shim.ctx);
    }
    return PMPI_Finalize();
}
