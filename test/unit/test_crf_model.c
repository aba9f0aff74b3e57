/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Model files of dml-crf: written and read back, of another version, broken.
 */
#include "model.h"
#include "model_file.h"
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
    snprintf(path, sizeof path, "/tmp/test-crf-model-%ld", (long)getpid());
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* Attributes Ua, Ub, Ba and Bb; 3 state features, 2 transitions, and then "pairs": of
 * Bb from X to Y, of Ba from Y to Z. */
static size_t write_model(struct model *model, bool pairs, char **image)
{
    static const char text[] = "a X\nb Y\n\nb Y\na Z\n";
    const char *lines = pairs ? "U%x[0,0]\nB\nB%x[0,0]\n" : "U%x[0,0]\nB\n";
    struct job job = new_job();
    struct corpus corpus = {0};
    size_t bytes = 0;
    double weights[64];
    *model = (struct model){0};
    assert_true(dict_init(&model->vocabulary.labels));
    assert_true(dict_init(&model->vocabulary.attributes));
    assert_int_equal(template_parse(&model->template, &job, lines, strlen(lines), "t"),
                     DML_OK);
    model->source = (struct source){
        .format = READER_COLUMNS, .template = &model->template, .label = LABEL_LAST};
    assert_int_equal(corpus_read(&corpus, &job, &model->vocabulary, &model->source,
                                 file_of(text, strlen(text))),
                     DML_OK);
    model->nlabels = 3;
    assert_true(features_build(&model->features, &corpus,
                               model->vocabulary.attributes.count, 3, true, 0));
    assert_int_equal(model->features.npairs, pairs ? 2 : 0);
    for (size_t i = 0; i < features_count(&model->features); i++)
        weights[i] = i == 1 ? 0 : (double)i + 0.5;
    FILE *file = open_memstream(image, &bytes);
    assert_int_equal(model_write(file, model, weights, &job), DML_OK);
    fclose(file);
    corpus_free(&corpus);
    return bytes;
}

static void check_model(bool pairs)
{
    struct model model, copy;
    struct job job = new_job();
    char *image;
    size_t bytes = write_model(&model, pairs, &image);
    assert_int_equal(model_open(&copy, &job, file_of(image, bytes)), DML_OK);
    assert_int_equal(copy.nlabels, 3);
    assert_int_equal(features_count(&copy.features),
                     features_count(&model.features) - 1);
    assert_int_equal(dict_find(&copy.vocabulary.attributes, "Ub", 2), 1);
    assert_int_equal(dict_find(&copy.vocabulary.attributes, "Uc", 2), DICT_NONE);
    assert_true(copy.weights[0] == 0.5f && copy.weights[1] == 2.5f);
    double weights[64];
    model_copy_weights(&copy, &model, weights);
    assert_true(weights[0] == 0.5 && weights[1] == 0 && weights[2] == 2.5);
    assert_true(weights[4] == 4.5 && (!pairs || weights[6] == 6.5));
    model_close(&copy);
    model_close(&model);
    free(image);
}

static void test_model(void **state)
{
    (void)state;
    check_model(false);
    check_model(true);
}

/* The version before has other sections: it is named, not read. */
static void test_old_model(void **state)
{
    (void)state;
    struct model model, copy;
    struct job job = new_job();
    char *image;
    size_t bytes = write_model(&model, false, &image);
    struct header header;
    memcpy(&header, image, sizeof header);
    header.version = 1;
    memcpy(image, &header, sizeof header);
    assert_int_equal(model_open(&copy, &job, file_of(image, bytes)), DML_EFORMAT);
    assert_non_null(strstr(job.error, "another version of dml-crf"));
    assert_non_null(strstr(job.error, "write it anew"));
    model_close(&copy);
    model_close(&model);
    free(image);
}

/* Bytes changed, all of the header's and some of the others, and lengths cut, likewise.
 */
static void test_broken_models(void **state)
{
    (void)state;
    struct model model, copy;
    char *image;
    size_t bytes = write_model(&model, true, &image);
    for (size_t i = 0; i < bytes; i += i < sizeof(struct header) ? 1 : 97) {
        struct job job = new_job();
        image[i] = (char)(image[i] ^ 0x41);
        dml_status status = model_open(&copy, &job, file_of(image, bytes));
        image[i] = (char)(image[i] ^ 0x41);
        if (status == DML_OK)
            fail_msg("byte %zu of %zu changed, and nothing is said", i, bytes);
        assert_non_null(strstr(job.error, "not a usable model file"));
        model_close(&copy);
    }
    for (size_t cut = 0; cut < bytes; cut += cut < sizeof(struct header) ? 1 : 211) {
        struct job job = new_job();
        assert_int_equal(model_open(&copy, &job, file_of(image, cut)), DML_EFORMAT);
        assert_non_null(strstr(job.error, "not a usable model file"));
        model_close(&copy);
    }
    model_close(&model);
    free(image);
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
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_old_model),
        cmocka_unit_test(test_broken_models),
    };
    return cmocka_run_group_tests_name("crf_model", tests, start, end);
}
