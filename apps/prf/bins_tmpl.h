/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The scan in one type of floating point: REAL, with whole numbers of its size, WHOLE.
 * NAME is the function's. Included by bins_set.c.
 */
#define JOIN_(a, b) a##_##b
#define JOIN(a, b)  JOIN_(a, b)
#define VEC         JOIN(NAME, vec)
#define MASK        JOIN(NAME, mask)
#define COUNT       JOIN(NAME, count)
#define SIGNED      JOIN(NAME, signed)
#define PART        JOIN(NAME, part)
#define SCAN_PART   JOIN(NAME, scan_part)

#define LANE_COUNT (64 / sizeof(REAL))

typedef REAL VEC __attribute__((vector_size(64)));
typedef WHOLE MASK __attribute__((vector_size(64)));
typedef uint32_t COUNT __attribute__((vector_size(LANE_COUNT * 4), aligned(4)));
typedef int32_t SIGNED __attribute__((vector_size(LANE_COUNT * 4)));

/* What the lanes of a vector have found: the best cut, and after which row. */
struct PART {
    VEC best;
    MASK at, differs;
};

/* counts and run begin at the first of the vector's lanes. */
static void SCAN_PART(const struct bins_node *node, const uint32_t *counts,
                      uint32_t *run, REAL whole, struct PART *part)
{
    REAL weight = (REAL)node->weight, min_leaf = (REAL)node->min_leaf;
    VEC best = (VEC){0} - 1;
    MASK at = {0}, differs = {0};
    for (size_t k = 0; k < BINS_SIDE; k++) {
        VEC squares = {0}, cross = {0}, left = {0};
        for (size_t c = 0; c < node->nclasses; c++) {
            COUNT *sum = (COUNT *)(run + c * BINS_SIDE);
            *sum += *(const COUNT *)(counts + c * BINS + k * BINS_SIDE);
            VEC mine = __builtin_convertvector((SIGNED)*sum, VEC);
            squares += mine * mine;
            cross += mine * (REAL)node->total[c];
            left += mine;
        }
        VEC right = weight - left;
        /* Of the right side: sum of (total - left)^2. */
        VEC others = whole - 2 * cross + squares;
        VEC score = (squares * right + others * left) / (left * right);
        MASK better = (left >= min_leaf) & (right >= min_leaf) & (score > best);
        best = (VEC)(((MASK)score & better) | ((MASK)best & ~better));
        at = ((WHOLE)k & better) | (at & ~better);
        differs |= (left > 0) & (right > 0);
    }
    *part = (struct PART){best, at, differs};
}

static void NAME(const struct bins_node *node, const uint32_t *counts, uint32_t *room,
                 struct bins_cut *cut)
{
    REAL whole = 0, top = -1;
    WHOLE any = 0;
    size_t low = 0;
    for (size_t c = 0; c < node->nclasses; c++)
        whole += (REAL)node->total[c] * (REAL)node->total[c];
    for (size_t first = 0; first < BINS_SIDE; first += LANE_COUNT) {
        struct PART part;
        SCAN_PART(node, counts + first, room + first, whole, &part);
        for (size_t l = 0; l < LANE_COUNT; l++) {
            any |= part.differs[l];
            if (part.best[l] > top) {
                top = part.best[l];
                low = (first + l) * BINS_SIDE + (size_t)part.at[l];
            }
        }
    }
    *cut = (struct bins_cut){
        .constant = !any, .found = top >= 0, .score = (double)top, .low = (uint8_t)low};
    if (cut->found)
        cut->high = next_bin(counts, node->nclasses, low);
}

#undef LANE_COUNT
#undef PART
#undef SCAN_PART
#undef COUNT
#undef SIGNED
#undef JOIN_
#undef JOIN
#undef VEC
#undef MASK
#undef REAL
#undef WHOLE
#undef NAME
