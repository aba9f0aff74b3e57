/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From rows to leaves: random trees of numbers, categories and missing values, against
 * a walk that is one line, for all instruction sets.
 */
#include "apply.h"
#include "prf_fixture.h"

#include <sys/mman.h>

#define MOST_WIDTH 70
#define MOST_NODES 4096

static const char *const names[] = {"c", "avx2", "avx512"};

static struct node random_node(struct tree *tree, size_t width, uint32_t left)
{
    struct node node = {.link = left,
                        .feature = random_below((uint32_t)width) & 0x1fffff,
                        .kind = NODE_NUMBER,
                        .missing_left = random_below(2) & 1,
                        .threshold = random_below(256) & 255};
    if (random_below(3) > 0)
        return node;
    struct category_set set = {.child = left};
    for (int b = 0; b < BINS; b++)
        set.left[b / 64] |= (uint64_t)random_below(2) << b % 64;
    uint32_t number;
    assert_true(tree_add_set(tree, &set, &number));
    node.kind = NODE_CATEGORY;
    node.link = number;
    return node;
}

/* Nodes are opened in random order until there are so many; the rest are leaves. */
static struct tree random_tree(size_t nnodes, size_t width, bool has_sets)
{
    struct tree tree = {0};
    uint32_t open[MOST_NODES] = {0};
    size_t nopen = 1;
    assert_true(tree_start(&tree));
    while (tree.nnodes + 2 <= nnodes) {
        size_t k = random_below((uint32_t)nopen);
        uint32_t at = open[k], left;
        assert_true(tree_add_pair(&tree, &left));
        do {
            tree.nodes[at] = random_node(&tree, width, left);
        } while (!has_sets && tree.nodes[at].kind == NODE_CATEGORY);
        open[k] = left;
        open[nopen++] = left + 1;
    }
    if (!has_sets)
        tree.nsets = 0;
    for (size_t k = 0; k < nopen; k++)
        tree.nodes[open[k]] = (struct node){.link = random_below(9), .kind = NODE_LEAF};
    return tree;
}

static uint32_t walk(const struct tree *tree, const uint8_t *row)
{
    uint32_t at = 0;
    for (const struct node *n; (n = &tree->nodes[at])->kind != NODE_LEAF;)
        at = tree_child(tree, n) + !tree_goes_left(n, tree->sets, row[n->feature]);
    return at;
}

static void compare(const struct tree *tree, const uint8_t *bins, size_t width,
                    const uint32_t *rows, size_t n)
{
    uint32_t *leaves = calloc(n + 1, sizeof *leaves);
    assert_non_null(leaves);
    for (size_t s = 0; s < sizeof names / sizeof *names; s++) {
        if (!has_isa(names[s]))
            continue;
        memset(leaves, 0xff, (n + 1) * sizeof *leaves);
        apply_for(names[s])(tree, bins, width, rows, n, leaves);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(leaves[i], walk(tree, bins + rows[i] * width));
        assert_int_equal(leaves[n], UINT32_MAX);
    }
    free(leaves);
}

static void random_trees(void **state)
{
    (void)state;
    static const size_t counts[] = {0, 1, 2, 31, 127, 128, 129, 1000};
    for (int round = 0; round < 200; round++) {
        size_t n = counts[random_below(8)], width = 1 + random_below(MOST_WIDTH);
        size_t skip = random_below(4), nodes = random_below(2) ? MOST_NODES : 9;
        struct tree tree =
            random_tree(1 + random_below((uint32_t)nodes), width, round % 2);
        /* Nothing is read beyond the last row but to the end of its word. */
        uint8_t *bins = malloc(n * width + skip + 1);
        uint32_t *rows = malloc((n + 1) * sizeof *rows);
        assert_true(bins && rows);
        for (size_t k = 0; k < n * width + skip; k++)
            bins[k] = (uint8_t)(random_below(5) ? random_below(256) : 255);
        for (size_t i = 0; i < n; i++)
            rows[i] = (uint32_t)(round % 3 ? i : random_below((uint32_t)n));
        compare(&tree, bins + skip, width, rows, n);
        free(rows);
        free(bins);
        tree_free(&tree);
    }
}

/* Rows of a table of 4 GiB, of which few pages are touched. */
static void far_apart(void **state)
{
    (void)state;
    const size_t width = 64, nrows = (size_t)1 << 26;
    uint8_t *bins = mmap(NULL, nrows * width, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (bins == MAP_FAILED)
        skip();
    uint32_t rows[300];
    for (size_t i = 0; i < 300; i++) {
        size_t place = (nrows - 1) * (i % 100) / 99;
        rows[i] = (uint32_t)place;
        for (size_t f = 0; f < width; f++)
            bins[place * width + f] = (uint8_t)random_below(256);
    }
    struct tree tree = random_tree(500, width, true);
    compare(&tree, bins, width, rows, 300);
    tree_free(&tree);
    munmap(bins, nrows * width);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_trees),
                                       cmocka_unit_test(far_apart)};
    return cmocka_run_group_tests(tests, fixture_seed, NULL);
}
