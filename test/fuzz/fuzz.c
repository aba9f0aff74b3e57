/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inputs as files, in a folder of this process.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH = 200 };

static struct {
    dml_ctx *ctx;
    char folder[PATH];
} state;

static const char *const suffixes[] = {"", ".index", ".labels"};

static void path_of(const char *suffix, char path[2 * PATH])
{
    snprintf(path, (size_t)2 * PATH, "%s/input%s", state.folder, suffix);
}

static void clean(void)
{
    char path[2 * PATH];
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        path_of(suffixes[i], path);
        unlink(path);
    }
    rmdir(state.folder);
    dml_ctx_destroy(state.ctx);
    state.ctx = NULL;
}

void fuzz_require(bool holds)
{
    if (!holds)
        abort();
}

static void ignore(void *user, dml_log_level level, const char *line)
{
    (void)user;
    (void)level;
    (void)line;
}

dml_ctx *fuzz_ctx(void)
{
    if (state.ctx != NULL)
        return state.ctx;
    dml_ctx_opts opts;
    dml_ctx_opts_init(&opts);
    opts.log = ignore;
    const char *base = getenv("TMPDIR");
    snprintf(state.folder, sizeof state.folder, "%.100s/dml-fuzz-XXXXXX",
             base != NULL ? base : "/tmp");
    fuzz_require(mkdtemp(state.folder) != NULL);
    fuzz_require(dml_ctx_create(&opts, &state.ctx) == DML_OK);
    atexit(clean);
    return state.ctx;
}

const char *fuzz_file(const char *suffix, const uint8_t *data, size_t size)
{
    static char paths[sizeof suffixes / sizeof *suffixes][2 * PATH];
    fuzz_ctx();
    size_t which = 0;
    while (strcmp(suffixes[which], suffix) != 0)
        which++;
    path_of(suffix, paths[which]);
    int fd = open(paths[which], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    fuzz_require(fd >= 0);
    fuzz_require(size == 0 || write(fd, data, size) == (ssize_t)size);
    close(fd);
    return paths[which];
}

uint8_t fuzz_take(const uint8_t **data, size_t *size)
{
    if (*size == 0)
        return 0;
    (*size)--;
    return *(*data)++;
}

uint8_t *fuzz_summed(const uint8_t *data, size_t size, bool mend)
{
    enum { SUM = 8 };
    uint8_t *bytes = malloc(size + 1);
    fuzz_require(bytes != NULL);
    if (size > 0)
        memcpy(bytes, data, size);
    if (mend && size >= SUM) {
        uint64_t sum = dml_hash_bytes(bytes, size - SUM, 0);
        for (size_t i = 0; i < SUM; i++)
            bytes[size - SUM + i] = (uint8_t)(sum >> 8 * i);
    }
    return bytes;
}

dml_keys fuzz_keys(dml_key_kind kind)
{
    static const uint64_t u64[] = {0, 1, 5, 9, UINT64_MAX};
    static const dml_bytes strings[] = {
        {"", 0}, {"a", 1}, {"key", 3}, {"a key of the tail", 17}, {"zz", 2}};
    return (dml_keys){.kind = kind, .count = 5, .u64 = u64, .bytes = strings};
}
