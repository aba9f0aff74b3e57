/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The context: a snapshot of the environment, the log sink and the last error.
 *
 * It is shared between threads (a loader's thread reports errors too), hence the lock
 * around the error record; everything else is written once, at creation.
 */
#include "core/core.h"
#include "core/ctx_internal.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

struct dml_ctx {
    const struct dml__kernels *kernels;
    dml_error_policy errors;
    bool reproducible;
    struct dml__progress *progress;
    void (*close_progress)(struct dml__progress *);
    struct dml__device *_Atomic device;
    dml_log_level log_level;
    dml_log_fn *log;
    void *log_user;
    char **env; /* [nenv] copies of "DML_NAME=value" */
    size_t nenv;
    long alloc_fail_at; /* 0: never */
    atomic_long allocs;
    atomic_flag env_checked;
    void *shelf;
    void (*shelf_destroy)(void *);
    struct dml__trace_file *trace;
    pthread_mutex_t *lock; /* guards last_error, the shelf and the trace's pointer */
    dml_error *last_error; /* apart, so that a const context can record it */
};

static void log_to_stderr(void *user, dml_log_level level, const char *line)
{
    (void)user;
    (void)level;
    fprintf(stderr, "dml: %s\n", line);
}

void dml_ctx_opts_init(dml_ctx_opts *opts)
{
    *opts = (dml_ctx_opts){
        .size = sizeof *opts,
        .errors = DML_ERRORS_RETURN,
        .log_level = DML_LOG_WARN,
        .log = log_to_stderr,
    };
    const char *level = getenv("DML_LOG");
    static const char *const names[] = {"error", "warn", "info", "debug"};
    for (int i = 0; level != NULL && i < 4; i++)
        if (strcmp(level, names[i]) == 0)
            opts->log_level = (dml_log_level)i;
    const char *reproducible = getenv("DML_REPRODUCIBLE");
    opts->reproducible = reproducible != NULL && strcmp(reproducible, "1") == 0;
    const char *progress = getenv("DML_PROGRESS");
    if (progress != NULL && strcmp(progress, "thread") == 0)
        opts->progress = DML_PROGRESS_THREAD;
    if (progress != NULL && strcmp(progress, "patient") == 0)
        opts->progress = DML_PROGRESS_PATIENT;
}

/* Copies every DML_* variable; false when memory ran out. */
static bool copy_env(dml_ctx *ctx)
{
    size_t n = 0;
    for (char **e = environ; *e != NULL; e++)
        n += strncmp(*e, "DML_", 4) == 0;
    ctx->env = calloc(n + 1, sizeof *ctx->env);
    if (ctx->env == NULL)
        return false;
    for (char **e = environ; *e != NULL && ctx->nenv < n; e++) {
        if (strncmp(*e, "DML_", 4) != 0)
            continue;
        ctx->env[ctx->nenv] = strdup(*e);
        if (ctx->env[ctx->nenv] == NULL)
            return false;
        ctx->nenv++;
    }
    return true;
}

const char *dml__ctx_env(const dml_ctx *ctx, const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < ctx->nenv; i++) {
        const char *entry = ctx->env[i] + 4;
        if (strncmp(entry, name, length) == 0 && entry[length] == '=')
            return entry[length + 1] != '\0' && dml__env_refused(ctx->env[i]) == NULL
                       ? entry + length + 1
                       : NULL;
    }
    return NULL;
}

double dml__ctx_timeout_s(const dml_ctx *ctx)
{
    static const double default_s = 600;
    const char *wish = dml__ctx_env(ctx, "TIMEOUT_S"); /* a number, if anything */
    double s = 0;
    return wish != NULL && dml__number(wish, &s) ? s : default_s;
}

dml_status dml__ctx_new(const dml_ctx_opts *opts, dml_ctx **out)
{
    dml_ctx_opts defaults;
    if (opts == NULL) {
        dml_ctx_opts_init(&defaults);
        opts = &defaults;
    }
    if (out == NULL)
        return DML_EINVAL;
    DML_TRY(dml__check_size(NULL, "dml_ctx_create", opts->size, sizeof *opts,
                            "dml_ctx_opts_init"));
    dml_ctx *ctx = calloc(1, sizeof *ctx);
    if (ctx == NULL)
        return DML_ENOMEM;
    ctx->errors = opts->errors;
    ctx->reproducible = opts->reproducible;
    ctx->log_level = opts->log_level;
    ctx->log = opts->log != NULL ? opts->log : log_to_stderr;
    ctx->log_user = opts->log_user;
    ctx->lock = malloc(sizeof *ctx->lock);
    ctx->last_error = calloc(1, sizeof *ctx->last_error);
    if (ctx->lock != NULL)
        pthread_mutex_init(ctx->lock, NULL);
    if (ctx->lock == NULL || ctx->last_error == NULL || !copy_env(ctx)) {
        dml_ctx_destroy(ctx);
        return DML_ENOMEM;
    }
    const char *fail_at = dml__ctx_env(ctx, "TEST_ALLOC_FAIL");
    ctx->alloc_fail_at = fail_at != NULL ? strtol(fail_at, NULL, 10) : 0;
    *out = ctx;
    return DML_OK;
}

dml_status dml__ctx_beside(const dml_ctx *ctx, dml_ctx **beside)
{
    dml_ctx_opts opts;
    dml_ctx_opts_init(&opts);
    opts.log_level = ctx->log_level;
    opts.log = ctx->log;
    opts.log_user = ctx->log_user;
    opts.reproducible = ctx->reproducible;
    DML_TRY(dml__ctx_new(&opts, beside));
    (*beside)->kernels = ctx->kernels;
    return DML_OK;
}

void dml_ctx_destroy(dml_ctx *ctx)
{
    if (ctx == NULL)
        return;
    if (ctx->progress != NULL)
        ctx->close_progress(ctx->progress);
    struct dml__device *device = dml__ctx_device(ctx);
    if (device != NULL)
        device->close(device);
    if (ctx->shelf_destroy != NULL)
        ctx->shelf_destroy(ctx->shelf);
    dml__trace_file_close(ctx->trace);
    for (size_t i = 0; i < ctx->nenv; i++)
        free(ctx->env[i]);
    free(ctx->env);
    if (ctx->lock != NULL)
        pthread_mutex_destroy(ctx->lock);
    free(ctx->lock);
    free(ctx->last_error);
    free(ctx);
}

void dml__ctx_check_env(dml_ctx *ctx)
{
    if (atomic_flag_test_and_set(&ctx->env_checked))
        return;
    for (size_t i = 0; i < ctx->nenv; i++) {
        const char *nearest = NULL, *use = dml__env_refused(ctx->env[i]);
        if (use != NULL)
            dml__log(ctx, DML_LOG_WARN, "environment: %.100s is ignored; use %s",
                     ctx->env[i], use);
        if (dml__env_unknown(ctx->env[i], &nearest))
            dml__log(ctx, DML_LOG_WARN,
                     "environment: %.*s is no variable of libdml; did you mean "
                     "DML_%s?",
                     (int)strcspn(ctx->env[i], "="), ctx->env[i], nearest);
    }
}

struct dml__device *dml__ctx_device(const dml_ctx *ctx)
{
    return atomic_load_explicit(&ctx->device, memory_order_acquire);
}

bool dml__ctx_set_device(dml_ctx *ctx, struct dml__device *device)
{
    struct dml__device *none = NULL;
    return atomic_compare_exchange_strong(&ctx->device, &none, device);
}

void *dml__ctx_shelf(dml_ctx *ctx)
{
    return ctx->shelf;
}

void dml__ctx_set_shelf(dml_ctx *ctx, void *shelf, void (*destroy)(void *))
{
    ctx->shelf = shelf;
    ctx->shelf_destroy = destroy;
}

void dml__ctx_lock(dml_ctx *ctx)
{
    pthread_mutex_lock(ctx->lock);
}

void dml__ctx_unlock(dml_ctx *ctx)
{
    pthread_mutex_unlock(ctx->lock);
}

struct dml__progress *dml__ctx_progress(const dml_ctx *ctx)
{
    return ctx->progress;
}

void dml__ctx_set_progress(dml_ctx *ctx, struct dml__progress *progress,
                           void (*close)(struct dml__progress *))
{
    ctx->progress = progress;
    ctx->close_progress = close;
}

struct dml__trace_file *dml__ctx_trace(dml_ctx *ctx, struct dml__trace_file *made)
{
    dml__ctx_lock(ctx);
    if (ctx->trace == NULL)
        ctx->trace = made;
    struct dml__trace_file *trace = ctx->trace;
    dml__ctx_unlock(ctx);
    return trace;
}

bool dml__ctx_reproducible(const dml_ctx *ctx)
{
    return ctx->reproducible;
}

const struct dml__kernels *dml__ctx_kernels(const dml_ctx *ctx)
{
    return ctx->kernels;
}

void dml__ctx_set_kernels(dml_ctx *ctx, const struct dml__kernels *kernels)
{
    ctx->kernels = kernels;
}

bool dml__ctx_alloc_must_fail(dml_ctx *ctx)
{
    if (ctx->alloc_fail_at <= 0 ||
        atomic_fetch_add(&ctx->allocs, 1) + 1 != ctx->alloc_fail_at)
        return false;
    dml__log(ctx, DML_LOG_DEBUG, "allocation %ld fails: DML_TEST_ALLOC_FAIL",
             ctx->alloc_fail_at);
    return true;
}

void dml__log(const dml_ctx *ctx, dml_log_level level, const char *format, ...)
{
    if (ctx == NULL || level > ctx->log_level)
        return;
    char line[640];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    ctx->log(ctx->log_user, level, line);
}

void dml__tell(const dml_ctx *ctx, const char *format, ...)
{
    char line[640];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    ctx->log(ctx->log_user, DML_LOG_INFO, line);
}

static dml_status record(const dml_ctx *ctx, dml_error *error, const char *format,
                         va_list args)
{
    if (ctx == NULL)
        return error->status;
    vsnprintf(error->text, sizeof error->text, format, args);
    pthread_mutex_lock(ctx->lock);
    *ctx->last_error = *error;
    pthread_mutex_unlock(ctx->lock);
    if (ctx->errors == DML_ERRORS_ABORT) {
        fprintf(stderr, "dml: %s: %s\n", error->where, error->text);
        _exit(1); /* the launcher ends the other ranks; abort() would print stacks */
    }
    dml__log(ctx, DML_LOG_INFO, "%s: %s: %s", error->where,
             dml_status_str(error->status), error->text);
    return error->status;
}

dml_status dml__fail(const dml_ctx *ctx, dml_status status, const char *where,
                     const char *format, ...)
{
    dml_error error = {.status = status, .rank = -1};
    snprintf(error.where, sizeof error.where, "%s", where);
    va_list args;
    va_start(args, format);
    record(ctx, &error, format, args);
    va_end(args);
    return status;
}

dml_status dml__fail_values(const dml_ctx *ctx, dml_status status, const char *where,
                            int rank, int64_t seen, int64_t expected,
                            const char *format, ...)
{
    dml_error error = {
        .status = status, .rank = rank, .seen = seen, .expected = expected};
    snprintf(error.where, sizeof error.where, "%s", where);
    va_list args;
    va_start(args, format);
    record(ctx, &error, format, args);
    va_end(args);
    return status;
}

dml_status dml__check_size(const dml_ctx *ctx, const char *where, size_t size,
                           size_t wanted, const char *initialiser)
{
    if (size == wanted)
        return DML_OK;
    return dml__fail(ctx, DML_EINVAL, where,
                     "size in the options is %zu, not %zu; fill them with %s() first",
                     size, wanted, initialiser);
}

void dml_ctx_last_error(const dml_ctx *ctx, dml_error *error)
{
    pthread_mutex_lock(ctx->lock);
    *error = *ctx->last_error;
    pthread_mutex_unlock(ctx->lock);
}
