/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Readers of sentences: CoNLL's columns and CoNLL-U, what is wrong and in which line.
 */
#include "dml/text.h"

#include "data_fixture.h"

static void put(const fixture *f, bool gzip, const char *text)
{
    write_file(f->images, gzip, text, strlen(text));
}

static dml_conll *open_conll(const fixture *f, dml_conll_format format, bool all,
                             dml_on_error on_error)
{
    dml_conll_opts opts;
    dml_conll_opts_init(&opts);
    opts.format = format;
    opts.all_nodes = all;
    opts.text.on_error = on_error;
    opts.max_tokens = 5;
    dml_conll *c = NULL;
    assert_int_equal(dml_conll_open(f->ctx, f->images, &opts, &c), DML_OK);
    return c;
}

static void sentences_in_columns(void **state)
{
    fixture *f = *state;
    put(f, true, "\n\nThe DT  B-NP\r\ncat NN I-NP\r\n \t\r\n\r\nsat VBD B-VP");
    dml_conll *c = open_conll(f, DML_CONLL_COLUMNS, false, DML_ON_ERROR_FAIL);
    dml_sentence s;
    assert_int_equal(dml_conll_next(c, &s), DML_OK);
    assert_true(s.tokens == 2 && s.columns == 3 && s.line == 3 && s.comments == 0);
    assert_string_equal(s.cells[0].data, "The");
    assert_string_equal(s.cells[2].data, "B-NP");
    assert_string_equal(s.cells[3].data, "cat");
    assert_int_equal(s.cells[5].bytes, 4);
    assert_int_equal(dml_conll_next(c, &s), DML_OK);
    assert_true(s.tokens == 1 && s.line == 7);
    assert_string_equal(s.cells[1].data, "VBD");
    assert_int_equal(dml_conll_next(c, &s), DML_EEND);
    dml_conll_close(c);
    put(f, false, "a b\t\tx\nc\ty z\t\n");
    c = open_conll(f, DML_CONLL_TABS, false, DML_ON_ERROR_FAIL);
    assert_int_equal(dml_conll_next(c, &s), DML_OK);
    assert_true(s.tokens == 2 && s.columns == 3);
    assert_string_equal(s.cells[0].data, "a b");
    assert_string_equal(s.cells[1].data, "");
    assert_string_equal(s.cells[4].data, "y z");
    assert_string_equal(s.cells[5].data, "");
    dml_conll_close(c);
}

#define REST "\tf\tl\tN\t_\t_\t0\tr\t_\t_\n"

static void conllu_nodes(void **state)
{
    fixture *f = *state;
    put(f, false,
        "# sent_id = 1\n# text\n1-2" REST "1" REST "2" REST "2.1" REST "2.2" REST
        "3" REST "\n# only\n\n# b\n0.1" REST "1" REST);
    for (int all = 0; all < 2; all++) {
        dml_conll *c = open_conll(f, DML_CONLL_U, all != 0, DML_ON_ERROR_FAIL);
        dml_sentence s;
        /* Six lines are more than the five tokens that are allowed. */
        assert_int_equal(dml_conll_next(c, &s), all != 0 ? DML_EFORMAT : DML_OK);
        if (all == 0) {
            assert_true(s.tokens == 3 && s.columns == 10 && s.comments == 2);
            assert_string_equal(s.comment[0].data, "# sent_id = 1");
            assert_string_equal(s.cells[20].data, "3");
            assert_int_equal(dml_conll_next(c, &s), DML_OK);
            assert_true(s.tokens == 1 && s.comments == 1);
            assert_int_equal(dml_conll_next(c, &s), DML_EEND);
        }
        dml_conll_close(c);
    }
    put(f, false, "1-2" REST "1" REST "2" REST "2.1" REST);
    dml_conll *c = open_conll(f, DML_CONLL_U, true, DML_ON_ERROR_FAIL);
    dml_sentence s;
    assert_int_equal(dml_conll_next(c, &s), DML_OK);
    assert_int_equal(s.tokens, 4);
    assert_string_equal(s.cells[30].data, "2.1");
    dml_conll_close(c);
}

static void bad_sentences(void **state)
{
    fixture *f = *state;
    static const struct {
        dml_conll_format format;
        const char *good, *bad, *words;
    } cases[] = {
        {DML_CONLL_COLUMNS, "a b\n", "c d\ne\nf g\n", "images:4: 1 columns found"},
        {DML_CONLL_COLUMNS, "a b\n", "c d e\n", "images:3: 3 columns found"},
        {DML_CONLL_COLUMNS, "a b\n", "a b\na b\na b\na b\na b\na b\n",
         "images:8: a sen"},
        {DML_CONLL_TABS, "a b\n", "c\td\n", "images:3: 2 columns found"},
        {DML_CONLL_U, "1" REST, "1" REST "3" REST, "images:4: id \"3\""},
        {DML_CONLL_U, "1" REST, "2" REST, "images:3: id \"2\""},
        {DML_CONLL_U, "1" REST, "2-3" REST, "images:3: id \"2-3\""},
        {DML_CONLL_U, "1" REST, "1" REST "1.2" REST, "images:4: id \"1.2\""},
        {DML_CONLL_U, "1" REST, "x" REST, "images:3: id \"x\""},
        {DML_CONLL_U, "1" REST, "1\t2\n", "images:3: 2 columns found, 10"},
        {DML_CONLL_U, "1" REST, "1" REST "# late\n", "images:4: 1 columns found, 10"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[400];
        snprintf(text, sizeof text, "%s\n%s\n%s", cases[i].good, cases[i].bad,
                 cases[i].good);
        put(f, false, text);
        dml_sentence s;
        dml_conll *c = open_conll(f, cases[i].format, false, DML_ON_ERROR_FAIL);
        assert_int_equal(dml_conll_next(c, &s), DML_OK);
        assert_int_equal(dml_conll_next(c, &s), DML_EFORMAT);
        last_error(f, DML_EFORMAT, cases[i].words);
        dml_conll_close(c);
        c = open_conll(f, cases[i].format, false, DML_ON_ERROR_SKIP);
        assert_int_equal(dml_conll_next(c, &s), DML_OK);
        assert_int_equal(dml_conll_next(c, &s), DML_OK);
        assert_int_equal(dml_conll_skipped(c), 1);
        assert_int_equal(dml_conll_next(c, &s), DML_EEND);
        dml_conll_close(c);
    }
}

static void each_lack_of_memory_is_survived(void **state)
{
    fixture *f = *state;
    put(f, false, "1 2:3\n4 5:6\n");
    for (int n = 1; n < 30; n++) {
        dml_ctx *ctx = ctx_failing_at(n);
        dml_svm *svm = NULL;
        dml_svm_row row;
        dml_status status = dml_svm_open(ctx, f->images, NULL, &svm);
        while (status == DML_OK)
            status = dml_svm_next(svm, &row);
        assert_true(status == DML_EEND || status == DML_ENOMEM);
        dml_svm_close(svm);
        dml_conll *c = NULL;
        dml_sentence s;
        status = dml_conll_open(ctx, f->images, NULL, &c);
        while (status == DML_OK)
            status = dml_conll_next(c, &s);
        assert_true(status == DML_EEND || status == DML_ENOMEM);
        dml_conll_close(c);
        dml_ctx_destroy(ctx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DATA_TEST(sentences_in_columns),
        DATA_TEST(conllu_nodes),
        DATA_TEST(bad_sentences),
        DATA_TEST(each_lack_of_memory_is_survived),
    };
    setenv("DML_LOG", "error", 1); /* what is left out is meant to be */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
