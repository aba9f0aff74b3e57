/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whole nets: counts of parameters, order of gradients, passes over parts of a batch,
 * initial weights, and model files, also damaged ones.
 */
#include "loss.h"
#include "model.h"
#include "nets.h"
#include "unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROWS 12

static struct net *make(const char *kind, size_t rows, size_t channels, size_t side,
                        uint64_t seed)
{
    struct net *net = NULL;
    struct net_shape shape = {rows, channels, side, side, 10};
    dml_status status = nets_make(nets_find(kind), &shape, seed, 0, &net);
    if (status != DML_OK)
        fail_msg("%s: %s", kind, net ? net_error(net) : "out of memory");
    return net;
}

static void fill_images(float *images, size_t count)
{
    for (size_t i = 0; i < count; i++)
        images[i] = (float)dml_rng_normal(3, 1, i);
}

/* Forward and backward of a mean loss over "whole" rows. */
static double run(struct net *net, const float *images, const int32_t *labels,
                  size_t whole)
{
    const float *logits = dnn_data(net->output->data);
    size_t rows = net->shape.rows;
    assert_int_equal(net_forward(net, NET_TRAIN, images), DML_OK);
    struct loss loss = loss_forward(logits, labels, rows, 10);
    loss_backward(logits, labels, rows, 10, 1.0 / (double)whole,
                  dnn_data(net->output->grad));
    assert_int_equal(net_backward(net, NULL, NULL), DML_OK);
    return loss.sum;
}

static void parameters_are_as_many_as_published(void **state)
{
    (void)state;
    static const struct {
        const char *kind;
        size_t channels, side, params;
    } known[] = {
        {"small", 1, 28, 320 + 18496 + 401536 + 1290},
        {"small", 3, 32, 896 + 18496 + 4096 * 128 + 128 + 1290},
        /* He et al. 2016, table 6: 0.27 million. */
        {"resnet20", 3, 32, 269722},
        {"vgg", 1, 28, 584618},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        struct net *net = make(known[i].kind, 2, known[i].channels, known[i].side, 1);
        assert_int_equal(net_count_params(net), known[i].params);
        assert_true(net->nparam_floats >= known[i].params + NET_HEAD);
        net_destroy(net);
    }
}

struct order {
    const struct net *net;
    size_t next; /* offset at which the next gradient must begin */
    int count;
};

static dml_status follows(void *user, int param)
{
    struct order *order = user;
    assert_int_equal(order->net->params[param].offset, order->next);
    order->next += order->net->params[param].stored;
    order->count++;
    return DML_OK;
}

static void gradients_become_ready_in_memory_order(void **state)
{
    (void)state;
    for (size_t i = 0; nets_at(i); i++) {
        struct net *net = make(nets_at(i)->name, 2, 1, 28, 1);
        float images[2 * 784];
        struct order order = {net, NET_HEAD, 0};
        fill_images(images, 2 * 784);
        assert_int_equal(net_forward(net, NET_TRAIN, images), DML_OK);
        assert_int_equal(net_backward(net, follows, &order), DML_OK);
        assert_int_equal(order.count, net->nparams);
        assert_int_equal(order.next, net->nparam_floats);
        net_destroy(net);
    }
}

/* Sum of gradients over parts of a batch, in plain order. */
static void plain_gradients(struct net *net, double *sums)
{
    for (int i = 0; i < net->nparams; i++) {
        const struct param *param = &net->params[i];
        dnnl_memory_desc_t md;
        float *plain = malloc(param->count * sizeof *plain);
        assert_non_null(plain);
        assert_int_equal(dnn_plain(&net->dnn, param->ndims, param->dims, &md), DML_OK);
        assert_int_equal(
            dnn_convert(&net->dnn, &param->md, dnn_data(param->grad), &md, plain),
            DML_OK);
        for (size_t k = 0; k < param->count; k++)
            *sums++ += (double)plain[k];
        free(plain);
    }
}

static void parts_of_a_batch_add_up_to_the_whole(void **state)
{
    (void)state;
    static const size_t parts[] = {1, 3, 4, 6};
    static float images[ROWS * 784];
    int32_t labels[ROWS];
    fill_images(images, ROWS * 784);
    for (int i = 0; i < ROWS; i++)
        labels[i] = i * 3 % 10;
    struct net *net = make("small", ROWS, 1, 28, 1);
    size_t count = net_count_params(net);
    double *whole = calloc(count, sizeof *whole), *sum = calloc(count, sizeof *sum);
    assert_true(whole && sum);
    double loss = run(net, images, labels, ROWS);
    plain_gradients(net, whole);
    net_destroy(net);
    double largest = 0;
    for (size_t k = 0; k < count; k++)
        largest = fmax(largest, fabs(whole[k]));
    assert_true(largest > 1e-3);
    for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++) {
        double part_loss = 0;
        memset(sum, 0, count * sizeof *sum);
        net = make("small", parts[p], 1, 28, 1);
        for (size_t row = 0; row < ROWS; row += parts[p]) {
            part_loss += run(net, images + row * 784, labels + row, ROWS);
            plain_gradients(net, sum);
        }
        net_destroy(net);
        assert_true(fabs(part_loss - loss) < 1e-5 * loss);
        /* Sums of some thousand single-precision products. */
        for (size_t k = 0; k < count; k++)
            assert_true(fabs(sum[k] - whole[k]) <= 1e-5 * largest);
    }
    free(whole);
    free(sum);
}

static void weights_begin_as_documented(void **state)
{
    (void)state;
    struct net *a = make("small", 2, 1, 28, 1), *b = make("small", 5, 1, 28, 1);
    struct net *c = make("small", 2, 1, 28, 2);
    size_t count = a->params[4].count; /* fully connected, 3136 x 128 */
    float *x = malloc(count * sizeof *x), *y = malloc(count * sizeof *y);
    assert_true(x && y);
    assert_int_equal(net_get_param(a, 4, x), DML_OK);
    assert_int_equal(net_get_param(b, 4, y), DML_OK);
    assert_memory_equal(x, y, count * sizeof *x); /* whatever the rows */
    assert_int_equal(net_get_param(c, 4, y), DML_OK);
    assert_memory_not_equal(x, y, count * sizeof *x);
    double sum = 0, squares = 0;
    for (size_t k = 0; k < count; k++) {
        sum += (double)x[k];
        squares += (double)x[k] * (double)x[k];
    }
    /* 401,408 draws: the variance's relative standard deviation is 0.0022. */
    assert_true(fabs(squares / (double)count * 3136 / 2 - 1) < 0.012);
    assert_true(fabs(sum / (double)count) < 5 * sqrt(2.0 / 3136 / (double)count));
    free(x);
    free(y);
    net_destroy(a);
    net_destroy(b);
    net_destroy(c);
}

/* ---- model files ---------------------------------------------------------------- */

#define ERROR_ROOM 512

static char path[] = "/tmp/dml-cnn-model-XXXXXX";

static void write_file(const unsigned char *bytes, size_t count)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

static int make_model(void **state)
{
    int fd = mkstemp(path);
    if (fd < 0)
        return -1;
    close(fd);
    (void)state;
    return 0;
}

static int remove_model(void **state)
{
    (void)state;
    return unlink(path);
}

static void save(struct net *net, const char *kind)
{
    char error[ERROR_ROOM];
    struct model_info info = {.shape = net->shape, .mean = {0.25f}, .stddev = {0.5f}};
    snprintf(info.net, sizeof info.net, "%s", kind);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(model_write(file, net, &info, error, sizeof error), DML_OK);
    assert_int_equal(fclose(file), 0);
}

static void models_come_back_as_they_were(void **state)
{
    (void)state;
    char error[ERROR_ROOM];
    struct net *net = make("vgg", 3, 1, 28, 1), *other = make("vgg", 2, 1, 28, 2);
    for (size_t i = 0; i < net->nstate_floats; i++)
        net->state_data[i] = (float)i + 0.5f;
    save(net, "vgg");
    struct model model;
    assert_int_equal(model_open(path, &model, error, sizeof error), DML_OK);
    assert_string_equal(model.info.net, "vgg");
    assert_int_equal(model.info.shape.channels, 1);
    assert_int_equal(model.info.shape.height, 28);
    assert_int_equal(model.info.shape.classes, 10);
    assert_true(model.info.mean[0] == 0.25f && model.info.stddev[0] == 0.5f);
    assert_int_equal(model_load(&model, other, error, sizeof error), DML_OK);
    model_close(&model);
    assert_memory_equal(net->state_data, other->state_data,
                        net->nstate_floats * sizeof(float));
    for (int i = 0; i < net->nparams; i++) {
        size_t count = net->params[i].count;
        float *x = malloc(count * sizeof *x), *y = malloc(count * sizeof *y);
        assert_true(x && y);
        assert_int_equal(net_get_param(net, i, x), DML_OK);
        assert_int_equal(net_get_param(other, i, y), DML_OK);
        assert_memory_equal(x, y, count * sizeof *x);
        free(x);
        free(y);
    }
    net_destroy(net);
    net_destroy(other);
}

static void refuse(const char *words)
{
    char error[ERROR_ROOM] = "";
    struct model model;
    assert_int_equal(model_open(path, &model, error, sizeof error), DML_EFORMAT);
    assert_non_null(strstr(error, words));
    model_close(&model);
}

static void damaged_models_are_refused(void **state)
{
    (void)state;
    char error[ERROR_ROOM] = "";
    struct net *net = make("small", 2, 1, 28, 1);
    struct model model;
    save(net, "small");
    assert_int_equal(model_open(path, &model, error, sizeof error), DML_OK);
    size_t size = model.size + 4; /* the checksum is not counted */
    unsigned char *bytes = malloc(size);
    assert_non_null(bytes);
    memcpy(bytes, model.bytes, size);
    model_close(&model);

    for (size_t at = MODEL_MAX_CHANNELS; at < size; at += size / 7) {
        bytes[at] ^= 0x10;
        write_file(bytes, size);
        refuse("checksum");
        bytes[at] ^= 0x10;
    }
    write_file(bytes, size - 1);
    refuse("checksum");
    write_file(bytes, size / 2);
    refuse("checksum");
    write_file(bytes, 10);
    refuse("first bytes");
    write_file(bytes, 0);
    refuse("first bytes");
    bytes[0] ^= 1;
    write_file(bytes, size);
    refuse("first bytes");
    bytes[0] ^= 1;

    /* A sound file of another net. */
    struct net *vgg = make("vgg", 2, 1, 28, 1);
    write_file(bytes, size);
    assert_int_equal(model_open(path, &model, error, sizeof error), DML_OK);
    assert_int_equal(model_load(&model, vgg, error, sizeof error), DML_EFORMAT);
    assert_non_null(strstr(error, "not those of the net"));
    model_close(&model);
    net_destroy(vgg);

    assert_int_equal(model_open("/nonexistent/model", &model, error, sizeof error),
                     DML_EIO);
    assert_non_null(strstr(error, "/nonexistent/model"));
    model_close(&model);
    free(bytes);
    net_destroy(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_as_many_as_published),
        cmocka_unit_test(gradients_become_ready_in_memory_order),
        cmocka_unit_test(parts_of_a_batch_add_up_to_the_whole),
        cmocka_unit_test(weights_begin_as_documented),
        cmocka_unit_test(models_come_back_as_they_were),
        cmocka_unit_test(damaged_models_are_refused),
    };
    return cmocka_run_group_tests(tests, make_model, remove_model);
}
