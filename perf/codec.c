/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-perf-codec: the gradient codecs. By default how fast one core encodes and
 * decodes, beside what memory allows; with --reduce, under mpirun, a gradient through
 * the reducer, plain and with each codec in turn, block by block.
 */
#include "codec.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char every_codec[] =
    "f16 bf16 8bit onebit sign terngrad topk:0.01 dgc:0.01 randomk:0.01 powersgd:2";

size_t codec_next(const char **list, char text[DML_CODEC_TEXT_MAX])
{
    *list += strspn(*list, " ");
    size_t n = strcspn(*list, " ");
    if (n >= DML_CODEC_TEXT_MAX)
        n = DML_CODEC_TEXT_MAX - 1;
    memcpy(text, *list, n);
    text[n] = '\0';
    *list += n;
    return n;
}

static float uniform(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(int32_t)*state * 0x1p-31f;
}

/* A product of uniform numbers, each block with a size of its own: heavy tails, as
 * gradients of several layers have them together. */
void codec_fill(float *values, size_t count, uint32_t seed)
{
    float size = 1;
    for (size_t i = 0; i < count; i++) {
        if (i % 4096 == 0)
            size = exp2f(3 * uniform(&seed));
        values[i] = size * uniform(&seed) * uniform(&seed) * uniform(&seed);
    }
}

void codec_need(const struct codec_options *o, const char *what, dml_status status)
{
    dml_error error = {.status = status};
    if (status == DML_OK)
        return;
    if (o->ctx != NULL)
        dml_ctx_last_error(o->ctx, &error);
    fprintf(stderr, "dml-perf-codec: rank %d: %s: %s: %s\n", o->rank, what,
            dml_status_str(status), error.text);
    MPI_Abort(o->mpi, 1);
}

void *codec_alloc(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 64) / 64 * 64);
    if (memory == NULL) {
        fprintf(stderr, "dml-perf-codec: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    memset(memory, 0, bytes);
    return memory;
}

static void usage(FILE *to)
{
    fprintf(
        to,
        "usage: dml-perf-codec [options]; mpirun -n N dml-perf-codec --reduce "
        "[options]\n"
        "  --bytes B       of the f32 gradient (default 67108864)\n"
        "  --rows R        of it as a matrix, for powersgd (default 2048)\n"
        "  --codecs LIST   texts with blanks in between (default: all)\n"
        "  --repeats N     timings of each, 1 to %d (default 7)\n"
        "  --fastest       minima, not medians: for a machine with other load\n"
        "  --reduce        through the reducer; add ,force to compress at any cost\n"
        "  --optimizer     with the update: SGD, momentum 0.9 (with dgc the codec's)\n"
        "  --json FILE     one object a line too\n",
        CODEC_MOST_TIMES);
    fprintf(to, "codecs:\n");
    for (size_t i = 0; dml_codec_name(i) != NULL; i++)
        fprintf(to, "  %-10s %s\n", dml_codec_name(i), dml_codec_description(i));
}

static bool parse(int argc, char **argv, struct codec_options *o, bool *reduce)
{
    static const struct option known[] = {
        {"bytes", required_argument, NULL, 'b'},
        {"rows", required_argument, NULL, 'r'},
        {"codecs", required_argument, NULL, 'c'},
        {"repeats", required_argument, NULL, 'n'},
        {"fastest", no_argument, NULL, 'f'},
        {"reduce", no_argument, NULL, 'R'},
        {"optimizer", no_argument, NULL, 'o'},
        {"json", required_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (option == 'h') {
            usage(stdout);
            exit(0);
        }
        if (option == 'b')
            o->count = (size_t)strtoull(optarg, NULL, 10) / sizeof(float);
        else if (option == 'r')
            o->rows = (size_t)strtoull(optarg, NULL, 10);
        else if (option == 'c')
            o->codecs = optarg;
        else if (option == 'n')
            o->repeats = atoi(optarg);
        else if (option == 'f')
            o->fastest = true;
        else if (option == 'R')
            *reduce = true;
        else if (option == 'o')
            o->optimizer = true;
        else if (option == 'j')
            o->json = optarg;
        else
            return false;
    }
    if (o->rows > 0)
        o->count = o->count / o->rows * o->rows;
    return optind == argc && o->count > 0 && o->rows > 0 && o->repeats > 0 &&
           o->repeats <= CODEC_MOST_TIMES;
}

int main(int argc, char **argv)
{
    struct codec_options o = {
        .mpi = MPI_COMM_WORLD,
        .repeats = 7,
        .count = (size_t)16 << 20,
        .rows = 2048,
        .codecs = every_codec,
    };
    bool reduce = false;
    double sink = 0;
    o.sink = &sink;
    if (!parse(argc, argv, &o, &reduce)) {
        usage(stderr);
        return 2;
    }
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(o.mpi, &o.rank);
    MPI_Comm_size(o.mpi, &o.nranks);
    codec_need(&o, "dml_ctx_create", dml_ctx_create(NULL, &o.ctx));
    codec_need(&o, "dml_comm_from_mpi", dml_comm_from_mpi(o.ctx, o.mpi, &o.comm));
    if (reduce)
        codec_reduce(&o);
    else if (o.rank == 0)
        codec_local(&o);
    dml_comm_destroy(o.comm);
    dml_ctx_destroy(o.ctx);
    MPI_Finalize();
    return 0;
}
