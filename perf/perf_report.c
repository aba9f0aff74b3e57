/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The output of dml-perf: a head that says how was measured and on what, a table with
 * the columns of nccl-tests and a few more, and one JSON object a line for programs.
 */
#include "perf_report.h"

#include <errno.h>
#include <jansson.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PLACE = 96 };

/* "host cpus 0-3,8" of this process. */
static void describe_place(char place[PLACE])
{
    char host[MPI_MAX_PROCESSOR_NAME];
    int length;
    MPI_Get_processor_name(host, &length);
    int at = snprintf(place, PLACE, "%.40s cpus ", host);
    cpu_set_t cpus;
    if (sched_getaffinity(0, sizeof cpus, &cpus) != 0) {
        snprintf(place + at, (size_t)(PLACE - at), "unknown");
        return;
    }
    const char *comma = "";
    for (int first = 0; first < CPU_SETSIZE && at < PLACE; first++) {
        if (!CPU_ISSET(first, &cpus))
            continue;
        int last = first;
        while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, &cpus))
            last++;
        at += snprintf(place + at, (size_t)(PLACE - at),
                       first < last ? "%s%d-%d" : "%s%d", comma, first, last);
        comma = ",";
        first = last;
    }
}

static void processor_name(char *name, size_t bytes)
{
    char line[256];
    snprintf(name, bytes, "unknown processor");
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || colon == NULL)
            continue;
        snprintf(name, bytes, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    if (f != NULL)
        fclose(f);
}

static void print_method(const struct perf_coll *c)
{
    char version[MPI_MAX_LIBRARY_VERSION_STRING], cpu[128];
    int length;
    MPI_Get_library_version(version, &length);
    version[strcspn(version, ",\n")] = '\0';
    processor_name(cpu, sizeof cpu);
    bool peer = c->o->peer;
    printf("# dml-perf %s%s: libdml %s (kernels %s), %s\n", dml_coll_name(c->o->coll),
           c->o->async ? " --async" : "", dml_version(),
           dml_ctx_isa(dml_comm_ctx(c->comm)), cpu);
    printf("# peer: %s%s%s\n", peer ? version : "none",
           !peer         ? ""
           : c->o->async ? ", its I-variant and MPI_Wait"
                         : ", its blocking collective",
           peer && c->half_op != MPI_OP_NULL
               ? ", with a user-defined operation on 16-bit integers"
               : "");
    if (c->o->best)
        printf("# best peer: the fastest of it and its %zu algorithms, forced\n",
               c->npeers > 0 ? c->npeers - 1 : 0);
    if (c->ordered != NULL)
        printf("# in order: libdml in reproducible mode\n");
    printf(
        "# method: at most %d blocks of calls each for libdml, the peers and memcpy, "
        "in "
        "turn and in\n#   alternating order, after one of each as warm-up; a block "
        "starts at a barrier and counts its\n#   slowest rank; time is per call, the "
        "median over blocks. Every call of a block has buffers\n#   of its own (64 "
        "sets "
        "up to 64 KiB, 16 to 1 MiB, 4 to 16 MiB, 2 above; --iters and --budget\n#   "
        "change that), rewritten before the block; all results of libdml's blocks are "
        "checked.\n#   Buffers: %s, %sin place.\n",
        PERF_BLOCKS, c->o->buffers, c->o->in_place ? "" : "not ");
    printf("# limit: memcpy = all ranks at once copy `size` bytes, buffers rotated and "
           "rewritten likewise\n");
}

static void print_columns(const struct perf_coll *c)
{
    printf("#\n#%11s %11s %5s %6s %10s %20s %8s %8s %7s %10s %6s", "size", "count",
           "type", "redop", "time", "min-max", "algbw", "busbw", "#wrong", "peer time",
           "ratio");
    if (c->o->best)
        printf(" %10s %6s %11s", "best peer", "ratio", "algorithm");
    if (c->ordered != NULL)
        printf(" %10s %6s", "in order", "/time");
    printf(" %10s  %s\n", "memcpy", "algorithm");
    printf("#%11s %11s %5s %6s %10s %20s %8s %8s %7s %10s %6s", "(B)", "(elements)", "",
           "", "(us)", "(us)", "(GB/s)", "(GB/s)", "", "(us)", "");
    if (c->o->best)
        printf(" %10s %6s %11s", "(us)", "", "");
    if (c->ordered != NULL)
        printf(" %10s %6s", "(us)", "");
    printf(" %10s\n", "(us)");
}

void perf_report_head(const struct perf_coll *c)
{
    char place[PLACE] = "";
    describe_place(place);
    char *places = c->rank == 0 ? malloc((size_t)c->nranks * PLACE) : NULL;
    MPI_Gather(place, PLACE, MPI_CHAR, places, PLACE, MPI_CHAR, 0, c->mpi);
    if (places == NULL)
        return;
    print_method(c);
    printf("# ranks: %d\n", c->nranks);
    for (int r = 0; r < c->nranks && r < 16; r++)
        printf("#   rank %d on %s\n", r, places + (size_t)r * PLACE);
    if (c->nranks > 16)
        printf("#   and %d more\n", c->nranks - 16);
    print_columns(c);
    fflush(stdout);
    free(places);
}

static void print_row(const struct perf_coll *c, const struct perf_result *r,
                      const char *redop, const char *algorithm)
{
    double s = r->dml.median_s, algbw = (double)c->bytes / s * 1e-9;
    char range[40];
    snprintf(range, sizeof range, "%.2f-%.2f", r->dml.min_s * 1e6, r->dml.max_s * 1e6);
    printf("%12zu %11zu %5s %6s %10.2f %20s %8.3f %8.3f %7zu", c->bytes, c->count,
           dml_dtype_name(c->o->dtype), redop, s * 1e6, range, algbw,
           algbw * perf_coll_bus_factor(c->o->coll, c->nranks), r->wrong);
    if (c->npeers > 0)
        printf(" %10.2f %6.2f", r->peer.median_s * 1e6, r->peer.median_s / s);
    else
        printf(" %10s %6s", "-", "-");
    if (c->o->best && c->npeers > 0)
        printf(" %10.2f %6.2f %11s", r->best_peer.median_s * 1e6,
               r->best_peer.median_s / s, r->best_name);
    if (c->ordered != NULL)
        printf(" %10.2f %6.2f", r->ordered.median_s * 1e6, r->ordered.median_s / s);
    printf(" %10.2f  %s\n", r->memcpy.median_s * 1e6, algorithm);
    fflush(stdout);
}

/* Adds NAME_us, and NAME_min_us and NAME_max_us, or nulls. */
static void put_time(json_t *row, const char *name, const struct perf_time *t)
{
    char key[40];
    bool measured = t->median_s > 0;
    const double us[] = {t->median_s * 1e6, t->min_s * 1e6, t->max_s * 1e6};
    const char *const parts[] = {"", "_min", "_max"};
    for (int i = 0; i < 3; i++) {
        snprintf(key, sizeof key, "%s%s_us", name, parts[i]);
        json_object_set_new(row, key, measured ? json_real(us[i]) : json_null());
    }
}

void perf_report_row(struct perf_report *report, const struct perf_coll *c,
                     const struct perf_result *r, const char *algorithm)
{
    const char *redop = perf_coll_reduces(c->o->coll) ? dml_op_name(c->o->op) : "none";
    print_row(c, r, redop, algorithm);
    if (report->json == NULL)
        return;
    double s = r->dml.median_s, algbw = (double)c->bytes / s * 1e-9;
    bool peer = c->npeers > 0;
    json_t *row = json_pack(
        "{s:s s:I s:I s:s s:s s:s s:s s:i s:f s:f s:f s:I s:s? s:o s:o s:b}",
        "collective", dml_coll_name(c->o->coll), "bytes", (json_int_t)c->bytes, "count",
        (json_int_t)c->count, "dtype", dml_dtype_name(c->o->dtype), "op", redop,
        "algorithm", algorithm, "buffers", c->o->buffers, "nranks", c->nranks,
        "time_us", s * 1e6, "algbw_gbs", algbw, "busbw_gbs",
        algbw * perf_coll_bus_factor(c->o->coll, c->nranks), "wrong",
        (json_int_t)r->wrong, "peer", peer ? "mpi" : NULL, "peer_time_us",
        peer ? json_real(r->peer.median_s * 1e6) : json_null(), "ratio",
        peer ? json_real(r->peer.median_s / s) : json_null(), "in_place",
        (int)c->o->in_place);
    put_time(row, "time", &r->dml);
    put_time(row, "peer_time", &r->peer);
    put_time(row, "best_peer_time", &r->best_peer);
    json_object_set_new(row, "best_peer",
                        peer ? json_string(r->best_name) : json_null());
    put_time(row, "reproducible_time", &r->ordered);
    put_time(row, "memcpy_time", &r->memcpy);
    json_object_set_new(row, "blocks", json_integer((json_int_t)r->blocks));
    json_dumpf(row, report->json,
               JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));
    fputc('\n', report->json);
    fflush(report->json);
    json_decref(row);
}

bool perf_report_open(struct perf_report *report, const struct perf_options *o)
{
    report->json = NULL;
    if (o->json == NULL)
        return true;
    struct stat about;
    bool there = stat(o->json, &about) == 0;
    if (there && S_ISDIR(about.st_mode)) {
        errno = EISDIR;
        return false;
    }
    report->in_place = there && !S_ISREG(about.st_mode);
    int length = snprintf(report->path, sizeof report->path, "%s%s", o->json,
                          report->in_place ? "" : ".part");
    if (length < 0 || (size_t)length >= sizeof report->path) {
        errno = ENAMETOOLONG;
        return false;
    }
    report->json = fopen(report->path, "w");
    return report->json != NULL;
}

bool perf_report_close(struct perf_report *report, const struct perf_options *o,
                       bool keep)
{
    if (report->json == NULL)
        return true;
    bool written = ferror(report->json) == 0;
    written = fclose(report->json) == 0 && written;
    if (report->in_place)
        return written || !keep;
    if (keep && written && rename(report->path, o->json) == 0)
        return true;
    int error = errno;
    remove(report->path);
    errno = error;
    return !keep;
}
