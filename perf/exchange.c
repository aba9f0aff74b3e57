/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-perf-exchange: records between ranks, beside MPI_Alltoallv. The peer sorts its
 * records by destination into one buffer, tells the counts and calls MPI_Alltoallv, as
 * a program without libdml would: no checksum, no bound on memory, and no more than
 * 2 GiB. The two alternate, block by block; times are those of the slowest rank.
 *
 * Usage: mpirun -n 2 dml-perf-exchange [MIB-PER-RANK [BLOCKS]]
 */
#include "dml/dml.h"
#include "dml/mpi.h"

#include "median.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int rank, nranks;

static void stop(const char *what)
{
    fprintf(stderr, "dml-perf-exchange: rank %d: %s failed\n", rank, what);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

static void *need(void *memory)
{
    if (memory == NULL)
        stop("allocating memory");
    return memory;
}

/* Records of one size, and where each goes. */
struct load {
    size_t bytes, count;
    unsigned char *data; /* [count * bytes] */
    int *dest;
};

/* What arrives, one record behind the other. */
struct heap {
    unsigned char *data;
    size_t used, room;
};

static dml_status keep(void *user, int source, const void *record, size_t bytes)
{
    struct heap *h = user;
    (void)source;
    if (bytes > h->room - h->used)
        return DML_ENOMEM;
    memcpy(h->data + h->used, record, bytes);
    h->used += bytes;
    return DML_OK;
}

static void by_exchange(const struct load *l, dml_exchange *x, struct heap *h)
{
    h->used = 0;
    for (size_t i = 0; i < l->count; i++)
        if (dml_exchange_push(x, l->dest[i], l->data + i * l->bytes, l->bytes) < 0)
            stop("dml_exchange_push");
    if (dml_exchange_finish(x) < 0)
        stop("dml_exchange_finish");
}

static void by_mpi(const struct load *l, unsigned char *sorted, struct heap *h)
{
    size_t n = (size_t)nranks;
    int *all = need(calloc(4 * n, sizeof *all));
    int *out = all, *out_at = all + n, *in = all + 2 * n, *in_at = all + 3 * n;
    for (size_t i = 0; i < l->count; i++)
        out[l->dest[i]] += (int)l->bytes;
    MPI_Alltoall(out, 1, MPI_INT, in, 1, MPI_INT, MPI_COMM_WORLD);
    for (size_t p = 1; p < n; p++) {
        out_at[p] = out_at[p - 1] + out[p - 1];
        in_at[p] = in_at[p - 1] + in[p - 1];
    }
    h->used = (size_t)(in_at[n - 1] + in[n - 1]);
    if (h->used > h->room)
        stop("making room");
    for (size_t i = 0; i < l->count; i++) {
        memcpy(sorted + out_at[l->dest[i]], l->data + i * l->bytes, l->bytes);
        out_at[l->dest[i]] += (int)l->bytes;
    }
    for (size_t p = 0; p < n; p++)
        out_at[p] -= out[p];
    MPI_Alltoallv(sorted, out, out_at, MPI_BYTE, h->data, in, in_at, MPI_BYTE,
                  MPI_COMM_WORLD);
    free(all);
}

static double slowest(double own_s)
{
    MPI_Allreduce(MPI_IN_PLACE, &own_s, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return own_s;
}

static void fill(struct load *l)
{
    for (size_t i = 0; i < l->count * l->bytes; i++)
        l->data[i] = (unsigned char)(i * 2654435761u >> 11);
    for (size_t i = 0; i < l->count; i++)
        l->dest[i] = (int)(dml_rng_u64(1, (uint64_t)rank, i) % (uint64_t)nranks);
}

static void measure(size_t bytes, size_t total, int blocks, dml_comm *comm)
{
    struct load l = {.bytes = bytes, .count = total / bytes};
    l.data = need(malloc(l.count * bytes));
    l.dest = need(malloc(l.count * sizeof *l.dest));
    fill(&l);
    struct heap h = {.room = 2 * total + 65536};
    h.data = need(malloc(h.room));
    unsigned char *sorted = need(malloc(total));
    double *times[2] = {need(malloc((size_t)blocks * sizeof(double))),
                        need(malloc((size_t)blocks * sizeof(double)))};
    memset(h.data, 1, h.room);
    memset(sorted, 1, total);
    dml_exchange_opts opts;
    dml_exchange_opts_init(&opts);
    opts.record_bytes = bytes;
    dml_exchange *x = NULL;
    if (dml_exchange_create(&opts, keep, &h, comm, &x) < 0)
        stop("dml_exchange_create");
    for (int b = -1; b < blocks; b++) /* the first is to warm up */
        for (int k = 0; k < 2; k++) {
            MPI_Barrier(MPI_COMM_WORLD);
            double begin_s = MPI_Wtime();
            if (k == 0)
                by_exchange(&l, x, &h);
            else
                by_mpi(&l, sorted, &h);
            double s = slowest(MPI_Wtime() - begin_s);
            if (b >= 0)
                times[k][b] = s;
        }
    double own = perf_median(times[0], (size_t)blocks);
    double peer = perf_median(times[1], (size_t)blocks);
    if (rank == 0)
        printf("%10zu %10zu %10.1f %10.1f %10.1f %10.1f %8.2f\n", bytes, l.count,
               1e3 * own, 1e-6 * (double)total / own, 1e3 * peer,
               1e-6 * (double)total / peer, peer / own);
    dml_exchange_destroy(x);
    free(times[0]);
    free(times[1]);
    free(sorted);
    free(h.data);
    free(l.dest);
    free(l.data);
}

int main(int argc, char **argv)
{
    int provided;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    size_t mib = argc > 1 ? strtoull(argv[1], NULL, 10) : 32;
    int blocks = argc > 2 ? atoi(argv[2]) : 7;
    dml_ctx *ctx = NULL;
    dml_comm *comm = NULL;
    if (dml_ctx_create(NULL, &ctx) < 0 ||
        dml_comm_from_mpi(ctx, MPI_COMM_WORLD, &comm) < 0)
        stop("opening libdml");
    rank = dml_comm_rank(comm);
    nranks = dml_comm_size(comm);
    if (mib < 1 || mib > 256 || blocks < 1)
        stop("reading the arguments (1 to 256 MiB, 1 block or more):");
    if (rank == 0)
        printf("%d ranks, %zu MiB a rank, medians of %d blocks\n%10s %10s %10s %10s "
               "%10s %10s %8s\n",
               nranks, mib, blocks, "bytes", "records", "ms", "MB/s", "MPI ms",
               "MPI MB/s", "ratio");
    static const size_t sizes[] = {8, 100, 4096, 262144};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        measure(sizes[i], mib << 20, blocks, comm);
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
    MPI_Finalize();
    return 0;
}
