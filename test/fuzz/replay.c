/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stands in for libFuzzer where the compiler has none: runs a fuzzer on all files of
 * the folders given, as they are, cut short, and changed in a few bytes. The changes
 * are drawn from a fixed seed, so that a failure comes again.
 */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef CHANGES /* of each file; fewer where an input is a whole job */
#define CHANGES 100
#endif

enum { MOST_BYTES = 1 << 20, SEED = 20 };

static void run(const uint8_t *data, size_t size)
{
    /* A copy of just this size, so that reading past it is seen. */
    uint8_t *copy = malloc(size > 0 ? size : 1);
    fuzz_require(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void run_changed(uint8_t *data, size_t size, uint64_t seed)
{
    for (uint64_t i = 0; i < CHANGES && size > 0; i++) {
        size_t cut = (size_t)(dml_rng_u64(seed, 1, i) % size);
        uint8_t kept[4];
        size_t at[4];
        run(data, cut);
        for (uint64_t k = 0; k < 4; k++) {
            at[k] = (size_t)(dml_rng_u64(seed, 2 + k, i) % size);
            kept[k] = data[at[k]];
            data[at[k]] = (uint8_t)dml_rng_u64(seed, 6 + k, i);
        }
        run(data, size);
        for (int k = 3; k >= 0; k--)
            data[at[k]] = kept[k];
    }
}

static int run_file(const char *path, uint8_t *data)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "replay: cannot open %s\n", path);
        return 1;
    }
    size_t size = fread(data, 1, MOST_BYTES, file);
    fclose(file);
    printf("%s: %zu bytes\n", path, size);
    fflush(stdout);
    run(data, size);
    run_changed(data, size, SEED + size);
    return 0;
}

int main(int argc, char **argv)
{
    int failed = 0, files = 0;
    uint8_t *data = malloc(MOST_BYTES);
    fuzz_require(data != NULL);
    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        struct dirent *entry;
        while (folder != NULL && (entry = readdir(folder)) != NULL) {
            char path[4096];
            snprintf(path, sizeof path, "%s/%s", argv[i], entry->d_name);
            if (entry->d_name[0] == '.')
                continue;
            failed += run_file(path, data);
            files++;
        }
        if (folder != NULL)
            closedir(folder);
    }
    free(data);
    printf("%d inputs, seed %d\n", files, SEED);
    return failed > 0 || files == 0;
}
