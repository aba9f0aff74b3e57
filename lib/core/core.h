/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What lib/core offers the other folders: the context, errors and log, memory, clock.
 */
#ifndef DML__CORE_H
#define DML__CORE_H

#include "dml/ctx.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dml__progress;
struct dml__kernels; /* lib/kernels/kernels.h; core only carries the pointer */

/* ---- context -----------------------------------------------------------------------
 */

/* The parts of dml_ctx that other folders read. The rest is private to ctx.c. */
const struct dml__kernels *dml__ctx_kernels(const dml_ctx *ctx);
void dml__ctx_set_kernels(dml_ctx *ctx, const struct dml__kernels *kernels);

/* A context without kernels; dml_ctx_create() in lib/dml.c adds them. */
dml_status dml__ctx_new(const dml_ctx_opts *opts, dml_ctx **ctx);

/* A context beside another one, for errors that are not the caller's yet: it has the
 * same kernels and writes to the same log, and always returns errors. */
dml_status dml__ctx_beside(const dml_ctx *ctx, dml_ctx **beside);

/* Must reductions of floats add their terms in the order of the ranks? */
bool dml__ctx_reproducible(const dml_ctx *ctx);

/* Who progresses the context's communicators (lib/comm); closed by the context. */
struct dml__progress *dml__ctx_progress(const dml_ctx *ctx);
void dml__ctx_set_progress(dml_ctx *ctx, struct dml__progress *progress,
                           void (*close)(struct dml__progress *));

/* What lib/gpu hangs on a context when it opens a device: how collectives treat device
 * memory (lib/collectives/device.h). NULL before; set once, false when it is set. */
/* A copy for a task, which must not wait for it. */
struct dml__device_copy {
    void *dst;
    const void *src;
    size_t bytes;
    void *stream; /* behind what this holds */
    void *event;  /* NULL: not queued yet */
};

struct dml__device {
    const struct dml__device_paths *paths;
    void (*close)(struct dml__device *); /* by the context, at its end */
    /* Does it lie on a device, or count as such (managed memory)? */
    bool (*holds)(const struct dml__device *device, const void *memory);
    /* Copies between it and the host, behind what the communicator's stream holds (the
     * default one where that is NULL), and waits. */
    dml_status (*copy)(const struct dml__device *device, const dml_comm *comm,
                       void *dst, const void *src, size_t bytes);
    /* The communicator's stream. */
    void *(*stream)(const dml_comm *comm);
    /* DML_EUNSUPPORTED, told, while that stream is captured in a graph, where nothing
     * can be waited for. */
    dml_status (*may_wait)(const struct dml__device *device, const dml_comm *comm,
                           const char *where);
    /* Queues the copy; DML_PENDING, and to be called again, until it has been done. */
    dml_status (*advance)(struct dml__device *device, struct dml__device_copy *copy);
};
struct dml__device *dml__ctx_device(const dml_ctx *ctx);
bool dml__ctx_set_device(dml_ctx *ctx, struct dml__device *device);

/* For what takes host memory alone. */
static inline bool dml__on_device(const dml_ctx *ctx, const void *memory)
{
    const struct dml__device *device = dml__ctx_device(ctx);
    return device != NULL && device->holds(device, memory);
}

/* Value of the environment variable DML_<name> when the context was made; NULL if it
 * was not set, or empty, or takes few values (env.c) and this is none of them. */
const char *dml__ctx_env(const dml_ctx *ctx, const char *name);

/* Seconds without progress after which who waits gives up; 0: never. */
double dml__ctx_timeout_s(const dml_ctx *ctx);

/* Warn of variables DML_*, and values, that libdml does not know, once in a context's
 * life: called by one rank, when a communicator is made. */
void dml__ctx_check_env(dml_ctx *ctx);

/*
 * A place of one owner's (lib/collectives') for what all communicators of a context
 * share: NULL at first; "destroy" is called with what lies there at the end. Lock and
 * unlock around every use; nothing that can fail or log may be called in between.
 */
void *dml__ctx_shelf(dml_ctx *ctx);
void dml__ctx_set_shelf(dml_ctx *ctx, void *shelf, void (*destroy)(void *));
void dml__ctx_lock(dml_ctx *ctx);
void dml__ctx_unlock(dml_ctx *ctx);

/* ---- errors and log ----------------------------------------------------------------
 */

#if defined(__GNUC__)
#define DML__PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#else
#define DML__PRINTF(fmt, first)
#endif

/*
 * Record an error and return its status, so that "return dml__fail(...)" is the one way
 * to fail. "where" is the public function's name (use __func__ there). The text says
 * what, where and what to do, in one line. ctx may be NULL (nothing is recorded then).
 */
dml_status dml__fail(const dml_ctx *ctx, dml_status status, const char *where,
                     const char *format, ...) DML__PRINTF(4, 5);

/* The same with a rank and the two values that should have been equal. */
dml_status dml__fail_values(const dml_ctx *ctx, dml_status status, const char *where,
                            int rank, int64_t seen, int64_t expected,
                            const char *format, ...) DML__PRINTF(7, 8);

/* Does an options structure's "size" say that it was filled by its initialiser? Else
 * DML_EINVAL, with a text. ctx may be NULL. */
dml_status dml__check_size(const dml_ctx *ctx, const char *where, size_t size,
                           size_t wanted, const char *initialiser);

void dml__log(const dml_ctx *ctx, dml_log_level level, const char *format, ...)
    DML__PRINTF(3, 4);

/* A line that the user asked for: logged whatever the level. */
void dml__tell(const dml_ctx *ctx, const char *format, ...) DML__PRINTF(2, 3);

/* Return a failed status at once; only in functions that own nothing yet. */
#define DML_TRY(call)                        \
    do {                                     \
        dml_status dml__try_status = (call); \
        if (dml__try_status < 0)             \
            return dml__try_status;          \
    } while (0)

/* ---- memory ------------------------------------------------------------------------
 */

#define DML__ALIGN 64 /* a cache line, and the widest vector register */

/* Zeroed memory, 64-byte aligned, or NULL. bytes 0 gives a valid pointer. Tests make
 * the n-th allocation of a context fail with DML_TEST_ALLOC_FAIL=n. */
void *dml__alloc(dml_ctx *ctx, size_t bytes);
void dml__free(void *memory);

/* count * bytes, or SIZE_MAX when it does not fit (which dml__alloc then refuses). */
size_t dml__mul(size_t count, size_t bytes);

/*
 * memcpy of what may be long. Some C libraries write past the caches from about a
 * megabyte on (GNU's: three quarters of what it takes for a core's share of the last
 * cache), which was up to 1.4 times slower here than the same in short pieces.
 */
void dml__copy(void *dst, const void *src, size_t bytes);

/* ---- texts -------------------------------------------------------------------------
 */

/* Is the whole text a finite number, with a decimal point in any locale? */
bool dml__number(const char *text, double *value);

/* ---- clock -------------------------------------------------------------------------
 */

/* Monotonic seconds. */
double dml__now_s(void);

#endif
