/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-perf-data: the readers of data files beside the raw reading of the same file, on
 * one core, from the page cache. Data is generated (fixed seed) in a temporary file.
 * In each round every contestant runs once; medians over the rounds are printed, by the
 * clock and by the processor's time of this thread (which another load disturbs less).
 *
 *   build/perf/dml-perf-data                 all, 256 MiB files, 7 rounds
 *   build/perf/dml-perf-data --mib 1024 --rounds 5 --folder /dev/shm
 *
 * Needed: CSV at 300 MB/s or more; TFRecord with checksums at 0.7 of raw or more.
 */
#include "dml/dml.h"

#include "median.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { COLUMNS = 20, MOST_ROUNDS = 99, PIECE = 512 << 10, CONTESTANTS = 5 };

struct bench {
    dml_ctx *ctx;
    char path[300], index[320];
    size_t mib, rounds;
    char *buffer; /* [PIECE] */
    uint64_t bytes;
};

typedef uint64_t contestant(struct bench *b); /* returns bytes read */

static void check(const struct bench *b, bool good, const char *what)
{
    dml_error error;
    if (good)
        return;
    dml_ctx_last_error(b->ctx, &error);
    fprintf(stderr, "dml-perf-data: %s: %s\n", what, error.text);
    unlink(b->path);
    unlink(b->index);
    exit(1);
}

static double clock_s(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- contestants ----------------------------------------------------------------- */

static uint64_t raw_read(struct bench *b)
{
    uint64_t bytes = 0;
    int fd = open(b->path, O_RDONLY | O_CLOEXEC);
    check(b, fd >= 0, "open");
    for (ssize_t n; (n = read(fd, b->buffer, PIECE)) > 0;)
        bytes += (uint64_t)n;
    close(fd);
    return bytes;
}

static uint64_t read_lines(struct bench *b)
{
    dml_lines *lines = NULL;
    dml_line line;
    dml_status status;
    uint64_t bytes = 0;
    check(b, dml_lines_open(b->ctx, b->path, NULL, &lines) == DML_OK, "lines");
    while ((status = dml_lines_next(lines, &line)) == DML_OK)
        bytes += line.text.bytes + 1;
    check(b, status == DML_EEND, "lines");
    dml_lines_close(lines);
    return bytes;
}

static uint64_t read_table(struct bench *b, dml_column_type type)
{
    dml_table *t = NULL;
    dml_table_block block;
    dml_status status;
    check(b, dml_table_open(b->ctx, b->path, NULL, &t) == DML_OK, "table");
    for (size_t c = 0; c < dml_table_columns(t); c++)
        dml_table_set_type(t, c, type);
    while ((status = dml_table_next(t, &block)) == DML_OK)
        continue;
    check(b, status == DML_EEND, "table");
    dml_table_close(t);
    return b->bytes;
}

static uint64_t table_f32(struct bench *b)
{
    return read_table(b, DML_COLUMN_F32);
}

static uint64_t table_f64(struct bench *b)
{
    return read_table(b, DML_COLUMN_F64);
}

static uint64_t table_text(struct bench *b)
{
    return read_table(b, DML_COLUMN_TEXT);
}

static uint64_t read_records(struct bench *b, bool check_data)
{
    dml_records_opts opts;
    dml_records_opts_init(&opts);
    opts.check = check_data;
    dml_records *records = NULL;
    dml_record r;
    uint64_t bytes = 0;
    dml_status status = dml_records_open(b->ctx, b->path, &opts, &records);
    while (status == DML_OK && (status = dml_records_next(records, &r)) == DML_OK)
        bytes += r.bytes + DML_RECORD_FRAME_BYTES;
    check(b, status == DML_EEND, "records");
    dml_records_close(records);
    return bytes;
}

static uint64_t records_checked(struct bench *b)
{
    return read_records(b, true);
}

static uint64_t records_unchecked(struct bench *b)
{
    return read_records(b, false);
}

/* All records once, in a scattered order. */
static uint64_t records_at_offsets(struct bench *b)
{
    dml_record_index *index = NULL;
    dml_record_file *file = NULL;
    uint64_t bytes = 0;
    check(b,
          dml_record_index_open(b->ctx, b->path, &index) == DML_OK &&
              dml_record_file_open(b->ctx, b->path, true, &file) == DML_OK,
          "index");
    size_t count = dml_record_index_count(index), step = count / 3 * 2 + 1, at = 0;
    while (count % 2 == 0 && step % 2 == 0)
        step++;
    const dml_record_entry *e = dml_record_index_entries(index);
    for (size_t i = 0; i < count; i++, at = (at + step) % count) {
        dml_record r;
        size_t room = (size_t)e[at].bytes + DML_RECORD_FRAME_BYTES;
        check(b,
              dml_record_file_read(file, e[at].offset, b->buffer, room, &r) == DML_OK,
              "read");
        bytes += room;
    }
    dml_record_file_close(file);
    dml_record_index_destroy(index);
    return bytes;
}

/* ---- measuring ------------------------------------------------------------------- */

struct entry {
    const char *name;
    contestant *run;
};

/* Bytes a second over bytes a second of the first entry. */
static void compare(struct bench *b, const struct entry *entries, size_t n)
{
    double wall[CONTESTANTS][MOST_ROUNDS], cpu[CONTESTANTS][MOST_ROUNDS];
    double first = 0;
    raw_read(b); /* into the page cache */
    for (size_t r = 0; r < b->rounds; r++)
        for (size_t i = 0; i < n; i++) {
            double from = clock_s(CLOCK_MONOTONIC);
            double cpu_from = clock_s(CLOCK_THREAD_CPUTIME_ID);
            uint64_t bytes = entries[i].run(b);
            cpu[i][r] =
                (double)bytes / 1e6 / (clock_s(CLOCK_THREAD_CPUTIME_ID) - cpu_from);
            wall[i][r] = (double)bytes / 1e6 / (clock_s(CLOCK_MONOTONIC) - from);
        }
    for (size_t i = 0; i < n; i++) {
        double by_clock = perf_median(wall[i], (size_t)b->rounds),
               by_cpu = perf_median(cpu[i], (size_t)b->rounds);
        first = i == 0 ? by_cpu : first;
        printf("  %-26s %9.0f MB/s  %9.0f MB/s of processor time  %5.2f of raw\n",
               entries[i].name, by_clock, by_cpu, by_cpu / first);
    }
}

static void tables(struct bench *b)
{
    static const struct entry entries[] = {{"raw read", raw_read},
                                           {"lines", read_lines},
                                           {"table, f32", table_f32},
                                           {"table, f64", table_f64},
                                           {"table, text", table_text}};
    static const char *const formats[] = {"%.6f", "%.4g", "%.17g"};
    for (int kind = 0; kind < 3; kind++) {
        FILE *file = fopen(b->path, "we");
        check(b, file != NULL, "create");
        b->bytes = 0;
        for (uint64_t i = 0; b->bytes < (uint64_t)b->mib << 20; i++) {
            double value = ((double)(dml_rng_u64(1, 1, i) >> 11) * 0x1p-53 - 0.5) * 40;
            int n = fprintf(file, formats[kind], value);
            fputc((i + 1) % COLUMNS == 0 ? '\n' : ',', file);
            b->bytes += (uint64_t)n + 1;
            if ((i + 1) % COLUMNS == 0 && b->bytes + 1000 > (uint64_t)b->mib << 20)
                break;
        }
        check(b, fclose(file) == 0, "write");
        printf("CSV, %d columns of %s, %.0f MB\n", COLUMNS, formats[kind],
               (double)b->bytes / 1e6);
        compare(b, entries, 5);
    }
}

static void records(struct bench *b)
{
    static const struct entry entries[] = {{"raw read", raw_read},
                                           {"records, checked", records_checked},
                                           {"records, not checked", records_unchecked},
                                           {"at offsets, checked", records_at_offsets}};
    for (size_t bytes = 100; bytes <= 400000; bytes *= bytes < 1000 ? 8 : 16) {
        dml_record_writer_opts opts;
        dml_record_writer_opts_init(&opts);
        opts.sync = false;
        dml_record_writer *w = NULL;
        check(b, dml_record_writer_create(b->ctx, b->path, &opts, &w) == DML_OK,
              "create");
        for (uint64_t done = 0; done < (uint64_t)b->mib << 20; done += bytes)
            check(b, dml_record_writer_append(w, b->buffer, bytes, 0, 1) == DML_OK,
                  "write");
        check(b, dml_record_writer_commit(w) == DML_OK, "commit");
        dml_record_writer_destroy(w);
        printf("records of %zu bytes, %zu MiB\n", bytes, b->mib);
        compare(b, entries, 4);
    }
}

static void checksums(const struct bench *b)
{
    static const char *const sets[] = {"c", "avx2", "avx512"};
    static const size_t sizes[] = {64, 1024, 16384, PIECE};
    printf("CRC32C, GB/s of processor time\n");
    for (size_t s = 0; s < 3; s++) {
        dml_ctx_opts opts;
        dml_ctx_opts_init(&opts);
        opts.isa = sets[s];
        opts.log_level = DML_LOG_ERROR;
        dml_ctx *ctx = NULL;
        if (dml_ctx_create(&opts, &ctx) != DML_OK)
            continue;
        printf("  %-8s", sets[s]);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            double gbps[MOST_ROUNDS];
            size_t runs = ((size_t)16 << 20) / sizes[i];
            uint32_t crc = 0;
            for (size_t r = 0; r < b->rounds; r++) {
                double from = clock_s(CLOCK_THREAD_CPUTIME_ID);
                for (size_t k = 0; k < runs; k++)
                    crc = dml_crc32c(ctx, crc, b->buffer, sizes[i]);
                gbps[r] = (double)(runs * sizes[i]) / 1e9 /
                          (clock_s(CLOCK_THREAD_CPUTIME_ID) - from);
            }
            printf("  %zu B: %.2f", sizes[i], perf_median(gbps, (size_t)b->rounds));
        }
        printf("\n");
        dml_ctx_destroy(ctx);
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"mib", required_argument, NULL, 'm'},
                                            {"rounds", required_argument, NULL, 'r'},
                                            {"folder", required_argument, NULL, 'f'},
                                            {0}};
    struct bench b = {.mib = 256, .rounds = 7};
    const char *folder = "/tmp";
    for (int got; (got = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (got == 'm')
            b.mib = strtoul(optarg, NULL, 10);
        else if (got == 'r')
            b.rounds = strtoul(optarg, NULL, 10);
        else if (got == 'f')
            folder = optarg;
        else
            b.rounds = 0;
    }
    if (b.mib == 0 || b.mib > 1 << 20 || b.rounds == 0 || b.rounds > MOST_ROUNDS) {
        fprintf(stderr,
                "usage: dml-perf-data [--mib N] [--rounds 1..%d] [--folder DIR]\n",
                MOST_ROUNDS);
        return 2;
    }
    snprintf(b.path, sizeof b.path, "%.200s/dml-perf-data-%d", folder, (int)getpid());
    snprintf(b.index, sizeof b.index, "%s.index", b.path);
    b.buffer = malloc(PIECE);
    if (b.buffer == NULL || dml_ctx_create(NULL, &b.ctx) != DML_OK)
        return 1;
    for (size_t i = 0; i < PIECE; i++)
        b.buffer[i] = (char)dml_rng_u64(2, 1, i);
    checksums(&b);
    tables(&b);
    records(&b);
    unlink(b.path);
    unlink(b.index);
    free(b.buffer);
    dml_ctx_destroy(b.ctx);
    return 0;
}
