/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What dml-crf reads: sentences, templates, items, dictionaries, scores.
 */
#include "corpus.h"
#include "score.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static dml_ctx *ctx;

static struct job new_job(void)
{
    return (struct job){.app = "test", .ctx = ctx};
}

/* A file with this text; its name is static. */
static const char *file_of(const char *text, size_t bytes)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/test-crf-%ld", (long)getpid());
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* ---- sentences ------------------------------------------------------------------- */

static void expect_tokens(enum reader_format format, const char *text, size_t count,
                          const size_t *tokens)
{
    struct job job = new_job();
    struct reader reader;
    struct sentence sentence;
    assert_int_equal(reader_open(&reader, &job, file_of(text, strlen(text)), format),
                     DML_OK);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(reader_next(&reader, &sentence), DML_OK);
        assert_int_equal(sentence.tokens, tokens[i]);
    }
    assert_int_equal(reader_next(&reader, &sentence), DML_EEND);
    reader_close(&reader);
}

static void test_sentences(void **state)
{
    (void)state;
    expect_tokens(READER_COLUMNS, "", 0, NULL);
    expect_tokens(READER_COLUMNS, "\n\n \n", 0, NULL);
    expect_tokens(READER_COLUMNS, "a b", 1, (size_t[]){1});
    expect_tokens(READER_COLUMNS, "\n\na b\nc d\n\n\n\ne f\n", 2, (size_t[]){2, 1});
    expect_tokens(READER_COLUMNS, "a b\r\n\r\nc d\r\n", 2, (size_t[]){1, 1});
    expect_tokens(READER_COLUMNS, "a\tO\n\t\nb\tO\n", 2, (size_t[]){1, 1});
    expect_tokens(READER_COLUMNS, "# b\nc d\n", 1, (size_t[]){2});
    expect_tokens(READER_CONLLU, "# text = a b\n1-2\tab\n1\ta\n2\tb\n2.1\tc\n\n", 1,
                  (size_t[]){2});
    expect_tokens(READER_ITEMS, "A\tx\ty\nB\n\nA\tz:2\n", 2, (size_t[]){2, 1});
}

static void expect_error(enum reader_format format, const char *text, size_t bytes,
                         const char *said)
{
    struct job job = new_job();
    struct reader reader;
    struct sentence sentence;
    dml_status status = reader_open(&reader, &job, file_of(text, bytes), format);
    while (status == DML_OK)
        status = reader_next(&reader, &sentence);
    assert_int_equal(status, DML_EFORMAT);
    if (!strstr(job.error, said))
        fail_msg("\"%s\" is not in \"%s\"", said, job.error);
    reader_close(&reader);
}

static void test_bad_sentences(void **state)
{
    (void)state;
    expect_error(READER_COLUMNS, "a b c\nd e\n", 10, ":2: 2 cells");
    expect_error(READER_CONLLU, "1\ta\n\n1\tb\tc\n", 11, ":3: 3 cells");
    expect_error(READER_COLUMNS, "a b\nc\0d e\n", 10, ":2");
}

/* ---- templates ------------------------------------------------------------------- */

static const char *cells[] = {"The", "DT", "caf\xc3\xa9s", "NN", "2x", "CD"};
static const size_t firsts[] = {0, 2, 4, 6};
static const struct sentence three = {.tokens = 3, .first = firsts, .cells = cells};

static void expect_kind(const char *text, size_t t, bool pairs, const char *wanted)
{
    struct job job = new_job();
    struct template template;
    struct attributes out = {0};
    char joined[512] = "";
    assert_int_equal(template_parse(&template, &job, text, strlen(text), "test"),
                     DML_OK);
    assert_int_equal(template_check(&template, &job, &three, LABEL_ABSENT, "file"),
                     DML_OK);
    assert_true(template_expand(&template, &three, t, pairs, &out));
    for (size_t i = 0, begin = 0; i < out.count; begin = out.ends[i++])
        snprintf(joined + strlen(joined), sizeof joined - strlen(joined), "%.*s;",
                 (int)(out.ends[i] - begin), out.text + begin);
    assert_string_equal(joined, wanted);
    attributes_free(&out);
    template_free(&template);
}

static void expect_attributes(const char *text, size_t t, const char *wanted)
{
    expect_kind(text, t, false, wanted);
}

static void test_templates(void **state)
{
    (void)state;
    expect_attributes("U01:%x[0,0]/%x[-1,1]\n# comment\n\nB\n", 1,
                      "U01:caf\xc3\xa9s/DT;");
    expect_attributes("U1:%x[-1,0]\nU2:%x[-2,0]\nU3:%x[1,0]", 0,
                      "U1:_B-1;U2:_B-2;U3:caf\xc3\xa9s;");
    expect_attributes("U1:%x[2,0]", 2, "U1:_B+2;");
    expect_attributes("!outside skip\nU1:%x[-1,0]\nU2:%x[0,0]\n!ends\n", 0,
                      "U2:The;__BOS__;");
    expect_attributes("U:%l[0,0] %p[0,0,2] %s[0,0,2] %h[0,0]\r\n", 0,
                      "U:the Th he Aa;");
    expect_attributes("Ua%s[0,0,2]\nUb%h[0,0]\nUc%p[0,0,9]", 1, "Ua\xc3\xa9s;Ubaxa;");
    expect_attributes("U%h[0,0]", 2, "U0a;");
}

/* Lines that begin with B. */
static void test_pair_templates(void **state)
{
    (void)state;
    static const char text[] = "!ends\nU1:%x[0,0]\nB1:%x[0,1]\nb2:%x[-1,1]\n";
    expect_kind(text, 2, true, "B1:CD;b2:NN;");
    expect_kind(text, 2, false, "U1:2x;__EOS__;");
    expect_kind("!outside skip\nB%x[1,0]", 2, true, "");
    for (int alone = 0; alone < 2; alone++) {
        struct job job = new_job();
        struct template template;
        const char *lines = alone ? "B%x[0,0]\nB\n" : "B%x[0,0]\n";
        assert_int_equal(template_parse(&template, &job, lines, strlen(lines), "t"),
                         DML_OK);
        assert_true(template.pairs && template.transitions == (alone == 1));
        template_free(&template);
    }
}

static void expect_bad_template(const char *text, const char *said)
{
    struct job job = new_job();
    struct template template;
    assert_int_equal(template_parse(&template, &job, text, strlen(text), "name"),
                     DML_EFORMAT);
    if (!strstr(job.error, said))
        fail_msg("\"%s\" is not in \"%s\"", said, job.error);
    template_free(&template);
}

static void test_bad_templates(void **state)
{
    (void)state;
    expect_bad_template("", "no line begins with U");
    expect_bad_template("U1:%x[0,0]\nX\n", "name:2:");
    expect_bad_template("U1:%y[0,0]", "name:1: after %");
    expect_bad_template("U1:%", "after %");
    expect_bad_template("U1:%x", "%x[row,column]");
    expect_bad_template("U1:%x[0", "%x[row,column]");
    expect_bad_template("U1:%x[0,", "%x[row,column]");
    expect_bad_template("U1:%x[0,-1]", "column from 0");
    expect_bad_template("U1:%x[99999999999999999999,0]", "row from -64");
    expect_bad_template("U1:%x[0,0", "\"]\" is missing");
    expect_bad_template("U1:%p[0,0]", "letters");
    expect_bad_template("U1:%p[0,0,0]", "letters");
    expect_bad_template("U1:%x[0,0]\nB01:%x[0]", "name:2: write %x[row,column]");
    expect_bad_template("B\n", "no line begins with U");
    struct job job = new_job();
    struct template template;
    assert_int_equal(template_parse(&template, &job, "U%x[0,2]", 8, "name"), DML_OK);
    assert_int_equal(template_check(&template, &job, &three, LABEL_ABSENT, "file"),
                     DML_EFORMAT);
    assert_non_null(strstr(
        job.error,
        "file:0: 2 columns, but the template (of training) names columns 0 to 2"));
    template_free(&template);
    /* A model that looks at the label would learn to copy it. */
    assert_int_equal(template_parse(&template, &job, "U%x[0,1]", 8, "name"), DML_OK);
    assert_int_equal(template_check(&template, &job, &three, 0, "file"), DML_OK);
    assert_int_equal(template_check(&template, &job, &three, LABEL_LAST, "file"),
                     DML_EFORMAT);
    assert_non_null(strstr(job.error, "column 1 (counted from 0), which is the label"));
    template_free(&template);
}

static void test_builtins(void **state)
{
    (void)state;
    const struct template_builtin *builtin;
    for (size_t i = 0; (builtin = template_builtin(i)); i++) {
        struct job job = new_job();
        struct template template;
        assert_int_equal(template_load(&template, &job, builtin->name), DML_OK);
        assert_true(template.transitions && template.ends && template.nmacros > 10);
        assert_false(template.pairs);
        template_free(&template);
    }
}

static void test_items(void **state)
{
    (void)state;
    static const char *texts[] = {"LABEL", "a\\:b", "c:2.5", "d\\\\:-1e1", "", "e:x"};
    static const size_t first[] = {0, 5, 6};
    const struct sentence items = {.tokens = 2, .first = first, .cells = texts};
    struct attributes out = {0};
    assert_null(items_expand(&items, 0, 1, &out));
    assert_int_equal(out.count, 3);
    assert_memory_equal(out.text, "a:bcd\\", 6);
    assert_true(out.values[0] == 1 && out.values[1] == 2.5 && out.values[2] == -10);
    assert_non_null(items_expand(&items, 1, 0, &out));
    attributes_free(&out);
}

/* ---- dictionaries ---------------------------------------------------------------- */

static void test_dict(void **state)
{
    (void)state;
    struct dict dict;
    char text[32];
    assert_true(dict_init(&dict));
    for (uint32_t round = 0; round < 2; round++)
        for (uint32_t i = 0; i < 20000; i++) {
            int bytes = snprintf(text, sizeof text, "%x-%u", i * 2654435761u, i);
            assert_int_equal(dict_put(&dict, text, (size_t)bytes), i);
            assert_string_equal(dict_text(&dict, i), text);
        }
    assert_int_equal(dict.count, 20000);
    assert_int_equal(dict_find(&dict, "none", 4), DICT_NONE);
    assert_int_equal(dict_put(&dict, "", 0), 20000);
    assert_int_equal(dict_find(&dict, "", 0), 20000);
    dict_free(&dict);
}

/* ---- scores ---------------------------------------------------------------------- */

/* "given/found given/found ..." of one sentence. */
static void expect_score(const char *text, size_t given, size_t found, size_t right)
{
    struct score score;
    struct dict names;
    uint16_t labels[2][32];
    size_t at[2] = {0, 0}, n = 0;
    assert_true(score_init(&score) && dict_init(&names));
    for (const char *from = text; *from; n++)
        for (int k = 0; k < 2; k++) {
            size_t bytes = strcspn(from, "/ ");
            labels[k][n] = (uint16_t)dict_put(&names, from, bytes);
            from += bytes + (from[bytes] != '\0');
        }
    at[1] = n;
    struct corpus corpus = {
        .nsentences = 1, .ntokens = n, .token_at = at, .labels = labels[0]};
    assert_true(score_add(&score, &corpus, &names, labels[1]));
    assert_int_equal(score.all.given, given);
    assert_int_equal(score.all.found, found);
    assert_int_equal(score.all.right, right);
    dict_free(&names);
    score_free(&score);
}

static void test_scores(void **state)
{
    (void)state;
    expect_score("B-NP/B-NP I-NP/I-NP O/O B-VP/B-VP", 2, 2, 2);
    expect_score("B-NP/B-NP I-NP/B-NP", 1, 2, 0);
    expect_score("B-NP/B-NP I-NP/I-NP", 1, 1, 1);
    expect_score("B-NP/B-NP I-NP/O", 1, 1, 0);
    expect_score("B-NP/B-VP", 1, 1, 0);
    expect_score("I-NP/B-NP I-NP/I-NP I-VP/B-VP", 2, 2, 2);
    expect_score("B-NP/B-NP O/I-NP", 1, 1, 0);
    expect_score("S-X/B-X O/O B-X/B-X E-X/I-X", 2, 2, 2);
    expect_score("O/O NN/VB", 0, 0, 0);
    expect_score("B-NP/O B-NP/B-NP", 2, 1, 1);
}

static int start(void **state)
{
    (void)state;
    return dml_ctx_create(NULL, &ctx) == DML_OK ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    dml_ctx_destroy(ctx);
    return unlink(file_of("", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sentences),      cmocka_unit_test(test_bad_sentences),
        cmocka_unit_test(test_templates),      cmocka_unit_test(test_bad_templates),
        cmocka_unit_test(test_pair_templates), cmocka_unit_test(test_builtins),
        cmocka_unit_test(test_items),          cmocka_unit_test(test_dict),
        cmocka_unit_test(test_scores),
    };
    return cmocka_run_group_tests_name("crf_text", tests, start, end);
}
