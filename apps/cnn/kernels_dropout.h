/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Items of dropout's kernel (layer_act.c says what dropout is): the processor's masks,
 * drawn in the order C H W, for numbers that lie H W C.
 */
#ifndef CNN_KERNELS_DROPOUT_H
#define CNN_KERNELS_DROPOUT_H

#include "kernels_items.h"

/* dml_rng_u64(), for a device: Philox4x32-10 (Salmon et al., SC 2011). */
ITEM uint64_t cnn_random(uint64_t seed, uint64_t stream, uint64_t counter)
{
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t x[4] = {(uint32_t)counter, (uint32_t)(counter >> 32), (uint32_t)stream,
                     (uint32_t)(stream >> 32)};
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)x[0] * 0xD2511F53u, b = (uint64_t)x[2] * 0xCD9E8D57u;
        x[0] = (uint32_t)(b >> 32) ^ x[1] ^ key[0];
        x[2] = (uint32_t)(a >> 32) ^ x[3] ^ key[1];
        x[1] = (uint32_t)b;
        x[3] = (uint32_t)a;
        key[0] += 0x9E3779B9u;
        key[1] += 0xBB67AE85u;
    }
    return (uint64_t)x[1] << 32 | x[0];
}

/* The bits of a row's numbers 4 word to 4 word + 3 in the order C H W, 16 for each. */
ITEM uint64_t cnn_draw(const struct cnn_dropout_args *a, size_t n, size_t word)
{
    const struct cnn_pass *pass = VIEW(const struct cnn_pass *, a->pass);
    size_t row = (size_t)a->channels * (size_t)a->pixels, words = (row + 3) / 4;
    return cnn_random(a->seed, a->stream + pass->step,
                      (pass->first_row + n) * words + word);
}

/* Which numbers are kept of row n, channels g, and "count" pixels: bit 4 r + k tells it
 * of channel k and pixel r. A channel's pixels are in one word, or in two. */
ITEM uint32_t cnn_kept(const struct cnn_dropout_args *a, size_t n, size_t pixel,
                       int count, struct cnn_group g)
{
    size_t at = g.first * (size_t)a->pixels + pixel, word = at / 4;
    uint64_t bits = cnn_draw(a, n, word);
    uint32_t kept = 0;
    CNN_ONCE
    for (int k = 0; k < g.count; k++, at += (size_t)a->pixels) {
        int from = (int)(at % 4);
        uint64_t now;
        if (at / 4 != word)
            bits = cnn_draw(a, n, word = at / 4);
        now = bits >> 16 * from;
        if (from + count > 4) {
            bits = cnn_draw(a, n, ++word);
            now |= bits << (64 - 16 * from);
        }
        for (int r = 0; r < CNN_ROWS; r++)
            if ((now >> 16 * r & 0xffff) >= a->threshold)
                kept |= 1u << (CNN_VECTOR * r + k);
    }
    return kept;
}

/* Four channels of four pixels: neighbours move neighbours, and of the bits that are
 * drawn at least half are for this item, all where pixels are a multiple of four.
 * Pixels that are not there are read as the first. */
ITEM void cnn_do_dropout(const struct cnn_dropout_args *a, struct cnn_group g)
{
    void *x = VIEW(void *, a->x);
    size_t channels = (size_t)a->channels, n = g.row, pixel, at;
    struct cnn_four now[CNN_ROWS];
    uint32_t kept;
    int count;
    pixel = CNN_ROWS * cnn_split(&n, (a->pixels + CNN_ROWS - 1) / CNN_ROWS);
    at = (n * (size_t)a->pixels + pixel) * channels + g.first;
    count = a->pixels - (int)pixel;
    count = count < CNN_ROWS ? count : (int)CNN_ROWS;
    for (int r = 0; r < CNN_ROWS; r++)
        now[r] = cnn_get4(x, at + (r < count ? (size_t)r : 0) * channels, g.count,
                          g.whole, g.half);
    kept = cnn_kept(a, n, pixel, count, g);
    for (int r = 0; r < CNN_ROWS; r++) {
        for (int k = 0; k < CNN_VECTOR; k++)
            now[r].v[k] *= kept >> (CNN_VECTOR * r + k) & 1 ? a->scale : 0;
        if (r < count)
            cnn_put4(x, at + (size_t)r * channels, now[r], g.count, g.whole, g.half);
    }
}

ITEM void cnn_item_dropout(const struct cnn_dropout_args *a, size_t i)
{
    CNN_EACH_ROW(cnn_do_dropout, a, i);
}

#endif
