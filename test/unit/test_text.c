/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Readers of lines and of libsvm rows: what the formats allow, what they do not, and
 * the line that a message names. Texts are read plain and as gzip.
 */
#include "dml/rng.h"
#include "dml/text.h"

#include "data_fixture.h"

static void put(const fixture *f, bool gzip, const char *text)
{
    write_file(f->images, gzip, text, strlen(text));
}

static dml_lines *open_lines(const fixture *f, const dml_text_opts *opts)
{
    dml_lines *lines = NULL;
    assert_int_equal(dml_lines_open(f->ctx, f->images, opts, &lines), DML_OK);
    return lines;
}

/* Reads lines and joins them with "|". */
static dml_status join_lines(dml_lines *lines, char *joined, size_t room)
{
    dml_line line;
    dml_status status;
    joined[0] = '\0';
    while ((status = dml_lines_next(lines, &line)) == DML_OK) {
        assert_int_equal(strlen(line.text.data), line.text.bytes);
        snprintf(joined + strlen(joined), room - strlen(joined), "%s|", line.text.data);
    }
    return status;
}

static void lines_of_every_kind(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *text, *lines;
    } cases[] = {
        {"", ""},
        {"\n", "|"},
        {"a", "a|"},
        {"a\n", "a|"},
        {"a\n\nb", "a||b|"},
        {"a\r\nb\r\n", "a|b|"},
        {"a\r\n\r\nb\r", "a||b|"},
        {"a\rb\n", "a\rb|"},
        {"\xEF\xBB\xBFx\n", "x|"},
        {"\xEF\xBB", "\xEF\xBB|"},
        {"\r\n", "|"},
    };
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        char joined[64];
        put(f, i % 2 != 0, cases[i / 2].text);
        dml_lines *lines = open_lines(f, NULL);
        assert_int_equal(join_lines(lines, joined, sizeof joined), DML_EEND);
        assert_string_equal(joined, cases[i / 2].lines);
        dml_lines_close(lines);
    }
}

static void bad_lines_fail_or_are_counted(void **state)
{
    fixture *f = *state;
    static const char text[] = "one\ntw\0o\nthree\n4\n";
    char longer[300], joined[64];
    write_file(f->images, false, text, sizeof text - 1);
    dml_lines *lines = open_lines(f, NULL);
    assert_int_equal(join_lines(lines, joined, sizeof joined), DML_EFORMAT);
    assert_string_equal(joined, "one|");
    assert_int_equal(last_error(f, DML_EFORMAT, "images:2: holds a zero byte").seen, 2);
    dml_lines_close(lines);
    dml_text_opts opts;
    dml_text_opts_init(&opts);
    opts.on_error = DML_ON_ERROR_SKIP;
    lines = open_lines(f, &opts);
    assert_int_equal(join_lines(lines, joined, sizeof joined), DML_EEND);
    assert_string_equal(joined, "one|three|4|");
    assert_int_equal(dml_lines_skipped(lines), 1);
    dml_lines_close(lines);
    memset(longer, 'x', sizeof longer);
    memcpy(longer + 296, "\nz\n", 4);
    put(f, true, longer);
    opts.max_line_bytes = 100;
    lines = open_lines(f, &opts);
    assert_int_equal(join_lines(lines, joined, sizeof joined), DML_EEND);
    assert_string_equal(joined, "z|");
    assert_int_equal(dml_lines_skipped(lines), 1);
    dml_lines_close(lines);
    opts.on_error = DML_ON_ERROR_FAIL;
    lines = open_lines(f, &opts);
    assert_int_equal(join_lines(lines, joined, sizeof joined), DML_EFORMAT);
    last_error(f, DML_EFORMAT, "images:1: ");
    dml_lines_close(lines);
}

/* Lines longer than the buffer, then longer than the limit by far. */
static void long_lines(void **state)
{
    fixture *f = *state;
    enum { N = 3 << 20 };
    char *text = malloc(N + 8);
    assert_non_null(text);
    memset(text, 'y', N);
    memcpy(text + N, "\nlast", 6);
    put(f, false, text);
    for (int limit = 0; limit < 2; limit++) {
        dml_text_opts opts;
        dml_text_opts_init(&opts);
        opts.on_error = DML_ON_ERROR_SKIP;
        opts.max_line_bytes = limit != 0 ? 1 << 20 : N;
        dml_lines *lines = open_lines(f, &opts);
        dml_line line;
        if (limit == 0) {
            assert_int_equal(dml_lines_next(lines, &line), DML_OK);
            assert_int_equal(line.text.bytes, N);
        }
        assert_int_equal(dml_lines_next(lines, &line), DML_OK);
        assert_string_equal(line.text.data, "last");
        assert_int_equal(line.number, 2);
        assert_int_equal(line.offset, N + 1);
        assert_int_equal(dml_lines_skipped(lines), limit);
        assert_int_equal(dml_lines_next(lines, &line), DML_EEND);
        dml_lines_close(lines);
    }
    free(text);
}

static void a_gzip_cut_short_is_said(void **state)
{
    fixture *f = *state;
    uint8_t raw[4096];
    char text[20000];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + dml_rng_u64(8, 1, i) % 2);
    for (size_t i = 99; i < sizeof text; i += 100)
        text[i] = '\n';
    text[sizeof text - 1] = '\0';
    put(f, true, text);
    size_t whole = read_raw(f->images, raw, sizeof raw);
    for (size_t cut = whole - 12; cut < whole; cut++) {
        write_file(f->images, false, raw, cut);
        dml_lines *lines = open_lines(f, NULL);
        char joined[64];
        assert_int_equal(join_lines(lines, joined, 1), DML_EFORMAT);
        last_error(f, DML_EFORMAT, "cut short: its gzip stream ends");
        dml_lines_close(lines);
    }
}

/* Lines of 100 bytes, of which the beginning of a gzip stream holds some. */
static uint64_t count_lines(const fixture *f, const char *words)
{
    dml_lines *lines = open_lines(f, NULL);
    dml_line line;
    dml_status status;
    uint64_t count = 0;
    while ((status = dml_lines_next(lines, &line)) == DML_OK) {
        assert_int_equal(line.text.bytes, 99);
        count++;
    }
    assert_int_equal(status, DML_EFORMAT);
    last_error(f, DML_EFORMAT, words);
    assert_int_equal(dml_lines_next(lines, &line), DML_EFORMAT);
    dml_lines_close(lines);
    return count;
}

static void what_came_before_a_gzip_fault_is_handed_out(void **state)
{
    fixture *f = *state;
    enum { BYTES = 3000000, ROOM = 4000000 };
    char *text = calloc(1, BYTES + 1);
    uint8_t *raw = malloc(ROOM);
    assert_non_null(text);
    assert_non_null(raw);
    for (size_t i = 0; i < BYTES; i++)
        text[i] = (char)('a' + dml_rng_u64(8, 2, i) % 16);
    for (size_t i = 99; i < BYTES; i += 100)
        text[i] = '\n';
    put(f, true, text);
    size_t whole = read_raw(f->images, raw, ROOM);
    size_t cuts[] = {whole / 50, whole / 3, whole - 200, whole - 8, whole - 1};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        write_file(f->images, false, raw, cuts[i]);
        size_t decoded = 0;
        gzFile file = gzopen(f->images, "rb");
        for (int n; (n = gzread(file, text, BYTES)) > 0;)
            decoded += (size_t)n;
        gzclose(file);
        assert_int_equal(count_lines(f, "cut short: its gzip stream"), decoded / 100);
    }
    raw[whole - 8] ^= 0xff; /* of the checksum */
    write_file(f->images, false, raw, whole);
    assert_true(count_lines(f, "damaged gzip stream") >= (BYTES - (512 << 10)) / 100);
    free(raw);
    free(text);
}

/* Each line goes to one rank, whatever the number of ranks, and a fault's line number
 * is the file's. */
static void shares_cover_the_file(void **state)
{
    fixture *f = *state;
    char text[600] = "", want[700] = "", joined[700], all[700];
    for (uint64_t i = 0; i < 40; i++) {
        char line[16];
        snprintf(line, sizeof line, "%.*s%d", (int)(dml_rng_u64(9, 1, i) % 9),
                 "xxxxxxxxx", (int)i);
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s\n", line);
        snprintf(want + strlen(want), sizeof want - strlen(want), "%s|", line);
    }
    for (int ending = 0; ending < 2; ending++) {
        text[strlen(text) - (size_t)ending] = '\0';
        put(f, false, text);
        for (int nranks = 1; nranks < 700; nranks += 1 + nranks / 5) {
            all[0] = '\0';
            for (int rank = 0; rank < nranks; rank++) {
                dml_text_opts opts;
                dml_text_opts_init(&opts);
                opts.rank = rank;
                opts.nranks = nranks;
                dml_lines *lines = open_lines(f, &opts);
                assert_int_equal(join_lines(lines, joined, sizeof joined), DML_EEND);
                strcat(all, joined);
                dml_lines_close(lines);
            }
            assert_string_equal(all, want);
        }
    }
    static const char bad[] = "1 1:1\n2 1:1\n3 1:1\n4 1:1\n5 x:1\n6 1:1\n";
    put(f, false, bad);
    dml_text_opts opts;
    dml_text_opts_init(&opts);
    opts.rank = 1;
    opts.nranks = 2;
    dml_svm *svm = NULL;
    dml_svm_row row;
    assert_int_equal(dml_svm_open(f->ctx, f->images, &opts, &svm), DML_OK);
    assert_int_equal(dml_svm_next(svm, &row), DML_OK);
    assert_true(row.label == 4);
    assert_int_equal(dml_svm_next(svm, &row), DML_EFORMAT);
    last_error(f, DML_EFORMAT, "images:5: ");
    dml_svm_close(svm);
    dml_lines *lines = NULL;
    put(f, true, bad);
    assert_int_equal(dml_lines_open(f->ctx, f->images, &opts, &lines),
                     DML_EUNSUPPORTED);
}

static void misuse_is_refused(void **state)
{
    fixture *f = *state;
    dml_lines *lines = NULL;
    dml_text_opts opts = {0};
    put(f, false, "x");
    assert_int_equal(dml_lines_open(f->ctx, f->images, &opts, &lines), DML_EINVAL);
    dml_text_opts_init(&opts);
    opts.rank = 1;
    assert_int_equal(dml_lines_open(f->ctx, f->images, &opts, &lines), DML_EINVAL);
    dml_text_opts_init(&opts);
    opts.max_line_bytes = 3;
    assert_int_equal(dml_lines_open(f->ctx, f->images, &opts, &lines), DML_EINVAL);
    assert_int_equal(dml_lines_open(f->ctx, NULL, NULL, &lines), DML_EINVAL);
    assert_int_equal(dml_lines_open(f->ctx, "/nowhere", NULL, &lines), DML_EIO);
    last_error(f, DML_EIO, "/nowhere: cannot open");
    assert_int_equal(dml_lines_open(f->ctx, f->folder, NULL, &lines), DML_EIO);
}

static void svm_rows(void **state)
{
    fixture *f = *state;
    put(f, true,
        "# a comment\n+1 1:0.5 7:-2e-1  4294967295:3\r\n\n-1 qid:12 3:1 # four\n0\n"
        "1.5\t2:1\n");
    dml_svm *svm = NULL;
    dml_svm_row row;
    assert_int_equal(dml_svm_open(f->ctx, f->images, NULL, &svm), DML_OK);
    assert_int_equal(dml_svm_next(svm, &row), DML_OK);
    assert_true(row.label == 1 && row.qid == -1 && row.count == 3 && row.line == 2);
    assert_true(row.index[0] == 1 && row.index[1] == 7 && row.index[2] == UINT32_MAX);
    assert_true(row.value[0] == 0.5f && row.value[1] == -0.2f && row.value[2] == 3);
    assert_int_equal(dml_svm_next(svm, &row), DML_OK);
    assert_true(row.label == -1 && row.qid == 12 && row.count == 1 && row.line == 4);
    assert_int_equal(dml_svm_next(svm, &row), DML_OK);
    assert_true(row.label == 0 && row.count == 0);
    assert_int_equal(dml_svm_next(svm, &row), DML_OK);
    assert_true(row.label == 1.5 && row.count == 1);
    assert_int_equal(dml_svm_next(svm, &row), DML_EEND);
    dml_svm_close(svm);
}

static void bad_svm_rows(void **state)
{
    fixture *f = *state;
    static const char *const bad[] = {
        "x 1:1",   "1 1",       "1 1:",           "1 :1",        "1 a:1",
        "1 1:a",   "1 2:1 2:1", "1 4294967296:1", "1 qid:x 1:1", "1 -1:2",
        "1 1:1:1", "1,2 1:1",   "1 1:nan",        "1 1:1e39",    "1 2:1 qid:3",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[80];
        snprintf(text, sizeof text, "1 1:1\n%s\n2 1:1", bad[i]);
        put(f, i % 2 != 0, text);
        for (int skip = 0; skip < 2; skip++) {
            dml_text_opts opts;
            dml_text_opts_init(&opts);
            opts.on_error = skip != 0 ? DML_ON_ERROR_SKIP : DML_ON_ERROR_FAIL;
            dml_svm *svm = NULL;
            dml_svm_row row;
            assert_int_equal(dml_svm_open(f->ctx, f->images, &opts, &svm), DML_OK);
            assert_int_equal(dml_svm_next(svm, &row), DML_OK);
            assert_int_equal(dml_svm_next(svm, &row), skip != 0 ? DML_OK : DML_EFORMAT);
            if (skip == 0)
                last_error(f, DML_EFORMAT, "images:2: \"");
            else
                assert_true(row.label == 2);
            assert_int_equal(dml_svm_skipped(svm), skip);
            dml_svm_close(svm);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DATA_TEST(lines_of_every_kind),
        DATA_TEST(bad_lines_fail_or_are_counted),
        DATA_TEST(long_lines),
        DATA_TEST(a_gzip_cut_short_is_said),
        DATA_TEST(what_came_before_a_gzip_fault_is_handed_out),
        DATA_TEST(shares_cover_the_file),
        DATA_TEST(misuse_is_refused),
        DATA_TEST(svm_rows),
        DATA_TEST(bad_svm_rows),
    };
    setenv("DML_LOG", "error", 1); /* what is left out is meant to be */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
