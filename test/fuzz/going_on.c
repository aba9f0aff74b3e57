/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inputs that change a snapshot, and jobs that go on from it; see going_on.h.
 */
#include "going_on.h"

#include "dml/mpi.h"

#include "held_snapshot.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_VARIANTS = 8,
    MOST_WORDS = 64,
    MOST_COUNT = 1 << 20, /* elements of a section whose length is changed */
    MOST_RANKS = 4
};

/* What an input does to a section. */
enum change {
    SET_BYTES,  /* number of bytes - 1, place (3 bytes), bytes */
    SET_DOUBLE, /* which (2 bytes), 8 bytes */
    SET_FLOAT,  /* which (2 bytes), 4 bytes */
    FILL,       /* 8 bytes, repeated */
    SET_COUNT,  /* 3 bytes */
    SET_KIND,   /* kind (2 bits) and type (6 bits) */
    REMOVE,
    SET_JOB /* ranks (2 bits), 8 bytes: step */
};

static dml_ckpt takings[MOST_VARIANTS];
static dml_snapshot input;

/* ---- changes ----------------------------------------------------------------------
 */

static uint64_t number(const uint8_t **data, size_t *size, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)fuzz_take(data, size) << 8 * i;
    return value;
}

static void patch(struct section *section, uint64_t at, size_t bytes, bool fill,
                  const uint8_t **data, size_t *size)
{
    struct patch *new = &input.patches[input.npatches++];
    *new = (struct patch){.section = section, .at = at, .bytes = bytes, .fill = fill};
    for (size_t i = 0; i < bytes; i++)
        new->data[i] = fuzz_take(data, size);
}

/* A place for "bytes" of a section, in units of so many. */
static uint64_t place(const struct section *section, size_t bytes, uint64_t which)
{
    return section->bytes < bytes ? 0 : which % (section->bytes / bytes) * bytes;
}

static void change(const uint8_t **data, size_t *size)
{
    uint8_t first = fuzz_take(data, size), kind;
    struct section *section = &input.sections[(first & 31) % input.nsections];
    size_t bytes;
    input.nchanges++;
    switch ((enum change)(first >> 5)) {
    case SET_BYTES:
        bytes = fuzz_take(data, size) % 8u + 1;
        patch(section, place(section, 1, number(data, size, 3)), bytes, false, data,
              size);
        break;
    case SET_DOUBLE:
        patch(section, place(section, 8, number(data, size, 2)), 8, false, data, size);
        break;
    case SET_FLOAT:
        patch(section, place(section, 4, number(data, size, 2)), 4, false, data, size);
        break;
    case FILL:
        patch(section, 0, 8, true, data, size);
        break;
    case SET_COUNT:
        section->count = number(data, size, 3) % MOST_COUNT;
        break;
    case SET_KIND:
        kind = fuzz_take(data, size);
        section->kind = (dml_section_kind)((kind & 3) % DML_SECTION_VECTOR + 1);
        section->dtype = (dml_dtype)((kind >> 2) % (DML_U64 + 1));
        break;
    case REMOVE:
        section->name[0] = '\0';
        break;
    case SET_JOB:
        input.ranks = fuzz_take(data, size) % MOST_RANKS + 1;
        input.step = number(data, size, 8);
        break;
    }
}

/* ---- jobs -------------------------------------------------------------------------
 */

static struct job job = {.app = "fuzz", .nranks = 1};

/* Of AddressSanitizer, where the program has it. */
__attribute__((weak)) void __lsan_disable(void);
__attribute__((weak)) void __lsan_enable(void);
__attribute__((weak)) void __lsan_do_leak_check(void);

/* What MPI itself leaves behind is not looked at. */
static void end_mpi(void)
{
    for (size_t v = 0; v < MOST_VARIANTS; v++)
        for (size_t i = 0; i < takings[v].nsections; i++)
            free(takings[v].sections[i].data);
    dml_comm_destroy(job.comm);
    if (__lsan_do_leak_check)
        __lsan_do_leak_check();
    MPI_Finalize();
}

/* Errors of jobs are printed by rank 0, which this one is. */
static void begin_mpi(void)
{
    int provided;
    omp_set_num_threads(1);
    job.ctx = fuzz_ctx();
    if (__lsan_disable)
        __lsan_disable();
    fuzz_require(MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &provided) ==
                 MPI_SUCCESS);
    if (__lsan_enable)
        __lsan_enable();
    fuzz_require(dml_comm_from_mpi(job.ctx, MPI_COMM_WORLD, &job.comm) == DML_OK);
    atexit(end_mpi);
    stderr = fopen("/dev/null", "w");
    fuzz_require(stderr != NULL);
}

static dml_status run(const struct going_on *app, const char *words, const char *more)
{
    char text[2048], error[CLI_TEXT], *argv[MOST_WORDS], *rest;
    int argc = 0;
    snprintf(text, sizeof text, "train %s %s --threads 1 --quiet", words, more);
    for (char *word = strtok_r(text, " ", &rest); word != NULL && argc < MOST_WORDS;
         word = strtok_r(NULL, " ", &rest))
        argv[argc++] = word;
    fuzz_require(cli_parse(app->command, argc, argv, 1, app->options, error) == CLI_OK);
    return app->train(&job);
}

void going_on_run(const struct going_on *app, const uint8_t *data, size_t size)
{
    if (job.comm == NULL)
        begin_mpi();
    size_t v = fuzz_take(&data, &size) % app->nvariants;
    dml_ckpt *ckpt = &takings[v];
    if (!ckpt->taken) {
        held_taking = ckpt;
        held_input = NULL;
        fuzz_require(run(app, app->variants[v], "--checkpoint fuzz") == DML_OK);
        fuzz_require(ckpt->taken);
    }
    input = (dml_snapshot){
        .nsections = ckpt->nsections, .step = ckpt->step, .ranks = job.nranks};
    memcpy(input.sections, ckpt->sections, sizeof input.sections);
    while (size > 0 && input.nchanges < HELD_CHANGES)
        change(&data, &size);
    held_taking = NULL;
    held_input = &input;
    dml_status status = run(app, app->variants[v], "--resume fuzz");
    fuzz_require(status == DML_OK || input.nchanges > 0);
    fuzz_require(status == DML_OK || status == DML_EFORMAT || status == DML_EINVAL ||
                 status == DML_EMISMATCH || status == DML_ENUMERIC);
}
