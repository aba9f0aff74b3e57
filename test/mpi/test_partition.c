/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What ranks decide alike: the histogram of all ranks' keys and the plans made of it
 * are the same bytes everywhere, and those that one process would make of all keys;
 * records that follow a plan arrive where it says; work moves away from a rank that
 * gets slow.
 */
#include "dml_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS = 20000 };

/* Skewed keys of a rank; one rank in four has none. */
static size_t make_keys(const struct dml_test *t, int rank, uint64_t *keys)
{
    size_t n = rank % 4 == 3 ? 0 : KEYS / (size_t)(1 + rank % 3);
    for (size_t i = 0; i < n; i++) {
        uint64_t h = dml_test_hash(t->seed, (uint64_t)rank, i);
        keys[i] = h % 3 == 0 ? 42 : (h >> 8) % 1000 * ((h >> 32) % 1000);
    }
    return n;
}

static dml_histogram *sample(struct dml_test *t, int rank, uint64_t hash_seed)
{
    uint64_t *u64 = dml_test_alloc(KEYS * sizeof *u64);
    dml_keys keys = {.kind = DML_KEY_U64, .u64 = u64};
    keys.count = make_keys(t, rank, u64);
    dml_sampler *sampler = NULL;
    dml_histogram *histogram = NULL;
    dml_sampler_opts opts;
    dml_sampler_opts_init(&opts);
    opts.stream = (uint64_t)rank;
    opts.hash_seed = hash_seed;
    dml_test_status(t, "dml_sampler_create",
                    dml_sampler_create(t->ctx, &opts, &sampler), DML_OK);
    dml_test_status(t, "dml_sampler_add", dml_sampler_add(sampler, &keys, NULL),
                    DML_OK);
    dml_test_status(t, "dml_sampler_finish", dml_sampler_finish(sampler, &histogram),
                    DML_OK);
    dml_sampler_destroy(sampler);
    free(u64);
    return histogram;
}

/* ---- plans -------------------------------------------------------------------------
 */

/* The plan that one process makes of all ranks' keys. */
static dml_plan *plan_alone(struct dml_test *t, dml_planner planner)
{
    dml_histogram *parts[DML_TEST_MAX_RANKS], *merged = NULL;
    dml_plan *plan = NULL;
    for (int p = 0; p < t->nranks; p++)
        parts[p] = sample(t, p, 1);
    dml_test_status(t, "dml_histogram_merge",
                    dml_histogram_merge(t->ctx, (const dml_histogram *const *)parts,
                                        (size_t)t->nranks, &merged),
                    DML_OK);
    dml_test_status(
        t, "dml_plan_create",
        dml_plan_create(t->ctx, planner, (size_t)t->nranks, merged, NULL, &plan),
        DML_OK);
    for (int p = 0; p < t->nranks; p++)
        dml_histogram_destroy(parts[p]);
    dml_histogram_destroy(merged);
    return plan;
}

static void *packed_plan(struct dml_test *t, const dml_plan *plan, size_t *bytes)
{
    dml_plan_info info;
    dml_plan_get_info(plan, &info);
    void *memory = dml_test_alloc(info.pack_bytes);
    dml_test_status(t, "dml_plan_pack", dml_plan_pack(plan, memory, info.pack_bytes),
                    DML_OK);
    *bytes = info.pack_bytes;
    return memory;
}

static void test_plans(struct dml_test *t)
{
    for (int p = 0; p < DML_NPLANNERS; p++) {
        dml_test_step(t, "%s", dml_planner_name((dml_planner)p));
        dml_histogram *own = sample(t, t->rank, 1);
        dml_plan *plan = NULL, *wanted = plan_alone(t, (dml_planner)p);
        dml_test_status(
            t, "dml_partition_plan",
            dml_partition_plan((dml_planner)p, own, 0, NULL, t->comm, &plan), DML_OK);
        size_t bytes = 0, wanted_bytes = 0;
        void *got = packed_plan(t, plan, &bytes);
        void *want = packed_plan(t, wanted, &wanted_bytes);
        dml_test_same_on_all(t, "plan", got, bytes);
        if (bytes == wanted_bytes)
            dml_test_bytes(t, "plan", got, want, bytes);
        DML_CHECK(t, bytes == wanted_bytes, "%zu bytes, wanted %zu", bytes,
                  wanted_bytes);
        free(got);
        free(want);
        dml_plan_destroy(plan);
        dml_plan_destroy(wanted);
        dml_histogram_destroy(own);
    }
}

/* ---- records that follow a plan ----------------------------------------------------
 */

struct arrivals {
    struct dml_test *t;
    uint64_t count, sum, least, most;
};

static dml_status arrive(void *user, int source, const void *record, size_t bytes)
{
    struct arrivals *a = user;
    uint64_t key;
    (void)source;
    DML_CHECK(a->t, bytes == sizeof key, "%zu bytes", bytes);
    memcpy(&key, record, sizeof key);
    a->least = a->count == 0 || key < a->least ? key : a->least;
    a->most = a->count == 0 || key > a->most ? key : a->most;
    a->count++;
    a->sum += dml_hash_u64(key, 0);
    return DML_OK;
}

/* Loads within the plan's promise, keys in the order of the ranks. */
static void check_ranges(struct dml_test *t, const struct arrivals *a)
{
    uint64_t own[3] = {a->count, a->least, a->most}, all[3 * DML_TEST_MAX_RANKS];
    uint64_t total = 0, most = 0, last = 0;
    MPI_Allgather(own, 3, MPI_UINT64_T, all, 3, MPI_UINT64_T, t->mpi);
    for (int p = 0; p < t->nranks; p++) {
        const uint64_t *rank = all + 3 * p;
        total += rank[0];
        most = rank[0] > most ? rank[0] : most;
        DML_CHECK(t, rank[0] == 0 || rank[1] >= last, "rank %d begins before %llu", p,
                  (unsigned long long)last);
        last = rank[0] > 0 ? rank[2] : last;
    }
    double imbalance = (double)most * t->nranks / (double)total;
    DML_CHECK(t, imbalance < 1.35, "imbalance %.3f", imbalance);
}

static void test_routed(struct dml_test *t)
{
    uint64_t *keys = dml_test_alloc(KEYS * sizeof *keys), sent[2] = {0, 0};
    size_t n = make_keys(t, t->rank, keys);
    dml_histogram *own = sample(t, t->rank, 1);
    dml_plan *plan = NULL;
    dml_exchange *x = NULL;
    struct arrivals a = {.t = t};
    dml_test_step(t, "records routed by ksrp");
    dml_test_status(t, "dml_partition_plan",
                    dml_partition_plan(DML_PLAN_KSRP, own, 0, NULL, t->comm, &plan),
                    DML_OK);
    dml_test_status(t, "dml_exchange_create",
                    dml_exchange_create(NULL, arrive, &a, t->comm, &x), DML_OK);
    for (size_t i = 0; i < n; i++) {
        uint32_t part = dml_plan_route_u64(plan, keys[i], i);
        sent[1] += dml_hash_u64(keys[i], 0);
        dml_test_status(t, "push",
                        dml_exchange_push(x, (int)part, &keys[i], sizeof keys[i]),
                        DML_OK);
    }
    dml_test_status(t, "dml_exchange_finish", dml_exchange_finish(x), DML_OK);
    sent[0] = n;
    uint64_t got[2] = {a.count, a.sum};
    MPI_Allreduce(MPI_IN_PLACE, sent, 2, MPI_UINT64_T, MPI_SUM, t->mpi);
    MPI_Allreduce(MPI_IN_PLACE, got, 2, MPI_UINT64_T, MPI_SUM, t->mpi);
    DML_CHECK(t, memcmp(sent, got, sizeof got) == 0, "%llu records came of %llu",
              (unsigned long long)got[0], (unsigned long long)sent[0]);
    check_ranges(t, &a);
    dml_exchange_destroy(x);
    dml_plan_destroy(plan);
    dml_histogram_destroy(own);
    free(keys);
}

/* ---- bounds and mistakes -----------------------------------------------------------
 */

static void test_shortened(struct dml_test *t)
{
    dml_histogram *own = sample(t, t->rank, 1), *merged = NULL;
    dml_histogram_info info;
    dml_test_step(t, "20 keys a rank");
    dml_test_status(t, "dml_histogram_gather",
                    dml_histogram_gather(own, 20, t->comm, &merged), DML_OK);
    dml_histogram_get_info(merged, &info);
    uint64_t total = 0, *keys = dml_test_alloc(KEYS * sizeof *keys);
    for (int p = 0; p < t->nranks; p++)
        total += make_keys(t, p, keys);
    DML_CHECK(t, info.entries <= 20 * (size_t)t->nranks && info.records == total,
              "%zu keys, %llu records", info.entries, (unsigned long long)info.records);
    free(keys);
    dml_histogram_destroy(merged);
    dml_histogram_destroy(own);
}

static void test_disagreement(struct dml_test *t)
{
    dml_histogram *own = sample(t, t->rank, t->rank == 0 ? 1 : 2), *merged = NULL;
    dml_plan *plan = NULL;
    double capacities[DML_TEST_MAX_RANKS];
    dml_plan_opts opts;
    dml_test_step(t, "wrong arguments");
    dml_test_error(t, "own NULL", dml_histogram_gather(NULL, 0, t->comm, &merged),
                   DML_EINVAL);
    dml_test_error(t, "one entry", dml_histogram_gather(own, 1, t->comm, &merged),
                   DML_EINVAL);
    if (t->nranks > 1) {
        dml_test_step(t, "other hash seeds");
        dml_test_error(t, "gather", dml_histogram_gather(own, 0, t->comm, &merged),
                       DML_EINVAL);
        dml_histogram_destroy(own);
        own = sample(t, t->rank, 1);
        dml_test_step(t, "other capacities");
        dml_plan_opts_init(&opts);
        for (int p = 0; p < t->nranks; p++)
            capacities[p] = p == 0 && t->rank == 0 ? 3 : 1;
        opts.capacities = capacities;
        dml_test_error(t, "plan",
                       dml_partition_plan(DML_PLAN_KSRP, own, 0, &opts, t->comm, &plan),
                       DML_EMISMATCH);
        dml_test_status(t, "afterwards",
                        dml_partition_plan(DML_PLAN_KSRP, own, 0, NULL, t->comm, &plan),
                        DML_OK);
        dml_plan_destroy(plan);
    }
    DML_CHECK(t, merged == NULL, "a histogram was returned by a failing call");
    dml_histogram_destroy(own);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"plans of all ranks", test_plans},
        {"records by a plan", test_routed},
        {"shortened", test_shortened},
        {"disagreement", test_disagreement},
    };
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
