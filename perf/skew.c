/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-perf-skew: partition planners and samplers on streams with Zipf's law, against
 * the bounds that they are held to. Imbalance is counted by routing every record,
 * errors against the exact histogram. Runs on one rank, without MPI.
 */
#include "skew.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char usage[] =
    "usage: dml-perf-skew [--records N] [--keys N] [--rate R] [--entries N]\n"
    "                     [--exponents Z,...] [--parts P,...] [--orders NAME,...]\n"
    "                     [--repeats N] [--seed N] [--json FILE]\n"
    "For each exponent and order of the stream: errors of estimation by sampler, and\n"
    "the imbalance (largest load / mean) of every planner's parts.\n"
    "  --records N      default 10000000\n"
    "  --keys N         default 100000\n"
    "  --rate R         share of the records that is sampled (default 0.033)\n"
    "  --entries N      keys of the histogram that planners get (default 8192; 0: "
    "all)\n"
    "  --exponents ...  default 0.2,0.4,0.6,0.8,1.0,1.2,1.4,1.6,1.8,2.0\n"
    "  --parts ...      default 4,8,16,64\n"
    "  --orders ...     of shuffled, clustered (runs of 256 records of a key), sorted\n"
    "                   (by key); default all\n"
    "  --repeats N      samples per error of estimation (default 5)\n"
    "  --seed N         of records and samples (default 1)\n"
    "  --json FILE      one object a line; what is \"estimate\" (order exponent "
    "sampler\n"
    "                   total_variation top20 mrecords_s) or \"plan\" (order\n"
    "                   exponent parts planner imbalance cv predicted plan_ms "
    "route_ns\n"
    "                   table plan_bytes)\n";

static const char *const orders[SKEW_NORDERS] = {"shuffled", "clustered", "sorted"};

const char *skew_order_name(enum skew_order order)
{
    return orders[order];
}

void skew_need(const struct skew_options *o, const char *what, dml_status status)
{
    if (status >= 0)
        return;
    dml_error error;
    dml_ctx_last_error(o->ctx, &error);
    fprintf(stderr, "dml-perf-skew: %s: %s\n", what, error.text);
    exit(1);
}

void *skew_alloc(size_t count, size_t bytes)
{
    void *memory = calloc(count, bytes);
    if (memory == NULL) {
        fprintf(stderr, "dml-perf-skew: no memory for %zu x %zu bytes\n", count, bytes);
        exit(1);
    }
    return memory;
}

double skew_cpu_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Numbers with commas between; how many, or 0 if there is anything else. */
static int numbers(const char *text, double *values)
{
    int count = 0;
    while (count < SKEW_MOST) {
        char *end = NULL;
        values[count++] = strtod(text, &end);
        if (end == text || (*end != ',' && *end != 0))
            return 0;
        if (*end == 0)
            return count;
        text = end + 1;
    }
    return 0;
}

static bool set_parts(struct skew_options *o, const char *text)
{
    double values[SKEW_MOST];
    o->nparts = numbers(text, values);
    for (int i = 0; i < o->nparts; i++) {
        if (values[i] < 1 || values[i] > 65536)
            return false;
        o->parts[i] = (size_t)values[i];
    }
    return o->nparts > 0;
}

static bool set_orders(struct skew_options *o, const char *text)
{
    memset(o->orders, 0, sizeof o->orders);
    while (*text != 0) {
        size_t length = strcspn(text, ",");
        int found = -1;
        for (int i = 0; i < SKEW_NORDERS; i++)
            if (strlen(orders[i]) == length && strncmp(text, orders[i], length) == 0)
                found = i;
        if (found < 0)
            return false;
        o->orders[found] = true;
        text += length + (text[length] == ',');
    }
    return true;
}

static bool parse(int argc, char **argv, struct skew_options *o)
{
    static const struct option options[] = {
        {"records", required_argument, NULL, 'n'},
        {"keys", required_argument, NULL, 'k'},
        {"rate", required_argument, NULL, 'r'},
        {"entries", required_argument, NULL, 'e'},
        {"exponents", required_argument, NULL, 'z'},
        {"parts", required_argument, NULL, 'p'},
        {"orders", required_argument, NULL, 'o'},
        {"repeats", required_argument, NULL, 'R'},
        {"seed", required_argument, NULL, 's'},
        {"json", required_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        bool good = true;
        if (c == 'n')
            o->records = (size_t)strtod(optarg, NULL);
        else if (c == 'k')
            o->keys = (size_t)strtod(optarg, NULL);
        else if (c == 'r')
            o->rate = strtod(optarg, NULL);
        else if (c == 'e')
            o->entries = (size_t)strtod(optarg, NULL);
        else if (c == 'z')
            good = (o->nexponents = numbers(optarg, o->exponents)) > 0;
        else if (c == 'p')
            good = set_parts(o, optarg);
        else if (c == 'o')
            good = set_orders(o, optarg);
        else if (c == 'R')
            o->repeats = atoi(optarg);
        else if (c == 's')
            o->seed = strtoull(optarg, NULL, 10);
        else if (c == 'j')
            good = (o->json = fopen(optarg, "w")) != NULL;
        else
            good = false;
        if (!good)
            return false;
    }
    return optind == argc && o->records > 0 && o->keys > 0 && o->keys < 1u << 31 &&
           o->repeats > 0;
}

static void tell(const char *what, const struct skew_tally *tally)
{
    const char *verdict = tally->missed > 0  ? "MISSED"
                          : tally->level > 0 ? "holds or level"
                                             : "holds";
    printf("%-66s %s (%d, level %d, missed %d)\n", what, verdict, tally->held,
           tally->level, tally->missed);
}

static void tell_all(const struct skew_verdict *v)
{
    printf("\n");
    tell("ksrp <= 1 + 3/sqrt(samples per part)", &v->ksrp_bound);
    tell("the same with samples of sorted blocks", &v->sorted_bound);
    tell("krhp <= max(1, heaviest/mean) + 0.05", &v->krhp_bound);
    tell("ksrp below hash, range, scid, libra from exponent 0.8", &v->ksrp_below);
    tell("the same with samples of sorted blocks", &v->sorted_below);
    tell("krhp below hash, range, scid and libra without splitting, likewise",
         &v->krhp_below_whole);
    tell("krhp below scid, libra, which split keys, likewise", &v->krhp_below_split);
    tell("step's error below reservoir's and random's: clustered, sorted",
         &v->step_clustered);
    tell("step's error level with theirs (3 standard errors): shuffled",
         &v->step_shuffled);
}

int main(int argc, char **argv)
{
    struct skew_options o = {
        .records = 10000000,
        .keys = 100000,
        .rate = 0.033,
        .entries = 8192,
        .seed = 1,
        .repeats = 5,
        .exponents = {0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0},
        .nexponents = 10,
        .parts = {4, 8, 16, 64},
        .nparts = 4,
        .orders = {true, true, true},
    };
    if (!parse(argc, argv, &o)) {
        fputs(usage, stderr);
        return 2;
    }
    struct skew_verdict verdict = {0};
    struct skew_data data = {.keys = skew_alloc(o.records, sizeof *data.keys),
                             .counts = skew_alloc(o.keys, sizeof *data.counts)};
    skew_need(&o, "dml_ctx_create", dml_ctx_create(NULL, &o.ctx));
    printf("%zu records, %zu keys, rate %g, seed %llu\n", o.records, o.keys, o.rate,
           (unsigned long long)o.seed);
    for (int z = 0; z < o.nexponents; z++) {
        data.exponent = o.exponents[z];
        skew_draw(&o, &data);
        struct skew_options all = o;
        all.rate = 1;
        data.exact = skew_sample(&all, &data, DML_SAMPLE_STEP, 1, 1, NULL);
        for (int order = 0; order < SKEW_NORDERS; order++) {
            if (!o.orders[order])
                continue;
            skew_arrange(&o, &data, (enum skew_order)order);
            printf("exponent %g, %s\n", data.exponent, orders[order]);
            skew_estimate(&o, &data, &verdict);
            skew_plans(&o, &data, &verdict);
            fflush(stdout);
        }
        dml_histogram_destroy(data.exact);
    }
    tell_all(&verdict);
    dml_ctx_destroy(o.ctx);
    free(data.counts);
    free(data.keys);
    if (o.json != NULL && fclose(o.json) != 0)
        return 1;
    return 0;
}
