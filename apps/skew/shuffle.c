/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From a file to records on the ranks of a plan; see shuffle.h.
 */
#include "shuffle.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* ---- stores --------------------------------------------------------------------- */

bool store_add(struct store *store, const void *text, size_t bytes)
{
    void *all = store->text, *begins = store->begins;
    bool good = grow(&all, &store->text_room, store->bytes + bytes + 1, 1);
    store->text = all;
    good = good && grow(&begins, &store->room, store->count + 1, sizeof(size_t));
    store->begins = begins;
    if (!good)
        return false;
    store->begins[store->count++] = store->bytes;
    memcpy(store->text + store->bytes, text, bytes);
    store->text[store->bytes + bytes] = '\0';
    store->bytes += bytes + 1;
    return true;
}

void store_free(struct store *store)
{
    free(store->text);
    free(store->begins);
    *store = (struct store){0};
}

/* ---- times ---------------------------------------------------------------------- */

static double clock_s(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void phase_begin(struct shuffle *s)
{
    s->phase_wall_s = clock_s(CLOCK_MONOTONIC);
    s->phase_cpu_s = clock_s(CLOCK_PROCESS_CPUTIME_ID);
}

void phase_end(struct shuffle *s, enum phase phase)
{
    s->wall_s[phase] += clock_s(CLOCK_MONOTONIC) - s->phase_wall_s;
    s->cpu_s[phase] += clock_s(CLOCK_PROCESS_CPUTIME_ID) - s->phase_cpu_s;
}

/* ---- reading -------------------------------------------------------------------- */

/* Lines of a file that cannot be cut, such as gzip: a rank keeps every P-th block. */
enum { SHARE_LINES = 256 };

/* A pipe, which would be waited for, is left to the reader to refuse. */
static bool is_gzip(const char *path)
{
    unsigned char magic[2] = {0, 0};
    struct stat info;
    bool regular = stat(path, &info) == 0 && S_ISREG(info.st_mode);
    FILE *file = regular ? fopen(path, "rb") : NULL;
    if (file) {
        if (fread(magic, 1, 2, file) != 2)
            magic[0] = 0;
        fclose(file);
    }
    return magic[0] == 0x1f && magic[1] == 0x8b;
}

/* Has the line a key, as wanted? Asked while the reader knows the line's number. */
static dml_status check_key(struct shuffle *s, dml_lines *lines, dml_text line)
{
    dml_text key;
    uint64_t number;
    if (!find_cell(line, s->column, &key))
        return job_fail(
            s->job, DML_EFORMAT,
            "%.300s, line %llu: no column %ld (cells are separated by tabs)",
            s->options->data, (unsigned long long)dml_lines_number(lines), s->column);
    if (s->by_number && !number_key(key, &number))
        return job_fail(s->job, DML_EFORMAT,
                        "%.300s, line %llu: the key \"%.*s\" is not a number; use --as "
                        "text",
                        s->options->data, (unsigned long long)dml_lines_number(lines),
                        (int)(key.bytes < 40 ? key.bytes : 40), key.data);
    return DML_OK;
}

static dml_status read_share(struct shuffle *s)
{
    struct job *job = s->job;
    dml_text_opts opts;
    dml_text_opts_init(&opts);
    bool whole = is_gzip(s->options->data);
    uint64_t ranks = (uint64_t)job->nranks, row = 0;
    opts.rank = whole ? 0 : job->rank;
    opts.nranks = whole ? 1 : job->nranks;
    opts.max_line_bytes = (size_t)s->options->max_bytes;
    dml_lines *lines = NULL;
    SKEW_TRY(job_note(job, dml_lines_open(job->ctx, s->options->data, &opts, &lines)));
    dml_line line;
    dml_status status = DML_OK, next = DML_OK;
    while (status == DML_OK && (next = dml_lines_next(lines, &line)) == DML_OK) {
        status = check_key(s, lines, line.text);
        bool mine = !whole || row++ / SHARE_LINES % ranks == (uint64_t)job->rank;
        if (status == DML_OK && mine &&
            !store_add(&s->in, line.text.data, line.text.bytes))
            status =
                job_fail(job, DML_ENOMEM, "no memory after %zu lines", s->in.count);
    }
    if (status == DML_OK && next != DML_EEND)
        status = job_note(job, next);
    dml_lines_close(lines);
    return status;
}

dml_status shuffle_item(struct shuffle *s, dml_text item, dml_text key)
{
    void *items = s->items, *texts = s->texts, *numbers = s->numbers;
    size_t n = s->nitems + 1;
    bool good = grow(&items, &s->items_room, n, sizeof *s->items);
    if (s->by_number)
        good = grow(&numbers, &s->numbers_room, n, sizeof *s->numbers) && good;
    else
        good = grow(&texts, &s->texts_room, n, sizeof *s->texts) && good;
    s->items = items;
    s->numbers = numbers;
    s->texts = texts;
    if (!good)
        return job_fail(s->job, DML_ENOMEM, "no memory after %zu records", s->nitems);
    s->items[n - 1] = item;
    if (s->by_number)
        number_key(key, &s->numbers[n - 1]); /* it is one: check_key() */
    else
        s->texts[n - 1] = (dml_bytes){.data = key.data, .count = key.bytes};
    s->nitems = n;
    s->checksum += dml_hash_bytes(item.data, item.bytes, 0);
    return DML_OK;
}

static dml_status find_items(struct shuffle *s, find_items_fn *find)
{
    for (size_t i = 0; i < s->in.count; i++) {
        size_t begin = s->in.begins[i];
        size_t end = i + 1 < s->in.count ? s->in.begins[i + 1] : s->in.bytes;
        dml_text line = {.data = s->in.text + begin, .bytes = end - begin - 1};
        SKEW_TRY(find(s, line));
    }
    return DML_OK;
}

/* ---- sampling, plan, exchange --------------------------------------------------- */

static dml_keys keys_from(const struct shuffle *s, size_t first, size_t count)
{
    return (dml_keys){.kind = s->by_number ? DML_KEY_U64 : DML_KEY_BYTES,
                      .count = count,
                      .u64 = s->numbers ? s->numbers + first : NULL,
                      .bytes = s->texts ? s->texts + first : NULL};
}

static dml_status sample(struct shuffle *s, dml_histogram **histogram)
{
    dml_keys keys = keys_from(s, 0, s->nitems);
    dml_sampler_opts opts = sampling_opts(s->options, keys.kind);
    dml_sampler *sampler = NULL;
    opts.stream = (uint64_t)s->job->rank;
    if (s->ordered)
        opts.buckets = 1; /* plans by range have no use for totals by hash */
    dml_status status = dml_sampler_create(s->job->ctx, &opts, &sampler);
    if (status == DML_OK)
        status = dml_sampler_add(sampler, &keys, NULL);
    if (status == DML_OK)
        status = dml_sampler_finish(sampler, histogram);
    dml_sampler_destroy(sampler);
    return job_note(s->job, status);
}

static dml_status make_plan(struct shuffle *s, dml_histogram *own)
{
    dml_planner planner = DML_PLAN_HASH;
    dml_status status = dml_planner_parse(s->job->ctx, s->options->planner, &planner);
    if (status == DML_OK)
        status = dml_partition_plan(planner, own, (size_t)s->options->entries, NULL,
                                    s->job->comm, &s->plan);
    if (status == DML_OK)
        dml_plan_get_info(s->plan, &s->info);
    return job_note(s->job, status);
}

static dml_status keep(void *user, int source, const void *record, size_t bytes)
{
    struct shuffle *s = user;
    (void)source;
    return store_add(&s->out, record, bytes) ? DML_OK : DML_ENOMEM;
}

/* Sends all items; the exchange itself tells the other ranks of a failure. */
static dml_status push_items(struct shuffle *s, dml_exchange *x)
{
    enum { BATCH = 1024 };
    uint32_t parts[BATCH];
    uint64_t first = (uint64_t)s->job->rank << 40; /* numbers of the records */
    for (size_t at = 0; at < s->nitems; at += BATCH) {
        size_t n = s->nitems - at < BATCH ? s->nitems - at : BATCH;
        dml_keys keys = keys_from(s, at, n);
        SKEW_TRY(dml_plan_route(s->plan, &keys, NULL, first + at, parts));
        for (size_t i = 0; i < n; i++)
            SKEW_TRY(dml_exchange_push(x, (int)parts[i], s->items[at + i].data,
                                       s->items[at + i].bytes));
    }
    return DML_OK;
}

static dml_status exchange(struct shuffle *s)
{
    dml_exchange_opts opts;
    dml_exchange_opts_init(&opts);
    opts.budget_bytes = (size_t)s->options->budget_mib << 20;
    dml_exchange *x = NULL;
    dml_status status = dml_exchange_create(&opts, keep, s, s->job->comm, &x);
    if (status == DML_EINVAL || status == DML_ENOMEM)
        return job_fail(
            s->job, status, "--budget %lld: so many MiB are too %s of a rank; give %s",
            (long long)s->options->budget_mib,
            status == DML_EINVAL ? "few for the messages" : "much for the memory",
            status == DML_EINVAL ? "more" : "less");
    SKEW_TRY(job_note(s->job, status));
    push_items(s, x);
    status = job_note(s->job, dml_exchange_finish(x));
    dml_exchange_get_stats(x, &s->exchange);
    dml_exchange_destroy(x);
    return status;
}

dml_status sum_u64(struct shuffle *s, uint64_t *values, size_t count)
{
    return job_note(s->job, dml_allreduce(DML_IN_PLACE, values, count, DML_U64, DML_SUM,
                                          s->job->comm));
}

/* Reading and finding items may fail on one rank alone. */
static dml_status begin(struct shuffle *s, find_items_fn *find)
{
    dml_status status = DML_OK;
    if (!s->options->data)
        status = job_fail(s->job, DML_EINVAL, "which file? give --data FILE");
    if (status == DML_OK)
        status = outputs_open(s);
    SKEW_TRY(job_agree(s->job, status));
    SKEW_TRY(job_agree(s->job, job_note(s->job, dml_barrier(s->job->comm))));
    phase_begin(s);
    status = read_share(s);
    if (status == DML_OK)
        status = find_items(s, find);
    phase_end(s, READ);
    return job_agree(s->job, status);
}

dml_status shuffle_run(struct shuffle *s, find_items_fn *find)
{
    dml_histogram *own = NULL;
    SKEW_TRY(begin(s, find));
    phase_begin(s);
    dml_status status = sample(s, &own);
    phase_end(s, SAMPLE);
    status = job_agree(s->job, status);
    if (status == DML_OK) {
        phase_begin(s);
        status = make_plan(s, own);
        phase_end(s, PLAN);
        status = job_agree(s->job, status);
    }
    dml_histogram_destroy(own);
    SKEW_TRY(status);
    phase_begin(s);
    status = exchange(s);
    phase_end(s, EXCHANGE);
    SKEW_TRY(job_agree(s->job, status));
    uint64_t sums[2] = {s->checksum, s->nitems};
    status = sum_u64(s, sums, 2);
    s->checksum = sums[0];
    s->total = sums[1];
    store_free(&s->in);
    return job_agree(s->job, status);
}

void shuffle_free(struct shuffle *s)
{
    store_free(&s->in);
    store_free(&s->out);
    free(s->items);
    free(s->texts);
    free(s->numbers);
    dml_plan_destroy(s->plan);
    outfile_cancel(&s->report);
    outfile_cancel(&s->part);
}
