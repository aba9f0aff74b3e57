/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Report files, by jansson.
 */
#include "report.h"

#include <stdbool.h>
#include <sys/resource.h>

dml_status report_write(struct outfile *out, const struct report *report, json_t *extra,
                        char *error, size_t error_bytes)
{
    json_t *json = json_pack(
        "{s:s, s:i, s:i, s:I, s:f, s:f, s:s, s:f, s:I, s:f, s:f, s:f, s:I}", "app",
        report->app, "ranks", report->ranks, "threads", report->threads, "seed",
        (json_int_t)report->seed, "train_seconds", report->train_seconds,
        "samples_per_second", report->samples_per_second, "test_metric",
        report->test_metric, "test_value", report->test_value, "bytes_sent",
        (json_int_t)report->bytes_sent, "comm_seconds", report->comm_seconds,
        "compute_seconds", report->compute_seconds, "wait_seconds",
        report->wait_seconds, "peak_rss_bytes", (json_int_t)report->peak_rss_bytes);
    bool good =
        json && (!extra || json_object_update(json, extra) == 0) &&
        json_dumpf(json, out->file, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) == 0 &&
        fputc('\n', out->file) != EOF;
    json_decref(json);
    json_decref(extra);
    if (!good) {
        snprintf(error, error_bytes,
                 "cannot make the report %s: a figure is not finite", out->path);
        outfile_cancel(out);
        return DML_ENUMERIC;
    }
    return outfile_commit(out, error, error_bytes);
}

int64_t report_peak_rss_bytes(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (int64_t)usage.ru_maxrss * 1024;
}

int64_t report_private_bytes(void)
{
    char line[128];
    long long kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "RssAnon: %lld kB", &kib) == 1)
            break;
    if (file)
        fclose(file);
    return (int64_t)kib * 1024;
}
