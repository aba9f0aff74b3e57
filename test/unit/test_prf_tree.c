/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Trees of dml-prf: one that is checked by hand, tables without anything to learn, the
 * share of rows out of bag, mtry usable features, records and what damages them.
 */
#include "prf_fixture.h"
#include "record.h"

static struct fixture fixture;

static struct tree grow(const struct grow_params *params, uint64_t number)
{
    struct tree tree = {0};
    int64_t importance[MAX_FEATURES] = {0};
    struct grower *grower = grower_create(&fixture.table, params);
    assert_non_null(grower);
    assert_true(grower_grow(grower, number, &tree, importance));
    grower_destroy(grower);
    return tree;
}

static uint32_t leaf_of(const struct tree *tree, const uint8_t *row)
{
    uint32_t zero = 0, leaf = 0;
    apply_for("c")(tree, row, fixture.table.nfeatures, &zero, 1, &leaf);
    assert_int_equal(tree->nodes[leaf].kind, NODE_LEAF);
    return tree->nodes[leaf].link;
}

/* Feature 0 is 10 for class 0 and 20 or 40 for the others, which feature 1 tells apart
 * between 3 and 8: the root must cut feature 0 at 15, its right child feature 1 at 5.
 * 40 rows of each, so that all three are drawn. */
static void checked_by_hand(void **state)
{
    (void)state;
    size_t n = 120;
    fixture_make(&fixture, n, 2, 3, 2);
    for (size_t r = 0; r < n; r++) {
        size_t c = r % 3;
        fixture.label[r] = (uint16_t)c;
        fixture.by_row[2 * r] = c == 0 ? 10 : r % 2 ? 20 : 40;
        fixture.by_row[2 * r + 1] = c == 1 ? 3 : c == 2 ? 8 : r % 2 ? 3 : 8;
        fixture.by_column[r] = fixture.by_row[2 * r];
        fixture.by_column[n + r] = fixture.by_row[2 * r + 1];
    }
    struct grow_params params = params_of(&fixture.table, 2);
    struct tree tree = grow(&params, 0);
    assert_int_equal(tree.nnodes, 5);
    assert_int_equal(tree.depth, 2);
    assert_int_equal(tree.nodes[0].feature, 0);
    assert_int_equal(tree.nodes[0].threshold, 15);
    const struct node *right = &tree.nodes[tree.nodes[0].link + 1];
    assert_int_equal(right->feature, 1);
    assert_int_equal(right->threshold, 5);
    const uint8_t rows[3][2] = {{15, 3}, {16, 5}, {255, 6}};
    for (uint32_t c = 0; c < 3; c++)
        assert_int_equal(leaf_of(&tree, rows[c]), c);
    tree_free(&tree);
}

static void nothing_to_learn(void **state)
{
    (void)state;
    static const struct {
        size_t n, width, nclasses;
        uint32_t bins;
    } cases[] = {
        {1, 3, 2, 9}, {50, 3, 1, 9}, {50, 2, 3, 1}, {1, 1, 0, 1}, {50, 2, 0, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture_make(&fixture, cases[i].n, cases[i].width, cases[i].nclasses,
                     cases[i].bins);
        struct grow_params params = params_of(&fixture.table, cases[i].width);
        struct tree tree = grow(&params, i);
        assert_int_equal(tree.nnodes, 1);
        assert_int_equal(tree.nodes[0].kind, NODE_LEAF);
        tree_free(&tree);
    }
}

static void every_weight_is_zero(void **state)
{
    (void)state;
    fixture_make(&fixture, 20, 2, 2, 9);
    memset(fixture.weight, 0, sizeof fixture.weight);
    fixture.table.weight = fixture.weight;
    struct grow_params params = params_of(&fixture.table, 2);
    struct tree tree = grow(&params, 0);
    assert_int_equal(tree.nnodes, 1);
    tree_free(&tree);
}

/* Rows that differ in nothing but their label end in one leaf with its shares. */
static void duplicate_rows(void **state)
{
    (void)state;
    fixture_make(&fixture, 400, 2, 2, 1);
    for (size_t r = 0; r < 400; r++)
        fixture.label[r] = r % 4 == 0;
    struct grow_params params = params_of(&fixture.table, 2);
    struct tree tree = grow(&params, 3);
    assert_int_equal(tree.nnodes, 1);
    assert_int_equal(tree.nshares, 1);
    assert_in_range(tree.shares[1], 10000, 23000); /* a quarter of 65535, drawn */
    assert_in_range(tree.shares[0] + tree.shares[1], 65534, 65536);
    tree_free(&tree);
}

/* mtry 1 of 40 features of which one is not constant: it must be found everywhere. */
static void constant_features_do_not_count(void **state)
{
    (void)state;
    size_t n = 500, width = 40;
    fixture_make(&fixture, n, width, 2, 1);
    for (size_t r = 0; r < n; r++) {
        uint8_t bin = (uint8_t)random_below(200);
        fixture.by_row[r * width + 17] = fixture.by_column[17 * n + r] = bin;
        fixture.label[r] = bin / 20 % 2;
    }
    struct grow_params params = params_of(&fixture.table, 1);
    struct tree tree = grow(&params, 1);
    assert_true(tree.nnodes >= 19);
    assert_int_equal(tree.nshares, 0);
    for (size_t i = 0; i < tree.nnodes; i++)
        if (tree.nodes[i].kind != NODE_LEAF)
            assert_int_equal(tree.nodes[i].feature, 17);
    tree_free(&tree);
}

static void limits_hold(void **state)
{
    (void)state;
    fixture_make(&fixture, 2000, 5, 3, 50);
    struct grow_params params = params_of(&fixture.table, 2);
    params.max_depth = 4;
    struct tree tree = grow(&params, 0);
    assert_int_equal(tree.depth, 4);
    assert_true(tree.nnodes <= 31);
    tree_free(&tree);
    params.max_depth = 0;
    params.min_leaf = 100;
    tree = grow(&params, 0);
    assert_true(tree.nnodes <= 2 * 20 - 1); /* 2000 drawn, 100 a leaf */
    tree_free(&tree);
}

static void a_third_is_out_of_bag(void **state)
{
    (void)state;
    size_t out = 0, n = MAX_ROWS, ntrees = 20;
    fixture_make(&fixture, n, 1, 2, 2);
    struct grow_params params = params_of(&fixture.table, 1);
    params.max_depth = 1;
    struct grower *grower = grower_create(&fixture.table, &params);
    int64_t importance[1] = {0};
    struct tree tree = {0};
    for (size_t t = 0; t < ntrees; t++) {
        assert_true(grower_grow(grower, t, &tree, importance));
        for (size_t r = 0; r < n; r++)
            out += grower_drawn(grower)[r] == 0;
    }
    /* e^-1 of the rows; the standard deviation of the mean is about 0.0013. */
    double share = (double)out / (double)(n * ntrees);
    assert_true(fabs(share - 0.3679) < 0.007);
    tree_free(&tree);
    grower_destroy(grower);
}

static void records_come_back(void **state)
{
    (void)state;
    for (int k = 0; k < 6; k++) {
        size_t nclasses = k % 3 == 2 ? 0 : 3;
        fixture_make(&fixture, 300, 4, nclasses, 6);
        if (k % 2)
            fixture.flags[0] = COLUMN_CATEGORY | COLUMN_MISSING;
        struct grow_params params = params_of(&fixture.table, 2);
        params.min_leaf = 3;
        struct tree tree = grow(&params, (uint64_t)k), again = {0}, spare = {0};
        size_t bytes = record_bytes(&tree, nclasses);
        unsigned char *record = malloc(bytes), *second = malloc(bytes);
        record_write(&tree, nclasses, record);
        assert_int_equal(record_bytes_of(record, nclasses), bytes);
        assert_null(record_read(record, nclasses, 4, &again));
        record_write(&again, nclasses, second);
        assert_memory_equal(record, second, bytes);
        /* Grown trees are canonical already. */
        assert_true(tree_canonical(&again, nclasses, &spare));
        record_write(&again, nclasses, second);
        assert_memory_equal(record, second, bytes);
        tree_free(&again);
        tree_free(&spare);
        /* Any damage is found, or leaves a tree whose walks end. */
        for (int d = 0; d < 300; d++) {
            memcpy(second, record, bytes);
            second[random_below((uint32_t)bytes)] ^=
                (unsigned char)(1 + random_below(255));
            if (record_bytes_of(second, nclasses) == bytes &&
                !record_read(second, nclasses, 4, &again))
                (void)leaf_of(&again, fixture.by_row);
            else
                assert_true(record_bytes_of(second, nclasses) != bytes || again.nnodes);
            if (record_bytes_of(second, nclasses) == bytes)
                tree_free(&again);
        }
        free(record);
        free(second);
        tree_free(&tree);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checked_by_hand),
        cmocka_unit_test(nothing_to_learn),
        cmocka_unit_test(every_weight_is_zero),
        cmocka_unit_test(duplicate_rows),
        cmocka_unit_test(constant_features_do_not_count),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(a_third_is_out_of_bag),
        cmocka_unit_test(records_come_back),
    };
    return cmocka_run_group_tests(tests, fixture_seed, NULL);
}
