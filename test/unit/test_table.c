/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tables: what RFC 4180 allows, what is guessed from the first rows, what is wrong and
 * in which line.
 */
#include "table_fixture.h"

static void rows_of_every_kind(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *text, *rows;
    } cases[] = {
        {"a,b\nc,d\n", "a|b|\nc|d|\n"},
        {"a,b\r\nc,d\r\n", "a|b|\nc|d|\n"},
        {"a,b\nc,d", "a|b|\nc|d|\n"},
        {"a,b\r\nc,d\r", "a|b|\nc|d|\n"},
        {"\n\na,b\n\r\n\nc,d\n\n", "a|b|\nc|d|\n"},
        {"a,\n,\n", "a||\n||\n"},
        {"\"a\",\"b,c\"\n\"d\ne\",\"f\"\"g\"\n", "a|b,c|\nd\ne|f\"g|\n"},
        {"\"\",\"\"\"\"\n\"\"\"a\"\"\",x\r\n", "|\"|\n\"a\"|x|\n"},
        {"a\"b,c\"\"d\nx,\"y\"\r\n", "a\"b|c\"\"d|\nx|y|\n"},
        {"\"a\"\n\"b\nc\"", "a|\nb\nc|\n"},
        {"a\tb\nc,d\te\n", "a|b|\nc,d|e|\n"},
        {"a;b\nc;d\n", "a|b|\nc|d|\n"},
        {"a|b\n", "a|b|\n"},
        {"one\ntwo\n", "one|\ntwo|\n"},
        {"\xEF\xBB\xBF"
         "a,b\n",
         "a|b|\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char rows[100];
        put(f, cases[i].text);
        dml_table_opts opts;
        dml_table_opts_init(&opts);
        opts.header = DML_HEADER_NO;
        for (opts.block_rows = 1; opts.block_rows < 4; opts.block_rows++) {
            dml_table *t = open_table(f, &opts);
            assert_int_equal(join(t, rows, sizeof rows), DML_EEND);
            assert_string_equal(rows, cases[i].rows);
            dml_table_close(t);
        }
    }
}

static void quotes_may_be_letters(void **state)
{
    fixture *f = *state;
    char rows[100];
    put(f, "\"a\tb\nc\t\"\n");
    dml_table_opts opts;
    dml_table_opts_init(&opts);
    opts.header = DML_HEADER_NO;
    opts.quotes = false;
    dml_table *t = open_table(f, &opts);
    assert_int_equal(join(t, rows, sizeof rows), DML_EEND);
    assert_string_equal(rows, "\"a|b|\nc|\"|\n");
    dml_table_close(t);
}

static void headers_and_columns(void **state)
{
    fixture *f = *state;
    put(f, "\"x \"\"1\"\"\",word,3\n1,a,2\n,b,3\nNA,,4\n");
    dml_table *t = open_table(f, NULL); /* "3" is a number: no header */
    assert_null(dml_table_name(t, 0));
    assert_false(dml_table_is_numeric(t, 0));
    dml_table_close(t);
    dml_table_opts opts;
    dml_table_opts_init(&opts);
    opts.header = DML_HEADER_YES;
    t = open_table(f, &opts);
    assert_string_equal(dml_table_name(t, 0), "x \"1\"");
    assert_string_equal(dml_table_name(t, 2), "3");
    assert_null(dml_table_name(t, 3));
    assert_true(dml_table_is_numeric(t, 0));
    assert_false(dml_table_is_numeric(t, 1));
    assert_true(dml_table_is_numeric(t, 2));
    size_t column = 9;
    assert_int_equal(dml_table_find(t, "word", &column), DML_OK);
    assert_int_equal(column, 1);
    assert_int_equal(dml_table_find(t, "3", &column), DML_OK);
    assert_int_equal(column, 2); /* the name, and the third as well */
    assert_int_equal(dml_table_find(t, "-3", &column), DML_OK);
    assert_int_equal(column, 0);
    static const char *const none[] = {"0", "4", "-4", "", "Word", "1x"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_int_equal(dml_table_find(t, none[i], &column), DML_EINVAL);
    last_error(f, DML_EINVAL, "no column \"1x\"; it has 3");
    assert_int_equal(dml_table_find(t, NULL, &column), DML_EINVAL);
    assert_int_equal(dml_table_find(t, "word", NULL), DML_EINVAL);
    last_error(f, DML_EINVAL, "is NULL");
    assert_int_equal(dml_table_set_type(t, 3, DML_COLUMN_F32), DML_EINVAL);
    assert_int_equal(dml_table_set_type(t, 1, DML_COLUMN_TEXT), DML_OK);
    assert_int_equal(dml_table_set_type(t, 2, DML_COLUMN_F32), DML_OK);
    dml_table_block b;
    assert_int_equal(dml_table_next(t, &b), DML_OK);
    assert_int_equal(b.rows, 3);
    assert_true(b.columns[0].f64[0] == 1 && isnan(b.columns[0].f64[1]));
    assert_true(isnan(b.columns[0].f64[2]) && b.columns[2].f32[2] == 4);
    assert_string_equal(b.columns[1].text[1].data, "b");
    assert_int_equal(dml_table_set_type(t, 1, DML_COLUMN_F64), DML_EINVAL);
    assert_int_equal(dml_table_next(t, &b), DML_EEND);
    dml_table_close(t);
    put(f, "x,y\n1, 2 \n\"3\",\t4\n");
    t = open_table(f, NULL);
    assert_string_equal(dml_table_name(t, 1), "y");
    assert_int_equal(dml_table_next(t, &b), DML_OK);
    assert_true(b.columns[1].f64[0] == 2 && b.columns[0].f64[1] == 3 &&
                b.columns[1].f64[1] == 4);
    dml_table_close(t);
}

/* What printf() makes of a division by zero must not turn numbers into words. */
static void infinities_among_numbers(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *text;
        bool header, numeric[2];
        const char *words; /* of the error; NULL: none */
    } cases[] = {
        {"a,b\n1,x\n2,y\n", true, {true, false}, NULL},
        {"a,b\n1,x\ninf,y\n", true, {true, false}, "images:3: column 1 (a): \"inf\""},
        {"a,b\n-inf,x\n1,y\n", true, {true, false}, "images:2: column 1 (a): \"-inf\""},
        {"1,x\n2,y\n +Infinity ,z\n", false, {true, false}, "images:3: column 1: "},
        {"Inf,x\n2,y\n", false, {true, false}, "images:1: column 1: \"Inf\""},
        {"1,x\n\"-nan\",y\n", false, {true, false}, "images:2: column 1: \"-nan\""},
        {"1,x\n1e400,y\n", false, {true, false}, "images:2: column 1: \"1e400\""},
        {"1,x\nNaN,nan\n?,\n", false, {true, false}, NULL},
        {"1,inf\n2,nil\n3,7\n", false, {true, false}, NULL}, /* words */
        {"1,inf\n2,sup\n", false, {true, false}, NULL},
        {"1,inf\n2,-inf\n", false, {true, false}, NULL}, /* no number at all */
        {"1,infi\n2,3\n", false, {true, false}, NULL},
        {"1,+\n2,3\n", false, {true, false}, NULL},
        {"1,inf\n2,NA\n3,4\n", false, {true, true}, "images:1: column 2: \"inf\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put(f, cases[i].text);
        dml_table *t = open_table(f, NULL);
        assert_int_equal(dml_table_name(t, 0) != NULL, cases[i].header);
        for (size_t c = 0; c < 2; c++) {
            if (dml_table_is_numeric(t, c) != cases[i].numeric[c])
                fail_msg("%s: column %zu", cases[i].text, c + 1);
            dml_column_type type =
                cases[i].numeric[c] ? DML_COLUMN_F32 : DML_COLUMN_TEXT;
            assert_int_equal(dml_table_set_type(t, c, type), DML_OK);
        }
        dml_table_block b;
        dml_status status = dml_table_next(t, &b);
        assert_int_equal(status, cases[i].words == NULL ? DML_OK : DML_EFORMAT);
        if (cases[i].words != NULL) {
            last_error(f, DML_EFORMAT, cases[i].words);
            last_error(f, DML_EFORMAT, "is no finite number; write one, or leave");
        }
        dml_table_close(t);
    }
}

static void words_for_missing(void **state)
{
    fixture *f = *state;
    put(f, "1,-9\n.,2\n");
    dml_table_opts opts;
    dml_table_opts_init(&opts);
    opts.missing = ".,-9";
    dml_table_block b;
    dml_table *t = open_table(f, &opts);
    assert_int_equal(dml_table_next(t, &b), DML_OK);
    assert_true(isnan(b.columns[0].f64[1]));
    assert_true(b.columns[1].f64[0] == -9); /* a number is a number */
    dml_table_close(t);
    opts.missing = NULL;
    t = open_table(f, &opts);
    assert_int_equal(dml_table_next(t, &b), DML_EFORMAT);
    last_error(f, DML_EFORMAT, "images:2: column 1: \".\" is no number");
    dml_table_close(t);
}

static void bad_rows_fail_or_are_counted(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *bad, *words;
        int skipped;
    } cases[] = {
        {"1\n", "images:3: 1 cells found, 2 expected", 1},
        {"1,2,3\r\n", "images:3: 3 cells found, 2 expected", 1},
        {"\n1,\n,x\n", "images:5: column 2 (b): \"x\" is no number", 1},
        {"\"1\"2,3\n", "images:3: text behind a closing quote", 1},
        {"1,2e\n", "images:3: column 2 (b): \"2e\" is no number", 1},
        {"1,1e999\n", "images:3: column 2 (b): \"1e999\" is no finite number", 1},
        {"1,inf\n", "images:3: column 2 (b): \"inf\" is no finite number", 1},
        {"- 1,-nan\n-Infinity,3\n", "images:3: column 1 (a): \"- 1\" is no number", 2},
        {"7,7\n\"1\n2\",3\n", "images:4: column 1 (a)", 1},
        {"1,2\n9,\"8\n1,7\n", "images:4: a quote is left open", 1},
        {"0x1,2\n", "images:3: column 1 (a): \"0x1\"", 1},
        {"1 2,3\n4,5 6\n", "images:3: column 1 (a): \"1 2\"", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[100];
        snprintf(text, sizeof text, "a,b\n5,6\n%s7,8", cases[i].bad);
        put(f, text);
        dml_table_opts opts;
        dml_table_opts_init(&opts);
        dml_table_block b;
        dml_table *t = open_table(f, &opts);
        dml_status status = DML_OK;
        while (status == DML_OK)
            status = dml_table_next(t, &b);
        assert_int_equal(status, DML_EFORMAT);
        last_error(f, DML_EFORMAT, cases[i].words);
        dml_table_close(t);
        opts.text.on_error = DML_ON_ERROR_SKIP;
        t = open_table(f, &opts);
        size_t rows = 0;
        double last = 0;
        for (; dml_table_next(t, &b) == DML_OK; rows += b.rows)
            last = b.columns[1].f64[b.rows - 1];
        assert_true(last == 8);
        assert_true(rows >= 2);
        assert_int_equal(dml_table_skipped(t), cases[i].skipped);
        dml_table_close(t);
    }
    static const char zero[] = "1,2\n3,\0004\n5,6\n";
    write_file(f->images, true, zero, sizeof zero - 1);
    dml_table_block b;
    dml_table *t = open_table(f, NULL);
    assert_int_equal(dml_table_next(t, &b), DML_EFORMAT);
    last_error(f, DML_EFORMAT, "images:2: holds a zero byte");
    dml_table_close(t);
}

static void files_without_a_table(void **state)
{
    fixture *f = *state;
    dml_table *t = NULL;
    static const char *const texts[] = {"", "\n\n", "\"open,1\n2,3\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        put(f, texts[i]);
        assert_int_equal(dml_table_open(f->ctx, f->images, NULL, &t), DML_EFORMAT);
        last_error(f, DML_EFORMAT, "images");
    }
    assert_int_equal(dml_table_open(f->ctx, "/nowhere", NULL, &t), DML_EIO);
    dml_table_opts opts = {0};
    assert_int_equal(dml_table_open(f->ctx, f->images, &opts, &t), DML_EINVAL);
    dml_table_opts_init(&opts);
    opts.delimiter = 'e';
    assert_int_equal(dml_table_open(f->ctx, f->images, &opts, &t), DML_EINVAL);
    dml_table_opts_init(&opts);
    opts.block_rows = 0;
    assert_int_equal(dml_table_open(f->ctx, f->images, &opts, &t), DML_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DATA_TEST(rows_of_every_kind),       DATA_TEST(quotes_may_be_letters),
        DATA_TEST(headers_and_columns),      DATA_TEST(words_for_missing),
        DATA_TEST(infinities_among_numbers), DATA_TEST(bad_rows_fail_or_are_counted),
        DATA_TEST(files_without_a_table),
    };
    setenv("DML_LOG", "error", 1); /* what is left out is meant to be */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
