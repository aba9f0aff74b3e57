/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-perf-links: how much of a link an all-reduce uses. In each block, one after the
 * other: a raw TCP pair (the limit), every algorithm of libdml that can do the call,
 * the MPI library as it chooses, and Open MPI's own algorithms. Medians over the
 * blocks.
 *
 * of-limit is bus bandwidth over the pair's goodput: at least 2(h-1)/h x S bytes must
 * leave each of h hosts, and no network card sends more than the pair does.
 */
#include "dml/dml.h"
#include "dml/mpi.h"

#include "peers.h"
#include "tcp_pair.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WAYS = 24, MAX_BLOCKS = 99, MAX_CALLS = 8, LAST_MPI = 6 };

/* A way to do it: libdml by an algorithm, or MPI on a communicator. */
struct way {
    char name[40];
    const char *algorithm; /* NULL: MPI */
    MPI_Comm mpi;
    double block_s[MAX_BLOCKS];
    size_t wrong;
};

struct links {
    MPI_Comm mpi;
    dml_comm *comm;
    struct tcp_pair pair;
    int rank, nranks, nhosts;
    size_t nways;
    struct way way[MAX_WAYS];
    size_t min_bytes, max_bytes, pair_bytes, factor;
    int blocks;
    const char *only; /* a list of names, or NULL */
    FILE *json;
    double goodput[MAX_BLOCKS];
    float *send, *recv;
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *values, int n)
{
    double sorted[MAX_BLOCKS];
    memcpy(sorted, values, (size_t)n * sizeof *values);
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    return 0.5 * (sorted[n / 2] + sorted[(n - 1) / 2]);
}

/* Is the name in the list "a,b,c"? */
static bool wanted(const struct links *l, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = l->only; at != NULL && *at != '\0';) {
        size_t item = strcspn(at, ",");
        if (item == length && strncmp(at, name, item) == 0)
            return true;
        at += item + (at[item] == ',');
    }
    return l->only == NULL;
}

static void add_way(struct links *l, const char *algorithm, MPI_Comm mpi,
                    const char *name)
{
    if (l->nways == MAX_WAYS || !wanted(l, name))
        return;
    struct way *way = &l->way[l->nways++];
    *way = (struct way){.algorithm = algorithm, .mpi = mpi};
    snprintf(way->name, sizeof way->name, "%s", name);
}

static void list_ways(struct links *l)
{
    const char *name, *text;
    char label[40];
    add_way(l, "auto", MPI_COMM_NULL, "auto");
    for (size_t i = 0; dml_algorithm_list(DML_COLL_ALLREDUCE, i, &name, &text) == 0;
         i++)
        if (strcmp(name, "mpi") != 0)
            add_way(l, name, MPI_COMM_NULL, name);
    add_way(l, NULL, l->mpi, "mpi");
    for (int number = 3; number <= LAST_MPI; number++) {
        MPI_Comm forced;
        snprintf(label, sizeof label, "mpi:%d", number);
        if (wanted(l, label) && peers_forced(l->mpi, number, &forced))
            add_way(l, NULL, forced, label);
    }
}

static int count_hosts(MPI_Comm comm)
{
    MPI_Comm host;
    int rank, first, nhosts;
    MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
    MPI_Comm_rank(host, &rank);
    MPI_Comm_free(&host);
    first = rank == 0;
    MPI_Allreduce(&first, &nhosts, 1, MPI_INT, MPI_SUM, comm);
    return nhosts;
}

/* Bytes that must leave each host, or each rank where there is one host. */
static double least_bytes(const struct links *l, size_t bytes)
{
    int parts = l->nhosts > 1 ? l->nhosts : l->nranks;
    return 2.0 * (parts - 1) / parts * (double)bytes;
}

static void fill(struct links *l, size_t count, int block)
{
    for (size_t i = 0; i < count; i++) {
        l->send[i] = (float)((int)(i % 1000) + l->rank + block);
        l->recv[i] = -1;
    }
}

static size_t count_wrong(const struct links *l, size_t count, int block)
{
    size_t wrong = 0;
    int ranks = l->nranks * (l->nranks - 1) / 2 + l->nranks * block;
    for (size_t i = 0; i < count; i++)
        wrong += l->recv[i] < (float)((int)(i % 1000) * l->nranks + ranks) ||
                 l->recv[i] > (float)((int)(i % 1000) * l->nranks + ranks);
    return wrong;
}

/* Calls that precede a block's timed ones: a link that was idle takes a burst at more
 * than its rate, which the raw TCP pair does not count either. */
static int untimed_calls(size_t bytes)
{
    const size_t burst_bytes = (size_t)256 << 10;
    return bytes >= burst_bytes ? 1 : (int)(burst_bytes / bytes);
}

static dml_status call_once(struct links *l, const struct way *way, size_t count)
{
    if (way->algorithm != NULL)
        return dml_allreduce(l->send, l->recv, count, DML_F32, DML_SUM, l->comm);
    MPI_Allreduce(l->send, l->recv, (int)count, MPI_FLOAT, MPI_SUM, way->mpi);
    return DML_OK;
}

/* Seconds per call of one block, on the slowest rank; negative when it cannot be done.
 */
static double time_block(struct links *l, struct way *way, size_t count, int calls,
                         int block)
{
    dml_status status = DML_OK;
    if (way->algorithm != NULL)
        status = dml_comm_set_algorithm(l->comm, DML_COLL_ALLREDUCE, way->algorithm);
    fill(l, count, block);
    MPI_Barrier(l->mpi);
    double begin_s = 0, slowest_s = 0;
    for (int k = -untimed_calls(count * sizeof(float)); k < calls; k++) {
        if (k == 0)
            begin_s = MPI_Wtime();
        if (status == DML_OK)
            status = call_once(l, way, count);
    }
    double own_s = status == DML_OK ? (MPI_Wtime() - begin_s) / calls : 1e9;
    MPI_Allreduce(&own_s, &slowest_s, 1, MPI_DOUBLE, MPI_MAX, l->mpi);
    if (slowest_s >= 1e9)
        return -1;
    way->wrong += count_wrong(l, count, block);
    return slowest_s;
}

static void report(struct links *l, const struct way *way, size_t bytes, double goodput)
{
    double time_s = median(way->block_s, l->blocks);
    double bus = least_bytes(l, bytes) / time_s;
    unsigned long long wrong = way->wrong, total = 0;
    MPI_Allreduce(&wrong, &total, 1, MPI_UNSIGNED_LONG_LONG, MPI_SUM, l->mpi);
    if (l->rank != 0)
        return;
    printf("%11zu  %-20s %11.1f %9.2f %9.3f %7llu\n", bytes, way->name, 1e6 * time_s,
           1e-6 * bus, bus / goodput, total);
    fflush(stdout);
    if (l->json == NULL)
        return;
    json_t *row =
        json_pack("{sI ss si sf sf sf sf sI}", "bytes", (json_int_t)bytes, "way",
                  way->name, "nranks", l->nranks, "time_us", 1e6 * time_s, "busbw_mbs",
                  1e-6 * bus, "tcp_pair_mbs", 1e-6 * goodput, "of_limit", bus / goodput,
                  "wrong", (json_int_t)total);
    json_dumpf(row, l->json, JSON_COMPACT);
    fputc('\n', l->json);
    json_decref(row);
}

static void measure(struct links *l, size_t bytes)
{
    size_t count = bytes / sizeof(float), per_block = ((size_t)2 << 20) / bytes;
    int calls = per_block > MAX_CALLS ? MAX_CALLS : per_block < 1 ? 1 : (int)per_block;
    bool able[MAX_WAYS];
    for (size_t i = 0; i < l->nways; i++) { /* warm-up */
        l->way[i].wrong = 0;
        able[i] = time_block(l, &l->way[i], count, 1, 0) >= 0;
    }
    for (int block = 0; block < l->blocks; block++) {
        l->goodput[block] = tcp_pair_goodput(&l->pair, l->pair_bytes);
        for (size_t k = 0; k < l->nways; k++) {
            size_t i = block % 2 == 0 ? k : l->nways - 1 - k;
            if (able[i])
                l->way[i].block_s[block] =
                    time_block(l, &l->way[i], count, calls, block);
        }
    }
    double goodput = median(l->goodput, l->blocks);
    if (l->rank == 0)
        printf("%11zu  %-20s %11.1f %9.2f\n", bytes, "tcp pair",
               1e6 * least_bytes(l, bytes) / goodput, 1e-6 * goodput);
    for (size_t i = 0; i < l->nways; i++)
        if (able[i])
            report(l, &l->way[i], bytes, goodput);
}

static bool parse(struct links *l, int argc, char **argv)
{
    static const struct option options[] = {
        {"min", required_argument, NULL, 'm'},
        {"max", required_argument, NULL, 'M'},
        {"factor", required_argument, NULL, 'f'},
        {"pair", required_argument, NULL, 'p'},
        {"blocks", required_argument, NULL, 'b'},
        {"ways", required_argument, NULL, 'w'},
        {"json", required_argument, NULL, 'j'},
        {NULL, 0, NULL, 0},
    };
    const char *json = NULL;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (option) {
        case 'm':
            l->min_bytes = strtoul(optarg, NULL, 10);
            break;
        case 'M':
            l->max_bytes = strtoul(optarg, NULL, 10);
            break;
        case 'f':
            l->factor = strtoul(optarg, NULL, 10);
            break;
        case 'p':
            l->pair_bytes = strtoul(optarg, NULL, 10);
            break;
        case 'b':
            l->blocks = atoi(optarg);
            break;
        case 'w':
            l->only = optarg;
            break;
        case 'j':
            json = optarg;
            break;
        default:
            return false;
        }
    if (l->rank == 0 && json != NULL)
        l->json = fopen(json, "w");
    return optind == argc && l->min_bytes >= 4 && l->factor > 1 && l->blocks > 0 &&
           l->blocks <= MAX_BLOCKS && l->pair_bytes > 0;
}

static int run(struct links *l, int argc, char **argv)
{
    if (!parse(l, argc, argv)) {
        if (l->rank == 0)
            fprintf(stderr,
                    "usage: dml-perf-links [--min BYTES] [--max BYTES] [--factor F] "
                    "[--blocks N] [--pair BYTES]\n"
                    "           [--ways auto,ring,mpi,mpi:4,...] [--json FILE]\n");
        return 2;
    }
    dml_ctx *ctx = NULL;
    int status = 1;
    l->send = malloc(l->max_bytes);
    l->recv = malloc(l->max_bytes);
    if (l->send == NULL || l->recv == NULL || dml_ctx_create(NULL, &ctx) != DML_OK ||
        dml_comm_from_mpi(ctx, l->mpi, &l->comm) != DML_OK ||
        !tcp_pair_open(&l->pair, l->mpi)) {
        fprintf(stderr, "dml-perf-links: rank %d cannot start\n", l->rank);
        MPI_Abort(l->mpi, 1);
    }
    l->nhosts = count_hosts(l->mpi);
    list_ways(l);
    if (l->rank == 0)
        printf(
            "%d ranks on %d hosts, %d blocks; medians\n%11s  %-20s %11s %9s %9s %7s\n",
            l->nranks, l->nhosts, l->blocks, "bytes", "way", "time us", "MB/s",
            "of-limit", "wrong");
    for (size_t bytes = l->min_bytes; bytes <= l->max_bytes; bytes *= l->factor)
        measure(l, bytes);
    status = 0;
    tcp_pair_close(&l->pair);
    dml_comm_destroy(l->comm);
    dml_ctx_destroy(ctx);
    free(l->send);
    free(l->recv);
    if (l->json != NULL)
        fclose(l->json);
    return status;
}

int main(int argc, char **argv)
{
    struct links l = {.mpi = MPI_COMM_WORLD,
                      .min_bytes = (size_t)64 << 10,
                      .max_bytes = (size_t)4 << 20,
                      .pair_bytes = (size_t)4 << 20,
                      .factor = 4,
                      .blocks = 15};
    peers_prepare();
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(l.mpi, &l.rank);
    MPI_Comm_size(l.mpi, &l.nranks);
    int status = run(&l, argc, argv);
    MPI_Finalize();
    return status;
}
