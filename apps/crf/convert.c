/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-crf convert: sentences by a template to CRFsuite's items, for other programs to
 * train on the same attributes.
 */
#include "commands.h"
#include "template.h"

#include <string.h>

/* Colons and backslashes of an attribute would be read as something else. */
static void put_text(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == ':' || text[i] == '\\')
            putchar('\\');
        putchar(text[i]);
    }
}

static dml_status put_token(const struct crf_run *run, const struct template *template,
                            const struct sentence *sentence, size_t t,
                            struct attributes *attributes)
{
    const struct crf_options *options = run->options;
    size_t columns = sentence_columns(sentence, t);
    size_t label = options->label == CLI_AUTO ? columns : (size_t)options->label;
    if (label > columns)
        return job_fail(run->job, DML_EFORMAT,
                        "%.300s:%llu: no column %zu for the label", options->data,
                        (unsigned long long)(sentence->line + t), label);
    if (!template_expand(template, sentence, t, false, attributes))
        return job_fail(run->job, DML_ENOMEM, "out of memory");
    fputs(sentence_cell(sentence, t, label - 1), stdout);
    for (size_t i = 0, begin = 0; i < attributes->count;
         begin = attributes->ends[i++]) {
        putchar('\t');
        put_text(attributes->text + begin, attributes->ends[i] - begin);
    }
    putchar('\n');
    return DML_OK;
}

static dml_status convert(const struct crf_run *run, const struct template *template)
{
    const char *path = run->options->data;
    struct reader reader;
    struct sentence sentence;
    struct attributes attributes = {0};
    long label =
        run->options->label == CLI_AUTO ? LABEL_LAST : (long)run->options->label - 1;
    dml_status status =
        reader_open(&reader, run->job, path, reader_format(run->options->format, path));
    while (status == DML_OK) {
        status = reader_next(&reader, &sentence);
        if (status == DML_OK)
            status = template_check(template, run->job, &sentence, label, path);
        for (size_t t = 0; status == DML_OK && t < sentence.tokens; t++)
            status = put_token(run, template, &sentence, t, &attributes);
        if (status == DML_OK)
            putchar('\n');
    }
    attributes_free(&attributes);
    reader_close(&reader);
    return status == DML_EEND ? DML_OK : status;
}

dml_status crf_convert(const struct crf_run *run)
{
    struct template template = {0};
    dml_status status = DML_OK;
    if (run->job->nranks > 1)
        status = job_fail(run->job, DML_EINVAL,
                          "convert works on one rank: start it without mpirun");
    if (status == DML_OK)
        status = template_load(&template, run->job, run->options->template);
    if (status == DML_OK && template.pairs)
        status = job_fail(run->job, DML_EINVAL,
                          "%.300s: items know no attributes of pairs of labels: give a "
                          "--template without cells in lines that begin with B",
                          run->options->template);
    if (status == DML_OK)
        status = convert(run, &template);
    if (status == DML_OK && (fflush(stdout) != 0 || ferror(stdout)))
        status = job_fail(run->job, DML_EIO, "cannot write to standard output");
    template_free(&template);
    return job_agree(run->job, status);
}
