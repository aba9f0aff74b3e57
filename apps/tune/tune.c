/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line of dml-tune, and the table that it writes: neighbouring sizes with
 * the same winner become one rule, and a rule ends half way to the next size.
 */
#include "tune.h"

#include <getopt.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void tune_help(void)
{
    fputs(
        "usage: mpirun -n RANKS dml-tune [OPTION]...\n"
        "\n"
        "Time every algorithm of every collective on these ranks, and write a tuning\n"
        "table for them: DML_TUNING=FILE makes libdml choose by it.\n"
        "\n"
        "--output FILE      write the table there (default: standard output)\n"
        "--collective NAME  only this one; repeatable\n"
        "--max BYTES        largest size (default 16M; K, M and G are understood)\n"
        "--seconds S        at most about so long for a collective (default 10)\n"
        "--gpu              time the paths for device memory instead; one file may\n"
        "                   hold these rules and the others\n"
        "--help             this text\n"
        "--version          of the program, libdml and MPI, and whether there is CUDA\n"
        "\n"
        "example: mpirun -n 4 dml-tune --output four-ranks.tuning\n",
        stdout);
}

static size_t parse_bytes(const char *text)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    int shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
    end += shift > 0;
    return *end != '\0' || value > (SIZE_MAX >> 2) >> shift ? 0
                                                            : (size_t)value << shift;
}

static bool set_option(struct tune_options *o, int option, char *error,
                       size_t error_bytes)
{
    char *end;
    switch (option) {
    case 'o':
        o->output = optarg;
        return true;
    case 'c':
        for (int c = 0; c < DML_NCOLLS; c++)
            if (strcmp(optarg, dml_coll_name((dml_coll)c)) == 0)
                return o->wanted[c] = true;
        snprintf(error, error_bytes, "--collective %.40s: there is none of that name",
                 optarg);
        return false;
    case 'm':
        o->max_bytes = parse_bytes(optarg);
        if (o->max_bytes >= 8)
            return true;
        snprintf(error, error_bytes, "--max %.40s: needs 8 or more, such as 64K",
                 optarg);
        return false;
    case 's':
        o->seconds = strtod(optarg, &end);
        if (*end == '\0' && o->seconds > 0)
            return true;
        snprintf(error, error_bytes, "--seconds %.40s: needs a positive number",
                 optarg);
        return false;
    case 'g':
        return o->gpu = true;
    case 'v':
        return o->version = true;
    default:
        o->help = true;
        return true;
    }
}

bool tune_options(struct tune_options *o, int argc, char **argv, char *error,
                  size_t error_bytes)
{
    static const struct option options[] = {
        {"output", required_argument, NULL, 'o'},
        {"collective", required_argument, NULL, 'c'},
        {"max", required_argument, NULL, 'm'},
        {"seconds", required_argument, NULL, 's'},
        {"gpu", no_argument, NULL, 'g'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    *o = (struct tune_options){.max_bytes = (size_t)16 << 20, .seconds = 10};
    opterr = 0; /* rank 0 alone speaks */
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == '?') {
            snprintf(error, error_bytes,
                     "%.60s: unknown option, or its value is missing; see --help",
                     argv[optind - 1]);
            return false;
        }
        if (!set_option(o, option, error, error_bytes))
            return false;
    }
    if (optind < argc) {
        snprintf(error, error_bytes, "%.60s: not understood; see --help", argv[optind]);
        return false;
    }
    bool any = false;
    for (int c = 0; c < DML_NCOLLS; c++)
        any = any || o->wanted[c];
    for (int c = 0; c < DML_NCOLLS && !any; c++)
        o->wanted[c] = true;
    return true;
}

void tune_row_add(struct tune_row *row, const char *name, double seconds, size_t number)
{
    row->seconds[number] = seconds;
    if (seconds <= 0)
        return;
    if (row->best == NULL || seconds < row->best_s) {
        row->second = row->best;
        row->second_s = row->best_s;
        row->best = name;
        row->best_s = seconds;
        row->best_number = number;
    } else if (row->second == NULL || seconds < row->second_s) {
        row->second = name;
        row->second_s = seconds;
    }
}

void tune_row_steady(struct tune_row *row, const struct tune_row *before)
{
    double s = row->seconds[before->best_number];
    if (s <= 0 || s > 1.05 * row->best_s || row->best_number == before->best_number)
        return;
    row->second = row->best;
    row->second_s = row->best_s;
    row->best = before->best;
    row->best_s = s;
    row->best_number = before->best_number;
}

bool tune_open(struct outfile *out, const struct tune_options *o, char *error,
               size_t error_bytes)
{
    *out = (struct outfile){.file = stdout};
    return o->output == NULL ||
           outfile_open(out, o->output, error, error_bytes) == DML_OK;
}

bool tune_close(struct outfile *out, const struct tune_options *o, bool keep,
                char *error, size_t error_bytes)
{
    if (o->output != NULL && !keep) {
        outfile_cancel(out);
        return true;
    }
    if (o->output != NULL)
        return outfile_commit(out, error, error_bytes) == DML_OK;
    return stdout_commit(error, error_bytes) == DML_OK;
}

void tune_head(FILE *out, int nranks, int nnodes)
{
    fprintf(out,
            "# libdml %s, tuned by dml-tune on %d rank(s), %d node(s); f32 sums. The "
            "first\n"
            "# rule that fits holds; see doc/tuning.md.\n"
            "#\n# %-14s %-6s %-6s %-14s %-19s\n",
            dml_version(), nranks, nnodes, "collective", "ranks", "nodes", "bytes",
            "algorithm");
}

static bool same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

void tune_write(FILE *out, dml_coll coll, int nranks, int nnodes,
                const struct tune_row *rows, size_t nrows, const char *only)
{
    for (size_t i = 0; i < nrows;) {
        size_t next = i + 1;
        while (next < nrows && same(rows[next].best, rows[i].best))
            next++;
        char bytes[64];
        size_t first = i == 0 ? 0 : rows[i - 1].bytes + rows[i - 1].bytes / 2;
        size_t last = rows[next - 1].bytes + rows[next - 1].bytes / 2 - 1;
        if (next == nrows)
            snprintf(bytes, sizeof bytes, "%zu-", first);
        else
            snprintf(bytes, sizeof bytes, "%zu-%zu", first, last);
        bool wanted =
            rows[i].best != NULL && (only == NULL || same(rows[i].best, only));
        if (wanted) {
            fprintf(out, "%-16s %-6d %-6d %-14s %-19s # %zu B: %.2f us",
                    dml_coll_name(coll), nranks, nnodes, bytes, rows[i].best,
                    rows[i].bytes, 1e6 * rows[i].best_s);
            if (rows[i].second != NULL)
                fprintf(out, ", %s %.2f us", rows[i].second, 1e6 * rows[i].second_s);
            fputc('\n', out);
        }
        i = next;
    }
}
