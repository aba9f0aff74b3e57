/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small harness for tests that run under mpirun: a table of named cases, run by all
 * ranks together and judged together.
 *
 * A case reports failures and goes on, so that the ranks stay in step. Each step is
 * watched by an alarm, so that a hang names its rank, case and step and ends the job.
 * Random numbers come from a printed seed and are the same on all ranks; set
 * DML_TEST_SEED to repeat a run.
 */
#ifndef DML_TEST_H
#define DML_TEST_H

#include "dml/dml.h"
#include "dml/mpi.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DML_TEST_MAX_RANKS 64

/* What a case is given. Cases read it; the harness alone writes it. */
struct dml_test {
    int rank, nranks;
    uint64_t seed;
    MPI_Comm mpi;        /* all ranks, for the test's own messages */
    dml_ctx *ctx;        /* quiet: failures that are provoked are not logged */
    dml_comm *comm;      /* all ranks */
    unsigned every;      /* run each every-th generated case (option --every N) */
    const char *except;  /* no cases whose names contain it (--except TEXT), or NULL */
    const char *name;    /* of the running case */
    char step[240];      /* what it does now */
    unsigned failures;   /* of this rank in this case */
    const char *skipped; /* why the case is skipped, or NULL */
    uint64_t state;      /* of dml_test_random() */
};

typedef void dml_test_fn(struct dml_test *t);

struct dml_test_case {
    const char *name;
    dml_test_fn *fn;
};

/*
 * Run all cases, or those whose names contain the string given as an argument.
 * Rank 0 ends its output with "N passed, N failed". Returns the exit status.
 */
int dml_test_main(int argc, char **argv, const struct dml_test_case *cases,
                  size_t ncases);

#if defined(__GNUC__)
#define DML_TEST_PRINTF __attribute__((format(printf, 2, 3)))
#else
#define DML_TEST_PRINTF
#endif

/* Say what comes next: shown with failures and by the alarm, which starts anew. */
void dml_test_step(struct dml_test *t, const char *format, ...) DML_TEST_PRINTF;

/* Record a failure of this rank and print it with case, step, rank and seed. */
void dml_test_fail(struct dml_test *t, const char *format, ...) DML_TEST_PRINTF;

/* The rest of the case cannot run here: printed and counted as skipped. The reason is
 * static. All ranks must call it, and then return. */
void dml_test_skip(struct dml_test *t, const char *reason);

/* Record a failure unless got == want; returns whether they are equal. */
bool dml_test_status(struct dml_test *t, const char *what, dml_status got,
                     dml_status want);

/* The same, and the context's last error must carry a text and this status. */
bool dml_test_error(struct dml_test *t, const char *what, dml_status got,
                    dml_status want);

/* Byte-wise comparison; a failure names the first index that differs. */
bool dml_test_bytes(struct dml_test *t, const char *what, const void *got,
                    const void *want, size_t bytes);

/* Record a failure if a hash of the bytes is not the same on all ranks. Collective. */
void dml_test_same_on_all(struct dml_test *t, const char *what, const void *data,
                          size_t bytes);

/* Random numbers, equal on all ranks as long as all call alike. */
uint64_t dml_test_random(struct dml_test *t);

/* Start the sequence anew, for ranks that have not all drawn the same numbers. */
void dml_test_reseed(struct dml_test *t, uint64_t value);

/* A pure function of its arguments with all 64 bits well mixed. */
uint64_t dml_test_hash(uint64_t seed, uint64_t a, uint64_t b);

/* Hash of bytes, to be combined over calls: start with 0. */
uint64_t dml_test_digest(uint64_t hash, const void *data, size_t bytes);

/* Memory that is there, or the job ends with a message. Free with free(). */
void *dml_test_alloc(size_t bytes);

#define DML_CHECK(t, condition, ...)         \
    do {                                     \
        if (!(condition))                    \
            dml_test_fail((t), __VA_ARGS__); \
    } while (0)

#define DML_TEST_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
