/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Snapshots in memory, changed by an input; see going_on.h.
 */
#include "going_on.h"

#include "dml/ckpt.h"
#include "dml/mpi.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_SECTIONS = 64,
    MOST_CHANGES = 32,
    MOST_VARIANTS = 8,
    MOST_WORDS = 64,
    MOST_COUNT = 1 << 20, /* elements of a section whose length is changed */
    AT_STEP = 2,          /* a snapshot is due */
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

struct section {
    char name[DML_CKPT_NAME_MAX];
    dml_section_kind kind;
    dml_dtype dtype;
    uint64_t count; /* elements */
    size_t bytes;   /* of data; an element more, whose place is kept, is 0 */
    uint8_t *data;
};

struct patch {
    const struct section *section;
    uint64_t at; /* FILL: 0 and as much as there is */
    size_t bytes;
    bool fill;
    uint8_t data[8];
};

/* A snapshot as a job has taken it. */
struct dml_ckpt {
    struct section sections[MOST_SECTIONS];
    size_t nsections;
    uint64_t step;
    bool taken;
};

/* And as an input has changed it. */
struct dml_snapshot {
    struct section sections[MOST_SECTIONS]; /* data are the snapshot's own */
    size_t nsections;
    uint64_t step;
    int ranks;
    struct patch patches[MOST_CHANGES];
    size_t npatches, nchanges;
};

static dml_ckpt takings[MOST_VARIANTS], *taking;
static dml_snapshot input;

/* ---- in the library's place: writing ----------------------------------------------
 */

dml_status dml_ckpt_open(const char *dir, const dml_ckpt_opts *opts, dml_comm *comm,
                         dml_ckpt **ckpt)
{
    (void)dir;
    (void)opts;
    (void)comm;
    *ckpt = taking;
    return DML_OK;
}

void dml_ckpt_close(dml_ckpt *ckpt)
{
    (void)ckpt;
}

dml_status dml_ckpt_begin(dml_ckpt *ckpt, uint64_t step)
{
    fuzz_require(!ckpt->taken);
    ckpt->step = step;
    return DML_OK;
}

static struct section *add(dml_ckpt *ckpt, const char *name, dml_section_kind kind,
                           dml_dtype dtype, uint64_t count)
{
    for (size_t i = 0; i < ckpt->nsections; i++)
        if (strcmp(ckpt->sections[i].name, name) == 0)
            return &ckpt->sections[i];
    fuzz_require(ckpt->nsections < MOST_SECTIONS);
    struct section *section = &ckpt->sections[ckpt->nsections++];
    *section = (struct section){.kind = kind, .dtype = dtype, .count = count};
    snprintf(section->name, sizeof section->name, "%s", name);
    section->bytes = (size_t)count * dml_dtype_bytes(dtype);
    section->data = calloc(section->bytes + 1, 1);
    fuzz_require(section->data != NULL);
    return section;
}

static dml_status put(dml_ckpt *ckpt, const char *name, dml_section_kind kind,
                      const void *data, size_t bytes)
{
    struct section *section = add(ckpt, name, kind, DML_U8, bytes);
    if (bytes > 0)
        memcpy(section->data, data, bytes);
    return DML_OK;
}

dml_status dml_ckpt_add_shared(dml_ckpt *ckpt, const char *name, const void *data,
                               size_t bytes)
{
    return put(ckpt, name, DML_SECTION_SHARED, data, bytes);
}

dml_status dml_ckpt_add_own(dml_ckpt *ckpt, const char *name, const void *data,
                            size_t bytes)
{
    return put(ckpt, name, DML_SECTION_OWN, data, bytes);
}

dml_status dml_ckpt_add_vector(dml_ckpt *ckpt, const char *name, const void *data,
                               dml_dtype dtype, uint64_t first, uint64_t count,
                               uint64_t total)
{
    const size_t each = dml_dtype_bytes(dtype);
    struct section *section = add(ckpt, name, DML_SECTION_VECTOR, dtype, total);
    fuzz_require(section->count == total && first + count <= total);
    if (count > 0)
        memcpy(section->data + first * each, data, count * each);
    return DML_OK;
}

dml_status dml_ckpt_commit(dml_ckpt *ckpt)
{
    ckpt->taken = true;
    return DML_OK;
}

dml_status dml_ckpt_poll(dml_ckpt *ckpt, uint64_t step, int wish, dml_ckpt_news *news)
{
    (void)wish;
    *news = (dml_ckpt_news){.due = !ckpt->taken && step >= AT_STEP, .rank = -1};
    return DML_OK;
}

dml_status dml_ckpt_wait(dml_ckpt *ckpt, dml_ckpt_news *news)
{
    (void)ckpt;
    *news = (dml_ckpt_news){.rank = -1};
    return DML_OK;
}

/* ---- in the library's place: reading ----------------------------------------------
 */

dml_status dml_snapshot_open(const char *path, dml_comm *comm, dml_snapshot **snapshot)
{
    (void)path;
    (void)comm;
    *snapshot = taking != NULL ? NULL : &input;
    return taking != NULL ? DML_EEND : DML_OK;
}

void dml_snapshot_close(dml_snapshot *snapshot)
{
    (void)snapshot;
}

void dml_snapshot_get_info(const dml_snapshot *snapshot, dml_snapshot_info *info)
{
    *info = (dml_snapshot_info){
        .step = snapshot->step, .ranks = snapshot->ranks, .path = "fuzz"};
}

static const struct section *find(const dml_snapshot *snapshot, const char *name,
                                  int rank)
{
    for (size_t i = 0; i < snapshot->nsections; i++) {
        const struct section *section = &snapshot->sections[i];
        if (strcmp(section->name, name) == 0)
            return section->kind != DML_SECTION_OWN ||
                           (rank >= 0 && rank < snapshot->ranks)
                       ? section
                       : NULL;
    }
    return NULL;
}

dml_status dml_snapshot_find(const dml_snapshot *snapshot, const char *name, int rank,
                             dml_section_info *info)
{
    const struct section *section = find(snapshot, name, rank);
    if (section == NULL)
        return DML_EINVAL;
    *info = (dml_section_info){section->kind, section->dtype, section->count};
    return DML_OK;
}

static void apply(const struct patch *patch, uint64_t at, uint8_t *data, size_t bytes)
{
    for (size_t i = 0; patch->fill && i < bytes; i++)
        data[i] = patch->data[(at + i) % sizeof patch->data];
    for (size_t i = 0; !patch->fill && i < patch->bytes; i++)
        if (patch->at + i >= at && patch->at + i - at < bytes)
            data[patch->at + i - at] = patch->data[i];
}

static dml_status get(const dml_snapshot *snapshot, const struct section *section,
                      uint64_t at, void *data, size_t bytes)
{
    size_t there = at < section->bytes ? section->bytes - (size_t)at : 0;
    there = there < bytes ? there : bytes;
    if (there > 0)
        memcpy(data, section->data + at, there);
    if (bytes > there)
        memset((uint8_t *)data + there, 0, bytes - there);
    for (size_t i = 0; i < snapshot->npatches; i++)
        if (snapshot->patches[i].section == section)
            apply(&snapshot->patches[i], at, data, bytes);
    return DML_OK;
}

static dml_status get_bytes(const dml_snapshot *snapshot, const char *name,
                            dml_section_kind kind, int rank, void *data, size_t bytes)
{
    const struct section *section = find(snapshot, name, rank);
    if (section == NULL || section->kind != kind || section->count != bytes)
        return DML_EINVAL;
    return get(snapshot, section, 0, data, bytes);
}

dml_status dml_snapshot_get_shared(const dml_snapshot *snapshot, const char *name,
                                   void *data, size_t bytes)
{
    return get_bytes(snapshot, name, DML_SECTION_SHARED, 0, data, bytes);
}

dml_status dml_snapshot_get_own(const dml_snapshot *snapshot, const char *name,
                                int rank, void *data, size_t bytes)
{
    return get_bytes(snapshot, name, DML_SECTION_OWN, rank, data, bytes);
}

dml_status dml_snapshot_get_vector(const dml_snapshot *snapshot, const char *name,
                                   void *data, dml_dtype dtype, uint64_t first,
                                   uint64_t count, uint64_t total)
{
    const struct section *section = find(snapshot, name, 0);
    if (section == NULL || section->kind != DML_SECTION_VECTOR ||
        section->dtype != dtype || section->count != total || count > total ||
        first > total - count)
        return DML_EINVAL;
    const size_t each = dml_dtype_bytes(dtype);
    return get(snapshot, section, first * each, data, (size_t)count * each);
}

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
    case FILL: patch(section, 0, 8, true, data, size); break;
    case SET_COUNT: section->count = number(data, size, 3) % MOST_COUNT; break;
    case SET_KIND:
        kind = fuzz_take(data, size);
        section->kind = (dml_section_kind)(kind % DML_SECTION_VECTOR + 1);
        section->dtype = (dml_dtype)((kind >> 2) % (DML_U64 + 1));
        break;
    case REMOVE: section->name[0] = '\0'; break;
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
        taking = ckpt;
        fuzz_require(run(app, app->variants[v], "--checkpoint fuzz") == DML_OK);
        fuzz_require(ckpt->taken);
        taking = NULL;
    }
    input = (dml_snapshot){
        .nsections = ckpt->nsections, .step = ckpt->step, .ranks = job.nranks};
    memcpy(input.sections, ckpt->sections, sizeof input.sections);
    while (size > 0 && input.nchanges < MOST_CHANGES)
        change(&data, &size);
    dml_status status = run(app, app->variants[v], "--resume fuzz");
    fuzz_require(status == DML_OK || input.nchanges > 0);
    fuzz_require(status == DML_OK || status == DML_EFORMAT || status == DML_EINVAL ||
                 status == DML_EMISMATCH || status == DML_ENUMERIC);
}
