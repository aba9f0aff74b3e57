/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A team of one rank with sharded rows grows the trees that a grower grows alone, for
 * all criteria, weights, words and missing values: with every node judged by histograms
 * (alone they are sorted in lanes, as soon as they are small), and with subtrees whose
 * rows are moved. And sums that travel in limbs.
 */
#include "exact.h"
#include "prf_fixture.h"
#include "record.h"

static struct fixture fixture;

/* ---- a team of one -----------------------------------------------------------------
 */

static size_t moved;

static bool sum_u32(void *user, uint32_t *values, size_t n)
{
    (void)user, (void)values, (void)n;
    return true;
}

static bool sum_i64(void *user, int64_t *values, size_t n)
{
    (void)user, (void)values, (void)n;
    return true;
}

static bool exchange_records(void *user, const unsigned char *mine, size_t bytes,
                             unsigned char **all, size_t *all_bytes)
{
    (void)user;
    *all = malloc(bytes + 1);
    *all_bytes = bytes;
    if (*all && bytes > 0)
        memcpy(*all, mine, bytes);
    return *all != NULL;
}

static bool move(void *user, const struct grow_move *rows)
{
    (void)user;
    unsigned char *record = calloc(1, rows->bytes);
    int to;
    assert_non_null(record);
    while ((to = rows->next(rows->self, record)) >= 0) {
        assert_int_equal(to, 0);
        assert_true(rows->take(rows->self, record));
        moved++;
    }
    assert_false(rows->take(rows->self, record)); /* all have come */
    free(record);
    return true;
}

/* ---- both ways ---------------------------------------------------------------------
 */

static unsigned char *grow(const struct grow_params *params, uint64_t number,
                           int64_t *importance, size_t *bytes)
{
    struct tree tree = {0};
    size_t nclasses = fixture.table.nclasses;
    struct grower *grower = grower_create(&fixture.table, params);
    assert_non_null(grower);
    assert_true(grower_grow(grower, number, &tree, importance));
    grower_destroy(grower);
    *bytes = record_bytes(&tree, nclasses);
    unsigned char *record = malloc(*bytes);
    assert_non_null(record);
    record_write(&tree, nclasses, record);
    tree_free(&tree);
    return record;
}

static void check(struct grow_params params, size_t nodes_alone, size_t rows_at_once)
{
    int64_t importance[2][MAX_FEATURES] = {{0}};
    uint64_t number = random_below(1000);
    size_t bytes, team_bytes;
    struct grow_team team = {.nranks = 1,
                             .by_rows = true,
                             .sharded = true,
                             .alone = nodes_alone,
                             .moved_rows = rows_at_once,
                             .sum_u32 = sum_u32,
                             .sum_i64 = sum_i64,
                             .exchange_records = exchange_records,
                             .move = move};
    unsigned char *record = grow(&params, number, importance[0], &bytes);
    params.team = &team;
    unsigned char *other = grow(&params, number, importance[1], &team_bytes);
    assert_int_equal(team_bytes, bytes);
    assert_memory_equal(other, record, bytes);
    assert_memory_equal(importance[1], importance[0], sizeof importance[0]);
    free(record);
    free(other);
}

/* Importance is counted in units that keep its sums in 64 bits: the targets' variance
 * in dml-prf; here what bounds it. */
static double largest_square(void)
{
    double largest = 1;
    for (size_t r = 0; r < fixture.table.nrows; r++)
        largest = fmax(largest, (double)fixture.target[r] * (double)fixture.target[r]);
    return largest;
}

/* A random table: of classes or numbers, some with weights, words, missing values. */
static struct grow_params random_table(uint32_t k)
{
    static const enum criterion of_classes[] = {CRITERION_GINI, CRITERION_ENTROPY,
                                                CRITERION_RATIO};
    size_t n = k % 5 ? 1 + random_below(400) : 2500, width = 6;
    bool classes = k % 4 < 3;
    fixture_make(&fixture, n, width, classes ? 2 + random_below(5) : 0,
                 2 + random_below(200));
    if (k % 3 == 1)
        fixture.table.weight = fixture.weight;
    if (k % 2) {
        fixture.flags[1] = COLUMN_MISSING;
        fixture.flags[2] = COLUMN_CATEGORY | COLUMN_MISSING;
        for (size_t r = 0; r < n; r++)
            if (random_below(3) == 0)
                fixture.by_row[r * width + 1] = fixture.by_column[n + r] = BIN_MISSING;
    }
    struct grow_params params = params_of(&fixture.table, 1 + random_below(6));
    if (classes)
        params.criterion = of_classes[k % 4];
    params.impurity = classes ? 1 << 20 : largest_square();
    params.min_leaf = 1 + random_below(3);
    return params;
}

static void histograms_find_what_lanes_find(void **state)
{
    (void)state;
    moved = 0;
    for (uint32_t k = 0; k < 120; k++)
        check(random_table(k), 0, 1);
    assert_int_equal(moved, 0);
}

static void moved_rows_grow_the_same(void **state)
{
    (void)state;
    moved = 0;
    for (uint32_t k = 0; k < 120; k++) {
        size_t alone = 1 + random_below(300);
        check(random_table(k), alone, alone + random_below(500));
    }
    assert_true(moved > 0);
}

/* Few rows drawn very often stand in more entries than there are rows. */
static void more_entries_than_rows(void **state)
{
    (void)state;
    fixture_make(&fixture, 3, 2, 2, 50);
    fixture.table.all_rows = 3;
    struct grow_params params = params_of(&fixture.table, 2);
    params.draws = 300;
    check(params, 0, 1);
    check(params, 100, 100);
}

/* Sums and differences of parts, as limbs, are those of the whole. */
static void limbs_add_up(void **state)
{
    (void)state;
    for (int k = 0; k < 1000; k++) {
        int64_t whole[EXACT_LIMBS], part[EXACT_LIMBS], sum[EXACT_LIMBS] = {0};
        exact squares = 0;
        exact_signed y = 0;
        for (int p = 0; p < 5; p++) {
            int64_t mine =
                ((int64_t)random_below(UINT32_MAX) << 9) - ((int64_t)1 << 40);
            squares += exact_square(mine) << random_below(30);
            y += mine;
            exact_put((exact)(exact_signed)mine, part);
            for (int i = 0; i < EXACT_LIMBS; i++)
                sum[i] += part[i];
        }
        assert_true((exact_signed)exact_get(sum) == y);
        exact_put(squares, whole);
        assert_true(exact_get(whole) == squares);
        exact_put(squares / 3, part);
        for (int i = 0; i < EXACT_LIMBS; i++)
            whole[i] -= part[i];
        assert_true(exact_get(whole) == squares - squares / 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(histograms_find_what_lanes_find),
        cmocka_unit_test(moved_rows_grow_the_same),
        cmocka_unit_test(more_entries_than_rows),
        cmocka_unit_test(limbs_add_up),
    };
    return cmocka_run_group_tests(tests, fixture_seed, NULL);
}
