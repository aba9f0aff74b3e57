/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Skewed records brought to the ranks of a plan. Every second record has key 1, every
 * sixth key 2, and so on: a plan by hash would give half of all records to one rank.
 * This one cuts by sampled weight, in the order of keys, through a key if need be:
 * afterwards rank 0 has the smallest keys, the next rank the next ones, all as many
 * records. Compile with: cc partition.c $(pkg-config --cflags --libs dml), run with
 * mpirun -n 4.
 */
#include <dml/dml.h>
#include <dml/mpi.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { RECORDS = 200000 }; /* that a rank has at first */

struct record {
    uint64_t key;
    float payload[6];
};

/* What comes to this rank. */
struct received {
    struct record *records; /* [room] */
    size_t count, room;
};

/* Called for each record, from within the exchange's calls. */
static dml_status receive(void *user, int source, const void *record, size_t bytes)
{
    struct received *r = user;
    (void)source;
    (void)bytes; /* record_bytes: all have that size */
    if (r->count == r->room) {
        size_t room = r->room > 0 ? 2 * r->room : 1024;
        struct record *larger = realloc(r->records, room * sizeof *larger);
        if (larger == NULL)
            return DML_ENOMEM; /* finish tells all ranks */
        r->records = larger;
        r->room = room;
    }
    r->records[r->count++] = *(const struct record *)record;
    return DML_OK;
}

/* Key k with probability 1 / (k (k + 1)). */
static void make_keys(uint64_t *keys, int rank)
{
    for (uint64_t i = 0; i < RECORDS; i++)
        keys[i] = (uint64_t)(1 / (1 - dml_rng_uniform(1, (uint64_t)rank, i)));
}

/* The same plan on all ranks, by what each sampled of its keys. */
static dml_plan *make_plan(const uint64_t *keys, dml_ctx *ctx, dml_comm *comm)
{
    const dml_keys all = {.kind = DML_KEY_U64, .count = RECORDS, .u64 = keys};
    dml_sampler_opts opts;
    dml_sampler *sampler;
    dml_histogram *own;
    dml_plan *plan;
    dml_sampler_opts_init(&opts);
    opts.stream = (uint64_t)dml_comm_rank(comm);
    dml_sampler_create(ctx, &opts, &sampler);
    dml_sampler_add(sampler, &all, NULL);
    dml_sampler_finish(sampler, &own);
    dml_partition_plan(DML_PLAN_KSRP, own, 0, NULL, comm, &plan);
    dml_histogram_destroy(own);
    dml_sampler_destroy(sampler);
    return plan;
}

/* Sends each record to its rank; "received" has those of this one afterwards. */
static void exchange(const uint64_t *keys, const dml_plan *plan, dml_comm *comm,
                     struct received *received)
{
    dml_exchange_opts opts;
    dml_exchange *exchange;
    dml_exchange_opts_init(&opts);
    opts.record_bytes = sizeof(struct record);
    dml_exchange_create(&opts, receive, received, comm, &exchange);
    uint64_t first = (uint64_t)dml_comm_rank(comm) * RECORDS; /* number of a record */
    for (uint64_t i = 0; i < RECORDS; i++) {
        struct record record = {.key = keys[i], .payload = {(float)i}};
        uint32_t part = dml_plan_route_u64(plan, keys[i], first + i);
        dml_exchange_push(exchange, (int)part, &record, sizeof record);
    }
    dml_exchange_finish(
        exchange); /* all have come, and were compared with what was sent */
    dml_exchange_destroy(exchange);
}

/* Are the ranks' keys in the order of the ranks, and all records there? */
static bool check(const struct received *received, dml_comm *comm)
{
    uint64_t own[3] = {received->count, UINT64_MAX, 0}, all[3 * 64];
    int nranks = dml_comm_size(comm);
    for (size_t i = 0; i < received->count; i++) {
        uint64_t key = received->records[i].key;
        own[1] = key < own[1] ? key : own[1];
        own[2] = key > own[2] ? key : own[2];
    }
    dml_allgather(own, all, 3, DML_U64, comm);
    uint64_t sum = 0, largest_before = 0, most = 0;
    bool right = true;
    for (const uint64_t *rank = all; rank < all + 3 * nranks; rank += 3) {
        if (dml_comm_rank(comm) == 0)
            printf("%8llu records, keys %llu to %llu\n", (unsigned long long)rank[0],
                   (unsigned long long)rank[1], (unsigned long long)rank[2]);
        sum += rank[0];
        most = rank[0] > most ? rank[0] : most;
        right = right && rank[1] >= largest_before;
        largest_before = rank[2];
    }
    return right && sum == (uint64_t)nranks * RECORDS && most < 1.05 * RECORDS;
}

int main(int argc, char **argv)
{
    dml_ctx_opts opts;
    dml_ctx *ctx;
    dml_comm *comm;
    struct received received = {.count = 0};
    static uint64_t keys[RECORDS];
    MPI_Init(&argc, &argv);
    dml_ctx_opts_init(&opts);
    opts.errors = DML_ERRORS_ABORT; /* a call that fails says why and ends the job */
    if (dml_ctx_create(&opts, &ctx) != DML_OK)
        MPI_Abort(MPI_COMM_WORLD, 1);
    dml_comm_from_mpi(ctx, MPI_COMM_WORLD, &comm);

    make_keys(keys, dml_comm_rank(comm));
    dml_plan *plan = make_plan(keys, ctx, comm);
    exchange(keys, plan, comm, &received);
    bool right = dml_comm_size(comm) > 64 || check(&received, comm);

    free(received.records);
    dml_plan_destroy(plan);
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
    MPI_Finalize();
    return right ? 0 : 1;
}
