/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tables at large: random ones, shares of one file, all sets of kernels, rows past the
 * limit, memory that ends.
 */
#include "table_fixture.h"

/* A random table into text, and what it holds, as join() writes it, into want. Cells
 * are short or long, so that rows and quotes cross the reader's pieces. */
static void random_table(uint64_t seed, bool newlines, char *text, char *want,
                         size_t room)
{
    static const char letters[] = "ab,\"\n;1 ";
    size_t at = 0, n = 0, columns = 2 + dml_rng_u64(seed, 1, 0) % 4;
    for (uint64_t i = 0;; i++) {
        size_t length = (size_t)(dml_rng_u64(seed, 2, i) % 12);
        if (dml_rng_u64(seed, 3, i) % 200 == 0)
            length = (size_t)(dml_rng_u64(seed, 4, i) % 4000);
        /* An empty first cell of a row is quoted: a row is no empty line. */
        bool quoted = dml_rng_u64(seed, 5, i) % 2 == 0 || length == 0;
        if (quoted)
            text[at++] = '"';
        for (uint64_t b = 0; b < length; b++) {
            char c = letters[dml_rng_u64(seed, 6 + i, b) % (sizeof letters - 1)];
            if ((!quoted && strchr(",\"\n", c) != NULL) || (c == '\n' && !newlines))
                c = 'c';
            if (c == '"')
                text[at++] = '"';
            text[at++] = c;
            want[n++] = c;
        }
        if (quoted)
            text[at++] = '"';
        bool last = (i + 1) % columns == 0;
        if (last && dml_rng_u64(seed, 7, i) % 3 == 0)
            text[at++] = '\r';
        text[at++] = last ? '\n' : ',';
        want[n++] = '|';
        if (last)
            want[n++] = '\n';
        if (last && (at > room / 2 || i > 20000))
            break;
    }
    text[at] = '\0';
    want[n] = '\0';
}

static void random_tables_come_back(void **state)
{
    fixture *f = *state;
    enum { ROOM = 700000 };
    char *text = malloc(ROOM), *want = malloc(ROOM), *got = malloc(ROOM);
    assert_non_null(text);
    assert_non_null(want);
    assert_non_null(got);
    for (uint64_t seed = 1; seed < 30; seed++) {
        random_table(seed, true, text, want, ROOM);
        write_file(f->images, seed % 2 == 0, text, strlen(text));
        dml_table_opts opts;
        dml_table_opts_init(&opts);
        opts.header = DML_HEADER_NO;
        opts.delimiter = ',';
        dml_table *t = open_table(f, &opts);
        assert_int_equal(join(t, got, ROOM), DML_EEND);
        if (strcmp(got, want) != 0)
            fail_msg("seed %d: another table", (int)seed);
        dml_table_close(t);
    }
    free(got);
    free(want);
    free(text);
}

static void shares_cover_the_table(void **state)
{
    fixture *f = *state;
    enum { ROWS = 300 };
    char text[8000] = "id,word,value\n";
    for (int i = 0; i < ROWS; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%d,\"w %d\",%d.5\n",
                 i, i, i);
    put(f, text);
    for (int nranks = 1; nranks < 400; nranks = 3 * nranks / 2 + 1) {
        double next = 0;
        for (int rank = 0; rank < nranks; rank++) {
            dml_table_opts opts;
            dml_table_opts_init(&opts);
            opts.text.rank = rank;
            opts.text.nranks = nranks;
            dml_table *t = open_table(f, &opts);
            dml_table_block b;
            assert_int_equal(dml_table_columns(t), 3);
            assert_string_equal(dml_table_name(t, 2), "value");
            dml_table_set_type(t, 1, DML_COLUMN_SKIP);
            while (dml_table_next(t, &b) == DML_OK)
                for (size_t r = 0; r < b.rows; r++, next++)
                    assert_true(b.columns[0].f64[r] == next &&
                                b.columns[2].f64[r] == next + 0.5);
            dml_table_close(t);
        }
        assert_true(next == ROWS);
    }
    put(f, "a,b\n1,2\n\"x\ny\",3\n1,2\n");
    dml_table_opts opts;
    dml_table_opts_init(&opts);
    opts.text.nranks = 2;
    opts.header = DML_HEADER_NO;
    dml_status worst = DML_EEND;
    for (opts.text.rank = 0; opts.text.rank < 2; opts.text.rank++) {
        char rows[100];
        dml_table *t = open_table(f, &opts);
        dml_status status = join(t, rows, sizeof rows);
        worst = status != DML_EEND ? status : worst;
        dml_table_close(t);
    }
    assert_int_equal(worst, DML_EFORMAT);
}

/* Whichever share holds the header passes over it, once. */
static void a_header_behind_empty_lines(void **state)
{
    fixture *f = *state;
    for (int blank = 0; blank <= 60; blank += blank % 5 + 1) {
        char text[200] = "";
        if (blank % 3 == 0)
            strcat(text, "\xEF\xBB\xBF");
        for (int i = 0; i < blank; i++)
            strcat(text, i % 3 == 0 ? "\r\n" : "\n");
        strcat(text, "id,value\n\n0,1\n1,2\n2,3\n");
        put(f, text);
        for (int nranks = 1; nranks < 30; nranks++) {
            double next = 0;
            for (int rank = 0; rank < nranks; rank++) {
                dml_table_opts opts;
                dml_table_opts_init(&opts);
                opts.text.rank = rank;
                opts.text.nranks = nranks;
                dml_table *t = open_table(f, &opts);
                dml_table_block b;
                dml_status status;
                while ((status = dml_table_next(t, &b)) == DML_OK)
                    for (size_t r = 0; r < b.rows; r++, next++)
                        assert_true(b.columns[0].f64[r] == next);
                assert_int_equal(status, DML_EEND);
                dml_table_close(t);
            }
            assert_true(next == 3);
        }
    }
}

/* Every set of kernels, and blocks of every size, give the same bits. */
static void sets_and_blocks_agree(void **state)
{
    fixture *f = *state;
    enum { ROWS = 3000 };
    char *text = malloc(ROWS * 60);
    assert_non_null(text);
    size_t at = 0;
    for (uint64_t i = 0; i < ROWS; i++)
        at += (size_t)snprintf(text + at, 60, "%.9g,%.17g,%d\n",
                               (double)dml_rng_u64(3, 1, i) / 1e15,
                               (double)dml_rng_u64(3, 2, i) / 1e21, (int)(i % 7));
    write_file(f->images, false, text, at);
    double sums[3][3] = {{0}};
    static const char *const sets[] = {"c", "avx2", "auto"};
    for (int s = 0; s < 3; s++) {
        dml_ctx_opts ctx_opts;
        dml_ctx_opts_init(&ctx_opts);
        ctx_opts.isa = sets[s];
        dml_ctx *ctx = NULL;
        if (dml_ctx_create(&ctx_opts, &ctx) != DML_OK) {
            memcpy(sums[s], sums[0], sizeof sums[0]);
            continue;
        }
        dml_table_opts opts;
        dml_table_opts_init(&opts);
        opts.block_rows = (size_t)(s == 1 ? 1 : s == 2 ? 977 : 8192);
        dml_table *t = NULL;
        dml_table_block b;
        assert_int_equal(dml_table_open(ctx, f->images, &opts, &t), DML_OK);
        while (dml_table_next(t, &b) == DML_OK)
            for (size_t c = 0; c < 3; c++)
                for (size_t r = 0; r < b.rows; r++)
                    sums[s][c] += b.columns[c].f64[r];
        dml_table_close(t);
        dml_ctx_destroy(ctx);
    }
    assert_memory_equal(sums[0], sums[1], sizeof sums[0]);
    assert_memory_equal(sums[0], sums[2], sizeof sums[0]);
    free(text);
}

static void rows_past_the_limit(void **state)
{
    fixture *f = *state;
    enum { N = 1 << 20 };
    char *text = malloc(N + 100);
    assert_non_null(text);
    memcpy(text, "1,2\n3,\"", 7);
    for (size_t i = 7; i < N; i++)
        text[i] = (char)(i % 100 == 0 ? '\n' : 'x');
    memcpy(text + N, "\n5,6\n", 6);
    put(f, text);
    dml_table_opts opts;
    dml_table_opts_init(&opts);
    opts.text.max_line_bytes = 5000;
    opts.text.on_error = DML_ON_ERROR_SKIP;
    dml_table *t = open_table(f, &opts);
    dml_table_block b;
    double last = 0;
    while (dml_table_next(t, &b) == DML_OK)
        last = b.columns[1].f64[b.rows - 1];
    assert_true(last == 6);
    assert_true(dml_table_skipped(t) > 10);
    dml_table_close(t);
    opts.text.on_error = DML_ON_ERROR_FAIL;
    t = open_table(f, &opts);
    dml_status status = DML_OK;
    while (status == DML_OK)
        status = dml_table_next(t, &b);
    assert_int_equal(status, DML_EFORMAT);
    last_error(f, DML_EFORMAT, "images:2: ");
    dml_table_close(t);
    free(text);
}

static void each_lack_of_memory_is_survived(void **state)
{
    fixture *f = *state;
    put(f, "a,b\n1,2\n3,4\n");
    for (int n = 1; n < 30; n++) {
        dml_ctx *ctx = ctx_failing_at(n);
        dml_table *t = NULL;
        dml_table_block b;
        dml_status status = dml_table_open(ctx, f->images, NULL, &t);
        while (status == DML_OK)
            status = dml_table_next(t, &b);
        assert_true(status == DML_EEND || status == DML_ENOMEM);
        dml_table_close(t);
        dml_ctx_destroy(ctx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DATA_TEST(a_header_behind_empty_lines),
        DATA_TEST(random_tables_come_back),
        DATA_TEST(shares_cover_the_table),
        DATA_TEST(sets_and_blocks_agree),
        DATA_TEST(rows_past_the_limit),
        DATA_TEST(each_lack_of_memory_is_survived),
    };
    setenv("DML_LOG", "error", 1); /* what is left out is meant to be */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
