/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-records convert: which formats there are, and what they need.
 */
#include "convert.h"

#include "images.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct format {
    const char *name;
    int (*to_records)(struct conversion *c);
} formats[] = {
    {"csv", table_to_records},      {"lines", lines_to_records},
    {"libsvm", svm_to_records},     {"conll", conll_to_records},
    {"conllu", conll_to_records},   {"idx", images_to_records},
    {"cifar10", images_to_records},
};

/* Each record and a newline; those of sentences end in one, so an empty line follows.
 */
static int records_to_text(struct conversion *c)
{
    const struct options *o = &c->app->o;
    struct output out = {0};
    dml_records *records = NULL;
    dml_record r;
    dml_status status;
    int result = output_open(&out, o->out, !o->no_sync);
    if (result == EXIT_GOOD && open_records(c->app, o->in, &records) != DML_OK)
        result = complain(c->app);
    if (result == EXIT_GOOD) {
        if (o->first_line) {
            output_write(&out, o->first_line, strlen(o->first_line));
            output_write(&out, "\n", 1);
        }
        while ((status = dml_records_next(records, &r)) == DML_OK && !is_stopped()) {
            output_write(&out, r.data, r.bytes);
            output_write(&out, "\n", 1);
        }
        c->skipped = dml_records_skipped(records);
        if (status != DML_EEND)
            result = complain(c->app);
    }
    dml_records_close(records);
    if (result == EXIT_GOOD)
        result = output_finish(&out);
    if (result == EXIT_GOOD)
        result = output_name(&out);
    output_close(&out, result == EXIT_GOOD);
    return result;
}

static int to_records(struct conversion *c, const struct format *format)
{
    dml_record_writer_opts opts;
    dml_record_writer_opts_init(&opts);
    opts.sync = !c->app->o.no_sync;
    if (dml_record_writer_create(c->app->ctx, c->app->o.out, &opts, &c->writer) !=
        DML_OK)
        return complain(c->app);
    int result = format->to_records(c);
    if (result == EXIT_GOOD && dml_record_writer_commit(c->writer) != DML_OK)
        result = complain(c->app);
    if (result == EXIT_GOOD)
        fprintf(stderr, "%s: %" PRIu64 " records\n", c->app->o.out,
                dml_record_writer_count(c->writer));
    dml_record_writer_destroy(c->writer);
    return result;
}

/* What is missing on the command line; NULL if nothing. */
static const char *missing(const struct options *o)
{
    bool back = strcmp(o->from, "records") == 0;
    bool idx = strcmp(o->from, "idx") == 0 || strcmp(o->to, "idx") == 0;
    if (!o->in || !o->out)
        return "--in and --out are needed";
    if (back == (strcmp(o->to, "records") == 0))
        return "either --from or --to is records";
    if (idx && !o->labels)
        return "idx has its labels in a file of their own: --labels is needed";
    if (strcmp(o->to, "idx") == 0 && strcmp(o->out, o->labels) == 0)
        return "--out and --labels must be two files";
    if (o->delimiter && strlen(o->delimiter) != 1 && strcmp(o->delimiter, "tab") != 0)
        return "--delimiter is one character or the word tab";
    if ((o->key || o->weight || o->delimiter) && strcmp(o->from, "csv") != 0)
        return "--key, --weight and --delimiter are for --from csv";
    if (strcmp(o->out, "-") == 0 && strcmp(o->to, "text") != 0)
        return "only --to text can be written to standard output";
    return NULL;
}

/* Whether two names lead to one file; "-" is the stream given. */
static bool same_file(const char *a, int stream_a, const char *b, int stream_b)
{
    struct stat x, y;
    int got_x = strcmp(a, "-") == 0 ? fstat(stream_a, &x) : stat(a, &x);
    int got_y = strcmp(b, "-") == 0 ? fstat(stream_b, &y) : stat(b, &y);
    return got_x == 0 && got_y == 0 && S_ISREG(x.st_mode) && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

static bool is_an_index(const char *path)
{
    const char *ending = ".index";
    size_t length = strlen(path), tail = strlen(ending);
    return length >= tail && strcmp(path + length - tail, ending) == 0;
}

/* What would be lost by writing there; NULL if nothing. */
static const char *loses(const struct options *o)
{
    bool back = strcmp(o->from, "records") == 0;
    char index[PATH_MAX];
    snprintf(index, sizeof index, "%s.index", o->out);
    if (is_an_index(o->out) || (back && o->labels && is_an_index(o->labels)))
        return "a name to be written ends in .index, as that of a record file's index";
    if (same_file(o->in, STDIN_FILENO, o->out, STDOUT_FILENO))
        return "--in and --out are the same file";
    if (!back && same_file(o->in, STDIN_FILENO, index, STDOUT_FILENO))
        return "--in is the index that --out would get";
    if (!o->labels)
        return NULL;
    if (same_file(o->labels, STDIN_FILENO, o->out, STDOUT_FILENO))
        return "--labels and --out are the same file";
    if (back && same_file(o->in, STDIN_FILENO, o->labels, STDOUT_FILENO))
        return "--in and --labels are the same file";
    if (!back && same_file(o->labels, STDIN_FILENO, index, STDOUT_FILENO))
        return "--labels is the index that --out would get";
    return NULL;
}

int convert_run(struct app *app)
{
    struct conversion c = {.app = app};
    const char *lack = missing(&app->o);
    lack = lack ? lack : loses(&app->o);
    int result = EXIT_FAILED;
    if (lack) {
        refuse("%s; see dml-records convert --help", lack);
        return EXIT_USAGE;
    }
    catch_signals();
    if (strcmp(app->o.to, "text") == 0)
        result = records_to_text(&c);
    else if (strcmp(app->o.to, "records") != 0)
        result = records_to_images(&c);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(app->o.from, formats[i].name) == 0)
            result = to_records(&c, &formats[i]);
    tell_skipped(c.skipped, "left out");
    free(c.text);
    return result;
}
