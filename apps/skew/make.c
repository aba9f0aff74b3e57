/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-skew make: lines "KEY<tab>DIGITS" whose keys have Zipf's frequencies. The k-th
 * most frequent key is drawn with a probability in proportion to 1/k^S; its name is a
 * permutation of k, so that frequent keys lie anywhere in the order of names.
 */
#include "../common/outfile.h"
#include "commands.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STREAM_KEYS, STREAM_NAMES, STREAM_RUNS, STREAM_DIGITS };

/* Of which 1000 lines in a row hold few keys, with --order clustered. */
enum { RUN_LINES = 1000, RUN_KEYS = 8 };

struct zipf {
    double *cumulative; /* [keys] */
    uint32_t *name;     /* [keys] of each rank of frequency */
    uint32_t *drawn;    /* [records] names, in the order of the file */
    size_t keys, records;
};

static void zipf_free(struct zipf *z)
{
    free(z->cumulative);
    free(z->name);
    free(z->drawn);
}

static uint32_t draw(const struct zipf *z, uint64_t seed, uint64_t stream, uint64_t i)
{
    double u = dml_rng_uniform(seed, stream, i) * z->cumulative[z->keys - 1];
    size_t low = 0, high = z->keys - 1;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (z->cumulative[middle] > u)
            high = middle;
        else
            low = middle + 1;
    }
    return z->name[low];
}

static int descending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x < y) - (x > y);
}

static dml_status draw_all(struct job *job, const struct skew_options *o,
                           struct zipf *z)
{
    z->keys = (size_t)o->keys;
    z->records = (size_t)o->records;
    z->cumulative = malloc(z->keys * sizeof *z->cumulative);
    z->name = malloc(z->keys * sizeof *z->name);
    z->drawn = malloc((z->records + 1) * sizeof *z->drawn);
    if (!z->cumulative || !z->name || !z->drawn)
        return job_fail(job, DML_ENOMEM, "no memory for %zu records of %zu keys",
                        z->records, z->keys);
    uint64_t seed = (uint64_t)o->seed;
    dml_rng_permutation(seed, STREAM_NAMES, (uint32_t)z->keys, z->name);
    double sum = 0;
    for (size_t k = 0; k < z->keys; k++)
        z->cumulative[k] = sum += pow((double)k + 1, -o->zipf);
    bool clustered = strcmp(o->order, "clustered") == 0;
    for (uint64_t i = 0; i < z->records; i++) {
        /* One of the run's keys, which are themselves drawn by their frequency. */
        uint64_t run =
            i / RUN_LINES * RUN_KEYS + dml_rng_u64(seed, STREAM_RUNS, i) % RUN_KEYS;
        z->drawn[i] = draw(z, seed, STREAM_KEYS, clustered ? run : i);
    }
    if (strcmp(o->order, "sorted") == 0)
        qsort(z->drawn, z->records, sizeof *z->drawn, descending);
    return DML_OK;
}

static void write_all(FILE *file, const struct skew_options *o, const struct zipf *z)
{
    static const char digits[] = "0123456789";
    for (size_t i = 0; i < z->records && !ferror(file); i++) {
        fprintf(file, "k%07" PRIu32 "\t", z->drawn[i]);
        for (int64_t k = 0; k < o->payload; k++)
            putc_unlocked(
                digits[dml_rng_u64((uint64_t)o->seed, STREAM_DIGITS + i, (uint64_t)k) %
                       10],
                file);
        putc_unlocked('\n', file);
    }
}

/* On one rank. */
static dml_status make(struct job *job, const struct skew_options *o)
{
    struct outfile out = {0};
    struct zipf z = {0};
    SKEW_TRY(outfile_stream(&out, o->out, job->error, sizeof job->error));
    dml_status status = draw_all(job, o, &z);
    if (status == DML_OK) {
        write_all(out.file, o, &z);
        status = outfile_commit(&out, job->error, sizeof job->error);
    }
    outfile_cancel(&out);
    zipf_free(&z);
    return status;
}

dml_status skew_make(const struct skew_run *run)
{
    dml_status status = DML_OK;
    if (!run->options->out)
        status = job_fail(run->job, DML_EINVAL, "which file? give --out FILE");
    if (status == DML_OK && run->job->rank == 0)
        status = make(run->job, run->options);
    return job_agree(run->job, status);
}
