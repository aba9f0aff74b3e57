/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The options of dml-skew's commands.
 */
#include "options.h"

#include "dml/dml.h"

#define AT(member) offsetof(struct skew_options, member)

/* "|a|b|c" from the library's tables; the first bar is stepped over. */
#define BAR_SAMPLE(N, number, name)           "|" name
#define BAR_PLANNER(N, number, name, o, s, t) "|" name
#define PLANNERS                              (&("" DML_PLANNER_MAP(BAR_PLANNER))[1])
#define SAMPLES                               (&("" DML_SAMPLE_MAP(BAR_SAMPLE))[1])

#define DATA_OPTION                                              \
    {                                                            \
        "data", "data", CLI_INPUT, AT(data), NULL, "FILE", 0, 0, \
            "text file, plain or gzip (needed)"                  \
    }
#define LINE_OPTION                                                          \
    {                                                                        \
        NULL, "max-bytes", CLI_INT, AT(max_bytes), "16777216", "N", 64, 1e9, \
            "a longer line is an error"                                      \
    }
#define KEY_OPTION(text)                                            \
    {                                                               \
        NULL, "key", CLI_STRING, AT(key), "1", "COLUMN", 0, 0, text \
    }
#define AS_OPTION                                                    \
    {                                                                \
        NULL, "as", CLI_CHOICE, AT(as), "text", "text|number", 0, 0, \
            "how keys are understood, and ordered"                   \
    }
#define WEIGHT_OPTION                                                                  \
    {                                                                                  \
        NULL, "weight", CLI_STRING, AT(weight), NULL, "COLUMN", 0, 0,                  \
            "name or number of a table's column that says what a record weighs, such " \
            "as a length; without it 1"                                                \
    }
#define COST_OPTION                                                                   \
    {                                                                                 \
        NULL, "cost", CLI_CHOICE, AT(cost), NULL, "value|square", 0, 0,               \
            "of a record: its --weight (the default), or that squared, as attention " \
            "costs"                                                                   \
    }
#define RATE_OPTION                                                             \
    {                                                                           \
        "sampling and plan", "rate", CLI_REAL, AT(rate), "0.033", "R", 1e-6, 1, \
            "share of the records that is looked at"                            \
    }
#define SAMPLE_OPTION                                                  \
    {                                                                  \
        NULL, "sample", CLI_CHOICE, AT(sample), "step", SAMPLES, 0, 0, \
            "how these are chosen"                                     \
    }
#define ENTRIES_OPTION                                                        \
    {                                                                         \
        NULL, "entries", CLI_INT, AT(entries), "0", "N", 0, 1e9,              \
            "keys that a rank tells the others at most; 0: all that it knows" \
    }
#define SEED_OPTION                                         \
    {                                                       \
        NULL, "seed", CLI_INT, AT(seed), "1", "N", 0, 1e15, \
            "of all that is drawn at random"                \
    }
#define RANKS_OPTION                                                     \
    {                                                                    \
        NULL, "ranks", CLI_INT, AT(ranks), "4", "R", 1, 65536,           \
            "ranks to plan for; they are simulated, one after the other" \
    }
#define JSON_OPTION                                                           \
    {                                                                         \
        "output", "json", CLI_OUTPUT, AT(json), NULL, "FILE", 0, 0,           \
            "all figures, and the load of each rank; scripts/plot draws them" \
    }
#define FORMAT_OPTION                                                                  \
    {                                                                                  \
        NULL, "format", CLI_CHOICE, AT(format), "auto", "auto|table|columns|words", 0, \
            0,                                                                         \
            "table: CSV or TSV, perhaps with a header; columns: cells separated by "   \
            "blanks, "                                                                 \
            "empty lines between sentences (CoNLL); words: all words are keys; auto: " \
            "by the "                                                                  \
            "name's ending (.csv, .tsv, .conll, .conllu), else columns"                \
    }

static const struct cli_option compare_options[] = {
    DATA_OPTION,
    KEY_OPTION("name or number of the column (1 is the first, -1 the last)"),
    FORMAT_OPTION,
    LINE_OPTION,
    AS_OPTION,
    WEIGHT_OPTION,
    COST_OPTION,
    RATE_OPTION,
    SAMPLE_OPTION,
    ENTRIES_OPTION,
    RANKS_OPTION,
    SEED_OPTION,
    JSON_OPTION,
};

static const struct cli_option plan_options[] = {
    DATA_OPTION,
    KEY_OPTION("name or number of the column (1 is the first, -1 the last)"),
    FORMAT_OPTION,
    LINE_OPTION,
    AS_OPTION,
    WEIGHT_OPTION,
    COST_OPTION,
    RATE_OPTION,
    SAMPLE_OPTION,
    ENTRIES_OPTION,
    {NULL, "planner", CLI_CHOICE, AT(planner), "ksrp", PLANNERS, 0, 0,
     "whose plan is shown"},
    RANKS_OPTION,
    SEED_OPTION,
    JSON_OPTION,
};

#define JOB_OPTIONS                                                                \
    RATE_OPTION, SAMPLE_OPTION, ENTRIES_OPTION, SEED_OPTION,                       \
        {"exchange",                                                               \
         "budget",                                                                 \
         CLI_INT,                                                                  \
         AT(budget_mib),                                                           \
         "64",                                                                     \
         "MIB",                                                                    \
         1,                                                                        \
         1 << 20,                                                                  \
         "memory for messages, per rank"},                                         \
        {"output",                                                                 \
         "out",                                                                    \
         CLI_STRING,                                                               \
         AT(out),                                                                  \
         NULL,                                                                     \
         "PREFIX",                                                                 \
         0,                                                                        \
         0,                                                                        \
         "write each rank's part to PREFIX.RANK; without it the result is thrown " \
         "away when it is verified, and only times and loads are shown"},          \
        {NULL,       "report", CLI_OUTPUT,                                         \
         AT(report), NULL,     "FILE",                                             \
         0,          0,        "times of the phases and loads, as JSON"},          \
    {                                                                              \
        NULL, "quiet", CLI_FLAG, AT(quiet), NULL, NULL, 0, 0,                      \
            "print nothing but errors"                                             \
    }

static const struct cli_option sort_options[] = {
    DATA_OPTION,
    KEY_OPTION("number of the column (1 is the first, -1 the last) by which lines are "
               "sorted, separated by tabs; "
               "line: the whole line"),
    LINE_OPTION,
    AS_OPTION,
    {NULL, "planner", CLI_CHOICE, AT(planner), "ksrp", PLANNERS, 0, 0,
     "who plans; only those that keep the order of keys can (range, libra, ksrp)"},
    JOB_OPTIONS,
};

static const struct cli_option count_options[] = {
    DATA_OPTION,
    KEY_OPTION("number of the column (1 is the first, -1 the last) whose texts are "
               "counted, separated by tabs; "
               "words: all words of all lines"),
    LINE_OPTION,
    {NULL, "planner", CLI_CHOICE, AT(planner), "krhp", PLANNERS, 0, 0,
     "who plans; those that split keys need another round to add up their counts"},
    {NULL, "work", CLI_REAL, AT(work_ns), "0", "NS", 0, 1e6,
     "nanoseconds of processor time that each record takes on its rank, on top of "
     "being "
     "counted: stands for a heavier job"},
    JOB_OPTIONS,
};

static const struct cli_option make_options[] = {
    {"what is made", "out", CLI_OUTPUT, AT(out), NULL, "FILE", 0, 0,
     "file to write (needed)"},
    {NULL, "zipf", CLI_REAL, AT(zipf), "1.2", "S", 0, 10,
     "exponent: the k-th key is as frequent as 1/k^S"},
    {NULL, "records", CLI_INT, AT(records), "1000000", "N", 0, 1e12, "lines"},
    {NULL, "keys", CLI_INT, AT(keys), "100000", "K", 1, 1e9, "different keys"},
    {NULL, "payload", CLI_INT, AT(payload), "20", "BYTES", 0, 1e6,
     "of the second column, digits"},
    {NULL, "order", CLI_CHOICE, AT(order), "shuffled", "shuffled|clustered|sorted", 0,
     0,
     "clustered: runs of 1000 lines with a few keys each; sorted: by key, descending"},
    {NULL, "seed", CLI_INT, AT(seed), "1", "N", 0, 1e15, "of the choice"},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void explain_columns(FILE *out)
{
    fputs("columns, of one planner each:\n"
          "  max/mean     load of the busiest rank, over the mean of all\n"
          "  cv           standard deviation of the ranks' loads, over their mean\n"
          "  predicted    max/mean as the plan expected it from the sample\n"
          "  load error   half the sum over ranks of |expected - real share|\n"
          "  bytes moved  of keys that leave the rank where they lay\n"
          "  plan ms      time to make the plan, in milliseconds\n"
          "  ns/route     time to find a record's rank, in nanoseconds\n"
          "  split        keys that several ranks share\n",
          out);
}

const struct cli_command skew_compare_command = {
    .app = "dml-skew",
    .name = "compare",
    .summary = "Show how evenly each planner would spread a file's keys over ranks.",
    .options = compare_options,
    .noptions = COUNT(compare_options),
    .examples = "  dml-skew compare --data kddcup.tsv.gz --key Atr-2 --ranks 8\n"
                "  dml-skew compare --data flights.csv.gz --key tailnum --json c.json\n"
                "  scripts/plot c.json -o loads.png\n",
    .more = explain_columns,
};

const struct cli_command skew_plan_command = {
    .app = "dml-skew",
    .name = "plan",
    .summary = "Show one planner's plan for a file's keys: the load of each rank.",
    .options = plan_options,
    .noptions = COUNT(plan_options),
    .examples = "  dml-skew plan --data flights.csv.gz --key dest --planner krhp\n",
    .more = explain_columns,
};

const struct cli_command skew_sort_command = {
    .app = "dml-skew",
    .name = "sort",
    .summary = "Sort a file's lines over ranks, and verify the result.",
    .options = sort_options,
    .noptions = COUNT(sort_options),
    .examples = "  mpirun -n 4 dml-skew sort --data zipf.tsv --planner ksrp\n",
};

const struct cli_command skew_count_command = {
    .app = "dml-skew",
    .name = "count",
    .summary = "Count the words of a file over ranks, and verify the result.",
    .options = count_options,
    .noptions = COUNT(count_options),
    .examples = "  mpirun -n 4 dml-skew count --data text.txt --key words\n",
};

const struct cli_command skew_make_command = {
    .app = "dml-skew",
    .name = "make",
    .summary = "Make a file of keys with Zipf's frequencies, for the other commands.",
    .options = make_options,
    .noptions = COUNT(make_options),
    .examples = "  dml-skew make --out zipf.tsv --zipf 1.2 --records 1000000\n",
};
