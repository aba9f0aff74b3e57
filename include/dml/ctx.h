/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file ctx.h
 * The context: configuration, log, last error. The library keeps no state outside it,
 * so two parts of one program may each use libdml without knowing of the other.
 *
 * Lifetime: create the context first; communicators, loaders and optimizers borrow it
 * and must be destroyed before it.
 */
#ifndef DML_CTX_H
#define DML_CTX_H

#include "dml/status.h"
#include "dml/types.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How much is logged; each level includes those above it. */
typedef enum dml_log_level {
    DML_LOG_ERROR = 0, /**< what made a call fail */
    DML_LOG_WARN = 1,  /**< works, but not as the user may think (default) */
    DML_LOG_INFO = 2,  /**< choices made: algorithms, kernels, placement */
    DML_LOG_DEBUG = 3  /**< for work on libdml itself */
} dml_log_level;

/** What a failing call does after its error is recorded. */
typedef enum dml_error_policy {
    DML_ERRORS_RETURN = 0, /**< return the status (default) */
    DML_ERRORS_ABORT = 1   /**< print the error's line on stderr and end the
                                process with exit status 1 */
} dml_error_policy;

/** Who completes what was started: see dml_iallreduce() and dml_progress(). */
typedef enum dml_progress_mode {
    DML_PROGRESS_POLL = 0,   /**< calls on the communicator do (default) */
    DML_PROGRESS_THREAD = 1, /**< a thread of the context does, beside such calls */
    DML_PROGRESS_PATIENT = 2 /**< the same, but it leaves what was started to its
                                  callers for 0.2 to 0.4 ms: for programs that often
                                  wait at once, which a thread would slow down */
} dml_progress_mode;

/** Receives one line without newline. May be called from any thread that uses libdml;
 * must not call libdml. */
typedef void dml_log_fn(void *user, dml_log_level level, const char *line);

/** Options of a context. Fill with dml_ctx_opts_init(), then change what you need. */
typedef struct dml_ctx_opts {
    size_t size;             /**< sizeof(dml_ctx_opts), set by the initialiser */
    dml_error_policy errors; /**< default DML_ERRORS_RETURN */
    dml_log_level log_level; /**< default DML_LOG_WARN, or $DML_LOG */
    dml_log_fn *log;         /**< default: "dml: LINE" on stderr */
    void *log_user;          /**< handed to log; borrowed */
    const char *isa;         /**< kernel set: "auto" (default, or $DML_ISA), "c",
                                  "avx2" or "avx512"; copied */
    bool reproducible;       /**< reductions of floats give the same bits whatever the
                                  algorithm, transport, layout of the nodes or cut into
                                  calls: terms are added in the order of the ranks, and
                                  rounded to the element type once. Equal on all ranks.
                                  Default: $DML_REPRODUCIBLE is 1 */
    dml_progress_mode progress; /**< default DML_PROGRESS_POLL, or $DML_PROGRESS, which
                                  is poll, thread or patient. The thread sleeps while
                                  nothing moves, and runs on a core that no rank of the
                                  node uses if there is one (hwloc). What goes through
                                  MPI it progresses only where MPI was initialised with
                                  MPI_THREAD_MULTIPLE; else a warning says so, and calls
                                  on the communicator do it. May differ between ranks */
} dml_ctx_opts;

/** Set all defaults. Not collective. Threads: any.  @since 0.1 */
DML_API void dml_ctx_opts_init(dml_ctx_opts *opts);

/**
 * Create a context. Reads the environment variables named DML_* once, here.
 * Not collective.
 * @param[in]  opts  borrowed until return; NULL for the defaults.
 * @param[out] ctx   returned; free with dml_ctx_destroy().
 * @return DML_OK | DML_EINVAL (unknown isa, or one this processor lacks) | DML_ENOMEM.
 * Threads: any. The context itself is safe to share between threads. It belongs to this
 * process: a child of fork() must neither use nor destroy it.  @since 0.1
 */
DML_API dml_status dml_ctx_create(const dml_ctx_opts *opts, dml_ctx **ctx);

/** Free a context; NULL is a no-op. Not collective. Threads: one, after all other use.
 * @since 0.1 */
DML_API void dml_ctx_destroy(dml_ctx *ctx);

/**
 * What the last failing call on this context, or on anything that borrows it, found.
 * Not collective. @param[out] error  copied out; status is DML_OK if nothing failed
 * yet. Threads: any; with several threads the newest error of any of them.  @since 0.1
 */
DML_API void dml_ctx_last_error(const dml_ctx *ctx, dml_error *error);

/** Name of the kernel set in use: "c", "avx2" or "avx512". Static. Not collective; any
 * thread. @since 0.1 */
DML_API const char *dml_ctx_isa(const dml_ctx *ctx);

/** Linked library's version, "0.2.0". Static. Not collective; any thread.
 * @since 0.1 */
DML_API const char *dml_version(void);

#ifdef __cplusplus
}
#endif
#endif
