/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-records: the commands, their options, and what they share.
 */
#ifndef RECORDS_APP_H
#define RECORDS_APP_H

#include "cli.h"

struct options {
    /* of convert */
    const char *in, *labels, *out, *from, *to;
    const char *key, *weight, *delimiter, *header, *first_line;
    bool no_sync;
    /* of the others */
    const char *file;
    int64_t first;
    /* of all */
    const char *on_error;
    int64_t max_bytes;
};

struct app {
    dml_ctx *ctx;
    struct options o;
};

enum { EXIT_GOOD, EXIT_FAILED, EXIT_USAGE = 64 };

/* Each returns an exit status, and has said why it failed. */
int convert_run(struct app *app);
int inspect_run(struct app *app);
int index_run(struct app *app);
int verify_run(struct app *app);

/* One line on standard error: what libdml found. Returns EXIT_FAILED. */
int complain(const struct app *app);

/* The same with a text of one's own. */
int refuse(const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 1, 2)))
#endif
    ;

/* From here on SIGINT and SIGTERM are only noted, for files that are not whole to be
 * removed: work ends at the next record. */
void catch_signals(void);
bool is_stopped(void);

dml_on_error on_error_of(const struct app *app);

/* A reader of a record file as the options have it. */
dml_status open_records(const struct app *app, const char *path, dml_records **records);

/* Says how many places were left out, where there were any. */
void tell_skipped(uint64_t skipped, const char *what);

#endif
