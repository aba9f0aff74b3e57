/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Model files of dml-cnn. For every second input the checksum is made good. What is a
 * model of the small net for the smallest images is loaded into one.
 */
#include "fuzz.h"
#include "model.h"
#include "nets.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { SUM = 4 };

static const struct net_shape shape = {
    .rows = 1, .channels = 1, .height = 12, .width = 12, .classes = 2};

static struct net *net;

static void destroy_net(void)
{
    net_destroy(net);
}

static void load(struct model *model)
{
    char error[512] = "";
    if (strcmp(model->info.net, "small") != 0 || model->info.shape.channels != 1 ||
        model->info.shape.height != 12 || model->info.shape.width != 12 ||
        model->info.shape.classes != 2)
        return;
    if (net == NULL) {
        fuzz_require(nets_make(nets_find("small"), &shape, 1, 0, &net) == DML_OK);
        atexit(destroy_net);
    }
    if (model_load(model, net, error, sizeof error) != DML_OK)
        fuzz_require(error[0] != '\0' && strchr(error, '\n') == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct model model;
    char error[512] = "";
    uint8_t choice = fuzz_take(&data, &size);
    uint8_t *bytes = malloc(size + 1);
    fuzz_require(bytes != NULL);
    if (size > 0)
        memcpy(bytes, data, size);
    if ((choice & 1) != 0 && size >= SUM) {
        uLong crc = crc32_z(crc32_z(0, NULL, 0), bytes, size - SUM);
        for (int i = 0; i < SUM; i++)
            bytes[size - SUM + (size_t)i] = (uint8_t)(crc >> 8 * i);
    }
    const char *path = fuzz_file("", bytes, size);
    if (model_open(path, &model, error, sizeof error) == DML_OK)
        load(&model);
    else
        fuzz_require(error[0] != '\0' && strchr(error, '\n') == NULL);
    model_close(&model);
    free(bytes);
    return 0;
}
