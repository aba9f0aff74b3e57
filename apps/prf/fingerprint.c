/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A number that stands for the training data: for the bins, label and weight of every
 * row, and for names, cuts and scales, which are those of the model file. It is a sum
 * over rows, modulo 2^64, so that it is the same wherever the rows are.
 */
#include "fingerprint.h"

#include "model.h"

#include <zlib.h>

/* The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014). */
static uint64_t mix(uint64_t number)
{
    number += 0x9e3779b97f4a7c15u;
    number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9u;
    number = (number ^ number >> 27) * 0x94d049bb133111ebu;
    return number ^ number >> 31;
}

static uint64_t print_of_row(const struct table *table, size_t r)
{
    unsigned long crc =
        crc32_z(0, table->by_row + r * table->nfeatures, table->nfeatures);
    if (table->label)
        crc = crc32_z(crc, (const void *)&table->label[r], sizeof *table->label);
    if (table->target)
        crc = crc32_z(crc, (const void *)&table->target[r], sizeof *table->target);
    if (table->weight)
        crc = crc32_z(crc, (const void *)&table->weight[r], sizeof *table->weight);
    return mix(mix(table->first_row + r) ^ (uint64_t)crc);
}

dml_status fingerprint_of(struct job *job, const struct dataset *set, uint64_t *print)
{
    const struct table *train = &set->train;
    size_t first = 0, last = train->nrows;
    if (!set->sharded) { /* every rank has all rows, and looks at its part */
        first = train->nrows * (size_t)job->rank / (size_t)job->nranks;
        last = train->nrows * ((size_t)job->rank + 1) / (size_t)job->nranks;
    }
    uint64_t sum = job->rank == 0 ? mix(model_schema_crc(&set->schema)) : 0;
#pragma omp parallel for reduction(+ : sum)
    for (size_t r = first; r < last; r++)
        sum += print_of_row(train, r);
    *print = sum;
    return job_note(job,
                    dml_allreduce(DML_IN_PLACE, print, 1, DML_U64, DML_SUM, job->comm));
}
