/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Exchange of records: every record arrives once, whole and where it was sent, whatever
 * its size and the budget. (What is found when that fails: test_exchange_faults.c.)
 *
 * What a rank sends is a function of (seed, rank, index), so that the receiver knows
 * what must come without being told.
 */
#include "dml_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is sent ------------------------------------------------------------------
 */

struct traffic {
    uint64_t seed;
    int nranks;
    size_t most_bytes; /* of a record */
    size_t records;    /* of a rank, at most */
    int only;          /* all go to this rank; -1: to any */
};

static size_t records_of(const struct traffic *w, int rank)
{
    uint64_t h = dml_test_hash(w->seed, 1, (uint64_t)rank);
    return h % 4 == 0 ? 0 : (h >> 8) % (w->records + 1); /* some ranks have nothing */
}

/* Mostly small, some empty, some up to the largest size. */
static size_t bytes_of(const struct traffic *w, int rank, size_t i)
{
    uint64_t h = dml_test_hash(w->seed + 2, (uint64_t)rank, i);
    size_t most = h % 16 == 0 ? w->most_bytes : w->most_bytes < 40 ? w->most_bytes : 40;
    return (size_t)((h >> 8) % (most + 1));
}

static int dest_of(const struct traffic *w, int rank, size_t i)
{
    uint64_t h = dml_test_hash(w->seed + 3, (uint64_t)rank, i);
    return w->only >= 0 ? w->only : (int)(h % (uint64_t)w->nranks);
}

static void fill(const struct traffic *w, int rank, size_t i, unsigned char *record,
                 size_t bytes)
{
    uint64_t h = dml_test_hash(w->seed + 4, (uint64_t)rank, i);
    for (size_t k = 0; k < bytes; k++) {
        h = h * UINT64_C(6364136223846793005) + 1442695040888963407u;
        record[k] = (unsigned char)(h >> 56);
    }
}

/* ---- one at a time -----------------------------------------------------------------
 */

struct receiver {
    struct dml_test *t;
    const struct traffic *w;
    size_t next[DML_TEST_MAX_RANKS]; /* index of the record looked for, of each rank */
    size_t got;
    unsigned char *want;
};

/* The next record that a rank has for this one; SIZE_MAX: none. */
static size_t next_from(const struct receiver *r, int source)
{
    size_t i = r->next[source], n = records_of(r->w, source);
    while (i < n && dest_of(r->w, source, i) != r->t->rank)
        i++;
    return i < n ? i : SIZE_MAX;
}

static dml_status receive(void *user, int source, const void *record, size_t bytes)
{
    struct receiver *r = user;
    r->got++;
    size_t i = next_from(r, source);
    if (i == SIZE_MAX) {
        dml_test_fail(r->t, "rank %d: a record too many", source);
        return DML_OK;
    }
    DML_CHECK(r->t, bytes == bytes_of(r->w, source, i),
              "rank %d, record %zu: %zu bytes, wanted %zu", source, i, bytes,
              bytes_of(r->w, source, i));
    if (bytes == bytes_of(r->w, source, i)) {
        fill(r->w, source, i, r->want, bytes);
        dml_test_bytes(r->t, "record", record, r->want, bytes);
    }
    r->next[source] = i + 1;
    return DML_OK;
}

static dml_status push_all(struct dml_test *t, const struct traffic *w, dml_exchange *x)
{
    unsigned char *record = dml_test_alloc(w->most_bytes + 1);
    dml_status status = DML_OK;
    for (size_t i = 0; i < records_of(w, t->rank) && status == DML_OK; i++) {
        size_t bytes = bytes_of(w, t->rank, i);
        fill(w, t->rank, i, record, bytes);
        status = dml_exchange_push(x, dest_of(w, t->rank, i), record, bytes);
        if (i % 100 == 99 && status == DML_OK)
            status = dml_exchange_poll(x);
    }
    free(record);
    return status;
}

static struct receiver new_receiver(struct dml_test *t, const struct traffic *w)
{
    return (struct receiver){.t = t, .w = w, .want = dml_test_alloc(w->most_bytes + 1)};
}

static void check_complete(struct dml_test *t, const struct receiver *r)
{
    for (int p = 0; p < t->nranks; p++)
        DML_CHECK(t, next_from(r, p) == SIZE_MAX, "record %zu of rank %d did not come",
                  next_from(r, p), p);
}

/* One exchange after the other on the same object. */
static void stream(struct dml_test *t, struct traffic w, size_t budget, int times)
{
    dml_exchange_opts opts;
    dml_exchange_opts_init(&opts);
    opts.budget_bytes = budget;
    struct receiver r = new_receiver(t, &w);
    dml_exchange *x = NULL;
    dml_test_step(t, "records of up to %zu bytes to %d, budget %zu", w.most_bytes,
                  w.only, budget);
    if (!dml_test_status(t, "dml_exchange_create",
                         dml_exchange_create(&opts, receive, &r, t->comm, &x), DML_OK))
        return;
    for (int k = 0; k < times; k++) {
        memset(r.next, 0, sizeof r.next);
        dml_test_status(t, "dml_exchange_push", push_all(t, &w, x), DML_OK);
        dml_test_status(t, "dml_exchange_finish", dml_exchange_finish(x), DML_OK);
        check_complete(t, &r);
        w.seed++;
    }
    dml_exchange_stats stats;
    dml_exchange_get_stats(x, &stats);
    DML_CHECK(t, stats.records_received == r.got, "%llu records counted, %zu came",
              (unsigned long long)stats.records_received, r.got);
    /* A record that comes in pieces is held once more while it grows. */
    size_t large = w.most_bytes > stats.chunk_bytes ? w.most_bytes : 0;
    size_t most = budget + (size_t)t->nranks * (2 * large + stats.chunk_bytes);
    DML_CHECK(t, stats.memory_bytes <= most, "%zu bytes of memory, allowed are %zu",
              stats.memory_bytes, most);
    dml_exchange_destroy(x);
    free(r.want);
}

static void test_sizes(struct dml_test *t)
{
    static const size_t most[] = {0, 1, 40, 130, 3000, 70000, 1000000};
    size_t least = (size_t)t->nranks * 4096;
    for (size_t i = 0; i < DML_TEST_COUNT(most); i++) {
        struct traffic w = {.seed = t->seed + i,
                            .nranks = t->nranks,
                            .most_bytes = most[i],
                            .records = most[i] > 100000 ? 60 : 2000,
                            .only = -1};
        stream(t, w, i % 2 == 0 ? least : (size_t)64 << 20, 2);
    }
}

static void test_all_to_one(struct dml_test *t)
{
    for (int to = 0; to<t->nranks; to += t->nranks> 1 ? t->nranks - 1 : 1) {
        struct traffic w = {.seed = t->seed + 70,
                            .nranks = t->nranks,
                            .most_bytes = 5000,
                            .records = 3000,
                            .only = to};
        stream(t, w, (size_t)t->nranks * 4096, 1);
    }
}

static void test_nothing(struct dml_test *t)
{
    struct traffic w = {.seed = t->seed, .nranks = t->nranks, .only = -1};
    stream(t, w, (size_t)1 << 20, 3);
}

/* ---- records of one size -----------------------------------------------------------
 */

struct sum {
    struct dml_test *t;
    uint64_t words, sum;
};

static dml_status add_words(void *user, int source, const void *record, size_t bytes)
{
    struct sum *s = user;
    (void)source;
    DML_CHECK(s->t, bytes == 24 && (uintptr_t)record % 8 == 0,
              "%zu bytes at %p; wanted 24, aligned to 8", bytes, record);
    const uint64_t *words = record;
    s->words++;
    s->sum += words[0] + 2 * words[1] + 3 * words[2];
    return DML_OK;
}

static void test_fixed_size(struct dml_test *t)
{
    enum { N = 20000 };
    dml_exchange_opts opts;
    dml_exchange_opts_init(&opts);
    opts.record_bytes = 24;
    struct sum s = {.t = t};
    uint64_t total[2] = {0, 0}, all[2], got[2];
    dml_exchange *x = NULL;
    dml_test_status(t, "dml_exchange_create",
                    dml_exchange_create(&opts, add_words, &s, t->comm, &x), DML_OK);
    dml_test_step(t, "records of 24 bytes");
    for (uint64_t i = 0; i < N; i++) {
        uint64_t words[3] = {i, (uint64_t)t->rank, i * i};
        total[0]++;
        total[1] += words[0] + 2 * words[1] + 3 * words[2];
        dml_test_status(t, "push",
                        dml_exchange_push(x, (int)(i % (uint64_t)t->nranks), words, 24),
                        DML_OK);
    }
    dml_test_error(t, "another size", dml_exchange_push(x, 0, total, 16), DML_EINVAL);
    dml_test_status(t, "dml_exchange_finish", dml_exchange_finish(x), DML_OK);
    dml_exchange_destroy(x);
    uint64_t own[2] = {s.words, s.sum};
    MPI_Allreduce(total, all, 2, MPI_UINT64_T, MPI_SUM, t->mpi);
    MPI_Allreduce(own, got, 2, MPI_UINT64_T, MPI_SUM, t->mpi);
    DML_CHECK(t, memcmp(all, got, sizeof all) == 0,
              "%llu records, sum %llu; wanted "
              "%llu, %llu",
              (unsigned long long)got[0], (unsigned long long)got[1],
              (unsigned long long)all[0], (unsigned long long)all[1]);
}

/* ---- all at once -------------------------------------------------------------------
 */

static dml_packed pack(const struct traffic *w, int rank, int **dest)
{
    size_t n = records_of(w, rank), at = 0;
    dml_packed p = {.count = n, .offsets = dml_test_alloc((n + 1) * sizeof(size_t))};
    *dest = dml_test_alloc((n + 1) * sizeof(int));
    for (size_t i = 0; i < n; i++) {
        p.offsets[i] = at;
        at += bytes_of(w, rank, i);
        (*dest)[i] = dest_of(w, rank, i);
    }
    p.offsets[n] = at;
    p.data = dml_test_alloc(at + 1);
    for (size_t i = 0; i < n; i++)
        fill(w, rank, i, (unsigned char *)p.data + p.offsets[i],
             p.offsets[i + 1] - p.offsets[i]);
    return p;
}

static void free_pack(dml_packed *p, int *dest)
{
    free(p->data);
    free(p->offsets);
    free(dest);
}

static void check_packed(struct dml_test *t, const struct traffic *w,
                         const dml_packed *got)
{
    unsigned char *want = dml_test_alloc(w->most_bytes + 1);
    size_t k = 0;
    for (int p = 0; p < t->nranks; p++)
        for (size_t i = 0; i < records_of(w, p); i++) {
            size_t bytes = bytes_of(w, p, i);
            if (dest_of(w, p, i) != t->rank)
                continue;
            if (k == got->count || got->offsets[k + 1] - got->offsets[k] != bytes) {
                dml_test_fail(t, "record %zu (rank %d, index %zu) has another size", k,
                              p, i);
                free(want);
                return;
            }
            fill(w, p, i, want, bytes);
            dml_test_bytes(t, "record", (char *)got->data + got->offsets[k], want,
                           bytes);
            k++;
        }
    DML_CHECK(t, k == got->count, "%zu records, wanted %zu", got->count, k);
    free(want);
}

static void test_packed(struct dml_test *t)
{
    static const size_t most[] = {0, 50, 400000};
    for (size_t i = 0; i < DML_TEST_COUNT(most); i++) {
        struct traffic w = {.seed = t->seed + 90 + i,
                            .nranks = t->nranks,
                            .most_bytes = most[i],
                            .records = most[i] > 1000 ? 100 : 5000,
                            .only = -1};
        int *dest;
        dml_packed send = pack(&w, t->rank, &dest), got = {.count = 0};
        dml_test_step(t, "packed records of up to %zu bytes", most[i]);
        if (dml_test_status(t, "dml_exchange_packed",
                            dml_exchange_packed(&send, dest, NULL, t->comm, &got),
                            DML_OK))
            check_packed(t, &w, &got);
        dml_packed_free(&got);
        free_pack(&send, dest);
    }
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"sizes", test_sizes},        {"all to one", test_all_to_one},
        {"nothing", test_nothing},    {"records of one size", test_fixed_size},
        {"all at once", test_packed},
    };
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
