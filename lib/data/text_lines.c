/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lines of a text file: the public face of the source.
 */
#include "data/source.h"

struct dml_lines {
    dml__source source;
};

dml_status dml_lines_open(dml_ctx *ctx, const char *path, const dml_text_opts *opts,
                          dml_lines **out)
{
    if (path == NULL || out == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "the path or the result is NULL");
    dml_lines *lines = dml__alloc(ctx, sizeof *lines);
    if (lines == NULL)
        return dml__fail(ctx, DML_ENOMEM, __func__, "no memory for a reader of lines");
    dml_status status = dml__source_open(&lines->source, ctx, __func__, path, opts);
    if (status != DML_OK)
        dml_lines_close(lines);
    else
        *out = lines;
    return status;
}

dml_status dml_lines_next(dml_lines *lines, dml_line *line)
{
    return dml__source_line(&lines->source, __func__, line);
}

uint64_t dml_lines_skipped(const dml_lines *lines)
{
    return lines->source.skipped;
}

uint64_t dml_lines_number(dml_lines *lines)
{
    return dml__source_number(&lines->source, lines->source.lines);
}

void dml_lines_close(dml_lines *lines)
{
    if (lines == NULL)
        return;
    dml__source_close(&lines->source);
    dml__free(lines);
}
