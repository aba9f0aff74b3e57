/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sums over the rows of a matrix [rows][channels], on a GPU: how the rows are cut into
 * parts, and the kernels one after the other. The cut is a function of the matrix
 * alone, so that sums have the same bits in every run.
 *
 * There are so many parts that all threads of a large device have work (each with loads
 * of 8 or 16 bytes under way) and none comes later: 132 multiprocessors hold 396 blocks
 * of 256 threads with up to 80 registers, and a few more would take as long again. And
 * there are no more than two rounds of CNN_FOLD parts a thread can add up: a thread
 * that adds thousands one by one takes longer than all the rest.
 */
#include "gpu.h"

enum {
    PARTS_MOST = CNN_FOLD * CNN_FOLD,
    ITEMS_MOST = 3 << 15, /* parts times groups of channels */
    ROWS_LEAST = 16,      /* of a part, so that it is worth its own sum */
};

struct cut {
    size_t part_rows, nparts, nfolded;
};

static size_t count_of(size_t n, size_t of)
{
    return (n + of - 1) / of;
}

static size_t groups_of(int channels)
{
    return count_of((size_t)channels, CNN_VECTOR);
}

static struct cut cut_rows(size_t rows, int channels)
{
    struct cut cut;
    size_t most = ITEMS_MOST / groups_of(channels);
    most = most < PARTS_MOST ? most : PARTS_MOST;
    cut.part_rows = count_of(rows, most > 0 ? most : 1);
    cut.part_rows = cut.part_rows > ROWS_LEAST ? cut.part_rows : ROWS_LEAST;
    cut.nparts = count_of(rows, cut.part_rows);
    cut.nfolded = cut.nparts > CNN_FOLD ? count_of(cut.nparts, CNN_FOLD) : 0;
    return cut;
}

void gpu_need_sums(struct net *net, size_t rows, int channels)
{
    struct gpu_net *g = net->gpu;
    struct cut cut = cut_rows(rows, channels);
    size_t sums = 2 * (size_t)channels, parts = (cut.nparts + cut.nfolded) * sums;
    g->nparts = parts > g->nparts ? parts : g->nparts;
    g->nsums = sums > g->nsums ? sums : g->nsums;
}

size_t gpu_row_items(size_t rows, int channels)
{
    return rows * groups_of(channels);
}

dml_status gpu_sum_rows(const struct net *net, const struct gpu_sums *kernels,
                        struct cnn_norm_args *args)
{
    struct gpu *gpu = net->gpu->gpu;
    const size_t channels = (size_t)args->channels;
    const struct cut cut = cut_rows(args->rows, args->channels);
    args->parts = net->gpu->parts;
    if (!args->sums)
        args->sums = net->gpu->sums;
    args->part_rows = cut.part_rows;
    args->nparts = cut.nparts;
    args->n = gpu_row_items(cut.nparts, args->channels);
    CNN_TRY(gpu_run(gpu, kernels->parts, args));
    if (cut.nfolded > 0) {
        args->folded = args->parts + 2 * cut.nparts * channels;
        args->n = cut.nfolded * channels;
        CNN_TRY(gpu_run(gpu, kernels->fold, args));
        args->parts = args->folded;
        args->part_rows *= CNN_FOLD;
        args->nparts = cut.nfolded;
    }
    args->n = channels;
    return gpu_run(gpu, kernels->all, args);
}
