/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The harness of the MPI tests; see dml_test.h. Failures are summed over the ranks
 * after each case by MPI itself, never by the library under test.
 */
#include "dml_test.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FAILURES_PRINTED 4 /* per case and rank; the rest are only counted */

/* The alarm's handler gets no argument, hence this one variable of the file. */
static struct dml_test *watched;
static unsigned watch_seconds = 30;

static void say(const char *text)
{
    ssize_t written = write(STDERR_FILENO, text, strlen(text));
    (void)written;
}

/* Only calls that are safe in a handler. The pause lets the other ranks speak before
 * the launcher, seeing this one end, kills them. */
static void on_alarm(int signal_number)
{
    (void)signal_number;
    char digits[12];
    size_t at = sizeof digits - 1;
    digits[at] = '\0';
    for (int r = watched->rank; at > 0 && (r > 0 || digits[at] == '\0'); r /= 10)
        digits[--at] = (char)('0' + r % 10);
    say("TIMEOUT: rank ");
    say(digits + at);
    say(", case ");
    say(watched->name);
    say(", step: ");
    say(watched->step);
    say("\n");
    sleep(1);
    _exit(124);
}

uint64_t dml_test_hash(uint64_t seed, uint64_t a, uint64_t b)
{
    /* The finaliser of SplitMix64 (Steele, Lea and Flood 2014) over a sum of odd
     * multiples. */
    uint64_t z = seed + a * 0x9e3779b97f4a7c15u + b * 0xd1342543de82ef95u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t dml_test_digest(uint64_t hash, const void *data, size_t bytes)
{
    const unsigned char *p = data;
    uint64_t word = 0;
    size_t i = 0;
    for (; i + sizeof word <= bytes; i += sizeof word) {
        memcpy(&word, p + i, sizeof word);
        hash = (hash ^ word) * 0x100000001b3u;
        hash ^= hash >> 29;
    }
    for (; i < bytes; i++)
        hash = (hash ^ p[i]) * 0x100000001b3u;
    return hash ^ (hash >> 32);
}

uint64_t dml_test_random(struct dml_test *t)
{
    return dml_test_hash(t->seed, ++t->state, 0);
}

void dml_test_reseed(struct dml_test *t, uint64_t value)
{
    t->state = dml_test_hash(t->seed, value, 1);
}

void *dml_test_alloc(size_t bytes)
{
    void *memory = malloc(bytes > 0 ? bytes : 1);
    if (memory == NULL) {
        fprintf(stderr, "test: no memory for %zu bytes\n", bytes);
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    return memory;
}

void dml_test_step(struct dml_test *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(t->step, sizeof t->step, format, args);
    va_end(args);
    alarm(watch_seconds);
}

void dml_test_fail(struct dml_test *t, const char *format, ...)
{
    if (++t->failures > FAILURES_PRINTED)
        return;
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "FAIL: case %s, rank %d of %d, step: %s: %s (seed %llu)\n", t->name,
            t->rank, t->nranks, t->step, text, (unsigned long long)t->seed);
}

void dml_test_skip(struct dml_test *t, const char *reason)
{
    t->skipped = reason;
}

bool dml_test_status(struct dml_test *t, const char *what, dml_status got,
                     dml_status want)
{
    if (got == want)
        return true;
    dml_error error;
    dml_ctx_last_error(t->ctx, &error);
    dml_test_fail(t, "%s: got %s, wanted %s; last error: %s", what,
                  dml_status_name(got), dml_status_name(want), error.text);
    return false;
}

bool dml_test_error(struct dml_test *t, const char *what, dml_status got,
                    dml_status want)
{
    dml_error error;
    dml_ctx_last_error(t->ctx, &error);
    if (!dml_test_status(t, what, got, want))
        return false;
    if (error.status == want && error.text[0] != '\0' && error.where[0] != '\0')
        return true;
    dml_test_fail(t, "%s: last error is %s, \"%s\" in \"%s\", wanted %s with a text",
                  what, dml_status_name(error.status), error.text, error.where,
                  dml_status_name(want));
    return false;
}

bool dml_test_bytes(struct dml_test *t, const char *what, const void *got,
                    const void *want, size_t bytes)
{
    if (bytes == 0 || memcmp(got, want, bytes) == 0)
        return true;
    const unsigned char *g = got, *w = want;
    size_t i = 0;
    while (g[i] == w[i])
        i++;
    dml_test_fail(t, "%s: byte %zu of %zu: got 0x%02x, wanted 0x%02x", what, i, bytes,
                  g[i], w[i]);
    return false;
}

void dml_test_same_on_all(struct dml_test *t, const char *what, const void *data,
                          size_t bytes)
{
    uint64_t own = dml_test_digest(0, data, bytes), root = own;
    MPI_Bcast(&root, 1, MPI_UINT64_T, 0, t->mpi);
    DML_CHECK(t, own == root, "%s: the bits differ from rank 0's", what);
}

/* ---- running the table -------------------------------------------------------------
 */

struct tally {
    int passed, failed, skipped;
};

static void run_case(struct dml_test *t, const struct dml_test_case *c,
                     struct tally *tally)
{
    t->name = c->name;
    t->failures = 0;
    t->skipped = NULL;
    t->state = dml_test_digest(0, c->name, strlen(c->name));
    dml_test_step(t, "start");
    double start = MPI_Wtime();
    c->fn(t);
    dml_test_step(t, "the other ranks' verdicts");
    int own[2] = {t->failures > 0, t->skipped != NULL}, all[2];
    MPI_Allreduce(own, all, 2, MPI_INT, MPI_SUM, t->mpi);
    alarm(0);
    double seconds = MPI_Wtime() - start;
    bool failed = all[0] > 0, skipped = !failed && all[1] > 0;
    tally->failed += failed;
    tally->skipped += skipped;
    tally->passed += !failed && !skipped;
    if (t->rank != 0)
        return;
    if (failed)
        printf("failed   %-28s on %d of %d ranks\n", c->name, all[0], t->nranks);
    else if (skipped)
        printf("skipped  %-28s %s\n", c->name,
               t->skipped != NULL ? t->skipped : "on another rank");
    else
        printf("passed   %-28s %.2f s\n", c->name, seconds);
    fflush(stdout);
}

static void drop_line(void *user, dml_log_level level, const char *line)
{
    (void)user;
    (void)level;
    (void)line;
}

/* The filter, or NULL; sets what the options say. */
static const char *read_arguments(struct dml_test *t, int argc, char **argv)
{
    const char *filter = NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--every") == 0 && i + 1 < argc)
            t->every = (unsigned)strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--except") == 0 && i + 1 < argc)
            t->except = argv[++i];
        else
            filter = argv[i];
    }
    const char *seed = getenv("DML_TEST_SEED");
    t->seed = seed != NULL ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
    const char *limit = getenv("DML_TEST_TIMEOUT");
    if (limit != NULL)
        watch_seconds = (unsigned)strtoul(limit, NULL, 10);
    if (t->every == 0)
        t->every = 1;
    MPI_Bcast(&t->seed, 1, MPI_UINT64_T, 0, t->mpi);
    return filter;
}

static dml_status open_library(struct dml_test *t)
{
    dml_ctx_opts opts;
    dml_ctx_opts_init(&opts);
    if (getenv("DML_LOG") == NULL)
        opts.log = drop_line;
    dml_status status = dml_ctx_create(&opts, &t->ctx);
    return status != DML_OK ? status
                            : dml_comm_from_mpi(t->ctx, MPI_COMM_WORLD, &t->comm);
}

int dml_test_main(int argc, char **argv, const struct dml_test_case *cases,
                  size_t ncases)
{
    int provided;
    bool funneled = getenv("DML_TEST_FUNNELED") != NULL;
    MPI_Init_thread(&argc, &argv, funneled ? MPI_THREAD_FUNNELED : MPI_THREAD_MULTIPLE,
                    &provided);
    struct dml_test t = {.name = "start of the program", .mpi = MPI_COMM_NULL};
    MPI_Comm_dup(MPI_COMM_WORLD, &t.mpi);
    MPI_Comm_rank(t.mpi, &t.rank);
    MPI_Comm_size(t.mpi, &t.nranks);
    watched = &t;
    signal(SIGALRM, on_alarm);
    const char *filter = read_arguments(&t, argc, argv);
    if (t.rank == 0) {
        printf("ranks %d, seed %llu\n", t.nranks, (unsigned long long)t.seed);
        fflush(stdout);
    }
    dml_test_step(&t, "dml_ctx_create, dml_comm_from_mpi");
    dml_status status = open_library(&t);
    if (status != DML_OK) {
        fprintf(stderr, "test: rank %d: no communicator: %s\n", t.rank,
                dml_status_str(status));
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    struct tally tally = {0};
    for (size_t i = 0; i < ncases; i++)
        if ((filter == NULL || strstr(cases[i].name, filter) != NULL) &&
            (t.except == NULL || strstr(cases[i].name, t.except) == NULL))
            run_case(&t, &cases[i], &tally);
    t.name = "end of the program";
    dml_test_step(&t, "dml_comm_destroy, MPI_Finalize");
    dml_comm_destroy(t.comm);
    dml_ctx_destroy(t.ctx);
    MPI_Comm_free(&t.mpi);
    if (t.rank == 0 && tally.skipped > 0)
        printf("%d skipped\n", tally.skipped);
    if (t.rank == 0)
        printf("%d passed, %d failed\n", tally.passed, tally.failed);
    fflush(stdout);
    MPI_Finalize();
    alarm(0);
    return tally.failed > 0 ? 1 : 0;
}
