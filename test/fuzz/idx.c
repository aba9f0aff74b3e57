/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * idx files of images: the input is both files, the labels behind a length byte.
 */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t labels = fuzz_take(&data, &size);
    labels = labels < size ? labels : size;
    const char *labels_path = fuzz_file(".labels", data, labels);
    const char *images_path = fuzz_file("", data + labels, size - labels);
    dml_images *images = NULL;
    if (dml_images_open_idx(fuzz_ctx(), images_path, labels_path, &images) == DML_OK) {
        dml_images_info info;
        float mean, stddev;
        dml_images_get_info(images, &info);
        fuzz_require(info.count > 0 && info.channels == 1 && info.nclasses > 0);
        dml_images_moments(images, &mean, &stddev);
    }
    dml_images_destroy(images);
    return 0;
}
