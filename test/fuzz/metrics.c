/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files of metrics (dml-top): jobs and ranks, or one line of error. What is shown of
 * them has nothing in it that a terminal would obey. The first byte makes the bytes one
 * file, or two at the same time, or one after the other.
 */
#include "fuzz.h"
#include "view.h"

#include <stdlib.h>
#include <string.h>

static void read_text(struct top_jobs *jobs, const uint8_t *data, size_t size)
{
    char error[PROM_ERROR] = "", *text = malloc(size + 1);
    fuzz_require(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    bool good = jobs_parse(jobs, text, size, error);
    fuzz_require(good == (error[0] == '\0') && strchr(error, '\n') == NULL);
    free(text);
}

static void show(const struct top_jobs *jobs, bool small)
{
    char *text = NULL;
    size_t bytes = 0;
    const char *const errors[] = {"a: b"};
    FILE *out = open_memstream(&text, &bytes);
    fuzz_require(out != NULL);
    struct view view = {.out = out, .width = small ? 80 : 0, .height = small ? 24 : 0};
    view_show(&view, jobs, errors, 1, 1e9);
    fclose(out);
    for (size_t i = 0; i < bytes; i++)
        fuzz_require(text[i] == '\n' || (text[i] >= ' ' && text[i] < 0x7f));
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct top_jobs before = {0}, jobs = {0};
    uint8_t choice = fuzz_take(&data, &size);
    size_t half = choice & 1 ? size / 2 : size;
    bool apart = (choice & 2) != 0;
    read_text(apart ? &before : &jobs, data, half);
    read_text(&jobs, data + half, size - half);
    if (apart)
        jobs_judge(&before, NULL, 1e9);
    jobs_judge(&jobs, apart ? &before : NULL, 1e9 + 1);
    show(&jobs, (choice & 4) != 0);
    jobs_free(&jobs);
    jobs_free(&before);
    return 0;
}
