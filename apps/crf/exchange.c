/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A batch of few sentences meets few of the weights of a large model. Ranks tell each
 * other how many numbers of their gradients are not 0: K together. Where an entry of
 * place and number, sent to all, is less than the vector of F numbers, reduced and
 * sent to all, entries are exchanged:
 *
 *     12 K (P - 1) / P  <  16 F (P - 1) / P bytes that a rank sends, by rings
 *
 * All ranks decide by the same K, and add in the order of the ranks, so that they get
 * the same bits. (Those of the dense sum are others: it has an order of its own.)
 */
#include "exchange.h"

#include "grow.h"

#include <math.h>
#include <string.h>

enum { ENTRY = 3 }; /* words: place, then the two halves of the number */

dml_status exchange_create(struct exchange *exchange, struct job *job,
                           const struct crf_options *options, size_t count)
{
    static const char *const names[] = {[EXCHANGE_AUTO] = "auto",
                                        [EXCHANGE_DENSE] = "dense",
                                        [EXCHANGE_SPARSE] = "sparse"};
    size_t nranks = (size_t)job->nranks;
    *exchange = (struct exchange){.job = job, .count = count};
    for (int i = EXCHANGE_AUTO; i <= EXCHANGE_SPARSE; i++)
        if (strcmp(options->exchange, names[i]) == 0)
            exchange->kind = (enum exchange_kind)i;
    exchange->told = calloc(2 * nranks, sizeof *exchange->told);
    exchange->blocks = calloc(nranks, sizeof *exchange->blocks);
    return exchange->told && exchange->blocks
               ? DML_OK
               : job_fail(job, DML_ENOMEM, "out of memory");
}

void exchange_destroy(struct exchange *exchange)
{
    free(exchange->told);
    free(exchange->blocks);
    free(exchange->entries);
    *exchange = (struct exchange){0};
}

static size_t count_entries(const struct exchange *exchange, const double *values)
{
    size_t n = 0;
    for (size_t i = 0; i < exchange->count; i++)
        n += values[i] != 0;
    return n;
}

static void put_entries(const struct exchange *exchange, const double *values,
                        uint32_t *to)
{
    for (size_t i = 0; i < exchange->count; i++)
        if (values[i] != 0) {
            to[0] = (uint32_t)i;
            memcpy(to + 1, &values[i], sizeof values[i]);
            to += ENTRY;
        }
}

/* "total" entries of all ranks; the room grows on all ranks at once. */
static dml_status sum_entries(struct exchange *exchange, double *values, size_t total)
{
    struct job *job = exchange->job;
    size_t words = total * ENTRY, at = 0;
    if (words > exchange->room) {
        bool good = GROW(exchange->entries, exchange->room, words);
        CRF_TRY(
            job_agree(job, good ? DML_OK : job_fail(job, DML_ENOMEM, "out of memory")));
    }
    for (int r = 0; r < job->nranks; r++) {
        exchange->blocks[r] = (size_t)exchange->told[2 * r] * ENTRY;
        at += r < job->rank ? exchange->blocks[r] : 0;
    }
    put_entries(exchange, values, exchange->entries + at);
    dml_status status = dml_allgatherv(DML_IN_PLACE, exchange->entries,
                                       exchange->blocks, NULL, DML_I32, job->comm);
    if (status != DML_OK)
        return job_agree(job, job_note(job, status));
    memset(values, 0, exchange->count * sizeof *values);
    for (const uint32_t *entry = exchange->entries; words > 0;
         words -= ENTRY, entry += ENTRY) {
        double value;
        memcpy(&value, entry + 1, sizeof value);
        values[entry[0]] += value;
    }
    exchange->sparse++;
    return DML_OK;
}

dml_status exchange_sum(struct exchange *exchange, double *values, double *loss)
{
    struct job *job = exchange->job;
    double *mine = exchange->told + 2 * job->rank, entries = 0, sum = 0;
    bool count = exchange->kind != EXCHANGE_DENSE && job->nranks > 1;
    mine[0] = count ? (double)count_entries(exchange, values) : 0;
    mine[1] = *loss;
    dml_status status =
        dml_allgather(DML_IN_PLACE, exchange->told, 2, DML_F64, job->comm);
    if (status != DML_OK)
        return job_agree(job, job_note(job, status));
    for (int r = 0; r < job->nranks; r++) {
        entries += exchange->told[2 * r];
        sum += exchange->told[2 * r + 1];
    }
    *loss = sum;
    if (isnan(sum) || job->nranks == 1)
        return DML_OK;
    if (exchange->kind == EXCHANGE_SPARSE ||
        (exchange->kind == EXCHANGE_AUTO &&
         12 * entries < 16 * (double)exchange->count))
        return sum_entries(exchange, values, (size_t)entries);
    exchange->dense++;
    status = dml_allreduce(DML_IN_PLACE, values, exchange->count, DML_F64, DML_SUM,
                           job->comm);
    return status == DML_OK ? DML_OK : job_agree(job, job_note(job, status));
}
