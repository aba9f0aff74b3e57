/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-records: record files made of other formats, looked at, indexed and checked. One
 * process; no launcher.
 */
#include "process.h"
#include "records.h"
#include "version.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

#define AT(member) offsetof(struct options, member)

#define ON_ERROR                                                                   \
    "what is done with a bad line or record: fail with its place, or skip it and " \
    "say how many"
#define MAX_BYTES "a longer record is an error"

static const struct cli_option convert_options[] = {
    {"files", "in", CLI_STRING, AT(in), NULL, "FILE", 0, 0,
     "what is read, plain or gzip; - is standard input (not for images)"},
    {NULL, "out", CLI_STRING, AT(out), NULL, "FILE", 0, 0,
     "what is written, whole or not at all; with records also FILE.index; - is "
     "standard output (text)"},
    {NULL, "labels", CLI_STRING, AT(labels), NULL, "FILE", 0, 0,
     "the labels' file of idx, read or written"},
    {"formats", "from", CLI_CHOICE, AT(from), "csv",
     "csv|lines|libsvm|conll|conllu|idx|cifar10|records", 0, 0,
     "format of --in: a record is made of each row, line, sentence or image"},
    {NULL, "to", CLI_CHOICE, AT(to), "records", "records|text|idx|cifar10", 0, 0,
     "format of --out; text writes each record and a newline"},
    {"tables", "delimiter", CLI_STRING, AT(delimiter), NULL, "CHAR", 0, 0,
     "between cells, or the word tab; without it the first rows tell"},
    {NULL, "header", CLI_CHOICE, AT(header), "auto", "auto|yes|no", 0, 0,
     "is the first row a header? It becomes no record"},
    {NULL, "key", CLI_STRING, AT(key), NULL, "COLUMN", 0, 0,
     "name or number of the column whose text's hash is the key; without it the row's "
     "number"},
    {NULL, "weight", CLI_STRING, AT(weight), NULL, "COLUMN", 0, 0,
     "name or number of the column that is the weight; without it 1"},
    {NULL, "first-line", CLI_STRING, AT(first_line), NULL, "TEXT", 0, 0,
     "written before the records with --to text, such as a header"},
    {"errors", "on-error", CLI_CHOICE, AT(on_error), "fail", "fail|skip", 0, 0,
     ON_ERROR},
    {NULL, "max-bytes", CLI_INT, AT(max_bytes), "1073741824", "N", 1, 1e15, MAX_BYTES},
    {NULL, "no-sync", CLI_FLAG, AT(no_sync), NULL, NULL, 0, 0,
     "do not wait until the disk has the bytes"},
};

#define FILE_OPTION                                               \
    {                                                             \
        "what", "file", CLI_STRING, AT(file), NULL, "FILE", 0, 0, \
            "the record file, plain or gzip (index: plain)"       \
    }
#define ERROR_OPTIONS(fallback)                                                \
    {                                                                          \
        NULL,        "on-error", CLI_CHOICE, AT(on_error), fallback,           \
        "fail|skip", 0,          0,          ON_ERROR},                        \
    {                                                                          \
        NULL, "max-bytes", CLI_INT, AT(max_bytes), "1073741824", "N", 1, 1e15, \
            MAX_BYTES                                                          \
    }

static const struct cli_option inspect_options[] = {
    FILE_OPTION,
    {NULL, "first", CLI_INT, AT(first), "3", "N", 0, 1e15,
     "records whose beginning is shown"},
    ERROR_OPTIONS("skip"),
};
static const struct cli_option index_options[] = {FILE_OPTION, ERROR_OPTIONS("fail")};
static const struct cli_option verify_options[] = {FILE_OPTION, ERROR_OPTIONS("fail")};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const struct command {
    struct cli_command cli;
    int (*run)(struct app *app);
} commands[] = {
    {{"dml-records", "convert",
      "Make a record file of another format, or one of those of a record file.",
      convert_options, COUNT(convert_options),
      "  dml-records convert --in flights.csv.gz --key carrier --out flights.records\n"
      "  dml-records convert --from idx --in images --labels labels --out t.records\n"
      "  dml-records convert --from records --in t.records --to text --out -\n",
      NULL},
     convert_run},
    {{"dml-records", "inspect",
      "Show how many records a file has, how long they are, and the first ones.",
      inspect_options, COUNT(inspect_options),
      "  dml-records inspect --file flights.records --first 10\n", NULL},
     inspect_run},
    {{"dml-records", "index",
      "Write FILE.index for a record file that another program wrote: key is the "
      "record's number, weight its bytes.",
      index_options, COUNT(index_options), "  dml-records index --file a.tfrecord\n",
      NULL},
     index_run},
    {{"dml-records", "verify",
      "Compare all checksums of a record file, and its index with it.", verify_options,
      COUNT(verify_options), "  dml-records verify --file a.tfrecord --on-error skip\n",
      NULL},
     verify_run},
};

int refuse(const char *format, ...)
{
    va_list args;
    fputs("dml-records: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return EXIT_FAILED;
}

static volatile sig_atomic_t stopped;

static void stop(int number)
{
    (void)number;
    stopped = 1;
}

/* Once: a second signal ends the process in any case. Calls that wait are woken. */
void catch_signals(void)
{
    struct sigaction action = {.sa_handler = stop, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool is_stopped(void)
{
    return stopped != 0;
}

int complain(const struct app *app)
{
    dml_error error;
    if (is_stopped())
        return refuse("stopped by a signal");
    dml_ctx_last_error(app->ctx, &error);
    return refuse("%s", error.text);
}

dml_on_error on_error_of(const struct app *app)
{
    return strcmp(app->o.on_error, "skip") == 0 ? DML_ON_ERROR_SKIP : DML_ON_ERROR_FAIL;
}

dml_status open_records(const struct app *app, const char *path, dml_records **records)
{
    dml_records_opts opts;
    dml_records_opts_init(&opts);
    opts.on_error = on_error_of(app);
    opts.max_bytes = (size_t)app->o.max_bytes;
    return dml_records_open(app->ctx, path, &opts, records);
}

void tell_skipped(uint64_t skipped, const char *what)
{
    if (skipped > 0)
        fprintf(stderr, "dml-records: %llu %s\n", (unsigned long long)skipped, what);
}

static void print_usage(FILE *out)
{
    fprintf(out, "usage: dml-records COMMAND [options]\n\ncommands:\n");
    for (size_t i = 0; i < COUNT(commands); i++)
        fprintf(out, "  %-8s %s\n", commands[i].cli.name, commands[i].cli.summary);
    fprintf(
        out,
        "\n  --help    this text; after a command, its options\n"
        "  --version of the program, libdml and MPI, and whether there is CUDA\n"
        "\nTry dml-records convert --help. Exit status: 0 all is well, 1 bad or "
        "unreadable data, 64 refused options. doc/data.md describes the formats.\n");
}

/* What was printed may still be on its way, and fail there. */
static int flushed(int result)
{
    bool failed = ferror(stdout) != 0;
    int error = fflush(stdout) != 0 ? errno : EIO;
    failed = failed || ferror(stdout);
    if (result != EXIT_GOOD || !failed)
        return result;
    return refuse("standard output: cannot write: %s", strerror(error));
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; name && i < COUNT(commands); i++)
        if (strcmp(commands[i].cli.name, name) == 0)
            return &commands[i];
    return NULL;
}

static int run_command(const struct command *command, int argc, char **argv)
{
    struct app app = {0};
    char error[CLI_TEXT];
    enum cli_result parsed = cli_parse(&command->cli, argc, argv, 2, &app.o, error);
    if (parsed == CLI_HELP) {
        cli_help(&command->cli, stdout);
        return EXIT_GOOD;
    }
    if (parsed == CLI_OK && !app.o.file && command->run != convert_run) {
        snprintf(error, sizeof error, "--file is needed; see dml-records %s --help",
                 command->cli.name);
        parsed = CLI_BAD;
    }
    if (parsed == CLI_BAD) {
        refuse("%s", error);
        return EXIT_USAGE;
    }
    dml_status status = dml_ctx_create(NULL, &app.ctx);
    if (status != DML_OK)
        return refuse("libdml cannot start: %s", dml_status_str(status));
    int result = command->run(&app);
    dml_ctx_destroy(app.ctx);
    return result;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;
    const struct command *command = find_command(name);
    process_guard();
    if (command)
        return flushed(run_command(command, argc, argv));
    if (name && strcmp(name, "--version") == 0) {
        version_print("dml-records");
        return flushed(EXIT_GOOD);
    }
    bool help = name && (strcmp(name, "--help") == 0 || strcmp(name, "help") == 0);
    print_usage(help ? stdout : stderr);
    return flushed(help ? EXIT_GOOD : EXIT_USAGE);
}
