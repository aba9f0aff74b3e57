/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CIFAR-10's binary files, plain and gzip.
 */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file("", data, size);
    dml_images *images = NULL;
    if (dml_images_open_cifar10(fuzz_ctx(), &path, 1, &images) == DML_OK) {
        dml_images_info info;
        float mean[3], stddev[3];
        dml_images_get_info(images, &info);
        fuzz_require(info.count > 0 && info.channels == 3 && info.nclasses <= 10);
        dml_images_moments(images, mean, stddev);
    }
    dml_images_destroy(images);
    return 0;
}
