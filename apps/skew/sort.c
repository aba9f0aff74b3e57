/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-skew sort: lines to the ranks of a plan by range, sorted there. Then rank after
 * rank is the sorted file, which is verified: order within ranks and between them,
 * number and checksum of the lines.
 */
#include "shuffle.h"

#include <stdlib.h>
#include <string.h>

/* A line to be sorted: by number or text of its key, then by all of it. */
struct item {
    uint64_t number;
    dml_text key, line;
};

static dml_status find_line(struct shuffle *s, dml_text line)
{
    dml_text key;
    find_cell(line, s->column, &key);
    return shuffle_item(s, line, key);
}

static int compare_texts(dml_text a, dml_text b)
{
    size_t n = a.bytes < b.bytes ? a.bytes : b.bytes;
    int order = n > 0 ? memcmp(a.data, b.data, n) : 0;
    return order != 0 ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

static int compare_keys(const struct item *a, const struct item *b)
{
    if (a->number != b->number)
        return a->number < b->number ? -1 : 1;
    return compare_texts(a->key, b->key);
}

static int compare(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    int order = compare_keys(x, y);
    return order != 0 ? order : compare_texts(x->line, y->line);
}

/* Items of what came; the first bytes of a text as its number spare most comparisons.
 */
static void list_items(const struct shuffle *s, struct item *items)
{
    for (size_t i = 0; i < s->out.count; i++) {
        size_t begin = s->out.begins[i];
        size_t end = i + 1 < s->out.count ? s->out.begins[i + 1] : s->out.bytes;
        struct item *item = &items[i];
        item->line = (dml_text){s->out.text + begin, end - begin - 1};
        find_cell(item->line, s->column, &item->key);
        item->number = 0;
        if (s->by_number) {
            number_key(item->key, &item->number);
            item->key.bytes = 0;
            continue;
        }
        for (size_t k = 0; k < 8; k++)
            item->number = item->number << 8 |
                           (k < item->key.bytes ? (unsigned char)item->key.data[k] : 0);
    }
}

/* ---- verification --------------------------------------------------------------- */

enum { EDGE_BYTES = 256 };

/* First and last key of a rank, the beginning of long ones. */
struct edge {
    uint64_t records, number, bytes;
    char key[EDGE_BYTES];
};

static struct edge edge_of(const struct item *items, size_t count, size_t i)
{
    struct edge e = {.records = count};
    if (count == 0)
        return e;
    e.number = items[i].number;
    e.bytes = items[i].key.bytes < EDGE_BYTES ? items[i].key.bytes : EDGE_BYTES;
    memcpy(e.key, items[i].key.data, e.bytes);
    return e;
}

static int compare_edges(const struct edge *a, const struct edge *b)
{
    struct item x = {.number = a->number, .key = {a->key, a->bytes}};
    struct item y = {.number = b->number, .key = {b->key, b->bytes}};
    return compare_keys(&x, &y);
}

/* Is every rank's first key not before the last one of the ranks before it? */
static dml_status check_edges(struct shuffle *s, const struct item *items)
{
    struct job *job = s->job;
    size_t n = s->out.count;
    struct edge own[2] = {edge_of(items, n, 0), edge_of(items, n, n - 1)};
    struct edge *all = malloc((size_t)job->nranks * sizeof own);
    dml_status status = all ? DML_OK : job_fail(job, DML_ENOMEM, "no memory to verify");
    status = job_agree(job, status);
    if (status == DML_OK)
        status = job_agree(
            job, job_note(job, dml_allgather(own, all, sizeof own, DML_U8, job->comm)));
    const struct edge *last = NULL;
    for (int r = 0; status == DML_OK && r < job->nranks; r++) {
        if (all[2 * r].records == 0)
            continue;
        if (last && compare_edges(last, &all[2 * r]) > 0)
            status = job_agree(job, job_fail(job, DML_EMISMATCH,
                                             "rank %d begins before the last key of "
                                             "those before it: not sorted",
                                             r));
        last = &all[2 * r + 1];
    }
    free(all);
    return status;
}

static dml_status verify(struct shuffle *s, const struct item *items)
{
    uint64_t sums[3] = {0, s->out.count, 0};
    for (size_t i = 0; i < s->out.count; i++) {
        sums[0] += dml_hash_bytes(items[i].line.data, items[i].line.bytes, 0);
        sums[2] += i > 0 && compare(&items[i - 1], &items[i]) > 0;
    }
    SKEW_TRY(job_agree(s->job, sum_u64(s, sums, 3)));
    dml_status status = DML_OK;
    if (sums[0] != s->checksum || sums[1] != s->total || sums[2] != 0)
        status = job_fail(
            s->job, DML_EMISMATCH,
            "%llu lines came of %llu, %llu out of order, checksum %s: the "
            "result is wrong",
            (unsigned long long)sums[1], (unsigned long long)s->total,
            (unsigned long long)sums[2], sums[0] == s->checksum ? "right" : "wrong");
    SKEW_TRY(job_agree(s->job, status));
    return check_edges(s, items);
}

/* ---- the command ---------------------------------------------------------------- */

static dml_status write_part(struct shuffle *s, const struct item *items)
{
    FILE *file = s->part.file;
    for (size_t i = 0; file && !ferror(file) && i < s->out.count; i++) {
        fwrite(items[i].line.data, 1, items[i].line.bytes, file);
        putc('\n', file);
    }
    return part_sync(s);
}

static dml_status sort_part(struct shuffle *s, struct item **items)
{
    phase_begin(s);
    *items = malloc((s->out.count + 1) * sizeof **items);
    if (!*items)
        return job_fail(s->job, DML_ENOMEM, "no memory to sort %zu lines",
                        s->out.count);
    list_items(s, *items);
    qsort(*items, s->out.count, sizeof **items, compare);
    phase_end(s, WORK);
    return write_part(s, *items);
}

static dml_status check_options(const struct skew_run *run, long *column)
{
    struct job *job = run->job;
    dml_planner planner = DML_PLAN_HASH;
    if (!parse_cell(run->options->key, "line", column))
        return job_fail(
            job, DML_EINVAL,
            "--key %.40s is neither the number of a column (1 is the first, "
            "-1 the last) nor line",
            run->options->key);
    SKEW_TRY(
        job_note(job, dml_planner_parse(job->ctx, run->options->planner, &planner)));
    if (planner != DML_PLAN_RANGE && planner != DML_PLAN_LIBRA &&
        planner != DML_PLAN_KSRP)
        return job_fail(job, DML_EINVAL,
                        "planner %s does not keep the order of keys; sort with range, "
                        "libra or ksrp",
                        run->options->planner);
    return DML_OK;
}

dml_status skew_sort(const struct skew_run *run)
{
    struct shuffle s = {
        .job = run->job,
        .options = run->options,
        .work = "sort",
        .by_number = strcmp(run->options->as, "number") == 0,
        .ordered = true,
    };
    struct item *items = NULL;
    SKEW_TRY(job_agree(run->job, check_options(run, &s.column)));
    dml_status status = shuffle_run(&s, find_line);
    if (status == DML_OK)
        status = job_agree(run->job, sort_part(&s, &items));
    if (status == DML_OK)
        status = verify(&s, items);
    if (status == DML_OK)
        status = part_commit(&s);
    if (status == DML_OK)
        status = shuffle_report(&s);
    free(items);
    shuffle_free(&s);
    return status;
}
