/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-records inspect, index and verify: what is in a record file, and whether it is
 * whole.
 */
#include "records.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SHOWN = 48 }; /* bytes of a record's beginning */

struct sizes {
    uint64_t count, bytes, least, most;
    uint64_t
        decades[65]; /* [k]: records of 2^(k-1) .. 2^k - 1 bytes; [0]: empty ones */
};

static void count_size(struct sizes *s, uint64_t bytes)
{
    int k = 0;
    while (k < 64 && bytes >> k > 0)
        k++;
    s->decades[k]++;
    s->least = s->count == 0 || bytes < s->least ? bytes : s->least;
    s->most = bytes > s->most ? bytes : s->most;
    s->bytes += bytes;
    s->count++;
}

static void show_record(const dml_record *r)
{
    const unsigned char *at = r->data;
    printf("record %" PRIu64 ", offset %" PRIu64 ", %zu bytes: ", r->number, r->offset,
           r->bytes);
    for (size_t i = 0; i < r->bytes && i < SHOWN; i++)
        putchar(isprint(at[i]) ? at[i] : '.');
    printf("%s\n", r->bytes > SHOWN ? " ..." : "");
}

static void show_sizes(const struct sizes *s)
{
    printf("records: %" PRIu64 "\nbytes of data: %" PRIu64 "\n", s->count, s->bytes);
    if (s->count == 0)
        return;
    printf("bytes a record: %" PRIu64 " to %" PRIu64 ", mean %.1f\n", s->least, s->most,
           (double)s->bytes / (double)s->count);
    for (int k = 0; k <= 64; k++) {
        if (s->decades[k] == 0)
            continue;
        uint64_t from = k == 0 ? 0 : UINT64_C(1) << (k - 1);
        uint64_t to = k == 0 ? 0 : from + (from - 1);
        int bar = (int)(40 * s->decades[k] / s->count);
        printf("%12" PRIu64 " .. %-12" PRIu64 " %10" PRIu64 " %.*s\n", from, to,
               s->decades[k], bar, "########################################");
    }
}

/* Free it; NULL: no memory. */
static char *index_name(const char *path)
{
    size_t room = strlen(path) + sizeof ".index";
    char *name = malloc(room);
    if (name)
        snprintf(name, room, "%s.index", path);
    return name;
}

/* Whether there is nothing of the index's name; what cannot be looked at is there. */
static bool has_no_index(const char *path)
{
    char *name = index_name(path);
    bool absent = name && access(name, F_OK) != 0 && errno == ENOENT;
    free(name);
    return absent;
}

/* An index beside the records as they are read. */
struct check {
    dml_record_index *index;                  /* NULL: there is none that can be used */
    char why[sizeof(((dml_error *)0)->text)]; /* then: what is wrong */
    uint64_t wrong;  /* the first record that lies elsewhere; UINT64_MAX */
    uint32_t digest; /* of the frames read so far */
    struct sizes sizes;
    uint64_t skipped;
};

static void put_le(uint8_t *to, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> 8 * i);
}

static uint32_t masked(uint32_t crc)
{
    return (crc >> 15 | crc << 17) + 0xa282ead8U;
}

/* The frame's head and tail follow from the record, whose checksums were right. */
static void compare(const struct app *app, struct check *c, const dml_record *r)
{
    uint8_t frame[16];
    put_le(frame, r->bytes, 8);
    put_le(frame + 8, masked(dml_crc32c(app->ctx, 0, frame, 8)), 4);
    put_le(frame + 12, masked(dml_crc32c(app->ctx, 0, r->data, r->bytes)), 4);
    c->digest = dml_crc32c(app->ctx, c->digest, frame, sizeof frame);
    if (c->wrong != UINT64_MAX || r->number >= dml_record_index_count(c->index))
        return;
    const dml_record_entry *e = &dml_record_index_entries(c->index)[r->number];
    if (e->offset != r->offset || e->bytes != r->bytes)
        c->wrong = r->number;
}

/* The digest as the index file has it; doc/data.md tells where. */
static bool stored_digest(const char *path, uint32_t *digest)
{
    uint8_t bytes[4];
    char *name = index_name(path);
    FILE *file = name ? fopen(name, "rbe") : NULL;
    bool good = file && fseek(file, 40, SEEK_SET) == 0 &&
                fread(bytes, 1, sizeof bytes, file) == sizeof bytes;
    if (file)
        fclose(file);
    free(name);
    *digest = 0;
    for (int i = 0; good && i < 4; i++)
        *digest |= (uint32_t)bytes[i] << 8 * i;
    return good;
}

/* Whether the file's index is right, or there is none, in one line. */
static bool show_index(const struct app *app, const struct check *c)
{
    uint32_t digest;
    if (!c->index) {
        printf("index: %s\n", c->why);
        return has_no_index(app->o.file); /* a file need not have one */
    }
    size_t count = dml_record_index_count(c->index);
    printf("index: %zu records", count);
    bool good = false;
    if (count != c->sizes.count)
        printf(", another number than the file holds");
    else if (c->wrong != UINT64_MAX)
        printf(", of which number %" PRIu64 " lies elsewhere in the file", c->wrong);
    else if (!stored_digest(app->o.file, &digest) || digest != c->digest)
        printf(", but the checksum of the file's frames is another");
    else
        good = true;
    printf("%s\n", good ? "" : "; make it anew: dml-records index --file FILE");
    return good;
}

/* Reads all; free c->index. */
static int read_all(const struct app *app, struct check *c)
{
    dml_records *records = NULL;
    dml_record r;
    dml_error error;
    *c = (struct check){.wrong = UINT64_MAX};
    if (dml_record_index_open(app->ctx, app->o.file, &c->index) != DML_OK) {
        dml_ctx_last_error(app->ctx, &error);
        memcpy(c->why, error.text, sizeof c->why);
    }
    dml_status status = open_records(app, app->o.file, &records);
    if (status != DML_OK)
        return complain(app);
    while ((status = dml_records_next(records, &r)) == DML_OK) {
        if (r.number < (uint64_t)app->o.first)
            show_record(&r);
        count_size(&c->sizes, r.bytes);
        if (c->index)
            compare(app, c, &r);
    }
    c->skipped = dml_records_skipped(records);
    dml_records_close(records);
    return status == DML_EEND ? EXIT_GOOD : complain(app);
}

int inspect_run(struct app *app)
{
    struct check c;
    int result = read_all(app, &c);
    if (result == EXIT_GOOD) {
        show_sizes(&c.sizes);
        show_index(app, &c);
        printf("damaged places: %" PRIu64 "\n", c.skipped);
    }
    dml_record_index_destroy(c.index);
    return result;
}

int verify_run(struct app *app)
{
    struct check c;
    int result = read_all(app, &c);
    if (result == EXIT_GOOD) {
        bool good = show_index(app, &c) && c.skipped == 0;
        printf("%s: %s: %" PRIu64 " records, %" PRIu64 " damaged places\n", app->o.file,
               good ? "good" : "bad", c.sizes.count, c.skipped);
        result = good ? EXIT_GOOD : EXIT_FAILED;
    }
    dml_record_index_destroy(c.index);
    return result;
}

int index_run(struct app *app)
{
    dml_record_index *index = NULL;
    dml_records_opts opts;
    dml_records_opts_init(&opts);
    opts.on_error = on_error_of(app);
    opts.max_bytes = (size_t)app->o.max_bytes;
    int result = EXIT_GOOD;
    if (dml_record_index_build(app->ctx, app->o.file, &opts, NULL, NULL, &index) !=
            DML_OK ||
        dml_record_index_write(app->ctx, index, app->o.file) != DML_OK)
        result = complain(app);
    else
        printf("%s.index: %zu records\n", app->o.file, dml_record_index_count(index));
    dml_record_index_destroy(index);
    return result;
}
