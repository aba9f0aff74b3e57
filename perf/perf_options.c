/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line of dml-perf. Names of collectives, types and operations come from
 * the library's own tables, so that a new entry there is known here at once.
 */
#include "perf_options.h"

#include <ctype.h>
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const help_text =
    "usage: mpirun -n RANKS dml-perf COLLECTIVE [OPTION]...\n"
    "       mpirun -n RANKS dml-perf --tensors [OPTION]...\n"
    "\n"
    "Time a collective of libdml beside the MPI library's own, block by block in one\n"
    "run, and check the results.\n"
    "\n"
    "COLLECTIVE       allreduce reduce_scatter allgather bcast reduce gather scatter\n"
    "                 alltoall barrier\n"
    "--min BYTES      smallest size (default 4; 64K, 8M, 1G are understood)\n"
    "--max BYTES      largest size (default 16M; of a tensor 1M)\n"
    "--factor F       from one size to the next (default 4)\n"
    "--dtype T        f32 f64 f16 bf16 i8 u8 i32 i64 u64 (default f32)\n"
    "--op O           sum prod min max avg (default sum)\n"
    "--algorithm A    one of libdml's, such as ring; default: $DML_<COLLECTIVE>, or "
    "auto\n"
    "--buffers KIND   plain (default), or symmetric: libdml's are from dml_alloc\n"
    "--in-place       allreduce alone: the input lies in the receive buffer\n"
    "--reproducible   measure libdml in reproducible mode as well\n"
    "--async          time the non-blocking variants, start to end\n"
    "--peer PEER      mpi (default); best: also each of Open MPI's algorithms, forced\n"
    "                 (start mpirun with OMPI_MCA_coll_tuned_use_dynamic_rules=1);\n"
    "                 or none\n"
    "--budget S       about S seconds for a size, with fewer calls (default: no "
    "limit)\n"
    "--sweep          time every algorithm, on 2, 3, ... of the ranks; see "
    "scripts/plot\n"
    "--tensors        1,000 tensors of --min to --max through the bucketed reducer,\n"
    "                 and by one MPI_Allreduce for each\n"
    "--iters N        timed iterations per size (default: 960 small .. 30 large)\n"
    "--json FILE      write one JSON object a line as well\n"
    "--help           this text\n"
    "\n"
    "size is what nccl-tests call so: the whole vector of allreduce, bcast and "
    "reduce;\n"
    "the blocks of all ranks together for the others. algbw is size / time; busbw\n"
    "scales it by the part that must cross a link (allreduce 2(n-1)/n; bcast and\n"
    "reduce 1; the others (n-1)/n), so that it can be held against the hardware.\n"
    "ratio is the peer's time over libdml's: above 1 libdml is faster. memcpy is the\n"
    "time for all ranks at once to copy `size` bytes, measured between the blocks.\n"
    "\n"
    "example: mpirun -n 2 dml-perf allreduce --min 64K --max 64M --algorithm ring\n";

void perf_options_help(void)
{
    fputs(help_text, stdout);
}

/* "4", "64K", "8M", "1G", in bytes; 0 when it is not that. */
static size_t parse_bytes(const char *text)
{
    char *end;
    if (!isdigit((unsigned char)text[0]))
        return 0;
    unsigned long long value = strtoull(text, &end, 10);
    int shift = 0;
    if (*end == 'K' || *end == 'k')
        shift = 10;
    else if (*end == 'M' || *end == 'm')
        shift = 20;
    else if (*end == 'G' || *end == 'g')
        shift = 30;
    if (end[shift > 0] != '\0' || value > (SIZE_MAX >> 1) >> shift)
        return 0;
    return (size_t)value << shift;
}

typedef const char *name_fn(int number);

static const char *coll_name(int number)
{
    return dml_coll_name((dml_coll)number);
}

static const char *dtype_name(int number)
{
    return dml_dtype_name((dml_dtype)number);
}

static const char *op_name(int number)
{
    return dml_op_name((dml_op)number);
}

/* Number of a name in a table of n, or -1 with a line that lists the table. */
static int parse_name(const char *what, const char *text, name_fn *name, int n,
                      char *error, size_t error_bytes)
{
    for (int i = 0; i < n; i++)
        if (strcmp(text, name(i)) == 0)
            return i;
    int at =
        snprintf(error, error_bytes, "unknown %s \"%.40s\"; there are", what, text);
    for (int i = 0; i < n && at > 0 && (size_t)at < error_bytes; i++)
        at += snprintf(error + at, error_bytes - (size_t)at, " %s", name(i));
    return -1;
}

/* The options whose value is a positive number. */
static bool parse_number(const char *option, const char *text, size_t *value,
                         char *error, size_t error_bytes)
{
    *value = parse_bytes(text);
    if (*value > 0)
        return true;
    snprintf(error, error_bytes,
             "--%s %.40s: needs a positive number, such as 4, 64K or 1M", option, text);
    return false;
}

static bool parse_choice(const char *option, const char *text, const char *allowed,
                         const char *others, char *error, size_t error_bytes)
{
    if (strcmp(text, allowed) == 0)
        return true;
    snprintf(error, error_bytes, "--%s %.40s: unknown; use %s or %s", option, text,
             allowed, others);
    return false;
}

enum {
    MIN = 1,
    MAX,
    FACTOR,
    DTYPE,
    OP,
    ALGORITHM,
    BUFFERS,
    ASYNC,
    PEER,
    ITERS,
    JSON,
    IN_PLACE,
    REPRODUCIBLE,
    BUDGET,
    SWEEP,
    TENSORS,
    HELP
};

static const struct option options[] = {
    {"min", required_argument, NULL, MIN},
    {"max", required_argument, NULL, MAX},
    {"factor", required_argument, NULL, FACTOR},
    {"dtype", required_argument, NULL, DTYPE},
    {"op", required_argument, NULL, OP},
    {"algorithm", required_argument, NULL, ALGORITHM},
    {"buffers", required_argument, NULL, BUFFERS},
    {"async", no_argument, NULL, ASYNC},
    {"peer", required_argument, NULL, PEER},
    {"iters", required_argument, NULL, ITERS},
    {"json", required_argument, NULL, JSON},
    {"in-place", no_argument, NULL, IN_PLACE},
    {"reproducible", no_argument, NULL, REPRODUCIBLE},
    {"budget", required_argument, NULL, BUDGET},
    {"sweep", no_argument, NULL, SWEEP},
    {"tensors", no_argument, NULL, TENSORS},
    {"help", no_argument, NULL, HELP},
    {NULL, 0, NULL, 0},
};

static void set_flag(struct perf_options *o, int option)
{
    o->async = o->async || option == ASYNC;
    o->in_place = o->in_place || option == IN_PLACE;
    o->reproducible = o->reproducible || option == REPRODUCIBLE;
    o->sweep = o->sweep || option == SWEEP;
    o->tensors = o->tensors || option == TENSORS;
    o->help = o->help || option == HELP;
}

static bool set_option(struct perf_options *o, int option, char *error,
                       size_t error_bytes)
{
    int number;
    char *end;
    switch (option) {
    case MIN:
        return parse_number("min", optarg, &o->min_bytes, error, error_bytes);
    case MAX:
        return parse_number("max", optarg, &o->max_bytes, error, error_bytes);
    case FACTOR:
        return parse_number("factor", optarg, &o->factor, error, error_bytes);
    case ITERS:
        return parse_number("iters", optarg, &o->iters, error, error_bytes);
    case DTYPE:
        number =
            parse_name("type", optarg, dtype_name, DML_NDTYPES, error, error_bytes);
        o->dtype = (dml_dtype)number;
        return number >= 0;
    case OP:
        number = parse_name("operation", optarg, op_name, DML_NOPS, error, error_bytes);
        o->op = (dml_op)number;
        return number >= 0;
    case ALGORITHM:
        o->algorithm = optarg;
        return true;
    case BUFFERS:
        o->buffers = optarg;
        o->symmetric = strcmp(optarg, "symmetric") == 0;
        return o->symmetric || parse_choice("buffers", optarg, "plain", "symmetric",
                                            error, error_bytes);
    case BUDGET:
        o->budget_s = strtod(optarg, &end);
        if (*end == '\0' && o->budget_s > 0)
            return true;
        snprintf(error, error_bytes, "--budget %.40s: needs a positive number", optarg);
        return false;
    case PEER:
        o->peer = strcmp(optarg, "none") != 0;
        o->best = strcmp(optarg, "best") == 0;
        return !o->peer || o->best ||
               parse_choice("peer", optarg, "mpi", "best or none", error, error_bytes);
    case JSON:
        o->json = optarg;
        return true;
    default:
        set_flag(o, option);
        return true;
    }
}

static bool check_sizes(const struct perf_options *o, char *error, size_t error_bytes)
{
    if (o->min_bytes > o->max_bytes)
        snprintf(error, error_bytes, "--min %zu is above --max %zu", o->min_bytes,
                 o->max_bytes);
    else if (o->in_place && o->coll != DML_COLL_ALLREDUCE)
        snprintf(error, error_bytes, "--in-place is for allreduce alone");
    else if (o->factor < 2)
        snprintf(error, error_bytes, "--factor %zu: needs 2 or more", o->factor);
    else
        return true;
    return false;
}

bool perf_options_parse(struct perf_options *o, int argc, char **argv, char *error,
                        size_t error_bytes)
{
    *o = (struct perf_options){
        .min_bytes = 4,
        .factor = 4,
        .dtype = DML_F32,
        .op = DML_SUM,
        .buffers = "plain",
        .peer = true,
    };
    opterr = 0; /* the messages are ours, from one rank only */
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == '?') {
            snprintf(error, error_bytes,
                     "%.60s: unknown option, or its value is missing",
                     argv[optind - 1]);
            return false;
        }
        if (!set_option(o, option, error, error_bytes))
            return false;
    }
    if (o->help)
        return true;
    if (o->max_bytes == 0)
        o->max_bytes = (size_t)(o->tensors ? 1 : 16) << 20;
    if (o->tensors && optind == argc)
        return check_sizes(o, error, error_bytes);
    if (argc - optind != 1) {
        snprintf(error, error_bytes, "%s; see --help",
                 optind == argc ? "which collective?" : "one collective at a time");
        return false;
    }
    int coll = parse_name("collective", argv[optind], coll_name, DML_NCOLLS, error,
                          error_bytes);
    o->coll = (dml_coll)coll;
    return coll >= 0 && check_sizes(o, error, error_bytes);
}
