/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Best splits of dml-prf against a search that tries every cut of every feature: small
 * nodes and large ones, all criteria, weights, missing values, categories; and the
 * instruction sets against each other.
 */

#include "prf_fixture.h"

/* ---- a search that tries everything --------------------------------------------- */

struct brute {
    const struct fixture *f;
    const uint8_t *drawn;
    enum criterion criterion;
    double min_leaf;
};

static double weight_of(const struct brute *b, size_t r)
{
    return (double)b->drawn[r] * (b->f->table.weight ? b->f->weight[r] : 1);
}

/* Purity of the rows with side[r] == which, by definition; weight in *sum. */
static double purity(const struct brute *b, const uint8_t *side, uint8_t which,
                     double *sum)
{
    double of_class[64] = {0}, w = 0, y = 0, result = 0;
    for (size_t r = 0; r < b->f->table.nrows; r++) {
        if (side[r] != which)
            continue;
        double weight = weight_of(b, r);
        w += weight;
        y += weight * b->f->target[r];
        of_class[b->f->label[r]] += weight;
    }
    *sum = w;
    if (w <= 0)
        return 0;
    if (b->criterion == CRITERION_SQUARES)
        return y * y / w;
    for (int c = 0; c < 64; c++) {
        double p = of_class[c];
        if (b->criterion == CRITERION_GINI)
            result += p * p / w;
        else if (p > 0)
            result += p * log2(p / w) * (1 << 20);
    }
    return result;
}

static double score_of(const struct brute *b, const uint8_t *side)
{
    double left, right;
    double score = purity(b, side, 1, &left) + purity(b, side, 0, &right);
    return left >= b->min_leaf && right >= b->min_leaf ? score : -INFINITY;
}

/* The best score over all cuts of a feature, with missing bins on either side. */
static double best_of_feature(const struct brute *b, size_t feature)
{
    static uint8_t side[MAX_ROWS];
    double best = -INFINITY;
    const uint8_t *bin = b->f->by_column + feature * b->f->table.nrows;
    bool missing = b->f->flags[feature] & COLUMN_MISSING;
    for (int cut = 0; cut < BINS; cut++)
        for (int left = 0; left < (missing ? 2 : 1); left++) {
            for (size_t r = 0; r < b->f->table.nrows; r++)
                side[r] =
                    missing && bin[r] == BIN_MISSING ? (uint8_t)left : bin[r] <= cut;
            best = fmax(best, score_of(b, side));
        }
    return best;
}

/* All subsets of up to 6 categories. */
static double best_of_categories(const struct brute *b, size_t feature)
{
    static uint8_t side[MAX_ROWS];
    double best = -INFINITY;
    const uint8_t *bin = b->f->by_column + feature * b->f->table.nrows;
    for (unsigned set = 1; set < 63; set++) {
        for (size_t r = 0; r < b->f->table.nrows; r++)
            side[r] = set >> bin[r] & 1;
        best = fmax(best, score_of(b, side));
    }
    return best;
}

/* The root of a tree is the best split: its score equals the best of all. */
static void check_root(const struct fixture *f, const struct grow_params *params,
                       double relative)
{
    static uint8_t side[MAX_ROWS];
    struct tree tree = {0};
    int64_t importance[MAX_FEATURES] = {0};
    struct grower *grower = grower_create(&f->table, params);
    assert_non_null(grower);
    assert_true(grower_grow(grower, random_below(1000), &tree, importance));
    struct brute b = {.f = f,
                      .drawn = grower_drawn(grower),
                      .criterion = params->criterion,
                      .min_leaf = (double)params->min_leaf};
    double best = -INFINITY;
    for (size_t c = 0; c < f->table.nfeatures; c++)
        best = fmax(best, f->flags[c] & COLUMN_CATEGORY ? best_of_categories(&b, c)
                                                        : best_of_feature(&b, c));
    if (tree.nodes[0].kind == NODE_LEAF) {
        assert_true(isinf(best));
    } else {
        const struct node *root = &tree.nodes[0];
        const uint8_t *bin = f->by_column + root->feature * f->table.nrows;
        for (size_t r = 0; r < f->table.nrows; r++)
            side[r] = tree_goes_left(root, tree.sets, bin[r]);
        double score = score_of(&b, side);
        if (fabs(score - best) > relative * fabs(best))
            fail_msg("score %.17g, best %.17g", score, best);
    }
    tree_free(&tree);
    grower_destroy(grower);
}

static struct fixture fixture;

static void small_nodes(void **state)
{
    (void)state;
    for (int k = 0; k < 40; k++) {
        fixture_make(&fixture, 2 + random_below(150), 1 + random_below(8),
                     2 + random_below(4), 2 + random_below(250));
        struct grow_params params = params_of(&fixture.table, MAX_FEATURES);
        params.min_leaf = 1 + random_below(6);
        check_root(&fixture, &params, 1e-6);
    }
}

static void large_nodes(void **state)
{
    (void)state;
    for (int k = 0; k < 4; k++) {
        fixture_make(&fixture, MAX_ROWS - random_below(500), 3, 2 + random_below(12),
                     2 + random_below(40));
        struct grow_params params = params_of(&fixture.table, MAX_FEATURES);
        params.min_leaf = 1 + random_below(100);
        check_root(&fixture, &params, 1e-12);
    }
}

static void entropy_and_squares(void **state)
{
    (void)state;
    for (int k = 0; k < 20; k++) {
        size_t n = k % 4 == 0 ? 900 : 2 + random_below(200);
        fixture_make(&fixture, n, 3, k % 2 ? 3 : 0, 2 + random_below(30));
        struct grow_params params = params_of(&fixture.table, MAX_FEATURES);
        if (k % 2)
            params.criterion = CRITERION_ENTROPY;
        check_root(&fixture, &params, 1e-6);
    }
}

static void row_weights(void **state)
{
    (void)state;
    for (int k = 0; k < 20; k++) {
        size_t n = k % 4 == 0 ? 900 : 20 + random_below(200);
        fixture_make(&fixture, n, 3, k % 2 ? 3 : 0, 2 + random_below(30));
        fixture.table.weight = fixture.weight;
        struct grow_params params = params_of(&fixture.table, MAX_FEATURES);
        params.min_leaf = 1 + random_below(5);
        check_root(&fixture, &params, 1e-9);
    }
}

static void missing_values_and_categories(void **state)
{
    (void)state;
    for (int k = 0; k < 30; k++) {
        size_t n = k % 5 == 0 ? 900 : 10 + random_below(200);
        fixture_make(&fixture, n, 4, k % 3 ? 2 : 0, 6);
        fixture.flags[0] = COLUMN_MISSING;
        fixture.flags[1] = COLUMN_CATEGORY | COLUMN_MISSING;
        for (size_t r = 0; r < n; r++)
            if (random_below(3) == 0)
                fixture.by_row[r * 4] = fixture.by_column[r] = BIN_MISSING;
        struct grow_params params = params_of(&fixture.table, MAX_FEATURES);
        check_root(&fixture, &params, 1e-6);
    }
}

/* ---- instruction sets ----------------------------------------------------------- */

static void sets_agree(void **state)
{
    (void)state;
    static const char *const names[] = {"c", "avx2", "avx512"};
    struct lanes *lanes[3];
    uint16_t differs[3][LANES];
    for (int s = 0; s < 3; s++)
        lanes[s] = aligned_alloc(64, sizeof *lanes[s]);
    for (int k = 0; k < 50; k++) {
        size_t n = 1 + random_below(k % 10 ? 80 : LANES_ROWS), nclasses = 1;
        memset(lanes[0], 0, sizeof *lanes[0]);
        for (size_t l = 0; l < LANES; l++)
            for (size_t i = 0; i < n; i++) {
                uint32_t c = random_below(6), w = random_below(3) + 1;
                nclasses = c >= nclasses ? c + 1 : nclasses;
                lanes[0]->key[i][l] =
                    (uint16_t)(random_below(40) << 8 | LANES_CODE(c, w));
                lanes[0]->total[c][l] = (uint16_t)(lanes[0]->total[c][l] + w);
                lanes[0]->weight[l] = (uint16_t)(lanes[0]->weight[l] + w);
            }
        for (size_t l = 0; l < LANES; l++)
            for (size_t c = 0; c < nclasses; c++)
                lanes[0]->squares[l] += lanes[0]->total[c][l] * lanes[0]->total[c][l];
        for (int s = 1; s < 3; s++)
            memcpy(lanes[s], lanes[0], sizeof *lanes[0]);
        for (int s = 0; s < 3; s++) {
            if (!has_isa(names[s]))
                continue;
            const struct lanes_set *set = lanes_for(names[s]);
            set->compare(lanes[s], n, differs[s]);
            set->sort(lanes[s], n);
            set->scan(lanes[s], n, nclasses, 2);
            assert_memory_equal(lanes[s], lanes[0], sizeof *lanes[0]);
            assert_memory_equal(differs[s], differs[0], sizeof differs[0]);
        }
        for (size_t i = 1; i < n; i++)
            for (size_t l = 0; l < LANES; l++)
                assert_true(lanes[0]->key[i - 1][l] <= lanes[0]->key[i][l]);
    }
    for (int s = 0; s < 3; s++)
        free(lanes[s]);
}

/* Rows in one lane and as counts: both ways find the same cut with the same score. */
static void make_rows(struct lanes *lanes, uint32_t *counts, int64_t *total, size_t n,
                      uint32_t nclasses, uint32_t nbins)
{
    memset(lanes, 0, sizeof *lanes);
    memset(counts, 0, nclasses * BINS * sizeof *counts);
    memset(total, 0, nclasses * sizeof *total);
    uint32_t base = random_below(BINS - nbins + 1);
    for (size_t i = 0; i < n; i++) {
        uint32_t c = random_below(nclasses), w = random_below(4) + 1;
        uint32_t b = base + random_below(nbins);
        for (size_t l = 0; l < LANES; l++)
            lanes->key[i][l] = (uint16_t)(b << 8 | LANES_CODE(c, w));
        counts[c * BINS + bins_place((uint8_t)b)] += w;
        total[c] += w;
    }
    for (size_t l = 0; l < LANES; l++)
        for (size_t c = 0; c < nclasses; c++) {
            lanes->total[c][l] = (uint16_t)total[c];
            lanes->weight[l] = (uint16_t)(lanes->weight[l] + total[c]);
            lanes->squares[l] += (int32_t)(total[c] * total[c]);
        }
}

static void bins_find_what_lanes_find(void **state)
{
    (void)state;
    static const char *const names[] = {"c", "avx2", "avx512"};
    static uint32_t counts[LANES_CLASSES * BINS], room[LANES_CLASSES * BINS_SIDE];
    int64_t total[LANES_CLASSES];
    struct lanes *lanes = aligned_alloc(64, sizeof *lanes);
    assert_non_null(lanes);
    for (int k = 0; k < 300; k++) {
        uint32_t nclasses = 1 + random_below(12);
        uint32_t nbins = k % 3 ? 1 + random_below(6) : BINS;
        size_t n = 1 + random_below(k % 5 ? 40 : LANES_ROWS);
        make_rows(lanes, counts, total, n, nclasses, nbins);
        struct bins_node node = {nclasses, total, lanes->weight[0],
                                 1 + random_below(3)};
        lanes_for("c")->sort(lanes, n);
        lanes_for("c")->scan(lanes, n, nclasses, (uint16_t)node.min_leaf);
        for (int s = 0; s < 3; s++) {
            struct bins_cut cut;
            if (!has_isa(names[s]))
                continue;
            bins_for(names[s])->scan(&node, counts, room, &cut);
            assert_int_equal(cut.found, lanes->score[0] >= 0);
            assert_int_equal(cut.constant,
                             lanes->key[0][0] >> 8 == lanes->key[n - 1][0] >> 8);
            assert_true(!cut.found || cut.score == (double)lanes->score[0]);
            assert_true(!cut.found || cut.low == lanes->low[0]);
            assert_true(!cut.found || cut.high == lanes->high[0]);
        }
    }
    free(lanes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_nodes),
        cmocka_unit_test(large_nodes),
        cmocka_unit_test(entropy_and_squares),
        cmocka_unit_test(row_weights),
        cmocka_unit_test(missing_values_and_categories),
        cmocka_unit_test(sets_agree),
        cmocka_unit_test(bins_find_what_lanes_find),
    };
    return cmocka_run_group_tests(tests, fixture_seed, NULL);
}
