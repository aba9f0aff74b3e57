/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * No memory, at every allocation of the library in turn, for all that one rank does
 * alone: reading and writing files, pipelines, codecs, optimizers, keys and plans. The
 * call that fails says DML_ENOMEM, nothing is left behind (the sanitized build looks),
 * and no file is half written. test/mpi/test_memory.c does it for what ranks do
 * together.
 */
#include "memory_sweep.h"

enum { RECORDS = 40, SIDE = 6, COUNT = 300 };

/* No file of this name, whole or in part. */
static void no_file(const fixture *f, const char *name)
{
    DIR *folder = opendir(f->folder);
    for (struct dirent *e; folder != NULL && (e = readdir(folder)) != NULL;)
        if (strncmp(e->d_name, name, strlen(name)) == 0)
            fail_msg("%s is left", e->d_name);
    closedir(folder);
}

/* ---- files -------------------------------------------------------------------------
 */

static dml_status write_records(fixture *f, dml_ctx *ctx)
{
    dml_status status;
    dml_record_writer *writer = NULL;
    dml_record_writer_opts opts;
    dml_record_writer_opts_init(&opts);
    opts.sync = false;
    unlink(f->images);
    TRY(dml_record_writer_create(ctx, f->images, &opts, &writer));
    for (uint64_t i = 0; i < RECORDS; i++)
        TRY(dml_record_writer_append(writer, &i, sizeof i, i, 1));
    TRY(dml_record_writer_commit(writer));
out:
    dml_record_writer_destroy(writer);
    if (status != DML_OK)
        no_file(f, "images");
    return status;
}

static dml_status read_records(fixture *f, dml_ctx *ctx)
{
    const char *path = f->images;
    dml_status status;
    dml_records *records = NULL;
    dml_record_index *index = NULL, *built = NULL;
    dml_record_file *file = NULL;
    dml_record_set *set = NULL;
    dml_record record;
    char room[8 + DML_RECORD_FRAME_BYTES];
    TRY(dml_records_open(ctx, path, NULL, &records));
    while ((status = dml_records_next(records, &record)) == DML_OK)
        assert_int_equal(record.bytes, 8);
    if (status != DML_EEND)
        goto out;
    TRY(dml_record_index_open(ctx, path, &index));
    TRY(dml_record_index_build(ctx, path, NULL, NULL, NULL, &built));
    assert_int_equal(dml_record_index_count(built), RECORDS);
    TRY(dml_record_index_write(ctx, built, path));
    TRY(dml_record_file_open(ctx, path, true, &file));
    TRY(dml_record_file_read(file, 0, room, sizeof room, &record));
    TRY(dml_record_set_open(ctx, &path, 1, true, &set));
out:
    dml_record_set_close(set);
    dml_record_file_close(file);
    dml_record_index_destroy(built);
    dml_record_index_destroy(index);
    dml_records_close(records);
    return status;
}

static dml_status read_texts(fixture *f, dml_ctx *ctx)
{
    dml_status status;
    dml_lines *lines = NULL;
    dml_table *table = NULL;
    dml_svm *svm = NULL;
    dml_conll *conll = NULL;
    dml_line line;
    dml_table_block block;
    dml_svm_row row;
    dml_sentence sentence;
    char path[PATH_BYTES];
    path_in(f, "lines.gz", path);
    TRY(dml_lines_open(ctx, path, NULL, &lines));
    while ((status = dml_lines_next(lines, &line)) == DML_OK)
        ;
    if (status != DML_EEND)
        goto out;
    path_in(f, "table", path);
    TRY(dml_table_open(ctx, path, NULL, &table));
    TRY(dml_table_set_type(table, 1, DML_COLUMN_TEXT));
    while ((status = dml_table_next(table, &block)) == DML_OK)
        assert_true(block.rows > 0);
    if (status != DML_EEND)
        goto out;
    path_in(f, "svm", path);
    TRY(dml_svm_open(ctx, path, NULL, &svm));
    while ((status = dml_svm_next(svm, &row)) == DML_OK)
        assert_int_equal(row.count, 2);
    if (status != DML_EEND)
        goto out;
    path_in(f, "conll", path);
    TRY(dml_conll_open(ctx, path, NULL, &conll));
    while ((status = dml_conll_next(conll, &sentence)) == DML_OK)
        assert_int_equal(sentence.columns, 2);
    status = status == DML_EEND ? DML_OK : status;
out:
    dml_conll_close(conll);
    dml_svm_close(svm);
    dml_table_close(table);
    dml_lines_close(lines);
    return status;
}

static void put_be32(uint8_t *bytes, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void write_images(fixture *f)
{
    uint8_t images[16 + COUNT * SIDE * SIDE] = {0}, labels[8 + COUNT] = {0};
    put_be32(images, 0x803);
    put_be32(images + 4, COUNT);
    put_be32(images + 8, SIDE);
    put_be32(images + 12, SIDE);
    put_be32(labels, 0x801);
    put_be32(labels + 4, COUNT);
    labels[8] = 3;
    write_file(f->images, true, images, sizeof images);
    write_file(f->labels, false, labels, sizeof labels);
}

static dml_status load_images(fixture *f, dml_ctx *ctx)
{
    dml_status status;
    dml_images *images = NULL;
    dml_loader *loader = NULL;
    dml_loader_opts opts;
    dml_batch batch;
    TRY(dml_images_open_idx(ctx, f->images, f->labels, &images));
    dml_loader_opts_init(&opts);
    opts.batch = 16;
    TRY(dml_loader_create(ctx, images, &opts, &loader));
    for (int i = 0; i < 3; i++)
        TRY(dml_loader_next(loader, &batch));
out:
    dml_loader_destroy(loader);
    dml_images_destroy(images);
    return status;
}

static dml_status run_pipeline(fixture *f, dml_ctx *ctx)
{
    const char *path = f->images;
    dml_status status;
    dml_record_set *set = NULL;
    dml_record_source source;
    dml_pipeline *pipeline = NULL;
    dml_pipeline_opts opts;
    dml_pipeline_batch batch;
    TRY(dml_record_set_open(ctx, &path, 1, true, &set));
    dml_record_set_source(set, &source);
    dml_pipeline_opts_init(&opts);
    opts.batch = 5;
    opts.readers = opts.decoders = 2;
    opts.nfields = 1;
    opts.field_bytes[0] = 8;
    TRY(dml_pipeline_create(ctx, &source, &opts, &pipeline));
    TRY(dml_pipeline_next(pipeline, &batch));
    TRY(dml_pipeline_seek(pipeline, &(dml_pipeline_state){1, 2}));
    TRY(dml_pipeline_next(pipeline, &batch));
out:
    dml_pipeline_destroy(pipeline);
    dml_record_set_close(set);
    return status;
}

static void test_records(void **state)
{
    fixture *f = *state;
    sweep(f, write_records);
    sweep(f, read_records);
    sweep(f, run_pipeline);
}

static void test_texts(void **state)
{
    static const char lines[] = "one\ntwo\n", table[] = "a,b\n1,x\n2,\"y\"\n3,z\n";
    static const char svm[] = "1 1:2 3:4\n2 2:5 9:1e3\n", conll[] = "a X\nb Y\n\nc X\n";
    fixture *f = *state;
    char path[PATH_BYTES];
    path_in(f, "lines.gz", path);
    write_file(path, true, lines, sizeof lines - 1);
    path_in(f, "table", path);
    write_file(path, false, table, sizeof table - 1);
    path_in(f, "svm", path);
    write_file(path, false, svm, sizeof svm - 1);
    path_in(f, "conll", path);
    write_file(path, false, conll, sizeof conll - 1);
    sweep(f, read_texts);
}

static void test_images(void **state)
{
    fixture *f = *state;
    write_images(f);
    sweep(f, load_images);
}

/* ---- codecs and optimizers ---------------------------------------------------------
 */

static dml_status run_codecs(fixture *f, dml_ctx *ctx)
{
    static const char *const numbers[] = {"", ":0.1", ":2"};
    static float gradient[COUNT], code[4 * COUNT];
    (void)f;
    for (size_t i = 0; dml_codec_name(i) != NULL; i++) {
        char spec[64];
        dml_codec *codec = NULL;
        dml_status status = DML_EINVAL;
        for (size_t k = 0; k < 3 && status == DML_EINVAL; k++) {
            snprintf(spec, sizeof spec, "%s%s", dml_codec_name(i), numbers[k]);
            status = dml_codec_check(ctx, spec);
        }
        if (strcmp(dml_codec_name(i), "none") == 0)
            continue;
        status = dml_codec_create(ctx, spec, COUNT, COUNT / 10, 1, &codec);
        if (status == DML_OK && dml_codec_bytes(codec) <= sizeof code)
            status = dml_codec_encode(codec, gradient, code);
        dml_codec_destroy(codec);
        if (status != DML_OK)
            return status;
    }
    return DML_OK;
}

static dml_status run_optimizers(fixture *f, dml_ctx *ctx)
{
    static float weights[COUNT], gradient[COUNT];
    static uint16_t half[COUNT];
    const dml_param params[] = {
        {.param = weights, .grad = gradient, .count = COUNT, .name = "w"},
        {.param = half,
         .grad = half,
         .count = COUNT,
         .dtype = DML_BF16,
         .grad_dtype = DML_BF16}};
    (void)f;
    for (int rule = DML_OPTIM_SGD; rule <= DML_OPTIM_ADAGRAD; rule++) {
        dml_optim *optim = NULL;
        dml_optim_opts opts;
        dml_optim_opts_init(&opts, (dml_optim_rule)rule);
        opts.threads = 2;
        dml_status status =
            dml_optim_create(ctx, (dml_optim_rule)rule, params, 2, &opts, &optim);
        if (status == DML_OK)
            status = dml_optim_step(optim, 0.1);
        dml_optim_destroy(optim);
        if (status != DML_OK)
            return status;
    }
    return DML_OK;
}

static void test_training(void **state)
{
    sweep(*state, run_codecs);
    sweep(*state, run_optimizers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DATA_TEST(test_records),
        DATA_TEST(test_texts),
        DATA_TEST(test_images),
        DATA_TEST(test_training),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
