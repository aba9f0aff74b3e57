/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rows of few features walk down a tree, 16 of them in a vector.
 *
 * WALKS rows are on their way at once. All take a step together, without a branch; one
 * that has come to a leaf steps on the spot. When ENDED have come to their end the
 * others close ranks, and new rows begin.
 */
#include "apply.h"

#include <immintrin.h>

#define WALKS  128
#define ENDED  (WALKS / 4)
#define VECTOR 16 /* walks */

/* Fields of the second word of a node, see tree.h. */
#define FEATURE    0x1fffff
#define KIND_AT    21
#define MISSING_AT 23
#define LIMIT_AT   24
#define SET_WORDS  ((int)(sizeof(struct category_set) / sizeof(uint32_t)))
#define SET_CHILD  (BINS / 32)

struct walks {
    uint32_t at[WALKS];  /* node */
    uint32_t row[WALKS]; /* offset of the row's bins */
    uint32_t i[WALKS];   /* of rows */
};

/* ---- one step of all walks ------------------------------------------------------ */

static __m512i all(int value)
{
    return _mm512_set1_epi32(value);
}

/* Categories: the sets' words take the place of link and side. */
static __mmask16 step_sets(const struct category_set *sets, __mmask16 category,
                           __m512i bin, __m512i *link, __mmask16 right)
{
    const __m512i zero = _mm512_setzero_si512();
    __m512i set = _mm512_mullo_epi32(*link, all(SET_WORDS));
    __m512i word = _mm512_mask_i32gather_epi32(
        zero, category, _mm512_add_epi32(set, _mm512_srli_epi32(bin, 5)), sets, 4);
    __m512i bit = _mm512_srlv_epi32(word, _mm512_and_epi32(bin, all(31)));
    *link = _mm512_mask_i32gather_epi32(*link, category,
                                        _mm512_add_epi32(set, all(SET_CHILD)), sets, 4);
    return (right & ~category) | _mm512_mask_testn_epi32_mask(category, bit, all(1));
}

/* The cells' bins. Whole words are read, which end where the bins do or hold other
 * bins: "bins" is a multiple of 4. */
static __m512i cells(const uint8_t *bins, __mmask16 go, __m512i offset)
{
    __m512i word = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), go,
                                               _mm512_srli_epi32(offset, 2), bins, 4);
    __m512i shift = _mm512_slli_epi32(_mm512_and_epi32(offset, all(3)), 3);
    return _mm512_and_epi32(_mm512_srlv_epi32(word, shift), all(BINS - 1));
}

/* How many had come to their end before. */
static inline uint32_t step(const struct tree *tree, const uint8_t *bins,
                            struct walks *w, bool has_sets)
{
    const __m512i even =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_or_epi32(even, all(1));
    uint32_t ended = 0;
    for (size_t l = 0; l < WALKS; l += VECTOR) {
        __m512i at = _mm512_loadu_si512(w->at + l);
        __m512i low =
            _mm512_i32gather_epi64(_mm512_castsi512_si256(at), tree->nodes, 8);
        __m512i high =
            _mm512_i32gather_epi64(_mm512_extracti64x4_epi64(at, 1), tree->nodes, 8);
        __m512i link = _mm512_permutex2var_epi32(low, even, high);
        __m512i rest = _mm512_permutex2var_epi32(low, odd, high);
        __mmask16 go = _mm512_test_epi32_mask(rest, all(3 << KIND_AT));
        __m512i offset = _mm512_add_epi32(_mm512_loadu_si512(w->row + l),
                                          _mm512_and_epi32(rest, all(FEATURE)));
        __m512i bin = cells(bins, go, offset);
        /* One is added to both sides where missing goes left, see tree_goes_left(). */
        __m512i shift = _mm512_and_epi32(_mm512_srli_epi32(rest, MISSING_AT), all(1));
        __m512i limit = _mm512_add_epi32(_mm512_srli_epi32(rest, LIMIT_AT), shift);
        __mmask16 right = _mm512_cmpgt_epi32_mask(
            _mm512_and_epi32(_mm512_add_epi32(bin, shift), all(BINS - 1)),
            _mm512_and_epi32(limit, all(BINS - 1)));
        if (has_sets)
            right = step_sets(
                tree->sets, _mm512_test_epi32_mask(rest, all(NODE_CATEGORY << KIND_AT)),
                bin, &link, right);
        __m512i child = _mm512_mask_add_epi32(link, right, link, all(1));
        _mm512_storeu_si512(w->at + l, _mm512_mask_mov_epi32(at, go, child));
        ended += VECTOR - (uint32_t)__builtin_popcount(go);
    }
    return ended;
}

/* ---- all rows ------------------------------------------------------------------- */

/* Of the first "active" walks those that have not ended come first; how many they are.
 * A walk that goes on is written down, too: its leaf will come over it. */
static size_t close_ranks(const struct tree *tree, struct walks *w, size_t active,
                          uint32_t *leaves)
{
    size_t to = 0;
    for (size_t l = 0; l < active; l++) {
        uint32_t at = w->at[l], row = w->row[l], i = w->i[l];
        leaves[i] = at;
        w->at[to] = at;
        w->row[to] = row;
        w->i[to] = i;
        to += tree->nodes[at].kind != NODE_LEAF;
    }
    return to;
}

/* Rows [first, end), none of which lies before the first one. */
static void apply_run(const struct tree *tree, const uint8_t *bins, size_t nfeatures,
                      const uint32_t *rows, size_t first, size_t end, uint32_t *leaves)
{
    const uint8_t *base = bins + rows[first] * nfeatures;
    size_t past = (uintptr_t)base % sizeof(uint32_t), active = 0;
    struct walks w;
    for (size_t l = 0; l < WALKS; l++) { /* those that no row is left for take part */
        w.at[l] = 0;
        w.row[l] = (uint32_t)past;
    }
    for (size_t next = first; next < end || active > 0;) {
        for (; active < WALKS && next < end; active++, next++) {
            w.at[active] = 0;
            w.row[active] = (uint32_t)((rows[next] - rows[first]) * nfeatures + past);
            w.i[active] = (uint32_t)next;
        }
        uint32_t enough = next < end ? ENDED : WALKS;
        while ((tree->nsets > 0 ? step(tree, base - past, &w, true)
                                : step(tree, base - past, &w, false)) < enough)
            continue;
        active = close_ranks(tree, &w, active, leaves);
    }
}

void apply_vectors(const struct tree *tree, const uint8_t *bins, size_t nfeatures,
                   const uint32_t *rows, size_t n, uint32_t *leaves)
{
    /* Offsets within a run are numbers of 31 bits. */
    size_t most = INT32_MAX / APPLY_NARROW - 1;
    for (size_t first = 0, end; first < n; first = end) {
        end = first + 1;
        while (end < n && rows[end] >= rows[first] && rows[end] - rows[first] < most)
            end++;
        apply_run(tree, bins, nfeatures, rows, first, end, leaves);
    }
}
