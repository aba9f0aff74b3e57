/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Images from idx and CIFAR-10 files into records and back; see images.h.
 */
#include "images.h"

#include <inttypes.h>
#include <string.h>

enum { HEAD = 16, CIFAR_SIDE = 32 };

struct shape {
    uint32_t channels, height, width;
};

static void put_u32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> 8 * i);
}

static uint32_t get_u32(const uint8_t *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
           (uint32_t)from[3] << 24;
}

static dml_status open_images(struct conversion *c, dml_images **images)
{
    const struct options *o = &c->app->o;
    if (strcmp(o->from, "idx") == 0)
        return dml_images_open_idx(c->app->ctx, o->in, o->labels, images);
    return dml_images_open_cifar10(c->app->ctx, &o->in, 1, images);
}

int images_to_records(struct conversion *c)
{
    dml_images *images = NULL;
    dml_images_info info;
    uint8_t head[HEAD];
    if (open_images(c, &images) != DML_OK)
        return complain(c->app);
    dml_images_get_info(images, &info);
    put_u32(head, (uint32_t)info.channels);
    put_u32(head + 4, (uint32_t)info.height);
    put_u32(head + 8, (uint32_t)info.width);
    int result = EXIT_GOOD;
    for (size_t i = 0; i < info.count && result == EXIT_GOOD; i++) {
        int32_t label;
        const uint8_t *pixels = dml_images_pixels(images, i, &label);
        put_u32(head + 12, (uint32_t)label);
        if (!add(c, head, HEAD) ||
            !add(c, pixels, info.channels * info.height * info.width))
            result = refuse("no memory for an image");
        else if (append(c, (uint64_t)label, 1) != DML_OK)
            result = complain(c->app);
    }
    dml_images_destroy(images);
    return result;
}

/* The shape and label of an image in a record; false: it is none. */
static bool read_head(const dml_record *r, struct shape *s, uint32_t *label)
{
    const uint8_t *at = r->data;
    if (r->bytes < HEAD)
        return false;
    *s = (struct shape){get_u32(at), get_u32(at + 4), get_u32(at + 8)};
    *label = get_u32(at + 12);
    uint64_t plane = (uint64_t)s->height * s->width;
    uint64_t rest = r->bytes - HEAD;
    return s->channels > 0 && plane > 0 && rest % plane == 0 &&
           rest / plane == s->channels;
}

/* Space for heads, which are written at the end, when the number is known. */
static void write_heads(struct output *pixels, struct output *labels, uint32_t count,
                        const struct shape *s)
{
    const uint32_t words[] = {0x803, count, s->height, s->width};
    for (int file = 0; file < 2; file++) {
        struct output *out = file == 0 ? pixels : labels;
        output_rewind(out);
        for (int i = 0; i < (file == 0 ? 4 : 2); i++) {
            uint32_t word = file == 1 && i == 0 ? 0x801 : words[i];
            uint8_t bytes[4];
            for (int k = 0; k < 4; k++)
                bytes[k] = (uint8_t)(word >> (24 - 8 * k));
            output_write(out, bytes, sizeof bytes);
        }
    }
}

static int not_an_image(const struct conversion *c, const dml_record *r,
                        const char *why)
{
    return refuse("%s: record at offset %" PRIu64 " (%zu bytes): %s", c->app->o.in,
                  r->offset, r->bytes, why);
}

/* A label is a byte, and CIFAR-10 has ten of them. */
static int check_label(const struct conversion *c, const dml_record *r, uint32_t label,
                       bool cifar)
{
    const uint32_t largest = cifar ? 9 : UINT8_MAX;
    char why[128];
    if (label <= largest)
        return EXIT_GOOD;
    snprintf(why, sizeof why,
             "has label %" PRIu32 ", at most %" PRIu32 " in %s; choose another --to",
             label, largest, cifar ? "CIFAR-10" : "idx, whose labels are bytes");
    return not_an_image(c, r, why);
}

static int write_all(struct conversion *c, dml_records *records, struct output *pixels,
                     struct output *labels)
{
    struct shape first = {0}, s = {0};
    uint32_t count = 0, label;
    bool cifar = labels->file == NULL;
    dml_record r;
    dml_status status;
    if (!cifar)
        write_heads(pixels, labels, 0, &s);
    for (; (status = dml_records_next(records, &r)) == DML_OK; count++) {
        if (is_stopped())
            return complain(c->app);
        if (!read_head(&r, &s, &label))
            return not_an_image(c, &r, "is no image");
        if (count == 0)
            first = s;
        if (s.channels != first.channels || s.height != first.height ||
            s.width != first.width)
            return not_an_image(c, &r, "has another shape than the first one");
        if (cifar ? s.channels != 3 || s.height != CIFAR_SIDE || s.width != CIFAR_SIDE
                  : s.channels != 1)
            return not_an_image(c, &r,
                                cifar ? "is not 3 x 32 x 32, as CIFAR-10 has it"
                                      : "has more than one channel");
        if (check_label(c, &r, label, cifar) != EXIT_GOOD)
            return EXIT_FAILED;
        const uint8_t byte = (uint8_t)label;
        output_write(cifar ? pixels : labels, &byte, 1);
        output_write(pixels, (const uint8_t *)r.data + HEAD, r.bytes - HEAD);
    }
    if (status != DML_EEND)
        return complain(c->app);
    if (!cifar)
        write_heads(pixels, labels, count, &first);
    c->skipped = dml_records_skipped(records);
    return EXIT_GOOD;
}

int records_to_images(struct conversion *c)
{
    const struct options *o = &c->app->o;
    struct output pixels = {0}, labels = {0};
    dml_records *records = NULL;
    bool two = strcmp(o->to, "idx") == 0;
    int result = output_open(&pixels, o->out, !o->no_sync);
    if (result == EXIT_GOOD && two)
        result = output_open(&labels, o->labels, !o->no_sync);
    if (result == EXIT_GOOD && open_records(c->app, o->in, &records) != DML_OK)
        result = complain(c->app);
    if (result == EXIT_GOOD)
        result = write_all(c, records, &pixels, &labels);
    dml_records_close(records);
    /* Both are whole before one of them gets its name. */
    if (result == EXIT_GOOD)
        result = output_finish(&pixels);
    if (result == EXIT_GOOD && two)
        result = output_finish(&labels);
    if (result == EXIT_GOOD)
        result = output_name(&pixels);
    if (result == EXIT_GOOD && two)
        result = output_name(&labels);
    output_close(&labels, result == EXIT_GOOD);
    output_close(&pixels, result == EXIT_GOOD);
    return result;
}
